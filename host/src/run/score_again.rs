//! Extracts and scores anew what a run stored, without a request: another pattern, another rule for refusals, the same
//! answers. What was asked stays as it was.

mod repeats;

use std::{collections::HashMap, path::Path};

use plugin_api::{Answer, Choice, Completion, Likelihood, Usage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    event::UnitName,
    finish::groups,
    from_journal::{CountError, Unit, Units, reopened},
    grade::{Graded, grade, lacks_metric},
    tally::{Tally, counted_apart},
};
use crate::{
    config::{RunConfig, RunFile},
    store::{
        outcome::{ChoiceOutcome, ResponseOutcome, SampleOutcome},
        record::{ChoiceRecord, Question, Response, SampleRecord, Status},
        stored_run::{ReadError, StoredRun},
        summary::{self, RunIdentity, State, Summary},
    },
    task::render::{Form, Rendered},
};

pub use repeats::OverRepeats;
use repeats::Repeats;

/// Keys of a task that say what an answer is worth. All others say what is asked.
const WORTH: [&str; 9] = [
    "description",
    "exact_match",
    "extract",
    "metrics",
    "on_no_answer",
    "on_refusal",
    "on_truncation",
    "target",
    "target_is",
];
/// The same within `generate`: where a reply is cut before its answer is looked for.
const WORTH_OF_GENERATE: [&str; 2] = ["stop", "think_end"];

/// Why a run cannot be scored anew.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// Its samples cannot be counted.
    #[error(transparent)]
    Count(#[from] CountError),
    /// A change is one of what was asked.
    #[error(
        "`{key}` says what is asked, and this run has asked already; scored anew can be what says how answers are read: \
         {}",
        worth()
    )]
    Asked {
        /// The key, as `--set` names it.
        key: String,
    },
    /// A stop text is taken away.
    #[error(
        "`{key}` lacks a stop text that the run had: its replies ended there, and what would have followed was never \
         written; stop texts can be added only"
    )]
    Stop {
        /// The key, as `--set` names it.
        key: String,
    },
    /// The run stored digests in place of texts.
    #[error(
        "sample `{id}` of task `{task}` is stored as a digest (`store = \"hash\"`), so its answer cannot be read again"
    )]
    Hashed {
        /// The task.
        task: String,
        /// The sample.
        id: String,
    },
    /// A record makes no question under the new configuration.
    #[error("sample `{id}` of task `{task}`: {reason}")]
    Sample {
        /// The task.
        task: String,
        /// The sample.
        id: String,
        /// What is wrong.
        reason: String,
    },
}

impl From<ReadError> for ScoreError {
    fn from(error: ReadError) -> Self {
        Self::Count(error.into())
    }
}

fn worth() -> String {
    let of_generate = WORTH_OF_GENERATE.iter().map(|key| format!("generate.{key}"));
    WORTH.iter().skip(1).map(ToString::to_string).chain(of_generate).collect::<Vec<_>>().join(", ")
}

/// `summary.score-N.json`, format 1: a summary, and how it differs from the run's own.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Rescored {
    /// Format of this file.
    pub format: u32,
    /// How it came about.
    pub rescored: Rescoring,
    /// The results now.
    #[schemars(with = "Value")]
    pub summary: Summary,
    /// Over the repeats of each sample, by task and backend.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub over_repeats: Vec<OverRepeats>,
}

/// How a summary came about that is not the run's own.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Rescoring {
    /// RFC 3339.
    pub at: String,
    /// Version of the host.
    pub host_version: String,
    /// What differs from what the run was scored by.
    pub changes: Vec<ChangedKey>,
    /// Samples that are scored and were not, or the other way, or are worth something else; repeats counted.
    pub differing: u64,
    /// The first of them.
    pub examples: Vec<Differing>,
}

/// A key that was changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChangedKey {
    /// As `--set` names it.
    pub key: String,
    /// What it was; absent if it was not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<Value>,
    /// What it is; absent if it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is: Option<Value>,
}

/// A sample that is worth something else now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Differing {
    /// Id of the task.
    pub task: String,
    /// Id of the backend.
    pub backend: String,
    /// Id of the sample.
    pub id: String,
    /// Which repeat.
    pub repeat: u32,
    /// What it was: scores, or why there were none.
    pub was: String,
    /// What it is.
    pub is: String,
}

/// Differing samples that are named.
const NAMED: usize = 20;

/// Scores a run anew. `sets` are changes as `--set` has them.
///
/// # Errors
/// The run cannot be read, or a change is none of how answers are scored.
pub fn score_again(run: &StoredRun, sets: &[String]) -> Result<Rescored, ScoreError> {
    let before = reopened(run, &[])?;
    let now = reopened(run, sets)?;
    let changes = changes(&before.config, &now.config)?;
    let samples = run.samples()?;
    let mut units = Units::new(run, &now, &samples);
    let mut repeats: HashMap<UnitName, Option<Repeats>> = HashMap::new();
    let (mut differing, mut examples) = (0, Vec::new());
    samples.each(|number, line| {
        let record: SampleRecord = samples.parse(line)?;
        let outcome: SampleOutcome<'_> = samples.parse(line)?;
        let name = UnitName { task: record.task.clone(), backend: record.backend.clone() };
        let Some(unit) = units.of(&name, number)? else { return Ok(()) };
        let was = worth_of(&record.status, record.scores.as_ref());
        let (id, repeat) = (record.sample.id.clone(), record.sample.repeat);
        let own = repeats.entry(name.clone()).or_insert_with(|| Repeats::of(&unit.task));
        let is = add(unit, own.as_mut(), record, outcome)?;
        if was != is {
            differing += 1;
            if examples.len() < NAMED {
                let UnitName { task, backend } = name;
                examples.push(Differing { task, backend, id, repeat, was, is });
            }
        }
        Ok::<_, ScoreError>(())
    })?;
    let tallies = units.into_tallies();
    let results = tallies.iter().map(Tally::result);
    let results = results.collect::<Result<_, _>>().map_err(CountError::from)?;
    let groups = groups(&now.config, &tallies).map_err(CountError::from)?;
    let over_repeats = tallies.iter().filter_map(|tally| {
        let repeats = repeats.remove(tally.name())??;
        Some(repeats.sum_up(tally.name()))
    });
    let over_repeats = over_repeats.collect::<Result<_, _>>().map_err(CountError::from)?;
    Ok(Rescored {
        format: summary::FORMAT,
        rescored: Rescoring {
            at: jiff::Timestamp::now().to_string(),
            host_version: env!("CARGO_PKG_VERSION").to_owned(),
            changes,
            differing,
            examples,
        },
        summary: Summary { format: summary::FORMAT, run: identity(run, &now), results, groups },
        over_repeats,
    })
}

/// The run, with the digest of what it is scored by now.
fn identity(run: &StoredRun, now: &RunFile) -> RunIdentity {
    let manifest = &run.manifest;
    let ended = run.summary.as_ref().map(|summary| &summary.run);
    RunIdentity {
        id: manifest.id.clone(),
        name: manifest.name.clone(),
        started: manifest.started.clone(),
        finished: ended.map(|run| run.finished.clone()).unwrap_or_default(),
        state: ended.map_or(State::Interrupted, |run| run.state),
        host_version: manifest.host_version.clone(),
        config_blake3: now.config_blake3.clone(),
    }
}

/// What was changed; each must be a key that says how answers are read.
fn changes(before: &RunConfig, now: &RunConfig) -> Result<Vec<ChangedKey>, ScoreError> {
    let mut found = Vec::new();
    let (old, new) = (as_value(before), as_value(now));
    differences("", &old, &new, &mut found);
    for change in &found {
        let path: Vec<&str> = change.key.split('.').collect();
        let is_worth = match path.as_slice() {
            ["task", _, "generate", key, ..] => WORTH_OF_GENERATE.contains(key),
            ["task", _, key, ..] => WORTH.contains(key),
            ["group", ..] => true,
            _ => false,
        };
        if !is_worth {
            return Err(ScoreError::Asked { key: change.key.clone() });
        }
        if matches!(path.as_slice(), [.., "generate", "stop"]) {
            let texts = |value: &Option<Value>| value.as_ref().and_then(Value::as_array).cloned();
            let (was, is) = (texts(&change.was), texts(&change.is).unwrap_or_default());
            if was.unwrap_or_default().iter().any(|stop| !is.contains(stop)) {
                return Err(ScoreError::Stop { key: change.key.clone() });
            }
        }
    }
    Ok(found)
}

/// What decides results, with tasks and backends by their ids.
fn as_value(config: &RunConfig) -> Value {
    let mut value = config.decisive();
    let tasks = config.tasks.iter().map(|task| (task.id.clone(), serde_json::json!(task.task)));
    let tasks = Value::Object(tasks.collect());
    let groups = config.groups.iter().map(|group| (group.id.clone(), serde_json::json!(group)));
    let groups = Value::Object(groups.collect());
    if let Some(map) = value.as_object_mut() {
        map.remove("tasks");
        map.remove("groups");
        map.insert("task".to_owned(), tasks);
        map.insert("group".to_owned(), groups);
    }
    value
}

fn differences(key: &str, was: &Value, is: &Value, found: &mut Vec<ChangedKey>) {
    let (Some(old), Some(new)) = (was.as_object(), is.as_object()) else {
        if was != is {
            let some = |value: &Value| (!value.is_null()).then(|| value.clone());
            found.push(ChangedKey { key: key.to_owned(), was: some(was), is: some(is) });
        }
        return;
    };
    let added = new.keys().filter(|name| !old.contains_key(*name));
    for name in old.keys().chain(added) {
        let below = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
        let of = |map: &serde_json::Map<String, Value>| map.get(name).cloned().unwrap_or_default();
        differences(&below, &of(old), &of(new), found);
    }
}

/// Counts a sample by what it is worth now; what that is, in words.
fn add(
    unit: &mut Unit,
    repeats: Option<&mut Repeats>,
    record: SampleRecord,
    mut outcome: SampleOutcome<'_>,
) -> Result<String, ScoreError> {
    let (id, task) = (record.sample.id.clone(), record.task.clone());
    let failed = |reason: String| ScoreError::Sample { task: task.clone(), id: id.clone(), reason };
    // What the infrastructure did is no answer, and has left none.
    if let Some(response) = record.response {
        let Question::Full { document, prompt, .. } = &record.question else {
            return Err(ScoreError::Hashed { task, id });
        };
        let mut form = unit.task.form_of(document).map_err(|error| failed(error.to_string()))?;
        // What was asked for, whatever the metrics are now.
        if let (Form::MultipleChoice(form), Response::Likelihoods { unconditional, .. }) =
            (&mut form, &response)
        {
            form.unconditional = !unconditional.is_empty();
        }
        let rendered = Rendered { prompt: prompt.clone(), form };
        let graded = grade(&unit.task, &rendered, answers(response));
        let graded = graded.map_err(|error| failed(error.to_string()))?;
        if let Some(lacking) = lacks_metric(&unit.task, &graded) {
            return Err(failed(lacking.message));
        }
        if let (Some(repeats), Form::Generate(form)) = (repeats, &rendered.form) {
            let added = repeats.add(&unit.task, form, &record.sample, &graded.response);
            added.map_err(|error| failed(error.to_string()))?;
        }
        apply(graded, &mut outcome);
    }
    let worth = worth_of(&outcome.status, outcome.scores.as_ref());
    unit.tally.replay(outcome).map_err(CountError::from)?;
    Ok(worth)
}

/// Puts into what is counted of a sample what it is worth now.
fn apply(graded: Graded, outcome: &mut SampleOutcome<'_>) {
    let (incidents, _) = counted_apart(Some(&graded.response));
    if let Response::Completion { .. } = &graded.response {
        let choices =
            incidents.into_iter().map(|incident| ChoiceOutcome { incident: Some(incident) });
        outcome.response = Some(ResponseOutcome::Completion { choices: choices.collect() });
    }
    match graded.outcome {
        Ok(parts) => {
            outcome.status = Status::Scored;
            outcome.scores = Some(parts);
        }
        Err(unscored) => {
            outcome.status = Status::Unscored(unscored.reason);
            outcome.scores = None;
        }
    }
}

/// What came back, as the plugin answered it.
fn answers(response: Response) -> Vec<Answer> {
    match response {
        Response::Completion { model, choices } => {
            let choices = choices.into_iter().map(choice).collect();
            let (usage, changed) = (Usage::default(), Vec::new());
            vec![Answer::Completion(Completion { model, choices, usage, changed })]
        }
        Response::Likelihoods { conditional, unconditional } => {
            let some = |likelihoods: Vec<Likelihood>| Answer::Likelihoods(likelihoods);
            let mut answers = vec![some(conditional)];
            if !unconditional.is_empty() {
                answers.push(some(unconditional));
            }
            answers
        }
    }
}

fn choice(record: ChoiceRecord) -> Choice {
    Choice {
        text: record.text,
        reasoning: record.reasoning,
        finish_reason: record.finish_reason.as_str().into(),
        logprobs: record.logprobs,
    }
}

fn worth_of(status: &Status, scores: Option<&crate::score::parts::Parts>) -> String {
    match (status, scores) {
        (Status::Unscored(reason), _) => format!("unscored: {reason}"),
        (Status::Scored, Some(parts)) => {
            let parts = parts.0.iter().map(|(name, value)| format!("{name} {value}"));
            parts.collect::<Vec<_>>().join(", ")
        }
        (Status::Scored, None) => "scored".to_owned(),
    }
}

/// The next free name of a file beside the run's summary.
pub fn free_name(directory: &Path) -> String {
    let name = |number: u32| format!("summary.score-{number}.json");
    let free = (1..u32::MAX).map(name).find(|name| !directory.join(name).exists());
    free.unwrap_or_else(|| name(u32::MAX))
}
