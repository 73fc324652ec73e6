//! What a run would ask, counted from its data before anything is asked. Requests are what the host asks of a plugin at
//! least: a plugin may put several into one, or need more than one for each, and retries come on top.

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    engine,
    error::RunError,
    event::UnitName,
    feed::FeedError,
    found::{self, Found},
    plan::plan,
    surroundings::Surroundings,
};
use crate::{
    config::RunFile,
    plugin::discover::Discovery,
    task::{
        prompt::Prompt,
        render::{Form, Rendered},
        resolve::Task,
        stream::{Next, SampleError},
    },
};

/// Characters of a token, roughly, in English text.
const CHARACTERS_A_TOKEN: u64 = 4;

/// How much a task asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Estimate {
    /// Samples, repeats counted.
    pub samples: u64,
    /// Records that are left out because they cannot be used.
    pub skipped: u64,
    /// Log-likelihoods of a continuation or of a text, and replies.
    pub requests: u64,
    /// Unicode characters of all that is sent to be read: of each continuation with its context.
    pub prompt_characters: u64,
    /// Tokens that may be generated, in whatever form the backend can be asked.
    pub max_output_tokens: u64,
}

/// How much a task asks of a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UnitEstimate {
    /// Id of the task.
    pub task: String,
    /// Id of the backend.
    pub backend: String,
    /// Whether the host's own mock would answer.
    pub mock: bool,
    /// How much.
    pub amount: Estimate,
}

impl Estimate {
    /// Tokens of what is sent, roughly: the tokenizer is the server's.
    pub fn prompt_tokens(&self) -> u64 {
        self.prompt_characters.div_ceil(CHARACTERS_A_TOKEN)
    }
}

/// Counts what a task asks. Reads all its data, and renders every sample.
///
/// # Errors
/// The data cannot be used.
pub fn estimate(task: &Task) -> Result<Estimate, SampleError> {
    let mut sum = Estimate::default();
    let output = output(task);
    for next in task.samples()? {
        match next? {
            Next::Ready(prepared) => {
                let [requests, characters] = size(&prepared.rendered);
                sum.samples += 1;
                sum.requests += requests;
                sum.prompt_characters += characters;
                sum.max_output_tokens += output;
            }
            Next::Skipped { .. } => sum.skipped += 1,
            Next::PassedOver => {}
        }
    }
    let repeats = u64::from(task.repeats.get());
    sum.samples *= repeats;
    sum.requests *= repeats;
    sum.prompt_characters *= repeats;
    sum.max_output_tokens *= repeats;
    Ok(sum)
}

/// Counts what a run file asks of each backend, in the form that its plugin declares to be able to do. What is wrong
/// in it is found as a run would find it; no code of a plugin runs, and nobody is asked.
///
/// # Errors
/// What would keep the run from beginning, as far as it can be told.
pub fn of_file(
    file: &RunFile,
    discovery: &Discovery,
    around: &Surroundings<'_>,
) -> Result<Vec<UnitEstimate>, RunError> {
    let tasks = engine::tasks(&file.config)?;
    let found = found::find(file, discovery, around)?;
    let offers: Vec<_> = found.iter().map(Found::offer).collect();
    let mut counted: Vec<(UnitName, bool, Estimate)> = Vec::new();
    let mut units = Vec::new();
    for pair in plan(&tasks, &offers)? {
        let unit = UnitName { task: pair.task.id.0.clone(), backend: pair.backend };
        let same = counted.iter().find(|(other, fallback, _)| {
            other.task == unit.task && *fallback == pair.task.is_fallback
        });
        let amount = match same {
            Some((_, _, amount)) => *amount,
            None => estimate(&pair.task).map_err(|error| FeedError::new(&unit.task, error))?,
        };
        let amount = in_any_form(amount, &pair.task);
        counted.push((unit.clone(), pair.task.is_fallback, amount));
        let config = file.config.backends.iter().find(|backend| backend.id == unit.backend);
        let mock = config.is_some_and(|backend| {
            backend.servers().iter().all(|url| url.is_some_and(|url| url.mock().is_some()))
        });
        units.push(UnitEstimate { task: unit.task, backend: unit.backend, mock, amount });
    }
    Ok(units)
}

/// The same as a bound for whatever form the task takes. Whether a backend lacks what its plugin declares is known once it
/// is open.
pub fn in_any_form(amount: Estimate, task: &Task) -> Estimate {
    // A task whose other form makes no sense is refused where it is resolved.
    let other = task.fallback().and_then(Result::ok).map_or(0, |other| output(&other));
    let max_output_tokens = amount.max_output_tokens.max(other * amount.samples);
    Estimate { max_output_tokens, ..amount }
}

/// Tokens that may be generated for a sample, each time that it is asked.
fn output(task: &Task) -> u64 {
    let most =
        task.generation.as_ref().map(|generation| (generation.max_tokens, generation.n.get()));
    most.map_or(0, |(tokens, replies)| u64::from(tokens) * u64::from(replies))
}

/// Requests of a sample, and characters of what they send.
fn size(rendered: &Rendered) -> [u64; 2] {
    let count = |text: &str| text.chars().count() as u64;
    let prompt = match &rendered.prompt {
        Prompt::Text(text) => count(text),
        Prompt::Chat(chat) => {
            let messages = chat.messages.iter().map(|message| count(&message.text));
            messages.sum::<u64>() + chat.generation_prefix.as_deref().map_or(0, count)
        }
    };
    match &rendered.form {
        Form::MultipleChoice(choice) => {
            let continuations: u64 = choice.continuations.iter().map(|text| count(text)).sum();
            let options = choice.continuations.len() as u64;
            let with_context = continuations + options * prompt;
            match choice.unconditional {
                true => [2 * options, with_context + continuations],
                false => [options, with_context],
            }
        }
        Form::Generate(_) => [1, prompt],
        Form::Rolling { text } => [1, count(text)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: &str = "{\"q\": \"ab\", \"x\": \"c\", \"y\": \"dé\", \"l\": 0}\n{\"q\": \"a\"}\n{\"q\": \"abc\", \"x\": \"c\", \"y\": \"d\", \"l\": 1}\n";

    /// Samples, left out, requests, characters, tokens.
    fn of(task: &str) -> [u64; 5] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("d.jsonl"), DATA).unwrap();
        let common = "id = 't'\ndata = { path = 'd.jsonl', on_bad_sample = 'skip' }\n";
        let raw = toml::from_str(&format!("{common}{task}")).unwrap();
        let task = Task::resolve(raw, folder.path()).unwrap();
        let sum = estimate(&task).unwrap();
        [sum.samples, sum.skipped, sum.requests, sum.prompt_characters, sum.max_output_tokens]
    }

    #[test]
    fn what_is_asked_is_counted_from_the_data() {
        let choice = "kind = 'multiple_choice'\ntarget = '{{ l }}'\nprompt = { user = '{{ q }}:' }\n\
                      choices = { texts = ['{{ x }}', '{{ y }}'] }\n";
        let generate = "kind = 'generate'\ntarget = '{{ l }}'\nprompt = { user = '{{ q }}', format = 'chat' }\n";
        // A continuation begins with a space.
        let continuations = 2 + 3 + 2 + 2;
        let contexts = 2 * 3 + 2 * 4;
        for (task, expected) in [
            (choice.to_owned(), [2, 1, 4, continuations + contexts, 0]),
            (
                format!("{choice}mutual_information = true\n"),
                [2, 1, 8, 2 * continuations + contexts, 0],
            ),
            (format!("{choice}repeats = 3\n"), [6, 1, 12, 3 * (continuations + contexts), 0]),
            (format!("{generate}generate = {{ max_tokens = 10, n = 2 }}\n"), [2, 1, 2, 5, 40]),
        ] {
            assert_eq!(of(&task), expected, "{task}");
        }
        assert_eq!(Estimate { prompt_characters: 9, ..Estimate::default() }.prompt_tokens(), 3);
    }
}
