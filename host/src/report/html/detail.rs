//! What the page tells of one sample where it is opened: everything.

use plugin_api::{Changed, Likelihood, TokenLogprob};
use serde::Serialize;

use crate::{
    report::answer::targets,
    score::parts::Parts,
    store::record::{
        ChoiceRecord, Failure, Question, Response, SampleRecord, Status, Timing, Tokens,
    },
    task::{
        prompt::{Message, Prompt, Role},
        render::{Form, MultipleChoice},
    },
};

/// Longest that a text of an opened sample is, in bytes.
const LONG: usize = 20_000;
/// Most options, choices and tokens that are told of a sample.
const MOST_ITEMS: usize = 1_000;

/// What is told of a sample in one run.
#[derive(Debug, Serialize)]
pub struct Detail {
    /// Why it is unscored.
    #[serde(skip_serializing_if = "Option::is_none")]
    unscored: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scores: Option<Parts>,
    /// The data set's record as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<Text>,
    /// What was sent: who says what.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    prompt: Vec<Said>,
    /// Right answers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    target: Vec<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    options: Vec<OptionDetail>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    choices: Vec<ChoiceDetail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
    usage: Tokens,
    timing_ms: Timing,
    attempts: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cached: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replica: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_by: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changed: Vec<Changed>,
    digest: String,
}

/// A text, cut where it is too long for a page.
#[derive(Debug, Serialize)]
struct Text {
    text: String,
    /// How many bytes are left out.
    #[serde(skip_serializing_if = "is_zero")]
    cut: usize,
}

#[derive(Debug, Serialize)]
struct Said {
    role: &'static str,
    text: String,
    #[serde(skip_serializing_if = "is_zero")]
    cut: usize,
}

impl Said {
    fn new(role: &'static str, text: String) -> Self {
        let Text { text, cut } = long(text);
        Self { role, text, cut }
    }
}

/// An option whose log-likelihood was asked for.
#[derive(Debug, Serialize)]
struct OptionDetail {
    label: String,
    text: Text,
    right: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    given: Option<Likelihood>,
    /// After an empty context.
    #[serde(skip_serializing_if = "Option::is_none")]
    alone: Option<Likelihood>,
}

#[derive(Debug, Serialize)]
struct ChoiceDetail {
    text: Text,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Text>,
    finish: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    incident: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tokens: Vec<TokenLogprob>,
    #[serde(skip_serializing_if = "is_zero")]
    tokens_cut: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_zero(value: &usize) -> bool {
    *value == 0
}

/// A text, or its beginning.
fn long(text: String) -> Text {
    if text.len() <= LONG {
        return Text { text, cut: 0 };
    }
    let end = (0..=LONG).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    let (kept, rest) = text.split_at(end);
    Text { text: kept.to_owned(), cut: rest.len() }
}

impl From<SampleRecord> for Detail {
    fn from(record: SampleRecord) -> Self {
        let (document, prompt, form) = match record.question {
            Question::Full { document, prompt, form } => {
                let document = serde_json::to_string_pretty(&document).unwrap_or_default();
                (Some(long(document)), said(prompt), Some(form))
            }
            Question::Hash { .. } => (None, Vec::new(), None),
        };
        let target = form.iter().flat_map(targets).map(long).collect();
        let (mut model, mut options, mut choices) = (None, Vec::new(), Vec::new());
        match record.response {
            Some(Response::Completion { model: named, choices: all }) => {
                model = named;
                choices = all.into_iter().take(MOST_ITEMS).map(choice).collect();
            }
            Some(Response::Likelihoods { conditional, unconditional }) => {
                options = self::options(form, conditional, unconditional);
            }
            None => options = self::options(form, Vec::new(), Vec::new()),
        }
        Self {
            unscored: match record.status {
                Status::Scored => None,
                Status::Unscored(reason) => Some(reason),
            },
            scores: record.scores,
            document,
            prompt,
            target,
            options,
            choices,
            error: record.error,
            usage: record.usage,
            timing_ms: record.timing_ms,
            attempts: record.attempts,
            cached: record.cached,
            model,
            replica: record.replica,
            answered_by: record.answered_by,
            changed: record.changed,
            digest: record.sample.digest,
        }
    }
}

fn said(prompt: Prompt) -> Vec<Said> {
    match prompt {
        Prompt::Text(text) => vec![Said::new("", text)],
        Prompt::Chat(chat) => {
            let role = |role| match role {
                Role::System => "system",
                Role::User => "user",
                Role::Assistant => "assistant",
            };
            let message = |Message { role: who, text }| Said::new(role(who), text);
            let prefix = chat.generation_prefix;
            let prefix = prefix.map(|text| Said::new("the reply begins with", text));
            chat.messages.into_iter().map(message).chain(prefix).collect()
        }
    }
}

fn options(
    form: Option<Form>,
    conditional: Vec<Likelihood>,
    unconditional: Vec<Likelihood>,
) -> Vec<OptionDetail> {
    let (mut given, mut alone) = (conditional.into_iter(), unconditional.into_iter());
    let mut option = |label: String, text: String, right: bool| OptionDetail {
        label,
        text: long(text),
        right,
        given: given.next(),
        alone: alone.next(),
    };
    match form {
        Some(Form::MultipleChoice(form)) => {
            let MultipleChoice { choices, gold, continuations, .. } = form;
            let labelled = choices.labels.into_iter().zip(continuations).take(MOST_ITEMS);
            let numbered = labelled.enumerate();
            numbered.map(|(at, (label, text))| option(label, text, gold.contains(&at))).collect()
        }
        Some(Form::Rolling { text }) => vec![option(String::new(), text, false)],
        Some(Form::Generate(_)) => Vec::new(),
        None => {
            let nameless = |(at, likelihood)| OptionDetail {
                label: format!("{at}"),
                text: long(String::new()),
                right: false,
                given: Some(likelihood),
                alone: None,
            };
            given.take(MOST_ITEMS).enumerate().map(nameless).collect()
        }
    }
}

fn choice(record: ChoiceRecord) -> ChoiceDetail {
    let mut tokens = record.logprobs.unwrap_or_default();
    let tokens_cut = tokens.len().saturating_sub(MOST_ITEMS);
    tokens.truncate(MOST_ITEMS);
    ChoiceDetail {
        text: long(record.text),
        reasoning: record.reasoning.map(long),
        finish: record.finish_reason,
        answer: record.answer.map(long),
        incident: record.incident.and_then(|incident| {
            serde_json::to_value(incident).ok()?.as_str().map(|name| name.replace('_', " "))
        }),
        tokens,
        tokens_cut,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn record(question: Value, response: Value) -> SampleRecord {
        serde_json::from_value(json!({
            "format": 1, "task": "t", "backend": "b",
            "sample": { "id": "s", "index": 0, "repeat": 0, "digest": "00" },
            "status": "scored", "question": question, "response": response,
            "usage": { "prompt": 1, "completion": 2 },
            "timing_ms": { "total": 1.0, "attempt": 1.0 }, "attempts": 1,
        }))
        .unwrap()
    }

    fn choice() -> Value {
        json!({ "full": {
            "document": { "q": "?" }, "prompt": { "text": "Q" },
            "form": { "multiple_choice": {
                "continuations": [" yes", " no"],
                "choices": { "texts": ["yes", "no"], "labels": ["A", "B"] },
                "gold": [1], "unconditional": false,
            } },
        } })
    }

    #[test]
    fn options_say_which_is_right_and_how_likely_each_is() {
        let likelihoods = json!({ "likelihoods": { "conditional": [
            { "logprob": -1.5, "tokens": 1 }, { "logprob": -2.5, "tokens": 1 },
        ] } });
        let record = record(choice(), likelihoods);
        let detail = serde_json::to_value(Detail::from(record)).unwrap();
        assert_eq!(detail["options"][1]["right"], true);
        assert_eq!(detail["target"][0]["text"], "B. no");
        assert_eq!(detail["options"][0]["given"]["logprob"], -1.5);
        assert_eq!(detail["prompt"], json!([{ "role": "", "text": "Q" }]));
    }

    #[test]
    fn long_texts_are_cut_between_characters_and_say_so() {
        let text = format!("x{}", "é".repeat(LONG));
        let question = json!({ "full": {
            "document": {}, "prompt": { "text": text },
            "form": { "generate": { "references": ["7"], "choices": { "texts": [], "labels": [] } } },
        } });
        let reply = json!({ "completion": { "choices": [{
            "text": format!("line\n{}", "y".repeat(200)), "finish_reason": "stop",
            "incident": "no_answer",
        }] } });
        let record = record(question, reply);
        let detail = serde_json::to_value(Detail::from(record)).unwrap();
        let said = &detail["prompt"][0];
        let kept = said["text"].as_str().unwrap().len();
        assert_eq!(kept, LONG - 1);
        assert_eq!(said["cut"], 2 * LONG + 1 - kept);
        assert_eq!(detail["choices"][0]["incident"], "no answer");
    }

    #[test]
    fn what_is_stored_as_digests_has_neither_prompt_nor_target() {
        let question = json!({ "hash": { "blake3": "00" } });
        let reply = json!({ "completion": { "choices": [{
            "text": "ab".repeat(32), "finish_reason": "stop",
        }] } });
        let record = record(question, reply);
        let detail = serde_json::to_value(Detail::from(record)).unwrap();
        assert!(detail["prompt"].is_null() && detail["document"].is_null());
    }
}
