//! What a sample was answered and what is right, in words: wherever a sample is told in a line, it is told like this.

use plugin_api::Likelihood;

use crate::{
    score::{
        metric::Metric,
        multiple_choice::{OptionLikelihood, chosen},
    },
    store::record::{ChoiceRecord, Question, Response, SampleRecord, Status},
    task::{choices::Choices, render::Form},
};

/// Stands where a run keeps digests only and the text is not known.
const NOT_STORED: &str = "(not stored)";
/// Most of a reply without an answer that is quoted, in characters.
const QUOTED: usize = 200;
/// Longest that a text in a list is, in characters.
const SHORT: usize = 80;

/// A sample in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InWords {
    /// What is right; empty for a text whose likelihood is asked for.
    pub target: String,
    /// What was answered, as the metric takes it; why there is no answer, if there is none.
    pub answer: String,
}

impl InWords {
    /// Of a record. The answer is the one that this metric takes; the likeliest option where no metric is named.
    pub fn of(record: &SampleRecord, metric: Option<Metric>) -> Self {
        let form = match &record.question {
            Question::Full { form, .. } => Some(form),
            Question::Hash { .. } => None,
        };
        let target = match form {
            Some(form) => targets(form).join(" | "),
            None => NOT_STORED.to_owned(),
        };
        Self { target, answer: answer(record, form, metric.unwrap_or(Metric::Acc)) }
    }

    /// The beginning of either text, on one line.
    #[must_use]
    pub fn short(self) -> Self {
        Self { target: short(&self.target), answer: short(&self.answer) }
    }
}

/// What is right, an entry each.
pub fn targets(form: &Form) -> Vec<String> {
    match form {
        Form::MultipleChoice(form) => {
            form.gold.iter().map(|index| option(&form.choices, *index)).collect()
        }
        Form::Generate(form) => {
            form.references.iter().map(|text| labelled(&form.choices, text)).collect()
        }
        Form::Rolling { .. } => Vec::new(),
    }
}

fn answer(record: &SampleRecord, form: Option<&Form>, metric: Metric) -> String {
    match (&record.response, form) {
        (Some(Response::Likelihoods { conditional, .. }), Some(Form::Rolling { .. })) => {
            let nats = conditional.first().and_then(|one| one.logprob);
            nats.map_or_else(String::new, |nats| format!("{nats:.3} nats"))
        }
        (Some(Response::Likelihoods { conditional, unconditional }), form) => {
            let choices = match form {
                Some(Form::MultipleChoice(form)) => Some(&form.choices),
                _ => None,
            };
            chosen_option(conditional, unconditional, choices, metric)
        }
        (Some(Response::Completion { choices, .. }), None) => {
            answers(choices, |answer| format!("BLAKE3 {}", answer.get(..12).unwrap_or(answer)))
        }
        (Some(Response::Completion { choices, .. }), Some(Form::Generate(form))) => {
            answers(choices, |answer| labelled(&form.choices, answer))
        }
        (Some(Response::Completion { choices, .. }), Some(_)) => answers(choices, str::to_owned),
        (None, _) => match &record.status {
            Status::Unscored(reason) => reason.clone(),
            Status::Scored => String::new(),
        },
    }
}

/// An option as people read it: by its text alone where its label says nothing more.
fn option(choices: &Choices, index: usize) -> String {
    match (choices.labels.get(index), choices.texts.get(index)) {
        (Some(label), Some(text)) if label.is_empty() || label == text => text.clone(),
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

/// The beginning of a text, on one line.
fn short(text: &str) -> String {
    let mut line: String = text.chars().take(SHORT + 1).collect();
    if line.chars().count() > SHORT {
        line.pop();
        line.push('…');
    }
    line.replace(['\n', '\r', '\t'], " ")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn words_of(question: Value, response: Value, metric: Option<Metric>) -> [String; 2] {
        let record = json!({
            "format": 1, "task": "t", "backend": "b", "status": "scored", "question": question,
            "sample": { "id": "x", "index": 0, "repeat": 0, "digest": "00" }, "response": response,
            "usage": { "prompt": 0, "completion": 0 }, "timing_ms": { "total": 0.0, "attempt": 0.0 },
            "attempts": 1,
        });
        let InWords { target, answer } =
            InWords::of(&serde_json::from_value(record).unwrap(), metric);
        [target, answer]
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
        let rolling = full(json!({ "rolling": { "text": "a b" }}));
        let mutual = full(json!({ "multiple_choice": {
            "continuations": ["a", "b"], "choices": { "texts": ["a", "b"], "labels": ["a", "b"] },
            "gold": [0], "unconditional": true,
        }}));
        let with_unconditional = json!({ "likelihoods": {
            "conditional": [likelihood(-2.0), likelihood(-3.0)],
            "unconditional": [likelihood(-1.0), likelihood(-9.0)],
        }});
        let table = [
            // Where labels say the same as texts, they are not said twice.
            (&mutual, with_unconditional.clone(), None, ["a", "a"]),
            (&mutual, with_unconditional, Some(Metric::AccMutualInfo), ["a", "b"]),
            (
                &rolling,
                json!({ "likelihoods": { "conditional": [likelihood(-2.5)] }}),
                None,
                ["", "-2.500 nats"],
            ),
            (&choice, likelihoods.clone(), Some(Metric::Acc), ["B. bcd", "A. a"]),
            (&choice, likelihoods.clone(), Some(Metric::AccNorm), ["B. bcd", "B. bcd"]),
            (&choice, likelihoods.clone(), Some(Metric::ExactMatch), ["B. bcd", "A. a"]),
            (&hash, likelihoods.clone(), Some(Metric::Acc), [NOT_STORED, "option 0 (from 0)"]),
            (&hash, likelihoods, Some(Metric::AccNorm), [NOT_STORED, NOT_STORED]),
            (&letter, reply(json!("A")), Some(Metric::ExactMatch), ["B. bcd", "A. a"]),
            (&number, reply(json!("8")), Some(Metric::ExactMatch), ["7", "8"]),
            (&number, reply(Value::Null), Some(Metric::ExactMatch), ["7", "(no answer) well ..."]),
            (
                &hash,
                reply(json!("0123456789abcdef")),
                Some(Metric::ExactMatch),
                [NOT_STORED, "BLAKE3 0123456789ab"],
            ),
        ];
        for (question, response, metric, expected) in table {
            assert_eq!(words_of(question.clone(), response, metric), expected, "{question}");
        }
    }

    #[test]
    fn in_a_list_texts_are_short_and_on_one_line() {
        let target = format!("line\n{}", "y".repeat(200));
        let words = InWords { target, answer: "7".to_owned() }.short();
        assert_eq!(words.target.chars().count(), SHORT + 1);
        assert!(words.target.starts_with("line y") && words.target.ends_with('…'));
        assert_eq!(words.answer, "7");
    }
}
