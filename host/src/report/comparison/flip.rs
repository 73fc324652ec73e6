//! A flipped sample as people read it: what was right, and what either side answered.

use plugin_api::Likelihood;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    score::{
        metric::Metric,
        multiple_choice::{OptionLikelihood, chosen},
    },
    store::{
        outcome::SampleOutcome,
        record::{ChoiceRecord, Question, Response, SampleRecord},
        stored_run::{ReadError, StoredSamples},
    },
    task::{choices::Choices, render::Form},
};

/// Stands where a run keeps digests only and the text is not known.
const NOT_STORED: &str = "(not stored)";
/// Most of a reply without an answer that is quoted.
const QUOTED: usize = 200;

/// A flipped sample in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FlipText {
    /// Id of the sample.
    pub sample: String,
    /// What is right.
    pub target: String,
    /// What the baseline answered.
    pub baseline: String,
    /// What the candidate answered.
    pub candidate: String,
}

/// One side of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FlipSide {
    pub(super) sample: String,
    pub(super) target: String,
    pub(super) answer: String,
}

/// The id of the sample of a line.
pub(super) fn id_of(samples: &StoredSamples, line: u32) -> Result<String, ReadError> {
    let mut buffer = Vec::new();
    let line = samples.line(line as usize, &mut buffer)?;
    Ok(samples.parse::<SampleOutcome<'_>>(line)?.sample.id.into_owned())
}

/// Reads one side, with the answer as a metric takes it.
pub(super) fn read(
    samples: &StoredSamples,
    line: u32,
    metric: Metric,
) -> Result<FlipSide, ReadError> {
    let mut buffer = Vec::new();
    let line = samples.line(line as usize, &mut buffer)?;
    Ok(side(samples.parse::<SampleRecord>(line)?, metric))
}

fn side(record: SampleRecord, metric: Metric) -> FlipSide {
    let form = match &record.question {
        Question::Full { form, .. } => Some(form),
        Question::Hash { .. } => None,
    };
    let target = match form {
        None => NOT_STORED.to_owned(),
        Some(Form::MultipleChoice(form)) => {
            let gold = form.gold.iter().map(|index| option(&form.choices, *index));
            gold.collect::<Vec<_>>().join(" | ")
        }
        Some(Form::Generate(form)) => {
            let references = form.references.iter().map(|text| labelled(&form.choices, text));
            references.collect::<Vec<_>>().join(" | ")
        }
        Some(Form::Rolling { .. }) => String::new(),
    };
    let answer = match (&record.response, form) {
        (Some(Response::Likelihoods { conditional, unconditional }), form) => {
            let choices = match form {
                Some(Form::MultipleChoice(form)) => Some(&form.choices),
                _ => None,
            };
            chosen_option(conditional, unconditional, choices, metric)
        }
        (Some(Response::Completion { choices, .. }), None) => {
            answers(choices, |answer| format!("BLAKE3 {}", super::difference::short(answer)))
        }
        (Some(Response::Completion { choices, .. }), Some(Form::Generate(form))) => {
            answers(choices, |answer| labelled(&form.choices, answer))
        }
        (Some(Response::Completion { choices, .. }), Some(_)) => answers(choices, str::to_owned),
        (None, _) => String::new(),
    };
    FlipSide { sample: record.sample.id, target, answer }
}

/// An option as people read it.
fn option(choices: &Choices, index: usize) -> String {
    match (choices.labels.get(index), choices.texts.get(index)) {
        (Some(label), Some(text)) => format!("{label}. {text}"),
        _ => format!("option {index} (from 0)"),
    }
}

/// A label with the text of its option, if it is one.
fn labelled(choices: &Choices, text: &str) -> String {
    match choices.labels.iter().position(|label| label == text) {
        Some(index) => option(choices, index),
        None => text.to_owned(),
    }
}

/// The option that a metric takes for the answer. Where lengths are not stored, only metrics that need none tell.
fn chosen_option(
    conditional: &[Likelihood],
    unconditional: &[Likelihood],
    choices: Option<&Choices>,
    metric: Metric,
) -> String {
    let option_likelihood = |(index, likelihood): (usize, &Likelihood)| {
        Some(OptionLikelihood {
            loglikelihood: likelihood.logprob?,
            greedy: likelihood.greedy,
            unconditional: unconditional.get(index).and_then(|without| without.logprob),
        })
    };
    let options: Option<Vec<OptionLikelihood>> =
        conditional.iter().enumerate().map(option_likelihood).collect();
    // The greedy continuation is the likeliest one, if it is among the options.
    let metric = if metric == Metric::ExactMatch { Metric::Acc } else { metric };
    let needs_no_length = matches!(metric, Metric::Acc | Metric::AccMutualInfo);
    let unknown = vec![String::new(); conditional.len()];
    let texts = match choices {
        Some(choices) => &choices.texts,
        None if needs_no_length => &unknown,
        None => return NOT_STORED.to_owned(),
    };
    let index = options.and_then(|options| chosen(metric, texts, &options));
    let none = Choices::default();
    index.map_or_else(String::new, |index| option(choices.unwrap_or(&none), index))
}

/// The answers of the replies; where none was found, the beginning of the reply.
fn answers(choices: &[ChoiceRecord], in_words: impl Fn(&str) -> String) -> String {
    let one = |choice: &ChoiceRecord| match &choice.answer {
        Some(answer) => in_words(answer),
        None => format!("(no answer) {}", choice.text.chars().take(QUOTED).collect::<String>()),
    };
    choices.iter().map(one).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn side_of(question: Value, response: Value, metric: Metric) -> [String; 2] {
        let record = json!({
            "format": 1, "task": "t", "backend": "b", "status": "scored", "question": question,
            "sample": { "id": "x", "index": 0, "repeat": 0, "digest": "00" }, "response": response,
            "usage": { "prompt": 0, "completion": 0 }, "timing_ms": { "total": 0.0, "attempt": 0.0 },
            "attempts": 1,
        });
        let side = side(serde_json::from_value(record).unwrap(), metric);
        assert_eq!(side.sample, "x");
        [side.target, side.answer]
    }

    #[test]
    fn the_answer_is_what_the_metric_takes_for_it() {
        let full = |form: Value| json!({ "full": { "document": {}, "prompt": { "text": "q" }, "form": form } });
        let hash = json!({ "hash": { "blake3": "00" } });
        let choices = json!({ "texts": ["a", "bcd"], "labels": ["A", "B"] });
        let choice = full(json!({ "multiple_choice": {
            "continuations": ["a", "bcd"], "choices": choices, "gold": [1], "unconditional": false,
        }}));
        let letter = full(json!({ "generate": { "references": ["B"], "choices": choices }}));
        let number = full(json!({ "generate": {
            "references": ["7"], "choices": { "texts": [], "labels": [] },
        }}));
        let likelihood = |logprob: f64| json!({ "logprob": logprob, "tokens": 1, "greedy": null });
        let likelihoods =
            json!({ "likelihoods": { "conditional": [likelihood(-2.0), likelihood(-3.0)] }});
        let reply = |answer: Value| {
            json!({ "completion": { "choices": [
                { "text": "well ...", "finish_reason": "stop", "answer": answer },
            ]}})
        };
        let table = [
            (&choice, likelihoods.clone(), Metric::Acc, ["B. bcd", "A. a"]),
            (&choice, likelihoods.clone(), Metric::AccNorm, ["B. bcd", "B. bcd"]),
            (&choice, likelihoods.clone(), Metric::ExactMatch, ["B. bcd", "A. a"]),
            (&hash, likelihoods.clone(), Metric::Acc, [NOT_STORED, "option 0 (from 0)"]),
            (&hash, likelihoods, Metric::AccNorm, [NOT_STORED, NOT_STORED]),
            (&letter, reply(json!("A")), Metric::ExactMatch, ["B. bcd", "A. a"]),
            (&number, reply(json!("8")), Metric::ExactMatch, ["7", "8"]),
            (&number, reply(Value::Null), Metric::ExactMatch, ["7", "(no answer) well ..."]),
            (
                &hash,
                reply(json!("0123456789abcdef")),
                Metric::ExactMatch,
                [NOT_STORED, "BLAKE3 0123456789ab"],
            ),
        ];
        for (question, response, metric, expected) in table {
            assert_eq!(side_of(question.clone(), response, metric), expected, "{question}");
        }
    }
}
