//! Looks a run file over before anything is spent on it: whether its tasks make sense, its plugins open, its servers
//! answer a probe, and how much it would ask.
//!
//! No server is started and nothing is rented: a backend for which that would be needed is said to be left alone.

mod pace;
mod probe;
mod wording;

use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    error::RunError,
    estimate::{Estimate, estimate, in_any_form},
    event::UnitName,
    feed::FeedError,
    found::{self, Found},
    open,
    plan::{Pair, plan},
    surroundings::Surroundings,
};
use crate::{
    config::{RunFile, TaskConfig},
    plugin::discover::Discovery,
    store::{ledger::Ledger, run_dir::PlannedDir},
    task::resolve::Task,
};

use probe::{Probed, Prober};

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Finding {
    /// How grave it is.
    pub level: Level,
    /// What it is about: a task, a backend, a server.
    pub about: String,
    /// What was found, and where it is bad the way out.
    pub message: String,
}

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Good,
    /// The run can begin, and its results may not be what is wanted.
    Warning,
    /// The run cannot begin, or a server would answer nothing.
    Error,
}

/// What a task at a backend would ask, and take.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct UnitForecast {
    /// Id of the task.
    pub task: String,
    /// Id of the backend.
    pub backend: String,
    /// Whether it is asked in its generative form, because the backend has no log-likelihood.
    pub fallback: bool,
    /// What is asked.
    pub amount: Estimate,
    /// US dollars at most, by the prices that the probes' answers show; none if they were not priced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd: Option<f64>,
    /// Seconds, about, if every reply takes all its tokens, by the time that the probes took, with as many requests in
    /// flight as may be; none if no probe was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// All that was found.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// In the order in which it was looked at.
    pub findings: Vec<Finding>,
    /// One entry a task and backend.
    pub units: Vec<UnitForecast>,
    /// The exit code that the first error stands for; none without an error.
    pub exit_code: Option<u8>,
}

impl Checked {
    fn say(&mut self, level: Level, about: impl Into<String>, message: impl Into<String>) {
        let (about, message) = (about.into(), message.into());
        self.findings.push(Finding { level, about, message });
    }

    fn fail(&mut self, about: impl Into<String>, error: &RunError) {
        self.exit_code.get_or_insert(error.exit_code());
        self.say(Level::Error, about, error.to_string());
    }

    /// How many findings are of this level.
    pub fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }
}

/// Looks a run file over. Servers are asked only if `ask` is set.
pub async fn check(
    file: &RunFile,
    discovery: &Discovery,
    around: &Surroundings<'_>,
    ask: bool,
) -> Checked {
    let mut checked = Checked::default();
    let tasks: Vec<(Task, Vec<String>)> =
        file.config.tasks.iter().filter_map(|task| resolve(task, &mut checked)).collect();
    let mut found = Vec::new();
    for (id, one) in found::find_each(file, discovery, around) {
        match one {
            Ok(backend) => {
                let secrets = backend.secrets();
                let secrets = if secrets.is_empty() {
                    String::new()
                } else {
                    format!("; secrets found: {}", secrets.join(", "))
                };
                let plugin = backend.offer().declared.id.clone();
                let locked = if backend.is_locked() { ", as it is locked" } else { "" };
                if !locked.is_empty()
                    && let Err(error) = backend.read()
                {
                    checked.fail(format!("backend {id}"), &error.into());
                    continue;
                }
                checked.say(
                    Level::Good,
                    format!("backend {id}"),
                    format!("plugin `{plugin}`{locked}{secrets}"),
                );
                if let Some(warning) = backend.compiler_warning() {
                    checked.say(Level::Warning, format!("backend {id}"), warning);
                }
                found.push(backend);
            }
            Err(error) => checked.fail(format!("backend {id}"), &error.into()),
        }
    }
    // Of a backend that is not there it cannot be told what it can be asked.
    let pairs = if found.is_empty() || tasks.is_empty() {
        Vec::new()
    } else {
        match plan(&tasks, &found.iter().map(Found::offer).collect::<Vec<_>>()) {
            Ok(pairs) => pairs,
            Err(error) => {
                checked.fail("run file", &error.into());
                Vec::new()
            }
        }
    };
    let mut counted = count(pairs, &mut checked);
    let probed = if ask {
        open_and_ask(file, found, &mut counted, around, &mut checked).await
    } else {
        Vec::new()
    };
    for unit in counted {
        let probe = probed.iter().find(|probed| probed.unit == unit.name);
        checked.units.push(unit.forecast(file, probe));
    }
    checked
}

/// The task as meant, and the backends that it is for.
fn resolve(typed: &TaskConfig, checked: &mut Checked) -> Option<(Task, Vec<String>)> {
    let about = format!("task {}", typed.id);
    match super::engine::task(typed) {
        Ok(task) => {
            for warning in wording::of_task(&task) {
                checked.say(Level::Warning, about.clone(), warning);
            }
            Some((task, typed.backends.clone()))
        }
        Err(error) => {
            checked.fail(about, &error);
            None
        }
    }
}

/// A task at a backend, counted.
struct Counted {
    name: UnitName,
    task: Task,
    amount: Estimate,
}

impl Counted {
    fn forecast(self, file: &RunFile, probe: Option<&Probed>) -> UnitForecast {
        let backend = file.config.backends.iter().find(|one| one.id == self.name.backend);
        let in_flight = backend
            .map_or(1, |one| u64::from(one.concurrency.ceiling) * one.servers().len() as u64);
        let seconds = probe.map(|probe| {
            probe.pace.seconds(&self.amount) * turns(&self.amount, in_flight, probe.batch)
        });
        let usd = probe.and_then(|probe| probe.pace.usd(&self.amount));
        let probed = probe.is_some();
        // Without a server it is not known which form the task takes.
        let amount = if probed { self.amount } else { in_any_form(self.amount, &self.task) };
        UnitForecast {
            task: self.name.task,
            backend: self.name.backend,
            fallback: self.task.is_fallback,
            amount,
            usd,
            seconds,
        }
    }
}

/// How often, one after the other, samples take as long as one takes by itself: bounded are the calls in flight, of
/// which a sample may make several.
#[allow(clippy::cast_precision_loss, reason = "a forecast needs no more digits")]
fn turns(amount: &Estimate, in_flight: u64, batch: u64) -> f64 {
    let calls = amount.requests.div_ceil(amount.samples.max(1)).div_ceil(batch);
    let all = calls.saturating_mul(amount.samples);
    (all as f64 / in_flight.max(1) as f64).max(1.0)
}

/// Reads the data of each pair, and counts what it asks.
fn count(pairs: Vec<Pair>, checked: &mut Checked) -> Vec<Counted> {
    let mut counted: Vec<Counted> = Vec::new();
    for Pair { task, backend } in pairs {
        let same = |other: &&Counted| {
            other.name.task == task.id.0 && other.task.is_fallback == task.is_fallback
        };
        let about = format!("task {}", task.id);
        let amount = match counted.iter().find(same) {
            Some(other) => other.amount,
            None => match estimate(&task) {
                Ok(amount) => {
                    if amount.skipped > 0 {
                        let message =
                            format!("{} records cannot be used and are left out", amount.skipped);
                        checked.say(Level::Warning, about.clone(), message);
                    }
                    for warning in wording::of_prompt(&task) {
                        checked.say(Level::Warning, about.clone(), warning);
                    }
                    amount
                }
                Err(error) => {
                    checked.fail(about, &FeedError::new(&task.id.0, error).into());
                    continue;
                }
            },
        };
        let name = UnitName { task: task.id.0.clone(), backend };
        counted.push(Counted { name, task, amount });
    }
    counted
}

/// Opens the backends and asks each of their servers who it is, and about one sample of each of their tasks. A task
/// takes the form that its backend turns out to be able to do.
async fn open_and_ask(
    file: &RunFile,
    found: Vec<Found<'_>>,
    counted: &mut [Counted],
    around: &Surroundings<'_>,
    checked: &mut Checked,
) -> Vec<Probed> {
    let redactor = found::redactor(&found);
    // Nothing is held, so that it is never made.
    let directory = PlannedDir::new(&file.config.out, &file.config.name, jiff::Zoned::now());
    let ledger = Arc::new(Ledger::new(Arc::new(directory), Arc::clone(&redactor)));
    let mut all = Vec::new();
    for backend in found {
        let id = backend.id().to_owned();
        let about = format!("backend {id}");
        let config = file.config.backends.iter().find(|one| one.id == id);
        let is_launched = config.is_some_and(|one| {
            let own = one.replicas.iter().any(|replica| !replica.launch.is_empty());
            own || !one.launch.is_empty()
        });
        let opened = open::unasked(&file.config, vec![backend], &ledger, &redactor, around).await;
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                checked.fail(about, &error.into());
                continue;
            }
        };
        if is_launched {
            let message = "its server is started by a run (`launch`), so that it is not asked now";
            checked.say(Level::Warning, about, message);
            continue;
        }
        let limit = file.config.run.attempt_timeout.min(Duration::from_secs(60));
        for backend in &opened {
            let prober = Prober { backend, limit };
            all.extend(prober.ask(counted, checked).await);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples, requests, calls in flight, log-likelihoods a call; turns.
    #[test]
    fn what_is_in_flight_at_once_is_calls_and_not_samples() {
        for ([samples, requests, in_flight, batch], expected) in [
            ([64, 64, 32, 1], 2.0),
            ([64, 128, 32, 1], 4.0),
            ([64, 256, 32, 32], 2.0),
            ([64, 128, 32, u64::MAX], 2.0),
            ([4, 8, 32, 1], 1.0),
            ([0, 0, 32, 1], 1.0),
        ] {
            let amount = Estimate { samples, requests, ..Estimate::default() };
            assert_eq!(turns(&amount, in_flight, batch), expected, "{amount:?}");
        }
    }
}
