//! Replies of `/generate`: an object a choice, a list of them, or events whose text grows or, with
//! `--incremental-streaming-output`, holds only what is new.
//!
//! Pure; borrows from the request and the answer.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use super::sampling::Sampling;
use crate::mock::{
    exchange::{Answer, event},
    flavors::compatible::text_of,
    model::{Context, End, Said, Token},
};

/// What a request wants to know of log-probabilities.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// Whether any.
    pub(super) logprobs: bool,
    /// From which token of the prompt on; -1 for none of it.
    pub(super) start: i64,
    /// How many of the likeliest tokens.
    pub(super) top: usize,
    /// Of which tokens besides.
    pub(super) ids: Option<&'a [u32]>,
    /// Whether tokens come with their texts.
    pub(super) text: bool,
}

/// One answer with what it answers.
#[derive(Debug)]
pub(super) struct Item<'a> {
    /// The prompt.
    pub(super) ids: &'a [u32],
    /// How it was generated.
    pub(super) sampling: &'a Sampling,
    /// What it shall tell.
    pub(super) wanted: Wanted<'a>,
    /// The answer.
    pub(super) said: Said,
    /// The request's own id.
    pub(super) rid: Option<&'a str>,
}

/// Log-probability, id, text.
type Entry = (Option<f64>, u32, Option<String>);
/// The likeliest tokens in one place; null in the first.
type Top = Option<Vec<Entry>>;

#[derive(Debug, Serialize)]
struct Output<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    text: Cow<'a, str>,
    output_ids: Vec<u32>,
    meta_info: Meta<'a>,
}

#[derive(Debug, Serialize)]
struct Meta<'a> {
    id: Cow<'a, str>,
    finish_reason: Option<Finish<'a>>,
    prompt_tokens: usize,
    weight_version: &'static str,
    completion_tokens: usize,
    cached_tokens: usize,
    e2e_latency: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_token_logprobs: Option<Vec<Entry>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_token_logprobs: Option<Vec<Entry>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_token_logprobs_length: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_top_logprobs: Option<Vec<Top>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_top_logprobs: Option<Vec<Top>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_token_ids_logprobs: Option<Vec<Top>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_token_ids_logprobs: Option<Vec<Top>>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Finish<'a> {
    Stop { matched: Matched<'a> },
    Length { length: usize },
    Abort { message: &'a str },
}

/// A stop text or the id of a token.
#[derive(Debug)]
enum Matched<'a> {
    Text(Cow<'a, str>),
    Token(u32),
}

impl Serialize for Matched<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Token(id) => serializer.serialize_u32(*id),
        }
    }
}

/// A reply to one prompt, or the list that answers a batch.
pub(super) fn whole(items: &[Item<'_>], several: bool) -> Answer {
    let outputs: Vec<Output<'_>> = items.iter().map(|item| item.output(None)).collect();
    match (outputs.as_slice(), several) {
        ([only], false) => Answer::json(200, only),
        (all, _) => Answer::json(200, &all),
    }
}

/// The events of one prompt, or of a batch with their indices.
pub(super) fn stream(items: &[Item<'_>], several: bool, incremental: bool) -> Answer {
    let mut frames = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let index = several.then_some(index);
        // Without a token there is still an end to tell.
        let last = item.said.tokens.len().max(1);
        for until in 1..=last {
            let part =
                Part { from: if incremental { until - 1 } else { 0 }, until, ends: until == last };
            frames.push(event(&Output { index, ..item.output(Some(part)) }));
        }
    }
    frames.push(b"data: [DONE]\n\n".to_vec());
    Answer::events(frames)
}

/// A request that was aborted without a status of its own: a reply like any other, one for each prompt of a batch.
pub(super) fn aborted(message: &str, batch: Option<usize>) -> Answer {
    let meta_info = || Meta {
        id: Cow::Borrowed("aborted"),
        finish_reason: Some(Finish::Abort { message }),
        prompt_tokens: 0,
        weight_version: "default",
        completion_tokens: 0,
        cached_tokens: 0,
        e2e_latency: 0.0,
        input_token_logprobs: None,
        output_token_logprobs: None,
        output_token_logprobs_length: None,
        input_top_logprobs: None,
        output_top_logprobs: None,
        input_token_ids_logprobs: None,
        output_token_ids_logprobs: None,
    };
    let one = || Output {
        index: None,
        text: Cow::Borrowed(""),
        output_ids: Vec::new(),
        meta_info: meta_info(),
    };
    match batch {
        None => Answer::json(200, &one()),
        Some(prompts) => Answer::json(200, &(0..prompts).map(|_| one()).collect::<Vec<_>>()),
    }
}

/// Tokens `from..until` of an answer.
#[derive(Clone, Copy, Debug)]
struct Part {
    from: usize,
    until: usize,
    ends: bool,
}

impl Item<'_> {
    /// All of the answer, or a part of it.
    fn output(&self, part: Option<Part>) -> Output<'_> {
        let said = &self.said;
        let all = Part { from: 0, until: said.tokens.len(), ends: true };
        let part = part.unwrap_or(all);
        let tokens = said.tokens.get(part.from..part.until.min(said.tokens.len()));
        let tokens = tokens.unwrap_or_default();
        let whole = if self.sampling.keeps_stop() { said.with_stop() } else { said.text() };
        let start = tokens.first().map_or(0, |token| token.start).min(whole.len());
        let end = tokens.last().map_or(0, |token| token.end).min(whole.len());
        let input = part.from == 0;
        let wanted = &self.wanted;
        let logprobs = wanted.logprobs;
        let top = logprobs && wanted.top > 0;
        let ids = wanted.ids.filter(|_| logprobs);
        let meta_info = Meta {
            id: match self.rid {
                Some(rid) => Cow::Borrowed(rid),
                None => Cow::Owned(format!("{:032x}", self.context_at(self.ids.len()).number())),
            },
            finish_reason: part.ends.then(|| self.finish()),
            prompt_tokens: said.prompt_tokens,
            weight_version: "default",
            completion_tokens: if part.ends { said.completion_tokens } else { part.until },
            cached_tokens: 0,
            e2e_latency: 0.0,
            input_token_logprobs: (logprobs && input).then(|| {
                self.input(|context, id| {
                    (context.map(|context| context.logprob(id)), id, self.token_text(id))
                })
            }),
            output_token_logprobs: logprobs.then(|| {
                tokens.iter().map(|token| self.entry(token.id, token.logprob())).collect()
            }),
            output_token_logprobs_length: logprobs.then_some(part.until.min(said.tokens.len())),
            input_top_logprobs: (top && input).then(|| {
                self.input(|context, _| {
                    context.map(|context| {
                        self.entries(context.alternatives(context.top(), wanted.top))
                    })
                })
            }),
            output_top_logprobs: top.then(|| {
                tokens.iter().map(|t| Some(self.entries(t.alternatives(wanted.top)))).collect()
            }),
            input_token_ids_logprobs: ids.filter(|_| input).map(|ids| {
                self.input(|context, _| {
                    let context = context?;
                    Some(ids.iter().map(|id| self.entry(*id, context.logprob(*id))).collect())
                })
            }),
            output_token_ids_logprobs: ids
                .map(|ids| tokens.iter().map(|token| Some(self.chosen(token, ids))).collect()),
        };
        Output {
            index: None,
            text: Cow::Borrowed(&whole[start..end]),
            output_ids: tokens.iter().map(|token| token.id).collect(),
            meta_info,
        }
    }

    fn finish(&self) -> Finish<'_> {
        match self.said.end {
            End::Length => Finish::Length { length: self.sampling.max_new_tokens() },
            End::Eos => {
                let last =
                    self.said.tokens.last().map_or(crate::mock::model::EOS, |token| token.id);
                Finish::Stop { matched: Matched::Token(last) }
            }
            End::Stop(number) => {
                let stop = self.sampling.stops().into_iter().nth(number).unwrap_or_default();
                Finish::Stop { matched: Matched::Text(Cow::Owned(stop)) }
            }
        }
    }

    /// Something for each token of the prompt from where it is wanted; the first has no context.
    fn input<T>(&self, each: impl Fn(Option<Context>, u32) -> T) -> Vec<T> {
        let Ok(start) = usize::try_from(self.wanted.start) else {
            return Vec::new();
        };
        let mut context = self.context_at(start);
        let mut list = Vec::with_capacity(self.ids.len().saturating_sub(start));
        for (at, id) in self.ids.iter().enumerate().skip(start) {
            list.push(each((at > start).then_some(context), *id));
            context.push(*id);
        }
        list
    }

    fn context_at(&self, at: usize) -> Context {
        let mut context = Context::new();
        self.ids.iter().take(at).for_each(|id| context.push(*id));
        context
    }

    fn token_text(&self, id: u32) -> Option<String> {
        self.wanted.text.then(|| text_of(id))
    }

    fn entry(&self, id: u32, logprob: f64) -> Entry {
        (Some(logprob), id, self.token_text(id))
    }

    fn entries(&self, list: Vec<(u32, f64)>) -> Vec<Entry> {
        list.into_iter().map(|(id, logprob)| self.entry(id, logprob)).collect()
    }

    /// The log-probabilities of certain tokens in the place of a generated one.
    fn chosen(&self, token: &Token, ids: &[u32]) -> Vec<Entry> {
        let logprob =
            |id| if id == token.id { token.logprob() } else { token.context.other_logprob(id) };
        ids.iter().map(|id| self.entry(*id, logprob(*id))).collect()
    }
}
