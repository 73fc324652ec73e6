//! What a finished sample stores: enough to extract and score again without a request.

use std::borrow::Cow;

use plugin_api::{Answer, Changed, Error, Likelihood, TokenLogprob, Usage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    config::BaseUrl,
    score::{generated::Incident, parts::Parts},
    task::{
        prompt::Prompt,
        render::Form,
        sample::{Digest, SampleId},
    },
};

/// Format of a journal line.
pub const FORMAT: u32 = 1;

/// One line of the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SampleRecord {
    /// Format of this record.
    pub format: u32,
    /// Id of the task.
    pub task: String,
    /// Id of the backend that was asked.
    pub backend: String,
    /// Which sample, and which of its repeats.
    pub sample: SampleKey,
    /// `scored`, or why not.
    pub status: Status,
    /// What it contributes to the metrics; absent if it is unscored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scores: Option<Parts>,
    /// The data set's record and what was made of it.
    pub question: Question,
    /// What came back; absent if nothing did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Response>,
    /// What failed last, for an unscored sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// Tokens used.
    pub usage: Tokens,
    /// Times in milliseconds.
    pub timing_ms: Timing,
    /// Id of the backend that answered in place of its own (`fallback`), or was asked last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_by: Option<String>,
    /// The replica that answered, or was asked last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<String>,
    /// Attempts made, over all requests of the sample.
    pub attempts: u32,
    /// Whether the answer came from the response cache, and nobody was asked: its tokens are those of the time when
    /// the model was asked, and it cost nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cached: bool,
    /// Parameters that the backend dropped or changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<Changed>,
}

/// A [`SampleRecord`] as it is written: of what is stored nothing is copied.
#[derive(Debug, Serialize)]
pub struct SampleLine<'a> {
    /// Format of this record.
    pub format: u32,
    /// Id of the task.
    pub task: &'a str,
    /// Id of the backend that was asked.
    pub backend: &'a str,
    /// Which sample, and which of its repeats.
    pub sample: SampleKeyLine<'a>,
    /// `scored`, or why not.
    pub status: &'a Status,
    /// What it contributes to the metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scores: Option<&'a Parts>,
    /// The data set's record and what was made of it.
    pub question: QuestionLine<'a>,
    /// What came back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<&'a Response>,
    /// What failed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a Failure>,
    /// Tokens used.
    pub usage: Tokens,
    /// Times in milliseconds.
    pub timing_ms: Timing,
    /// Id of the backend that answered in place of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_by: Option<&'a str>,
    /// The replica that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica: Option<&'a BaseUrl>,
    /// Attempts made.
    pub attempts: u32,
    /// Whether the response cache answered.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cached: bool,
    /// Parameters that the backend dropped or changed.
    #[serde(skip_serializing_if = "<[Changed]>::is_empty")]
    pub changed: &'a [Changed],
}

/// A [`SampleKey`] as it is written.
#[derive(Debug, Serialize)]
pub struct SampleKeyLine<'a> {
    /// The data set's id, or the record's index.
    pub id: &'a SampleId,
    /// Position of the record.
    pub index: u64,
    /// Which repeat.
    pub repeat: u32,
    /// BLAKE3 of the canonical record.
    pub digest: Digest,
    /// Which samples it belongs together with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Cow<'a, str>>,
}

/// A [`Question`] as it is written.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum QuestionLine<'a> {
    /// Everything.
    Full {
        /// The data set's record.
        document: &'a Map<String, Value>,
        /// The prompt as it was sent.
        prompt: &'a Prompt,
        /// What was asked after it, and what is right.
        form: &'a Form,
    },
    /// Digests only.
    Hash {
        /// BLAKE3 of prompt and form as JSON.
        blake3: String,
    },
}

/// The identity of a sample within a run, beside task and backend.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SampleKey {
    /// The data set's id, or the record's index.
    pub id: String,
    /// Position of the record in the data set, from 0.
    pub index: u64,
    /// Which repeat, from 0.
    pub repeat: u32,
    /// BLAKE3 of the canonical record.
    pub digest: String,
    /// Which samples it belongs together with, or the BLAKE3 of that (`store = "hash"`); absent if the task does not
    /// say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
}

/// How a sample ended: exactly one of the two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It has a score.
    Scored,
    /// It has none, for this reason.
    Unscored(String),
}

/// What was asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Everything.
    Full {
        /// The data set's record.
        document: Map<String, Value>,
        /// The prompt as it was sent.
        prompt: Prompt,
        /// What was asked after it, and what is right.
        form: Form,
    },
    /// Digests only (`store = "hash"`).
    Hash {
        /// BLAKE3 of prompt and form as JSON.
        blake3: String,
    },
}

/// What came back.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// Generated text.
    Completion {
        /// The model as the server names it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
        /// One entry a choice.
        choices: Vec<ChoiceRecord>,
    },
    /// Log-likelihoods, one a continuation.
    Likelihoods {
        /// After the prompt.
        conditional: Vec<Likelihood>,
        /// After an empty context, where they were asked for.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unconditional: Vec<Likelihood>,
    },
}

/// A generated choice and what was read out of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChoiceRecord {
    /// The text as it came, or its BLAKE3 (`store = "hash"`).
    pub text: String,
    /// Reasoning, kept apart; its BLAKE3 likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// Why it ended.
    pub finish_reason: String,
    /// The answer found in it, or its BLAKE3; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// What is counted apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<Incident>,
    /// Log-probabilities of its tokens, where they were asked for; never under `store = "hash"`, as they hold
    /// the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Vec<TokenLogprob>>,
}

/// A failure as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind, by its name in the contract.
    pub kind: String,
    /// What happened.
    pub message: String,
    /// The status that the server answered with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// The server's name for the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The beginning of what the server said; never under `store = "hash"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<String>,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self {
            kind: error.kind.to_string(),
            message: error.message.clone(),
            http_status: error.http_status,
            request_id: error.request_id.clone(),
            excerpt: error.excerpt.clone(),
        }
    }
}

/// Tokens of a sample, as far as the backend counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Of prompts.
    pub prompt: u64,
    /// Generated, reasoning included.
    pub completion: u64,
    /// Of prompts, from a cache; absent if the backend does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached: Option<u64>,
    /// Generated as reasoning; absent if the backend does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<u64>,
    /// What they cost, as the backend estimates it, in billionths of a US dollar; absent if it knows no price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd_nanos: Option<u64>,
}

impl Tokens {
    /// Adds what one request used. Of a log-likelihood that the plugin does not count, the tokens that were scored.
    pub fn add(&mut self, answer: &Answer) {
        match answer {
            Answer::Completion(completion) => self.add_usage(&completion.usage),
            Answer::Likelihoods(likelihoods) => {
                let prompt = likelihoods.iter().map(|likelihood| {
                    likelihood.prompt_tokens.unwrap_or_else(|| u64::from(likelihood.tokens))
                });
                self.prompt = self.prompt.saturating_add(prompt.sum());
            }
            _ => {}
        }
    }

    fn add_usage(&mut self, usage: &Usage) {
        self.prompt = self.prompt.saturating_add(usage.prompt_tokens.unwrap_or(0));
        self.completion = self.completion.saturating_add(usage.completion_tokens.unwrap_or(0));
        add_known(&mut self.cached, usage.cached_tokens);
        add_known(&mut self.reasoning, usage.reasoning_tokens);
        add_known(&mut self.cost_usd_nanos, usage.cost_usd_nanos);
    }
}

/// Adds a count that may be unknown; a sum is known as soon as one of its parts is.
pub fn add_known(sum: &mut Option<u64>, part: Option<u64>) {
    if let Some(part) = part {
        *sum = Some(sum.unwrap_or(0).saturating_add(part));
    }
}

/// Times of a sample in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// From the first attempt's start to the last answer, waits included.
    pub total: f64,
    /// The attempt that answered.
    pub attempt: f64,
    /// From that attempt's start to the first text of a stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_text: Option<f64>,
    /// When it ended: since the beginning of 1970, UTC. Journals of earlier hosts do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_unix: Option<u64>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        let document = json!({ "q": "1+1?", "z": [1.5, null] });
        let document = document.as_object().unwrap();
        let prompt = Prompt::Text("1+1?".to_owned());
        let form: Form = serde_json::from_value(json!({ "rolling": { "text": " 2" } })).unwrap();
        let (id, status) = (SampleId("a".to_owned()), Status::Unscored("timeout".to_owned()));
        let parts = Parts([("acc".to_owned(), 0.1)].into());
        let failure = Failure {
            kind: "timeout".to_owned(),
            message: "late".to_owned(),
            http_status: Some(504),
            request_id: None,
            excerpt: Some("<html>".to_owned()),
        };
        let choice = ChoiceRecord {
            text: "two".to_owned(),
            reasoning: None,
            finish_reason: "stop".to_owned(),
            answer: Some("2".to_owned()),
            incident: Some(Incident::NoAnswer),
            logprobs: None,
        };
        let response = Response::Completion { model: Some("m".to_owned()), choices: vec![choice] };
        let changed = [Changed { parameter: "seed".to_owned(), detail: "none".to_owned() }];
        let replica = BaseUrl::Mock("tgi".to_owned());
        let full = || SampleLine {
            format: FORMAT,
            task: "t",
            backend: "b",
            sample: SampleKeyLine {
                id: &id,
                index: 7,
                repeat: 1,
                digest: Digest([171; 32]),
                cluster: Some("c".into()),
            },
            status: &status,
            scores: Some(&parts),
            question: QuestionLine::Full { document, prompt: &prompt, form: &form },
            response: Some(&response),
            error: Some(&failure),
            usage: Tokens { prompt: 1, cost_usd_nanos: Some(2), ..Tokens::default() },
            timing_ms: Timing { total: 1.25, attempt: 1.0, ..Timing::default() },
            answered_by: Some("other"),
            replica: Some(&replica),
            attempts: 2,
            cached: true,
            changed: &changed,
        };
        let empty = SampleLine {
            status: &Status::Scored,
            scores: None,
            question: QuestionLine::Hash { blake3: "00".to_owned() },
            response: None,
            error: None,
            answered_by: None,
            replica: None,
            cached: false,
            changed: &[],
            ..full()
        };
        for written in [full(), empty] {
            let text = serde_json::to_string(&written).unwrap();
            let read: SampleRecord = serde_json::from_str(&text).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
        }
    }
}
