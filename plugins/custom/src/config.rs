//! What a run file may say of a provider, as typed. The doc comments are the JSON Schema's descriptions, written for
//! the person who writes the run file.
//!
//! Knows no request and no reply. [`crate::provider::Provider`] is what these values mean once they are checked.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::typed::{RawDone, RawExtract, RawHeader, RawStatuses, Texts};

/// A provider described wholly here: how a request is written, and where things are in its replies.
///
/// Places in a reply are JSON pointers (RFC 6901): `/choices/0/text`; the empty pointer is the whole. Where this
/// says "text", a key takes one pointer, a list of pointers of which the first that finds a text wins, or a table
/// `{ pointer = …, each = …, regex = … }`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the server listens, with the path that all its routes share: `http://127.0.0.1:8000/v1`, say.
    pub base_url: String,
    /// The model, as the body template's variable `model`.
    #[serde(default)]
    pub model: Option<String>,
    /// Headers of every request, by name. A value is a text, or a list of parts: `{ text = "Bearer " }`, then
    /// `{ secret = "slot" }` (a slot that the run file declares by `[[backend.slot]]`; the host fills it in) or
    /// `{ optional_secret = "slot" }`: then the header is left out where the slot has no secret. A text is
    /// never scanned for placeholders. `content-type` is `application/json` unless it is given.
    #[serde(default)]
    pub headers: BTreeMap<String, RawHeader>,
    /// How an answer is asked for.
    pub generate: RawGenerate,
    /// Where things are in a whole reply.
    pub reply: RawReply,
    /// Where things are in the events of a streamed reply. Without this table nothing is streamed.
    #[serde(default)]
    pub stream: Option<RawStream>,
    /// What the server's failures look like and mean.
    #[serde(default)]
    pub error: RawErrors,
    /// How to find out whether the server is ready.
    #[serde(default)]
    pub health: Option<RawHealth>,
}

/// A request for an answer.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawGenerate {
    /// Method; `POST` by default.
    #[serde(default = "post")]
    pub method: Method,
    /// Route below `base_url`, query included: `/chat/completions`, say. It is sent as it stands.
    pub path: String,
    /// The body: a Jinja template that renders to JSON. Texts go through `tojson`, which writes the quotes too:
    /// `"prompt": {{ prompt | tojson }}`.
    ///
    /// Variables: `prompt` (text; not defined if the task asks in chat messages), `messages` (list of `role` and
    /// `content`; a text prompt is one message of the user), `system` (the text of the system messages, which
    /// are in `messages` too), `model`, `max_tokens`, `temperature`, `top_p`, `top_k`, `seed`, `logprobs` (number
    /// of alternatives a token), each none if the task does not say; `stop` (list, perhaps empty), `n` (number of
    /// choices), `stream` (whether this request shall be streamed), `extra` (parameters of the vendor's own),
    /// `request_id` and `attempt`. Any other name is an error.
    ///
    /// A parameter that the task gives and the template never mentions is not sent; that is recorded with each
    /// sample. Without `n` each choice is a request of its own. Stop texts are applied to the answer in any case.
    pub body: String,
    /// Most stop texts that the server takes; all by default. Further ones are only applied to the answer.
    #[serde(default)]
    pub max_stop_sequences: Option<usize>,
}

/// A method of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// GET.
    Get,
    /// POST.
    Post,
}

/// Where things are in a whole reply.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawReply {
    /// Pointer to the list of choices. `index`, `text`, `reasoning`, `refusal`, `finish_reason` and
    /// `logprobs.tokens` then start at one of its items. Without it the whole reply is one choice.
    #[serde(default)]
    pub choices: Option<String>,
    /// Pointer to a choice's number, by which choices are put in order. As they come by default.
    #[serde(default)]
    pub index: Option<String>,
    /// The answer's text.
    pub text: RawExtract,
    /// Text of the model's reasoning, which is kept apart from the answer.
    #[serde(default)]
    pub reasoning: Option<RawExtract>,
    /// Text in which the model or the vendor says that it will not answer. If there is one, the choice ends as
    /// `content_filter`.
    #[serde(default)]
    pub refusal: Option<RawExtract>,
    /// Text that says why the choice ended. `stop`, `length`, `content_filter` and `tool_calls` are understood;
    /// `abort`, `aborted` and `error` are failures, whatever text there is; any other is kept as the server says
    /// it.
    #[serde(default)]
    pub finish_reason: Option<RawExtract>,
    /// What the server's words for why a choice ended mean: `{ max_tokens = "length" }`.
    #[serde(default)]
    pub finish_reasons: BTreeMap<String, String>,
    /// Text of the model's name, as the server reports it.
    #[serde(default)]
    pub model: Option<RawExtract>,
    /// Where the server's counts of tokens are.
    #[serde(default)]
    pub usage: RawUsage,
    /// Where the log-probabilities of the generated tokens are.
    #[serde(default)]
    pub logprobs: Option<RawLogprobs>,
}

/// Counts of tokens; each is a number, or a text that a `regex` finds it in.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawUsage {
    /// Tokens of the prompt.
    pub prompt_tokens: Option<RawExtract>,
    /// Tokens generated, reasoning included.
    pub completion_tokens: Option<RawExtract>,
    /// Tokens of the prompt that came from a cache.
    pub cached_tokens: Option<RawExtract>,
    /// Tokens generated that were reasoning.
    pub reasoning_tokens: Option<RawExtract>,
}

/// Log-probabilities token by token.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawLogprobs {
    /// Pointer to the list of tokens.
    pub tokens: String,
    /// Pointer to a token's text, from its item of the list.
    pub token: String,
    /// Pointer to a token's natural log-probability, from its item of the list.
    pub logprob: String,
    /// Pointer to the alternatives at a token's place, from its item of the list: again a list whose items hold
    /// `token` and `logprob`.
    #[serde(default)]
    pub top: Option<String>,
}

/// How events are told apart in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Server-sent events, one JSON value each in `data`.
    Sse,
    /// One JSON value a line.
    Ndjson,
}

/// A streamed reply. Pointers start at the event; `model` and the usage are found as in a whole reply. A stream
/// carries one choice.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawStream {
    /// `sse` or `ndjson`.
    pub format: Format,
    /// Route of streamed requests where it is another than `generate.path`. Without it the body template must
    /// mention `stream`, or the server would never know.
    #[serde(default)]
    pub path: Option<String>,
    /// The new part of the answer's text. A `regex` is applied to the whole text at the stream's end, and then
    /// nothing of it is passed on before.
    pub text: RawExtract,
    /// The new part of the reasoning.
    #[serde(default)]
    pub reasoning: Option<RawExtract>,
    /// The new part of a refusal.
    #[serde(default)]
    pub refusal: Option<RawExtract>,
    /// Text that says why the choice ended; the last one counts. A stream that ends with a text of `done` before
    /// there is one broke off.
    #[serde(default)]
    pub finish_reason: Option<RawExtract>,
    /// Pointer to the list of new tokens; their items are as in `reply.logprobs`.
    #[serde(default)]
    pub logprobs: Option<String>,
    /// What ends the stream: a text that is an event's whole data, `"[DONE]"` say, or a table
    /// `{ pointer = "/done", equals = true }` that holds of the last event. A stream that ends without it
    /// broke off. By default the event with a finish reason is the sign, and the stream is read to its end.
    #[serde(default)]
    pub done: Option<RawDone>,
}

/// Failures. A status outside 2xx is one; so is what `rule` or `pointer` finds in a reply of any status and in
/// an event of a stream.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawErrors {
    /// Pointer to what only a failure has, whatever the status; `/error` by default. Null is nothing; so are
    /// an empty text and false.
    pub pointer: String,
    /// Pointers to the server's words about the failure, of which the first that finds a text wins;
    /// `["/error/message", "/error", "/message"]` by default.
    pub message: Texts,
    /// Pointer to the time that the server asks to wait, in seconds. The headers `retry-after` and
    /// `retry-after-ms` are understood without it.
    pub retry_after_s: Option<String>,
    /// Pointer to the time that the server asks to wait, in milliseconds.
    pub retry_after_ms: Option<String>,
    /// A header of the vendor's own that holds the time to wait in seconds.
    pub retry_after_header: Option<String>,
    /// What a failure means, the first that fits. Where none does, the status decides: 401 and 403
    /// `unauthorized`, 408 and 504 `timeout`, 429 `rate_limited`, other 4xx `invalid_request` (`context_length`
    /// if the words say so), other 5xx `overloaded`; under a status of success `other`.
    pub rule: Vec<RawRule>,
}

impl Default for RawErrors {
    fn default() -> Self {
        Self {
            pointer: "/error".to_owned(),
            message: Texts(vec![
                "/error/message".to_owned(),
                "/error".to_owned(),
                "/message".to_owned(),
            ]),
            retry_after_s: None,
            retry_after_ms: None,
            retry_after_header: None,
            rule: Vec::new(),
        }
    }
}

/// What a failure means. It names a status, a pointer, or both. A rule without a status also makes a failure of a
/// reply whose status is a success.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRule {
    /// Statuses: `429`, `"5xx"`, or a list of such; any by default.
    #[serde(default)]
    pub status: Option<RawStatuses>,
    /// Pointer to what must be there, and not null.
    #[serde(default)]
    pub pointer: Option<String>,
    /// The value that must be there.
    #[serde(default)]
    pub equals: Option<Value>,
    /// A regular expression that the text there must match somewhere.
    #[serde(default)]
    pub matches: Option<String>,
    /// What it means.
    pub kind: Kind,
}

/// What a failure means for the run: which are tried again is the host's decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The server asks for fewer requests.
    RateLimited,
    /// The server has too much to do, or broke down over it.
    Overloaded,
    /// The model is being loaded.
    Loading,
    /// No answer in time.
    Timeout,
    /// The connection to the model broke.
    Transport,
    /// The key is missing or wrong, or may not do this.
    Unauthorized,
    /// The server will never accept this request.
    InvalidRequest,
    /// Prompt and answer do not fit the model's context.
    ContextLength,
    /// The vendor refused to let this through.
    ContentFilter,
    /// The server cannot do this.
    Unsupported,
    /// A reply of unknown shape.
    UnexpectedReply,
    /// None of these.
    Other,
}

/// A request that tells whether the server is ready. It has the headers of every request and no body.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawHealth {
    /// Method; `GET` by default.
    #[serde(default = "get")]
    pub method: Method,
    /// Route below `base_url`.
    pub path: String,
    /// Statuses of a server that is ready; `"2xx"` by default.
    #[serde(default)]
    pub status: Option<RawStatuses>,
    /// Pointer to what a server that is ready says; nothing is looked for by default.
    #[serde(default)]
    pub pointer: Option<String>,
    /// The value that must be there.
    #[serde(default)]
    pub equals: Option<Value>,
    /// A regular expression that the text there must match somewhere.
    #[serde(default)]
    pub matches: Option<String>,
}

const fn post() -> Method {
    Method::Post
}

const fn get() -> Method {
    Method::Get
}
