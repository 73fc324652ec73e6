//! TGI's replies to a generation: an object, a list of one, or events.
//!
//! Pure; borrows from the request and the answer.

use std::borrow::Cow;

use hyper::header::{HeaderName, HeaderValue};
use serde::Serialize;

use super::request::Generate;
use crate::mock::{
    exchange::{Answer, named_event},
    flavors::compatible::text_of,
    model::{self, BOS, Context, End, Piece, Said},
};

/// One token of `/tokenize`. The text of a BOS that the server added is empty.
#[derive(Debug, Serialize)]
pub(super) struct TextToken<'a> {
    id: u32,
    text: &'a str,
    start: usize,
    stop: usize,
}

impl<'a> From<Piece<'a>> for TextToken<'a> {
    fn from(piece: Piece<'a>) -> Self {
        Self { id: piece.id, text: piece.text, start: piece.start, stop: piece.end() }
    }
}

#[derive(Debug, Serialize)]
struct Prefill<'a> {
    id: u32,
    text: &'a str,
    logprob: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Token<'a> {
    id: u32,
    text: Cow<'a, str>,
    logprob: f64,
    special: bool,
}

#[derive(Debug, Serialize)]
struct Details<'a> {
    finish_reason: &'static str,
    generated_tokens: usize,
    seed: Option<u64>,
    prefill: Vec<Prefill<'a>>,
    tokens: Vec<Token<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    best_of_sequences: Option<Vec<Sequence<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_tokens: Option<Vec<Vec<Token<'a>>>>,
}

/// A sequence that was not the best.
#[derive(Debug, Serialize)]
struct Sequence<'a> {
    generated_text: Cow<'a, str>,
    finish_reason: &'static str,
    generated_tokens: usize,
    seed: Option<u64>,
    prefill: [(); 0],
    tokens: Vec<Token<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_tokens: Option<Vec<Vec<Token<'a>>>>,
}

#[derive(Debug, Serialize)]
struct Generated<'a> {
    generated_text: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details<'a>>,
}

#[derive(Debug, Serialize)]
struct Event<'a> {
    index: usize,
    token: Token<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_tokens: Option<Vec<Token<'a>>>,
    generated_text: Option<Cow<'a, str>>,
    details: Option<StreamDetails>,
}

#[derive(Debug, Serialize)]
struct StreamDetails {
    finish_reason: &'static str,
    generated_tokens: usize,
    seed: Option<u64>,
    input_length: usize,
}

/// A generation that is done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Generation<'a> {
    /// What was asked.
    pub(super) request: &'a Generate<'a>,
    /// The prompt's tokens but for BOS.
    pub(super) input: &'a [Piece<'a>],
    /// The best answer, then the others.
    pub(super) said: &'a [Said],
    /// Whether chance had a part in it.
    pub(super) sampled: bool,
}

/// Why an answer ended.
pub(super) const fn finish_reason(end: End) -> &'static str {
    match end {
        End::Eos => "eos_token",
        End::Stop(_) => "stop_sequence",
        End::Length => "length",
    }
}

impl<'a> Generation<'a> {
    /// The reply of `/generate`; `prefill` says whether the server has the prompt's log-probabilities.
    pub(super) fn object(self, prefill: bool) -> Answer {
        self.measured(Answer::json(200, &self.generated(prefill)))
    }

    /// The reply of `/`.
    pub(super) fn list(self, prefill: bool) -> Answer {
        self.measured(Answer::json(200, &[self.generated(prefill)]))
    }

    /// The reply of `/generate_stream`: an event a token.
    pub(super) fn stream(self) -> Answer {
        let mut frames = Vec::new();
        for said in self.said.iter().take(1) {
            let last = said.tokens.len();
            for (token, index) in said.tokens.iter().zip(1..) {
                let ends = index == last;
                let event = Event {
                    index,
                    token: told(said, token),
                    top_tokens: self.top_n().map(|most| top(token, most)),
                    generated_text: ends.then(|| self.text(said)),
                    details: (ends && self.request.parameters.details).then(|| StreamDetails {
                        finish_reason: finish_reason(said.end),
                        generated_tokens: said.completion_tokens,
                        seed: self.seed(),
                        input_length: self.input.len() + 1,
                    }),
                };
                frames.push(named_event(b"data:", &event));
            }
        }
        self.measured(Answer::events(frames)).with("x-accel-buffering", "no")
    }

    fn generated(self, prefill: bool) -> Generated<'a> {
        let parameters = &self.request.parameters;
        let Some((best, others)) = self.said.split_first() else {
            return Generated { generated_text: Cow::Borrowed(""), details: None };
        };
        let wanted = parameters.details || parameters.decoder_input_details;
        let details = wanted.then(|| Details {
            finish_reason: finish_reason(best.end),
            generated_tokens: best.completion_tokens,
            seed: self.seed(),
            prefill: if prefill && parameters.decoder_input_details {
                self.prefill()
            } else {
                Vec::new()
            },
            tokens: tokens(best),
            best_of_sequences: (!others.is_empty())
                .then(|| others.iter().map(|said| self.sequence(said)).collect()),
            top_tokens: self.top_tokens(best),
        });
        Generated { generated_text: self.text(best), details }
    }

    fn sequence(self, said: &'a Said) -> Sequence<'a> {
        Sequence {
            generated_text: self.text(said),
            finish_reason: finish_reason(said.end),
            generated_tokens: said.completion_tokens,
            seed: self.seed(),
            prefill: [],
            tokens: tokens(said),
            top_tokens: self.top_tokens(said),
        }
    }

    /// TGI leaves the stop text in.
    fn text(self, said: &'a Said) -> Cow<'a, str> {
        match self.request.parameters.return_full_text {
            Some(true) => Cow::Owned(format!("{}{}", self.request.inputs, said.with_stop())),
            _ => Cow::Borrowed(said.with_stop()),
        }
    }

    fn seed(self) -> Option<u64> {
        self.sampled.then(|| self.request.parameters.seed.unwrap_or(42))
    }

    fn prefill(self) -> Vec<Prefill<'a>> {
        let mut context = Context::new();
        let mut prefill = Vec::with_capacity(self.input.len() + 1);
        prefill.push(Prefill { id: BOS, text: "<s>", logprob: None });
        for piece in self.input {
            let logprob = Some(context.logprob(piece.id));
            prefill.push(Prefill { id: piece.id, text: piece.text, logprob });
            context.push(piece.id);
        }
        prefill
    }

    fn top_n(self) -> Option<usize> {
        self.request.parameters.top_n_tokens.filter(|most| *most > 0).map(|most| most as usize)
    }

    fn top_tokens(self, said: &'a Said) -> Option<Vec<Vec<Token<'a>>>> {
        let most = self.top_n()?;
        Some(said.tokens.iter().map(|token| top(token, most)).collect())
    }

    fn measured(self, mut answer: Answer) -> Answer {
        let generated = self.said.first().map_or(0, |said| said.completion_tokens);
        let headers = &mut answer.headers;
        headers.reserve(12);
        headers.insert(COMPUTE_TYPE, HeaderValue::from_static("mock"));
        headers.insert(CHARACTERS, HeaderValue::from(self.request.inputs.len()));
        headers.insert(PROMPT_TOKENS, HeaderValue::from(self.input.len() + 1));
        headers.insert(GENERATED_TOKENS, HeaderValue::from(generated));
        for time in TIMES {
            headers.insert(time, HeaderValue::from_static("0"));
        }
        answer
    }
}

// Names that are made once: to make one of a text costs more than all that is said under it.
const COMPUTE_TYPE: HeaderName = HeaderName::from_static("x-compute-type");
const CHARACTERS: HeaderName = HeaderName::from_static("x-compute-characters");
const PROMPT_TOKENS: HeaderName = HeaderName::from_static("x-prompt-tokens");
const GENERATED_TOKENS: HeaderName = HeaderName::from_static("x-generated-tokens");
/// The mock takes no time.
const TIMES: [HeaderName; 6] = [
    HeaderName::from_static("x-compute-time"),
    HeaderName::from_static("x-total-time"),
    HeaderName::from_static("x-validation-time"),
    HeaderName::from_static("x-queue-time"),
    HeaderName::from_static("x-inference-time"),
    HeaderName::from_static("x-time-per-token"),
];

fn tokens(said: &Said) -> Vec<Token<'_>> {
    said.tokens.iter().map(|token| told(said, token)).collect()
}

fn told<'a>(said: &'a Said, token: &model::Token) -> Token<'a> {
    let special = token.special();
    let text = if special { "</s>" } else { said.piece(token) };
    Token { id: token.id, text: Cow::Borrowed(text), logprob: token.logprob(), special }
}

fn top(token: &model::Token, most: usize) -> Vec<Token<'static>> {
    let alternatives = token.alternatives(most).into_iter();
    let token = |(id, logprob)| Token {
        id,
        text: Cow::Owned(text_of(id)),
        logprob,
        special: token.special() && id == token.id,
    };
    alternatives.map(token).collect()
}
