//! Classic serverless text generation: TGI's parameters with `options` beside them, an answer that is a list of one or
//! an object, and a 503 that estimates how long the model loads. wire.md 5.3.

use std::borrow::Cow;

use plugin_api::{
    Changed, Choice, Completion, Error, ErrorKind, Generate, Health, Host, HttpRequest, Io, Prompt,
    Reply, Result, Usage, join_all, message::Str,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wire::{
    object::Object,
    phrases::is_too_long,
    tgi::{
        decode::{self, Generated},
        encode::{Generation, Parameters},
        failure,
    },
};

use crate::{
    call::{Caller, with_way_out},
    settings,
};

/// Shorter prompts may be how an answer begins by chance, so they are not taken for the prompt sent back.
const LEAST_ECHO_BYTES: usize = 16;

/// One model of hf-inference.
#[derive(Debug)]
pub struct Serverless {
    caller: Caller,
    settings: settings::Serverless,
}

/// Body of a request.
#[derive(Debug, Serialize)]
pub struct Body<'a> {
    inputs: &'a str,
    parameters: &'a Parameters<'a>,
    options: Options,
    stream: bool,
}

/// How the service handles a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Options {
    use_cache: bool,
    wait_for_model: bool,
}

impl Serverless {
    /// The model that is configured.
    pub fn new(host: &Host, settings: settings::Serverless) -> Self {
        Self { caller: Caller::new(host, settings.headers.clone()), settings }
    }

    /// The model's name on the Hub.
    pub fn model(&self) -> &str {
        &self.settings.model
    }

    /// Generates; each choice by a request of its own.
    ///
    /// # Errors
    /// What [`refusal`] makes of a reply; `unsupported` for chat messages.
    pub async fn generate(&self, request: &Generate<'_>, io: &Io) -> Result<Completion> {
        let Prompt::Text(prompt) = request.prompt else {
            return Err(Error::unsupported(
                "chat messages in mode = \"serverless\", which continues a text and has no chat template: \
                 use mode = \"router\", or an endpoint, or give the task a text prompt",
            ));
        };
        let mut generation = Generation::new(&self.settings.defaults, request)?;
        let mut calls = Vec::new();
        for choice in 0..request.n.max(1) {
            calls.push(self.call(prompt, &mut generation, request.seed, choice)?);
        }
        let answers = calls.into_iter().map(|call| io.send(call));
        let mut completion =
            Completion { model: Some(self.settings.model.clone()), ..Completion::default() };
        let mut echoed = false;
        for reply in join_all(answers).await {
            let reply = reply?;
            let (choice, usage, echo) =
                self.choice(&reply, prompt, &generation.stop, generation.logprobs)?;
            completion.choices.push(choice);
            echoed |= echo;
            completion.usage.add(usage);
        }
        completion.changed = generation.changed;
        if echoed {
            completion.changed.push(Changed {
                parameter: "return_full_text".to_owned(),
                detail: "the service sent the prompt back before the answer, although told not to; it was \
                         taken out"
                    .to_owned(),
            });
        }
        Ok(completion)
    }

    /// Whether the model answers. There is no route to ask, so one token is generated.
    ///
    /// # Errors
    /// A refusal that does not mean that the model loads.
    pub async fn health(&self, io: &Io) -> Result<Health> {
        let request = Generate {
            max_tokens: Some(1),
            temperature: Some(0.0),
            ..Generate::new(Prompt::Text("Hello"))
        };
        match self.generate(&request, io).await {
            Ok(_) => Ok(Health { ready: true, detail: String::new() }),
            Err(error) if error.kind == ErrorKind::Loading => {
                Ok(Health { ready: false, detail: error.to_string() })
            }
            Err(error) => Err(error),
        }
    }

    fn call(
        &self,
        prompt: &str,
        generation: &mut Generation<'_>,
        seed: Option<u64>,
        choice: u32,
    ) -> Result<HttpRequest<'_>> {
        let options = options(&self.settings, generation.samples());
        let parameters = generation.parameters(seed, choice);
        let body = Body { inputs: prompt, parameters, options, stream: false };
        // Said twice: in the body, as the classic service reads it, and in the headers of the later form.
        let call = self
            .caller
            .dress(HttpRequest::post(self.settings.url.as_str()))
            .header("x-use-cache", if options.use_cache { "true" } else { "false" })
            .header("x-wait-for-model", if options.wait_for_model { "true" } else { "false" });
        wire::json::body(call, &body)
    }

    fn choice(
        &self,
        reply: &Reply,
        prompt: &str,
        stops: &[&str],
        logprobs: bool,
    ) -> Result<(Choice, Usage, bool)> {
        let mut generated = match generated(reply) {
            Ok(generated) => generated,
            Err(unexpected) => {
                let refused = refusal(reply, self.settings.max_loading_wait_ms);
                return Err(refused.unwrap_or(unexpected));
            }
        };
        let echoed = take_prompt_out(&mut generated, prompt);
        let (choice, usage) =
            decode::choice_of(generated, decode::prompt_tokens(reply), stops, logprobs);
        Ok((choice, usage, echoed))
    }
}

/// What is said of cache and waiting. A sampled answer out of the cache would be the same one every time.
pub fn options(settings: &settings::Serverless, samples: bool) -> Options {
    Options {
        use_cache: settings.use_cache.unwrap_or(!samples),
        wait_for_model: settings.wait_for_model,
    }
}

/// Reads the answer: an object, or a list of one.
///
/// # Errors
/// `unexpected_reply` if it is neither, or the status is none of success.
fn generated(reply: &Reply) -> Result<Generated<'_>> {
    if !reply.is_success() {
        return Err(failure::of(reply));
    }
    if !reply.body().trim_ascii_start().starts_with(b"[") {
        return reply.json().map(|Object(generated)| generated);
    }
    let list: Vec<Object<Generated<'_>>> = reply.json()?;
    let found = list.len();
    let mut list = list.into_iter();
    match (list.next(), found) {
        (Some(Object(one)), 1) => Ok(one),
        _ => {
            let mut error =
                Error::unexpected(format!("expected a list of one answer, found {found}"))
                    .with_excerpt(reply.body());
            error.http_status = Some(reply.status);
            Err(error)
        }
    }
}

/// Takes the prompt off the beginning of an answer that was sent back with it. With the answer's tokens at hand
/// it is certain; without them, only a prompt of some length is recognised.
fn take_prompt_out(generated: &mut Generated<'_>, prompt: &str) -> bool {
    let Some(rest) = generated.generated_text.strip_prefix(prompt) else { return false };
    let tokens = generated.details.as_ref().map(|details| &details.tokens);
    let echoed = match tokens.filter(|tokens| !tokens.is_empty()) {
        Some(tokens) => {
            let written: usize =
                tokens.iter().filter(|token| !token.special).map(|token| token.text.len()).sum();
            // Decoding as a whole may drop a space at the beginning, so the nearer length decides.
            rest.len().abs_diff(written) < generated.generated_text.len().abs_diff(written)
        }
        None => prompt.len() >= LEAST_ECHO_BYTES,
    };
    if echoed {
        generated.generated_text = Cow::Owned(rest.to_owned());
    }
    echoed
}

/// The service's own error object. `error` is a text or a list of them.
#[derive(Debug, Deserialize)]
struct Refusal<'a> {
    error: Value,
    #[serde(borrow, default)]
    error_type: Option<Str<'a>>,
    #[serde(default)]
    estimated_time: Option<f64>,
    #[serde(default)]
    warnings: Vec<Value>,
}

/// The failure that a reply tells, whatever its status; none if it is a success without an error object.
pub fn refusal(reply: &Reply, longest_wait_ms: u64) -> Option<Error> {
    let refusal = serde_json::from_slice::<Object<Refusal<'_>>>(reply.body()).ok();
    let Some(refusal) = refusal.map(|refusal| refusal.0).filter(|r| !r.error.is_null()) else {
        return (!reply.is_success()).then(|| with_way_out(of_status(reply)));
    };
    let mut text = spoken(&refusal.error);
    let loads = refusal.estimated_time.is_some() || text.contains("currently loading");
    let typed = refusal.error_type.is_some();
    let mut error = if reply.is_success() {
        let error_type = refusal.error_type.as_deref().unwrap_or_default();
        failure::named(&text, error_type).with_excerpt(reply.body())
    } else {
        of_status(reply)
    };
    if loads && matches!(reply.status, 200..=299 | 503) {
        error.kind = ErrorKind::Loading;
        let estimated = refusal.estimated_time.filter(|s| s.is_finite() && *s >= 0.0).map(ms);
        let wait = estimated.or(error.retry_after_ms);
        error.retry_after_ms = wait.map(|wait| wait.min(longest_wait_ms));
    } else if !typed && matches!(reply.status, 400 | 413 | 422) && is_too_long(&text) {
        error.kind = ErrorKind::ContextLength;
    } else if !typed && error.kind == ErrorKind::Loading {
        // Something about loading that is no promise: a model too large to be loaded, say.
        error.kind = if reply.is_success() { ErrorKind::Other } else { reply.error().kind };
    }
    for warning in &refusal.warnings {
        text.push_str(" (warning: ");
        text.push_str(&spoken(warning));
        text.push(')');
    }
    if reply.status == 404 {
        text.push_str(
            "; hf-inference serves few language models: look for it with mode = \"router\", or run an endpoint",
        );
    }
    error.message = text;
    Some(with_way_out(error))
}

/// What the status, and TGI's own error object, tell.
fn of_status(reply: &Reply) -> Error {
    let mut error = failure::of(reply);
    if error.kind == ErrorKind::UnexpectedReply {
        error.message = "a page came instead of JSON: is base_url right, with its path?".to_owned();
    }
    match reply.status {
        402 => error.kind = ErrorKind::Unauthorized,
        404 => error.message = "hf-inference does not serve this model".to_owned(),
        _ => {}
    }
    error
}

/// A text, or several joined.
fn spoken(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(spoken).collect::<Vec<_>>().join("; "),
        other => other.to_string(),
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates; negatives are out"
)]
fn ms(seconds: f64) -> u64 {
    (seconds * 1000.0).ceil() as u64
}
