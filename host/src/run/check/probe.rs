//! One question to each server: who it is, a sample of each task, and where likelihoods are wanted, whether those of a
//! text add up.

use std::time::{Duration, Instant};

use plugin_api::{
    Answer, Error, ErrorKind, Likelihood, Loglikelihood, Prompt, Request, message::Description,
};
use tokio::time::timeout;

use super::{
    Checked, Counted, Level,
    pace::{Pace, Probe},
    wording,
};
use crate::{
    plugin::{
        instance::Instance,
        session::{Job, drive},
    },
    run::{
        backend::OpenBackend,
        backend_error::BackendError,
        estimate::estimate,
        event::UnitName,
        grade::{grade, lacks_metric},
        plan::lacks,
        request::requests,
    },
    task::{raw::PromptFormat, resolve::Ability},
};

/// Tokens that a probe lets a model write: enough to see that it does.
const FEW_TOKENS: u32 = 16;
/// And a second one, to see what more of them take and cost.
const MORE_TOKENS: u32 = 64;
/// Nats by which the likelihood of a text may differ from the sum of its parts': servers compute with 16 bits.
const CLOSE: f64 = 0.25;

/// A sample that was asked and answered.
pub(super) struct Probed {
    pub(super) unit: UnitName,
    pub(super) pace: Pace,
    /// How many log-likelihoods the plugin may put into one call.
    pub(super) batch: u64,
}

/// Asks the servers of a backend.
pub(super) struct Prober<'a> {
    pub(super) backend: &'a OpenBackend,
    pub(super) limit: Duration,
}

impl Prober<'_> {
    /// Asks each server, and tells what is found. Gives what the first one took for each task.
    pub(super) async fn ask(&self, units: &mut [Counted], checked: &mut Checked) -> Vec<Probed> {
        let mut probed: Vec<Probed> = Vec::new();
        for replica in &self.backend.replicas {
            let about = match replica.name() {
                Some(server) => format!("backend {} at {server}", self.backend.id),
                None => format!("backend {}", self.backend.id),
            };
            let description = match self.one(&replica.instance, Request::Describe).await {
                Ok((Answer::Description(description), _)) => description,
                Ok(_) => Description::default(),
                Err(error) if error.kind == ErrorKind::Unsupported => Description::default(),
                Err(error) => {
                    self.not_ready(&about, error, checked);
                    continue;
                }
            };
            checked.say(Level::Good, about.clone(), in_words(&description));
            let own = units.iter_mut().filter(|unit| unit.name.backend == self.backend.id);
            let mut is_added_up = false;
            for unit in own {
                self.suit(unit, &description, checked);
                let Some(taken) = self.sample(unit, &replica.instance, &about, checked).await
                else {
                    continue;
                };
                if unit.task.ability == Ability::Loglikelihood
                    && unit.task.format == PromptFormat::Text
                    && !std::mem::replace(&mut is_added_up, true)
                {
                    self.adds_up(&replica.instance, &about, checked).await;
                }
                if probed.iter().all(|other| other.unit != taken.unit) {
                    probed.push(taken);
                }
            }
        }
        probed
    }

    fn not_ready(&self, about: &str, error: Error, checked: &mut Checked) {
        let (backend, at) = (self.backend.id.clone(), String::new());
        let error = BackendError::NotReady { backend, at, error, hint: "" };
        checked.fail(about, &error.into());
    }

    /// A request by itself, and how long it took.
    async fn one(
        &self,
        instance: &std::sync::Arc<Instance>,
        request: Request<'_>,
    ) -> Result<(Answer, Duration), Error> {
        let begun = Instant::now();
        let answers = self.all(instance, std::slice::from_ref(&request)).await?;
        let answer = answers.into_iter().next();
        let answer = answer.ok_or_else(|| Error::new(ErrorKind::Protocol, "no answer"))?;
        Ok((answer, begun.elapsed()))
    }

    async fn all(
        &self,
        instance: &std::sync::Arc<Instance>,
        requests: &[Request<'_>],
    ) -> Result<Vec<Answer>, Error> {
        let job = Job { request_id: "host", attempt: 1, deadline: self.limit, requests };
        match timeout(self.limit, drive(instance, job)).await {
            Ok(outcome) => outcome.items.into_iter().collect(),
            Err(_) => {
                let limit = humantime::format_duration(self.limit);
                Err(Error::new(ErrorKind::Timeout, format!("no answer within {limit}")))
            }
        }
    }

    /// The task in its other form, if the backend turns out to lack what its own takes.
    fn suit(&self, unit: &mut Counted, description: &Description, checked: &mut Checked) {
        if !lacks(&unit.task, &description.lacks) {
            return;
        }
        let about = format!("task {}", unit.name.task);
        match unit.task.fallback() {
            Some(Ok(other)) => {
                // What is asked has changed with the form.
                if let Ok(amount) = estimate(&other) {
                    unit.amount = amount;
                }
                unit.task = other;
                let message = format!(
                    "backend {} has no log-likelihood: the task is asked as its `fallback` says, which measures something else",
                    self.backend.id
                );
                checked.say(Level::Warning, about, message);
            }
            _ => {
                let message = format!("backend {} cannot do what the task needs", self.backend.id);
                checked.exit_code.get_or_insert(crate::run::error::exit::USAGE);
                checked.say(Level::Error, about, message);
            }
        }
    }

    /// Asks about the first sample of a task.
    async fn sample(
        &self,
        unit: &Counted,
        instance: &std::sync::Arc<Instance>,
        about: &str,
        checked: &mut Checked,
    ) -> Option<Probed> {
        let first = wording::first(&unit.task)?;
        let allowed = |most: u32| {
            let mut generation = unit.task.generation.clone();
            if let Some(generation) = &mut generation {
                generation.max_tokens = generation.max_tokens.min(most);
            }
            generation
        };
        let generation = allowed(FEW_TOKENS);
        let asked = requests(&first.rendered, generation.as_ref(), 0, self.backend.stream);
        let begun = Instant::now();
        let answers = match self.all(instance, &asked).await {
            Ok(answers) => answers,
            Err(error) => {
                let message = format!("probe for task {}: {}", unit.name.task, error.message);
                self.not_ready(about, Error { message, ..error }, checked);
                return None;
            }
        };
        let took = begun.elapsed();
        let short = measured(took, answers.first());
        let mut long = None;
        if unit.task.generation.as_ref().is_some_and(|own| own.max_tokens > FEW_TOKENS) {
            let generation = allowed(MORE_TOKENS);
            let asked = requests(&first.rendered, generation.as_ref(), 0, self.backend.stream);
            let begun = Instant::now();
            // The first has shown that the server answers.
            let more = self.all(instance, &asked).await.ok();
            long = more.map(|answers| measured(begun.elapsed(), answers.first()));
        }
        let pace = Pace::of(short, long);
        let graded = grade(&unit.task, &first.rendered, answers)
            .and_then(|graded| lacks_metric(&unit.task, &graded).map_or(Ok(graded), Err));
        let what = match graded {
            Err(error) => {
                self.not_ready(about, error, checked);
                return None;
            }
            Ok(graded) => match graded.outcome {
                Ok(_) => "answered and scored".to_owned(),
                Err(unscored) => match unscored.error {
                    Some(error) => {
                        self.not_ready(about, error, checked);
                        return None;
                    }
                    // So few tokens were allowed that this says nothing.
                    None => format!("answered ({})", unscored.reason),
                },
            },
        };
        let message = format!(
            "task {}, sample {}: {what} in {:.0} ms",
            unit.name.task,
            first.sample.id,
            took.as_secs_f64() * 1e3
        );
        checked.say(Level::Good, about, message);
        let limits = self.backend.manifest.plugin.limits;
        // One that computes by itself makes no calls: a sample is all that there is to wait for.
        let batch = if limits.blocking { u64::MAX } else { limits.max_batch.max(1).into() };
        Some(Probed { unit: unit.name.clone(), pace, batch })
    }

    /// Whether the likelihood of a text is that of its parts: it is not where a server puts something between context and
    /// continuation, or counts their tokens in another way than it scores them. And whether the server finds what everyone
    /// knows likelier than what nobody says.
    async fn adds_up(
        &self,
        instance: &std::sync::Arc<Instance>,
        about: &str,
        checked: &mut Checked,
    ) {
        const START: &str = "The capital of France";
        const MIDDLE: &str = " is";
        const RIGHT: &str = " Paris";
        const ODD: &str = " zebra";
        let whole = format!("{MIDDLE}{RIGHT}");
        let longer = format!("{START}{MIDDLE}");
        let of = |prompt, continuations: Vec<&'static str>| {
            Request::Loglikelihood(Loglikelihood {
                prompt: Prompt::Text(prompt),
                continuations,
                token_logprobs: false,
            })
        };
        let first = Request::Loglikelihood(Loglikelihood {
            prompt: Prompt::Text(START),
            continuations: vec![&whole, MIDDLE],
            token_logprobs: false,
        });
        let second = of(&longer, vec![RIGHT, ODD]);
        let (Ok((Answer::Likelihoods(first), _)), Ok((Answer::Likelihoods(second), _))) =
            (self.one(instance, first).await, self.one(instance, second).await)
        else {
            checked.say(
                Level::Warning,
                about,
                "its log-likelihoods of a short text could not be had",
            );
            return;
        };
        let logprob = |list: &[Likelihood], at: usize| list.get(at).and_then(|one| one.logprob);
        let parts =
            (logprob(&first, 0), logprob(&first, 1), logprob(&second, 0), logprob(&second, 1));
        let (Some(whole), Some(middle), Some(right), Some(odd)) = parts else {
            checked.say(
                Level::Warning,
                about,
                "its log-likelihoods of a short text are no numbers",
            );
            return;
        };
        let apart = (whole - (middle + right)).abs();
        #[allow(clippy::float_cmp, reason = "no model says the same of two texts to the last bit")]
        let is_constant = right == odd && right == middle;
        if is_constant && !self.backend.is_mock() {
            let message = format!(
                "it gives each of three texts the log-likelihood {right:.2}: it does not measure them, and options of as \
                 many tokens would all be as likely"
            );
            checked.say(Level::Warning, about, message);
            return;
        }
        if apart > CLOSE {
            let message = format!(
                "the log-likelihood of a text differs by {apart:.2} nats from the sum of its parts': the server puts \
                 something between context and continuation, or its tokenizer is not the model's"
            );
            checked.say(Level::Warning, about, message);
        } else {
            let message = format!("log-likelihoods add up (to {apart:.4} nats)");
            checked.say(Level::Good, about, message);
        }
        if right < odd && !self.backend.is_mock() {
            let message = format!(
                "it finds {ODD:?} ({odd:.2}) likelier than {RIGHT:?} ({right:.2}) after {longer:?}: is this the model \
                 that you mean, with its own tokenizer?"
            );
            checked.say(Level::Warning, about, message);
        }
    }
}

/// What a probe tells by its answer.
fn measured(took: Duration, answer: Option<&Answer>) -> Probe {
    let seconds = took.as_secs_f64();
    let Some(Answer::Completion(completion)) = answer else {
        return Probe { seconds, ..Probe::default() };
    };
    let usage = &completion.usage;
    #[allow(clippy::cast_precision_loss, reason = "a forecast needs no more digits")]
    let usd = usage.cost_usd_nanos.map(|nanos| nanos as f64 / 1e9);
    let (prompt_tokens, reply_tokens) = (usage.prompt_tokens, usage.completion_tokens);
    Probe { seconds, prompt_tokens, reply_tokens, usd }
}

fn in_words(description: &Description) -> String {
    let mut known = Vec::new();
    if let Some(model) = &description.model {
        known.push(format!("model `{model}`"));
    }
    if let Some(engine) = &description.engine {
        let version = description.version.as_deref().unwrap_or_default();
        known.push(format!("{engine} {version}").trim_end().to_owned());
    }
    if let Some(tokens) = description.context_tokens {
        known.push(format!("{tokens} tokens of context"));
    }
    if let Some(bos) = &description.bos {
        known.push(format!("before a context: {bos}"));
    }
    if known.is_empty() { "it answers".to_owned() } else { known.join(", ") }
}
