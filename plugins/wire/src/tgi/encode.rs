//! Requests as TGI takes them (router/src/lib.rs, `GenerateRequest` and `ChatRequest`, version 3.3).
//!
//! Pure: borrows the prompt and the defaults, sends nothing. TGI ignores unknown keys silently, so
//! every key here is spelt by a typed field.

use plugin_api::{Changed, Error, ErrorKind, Generate, Message, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Defaults;
use crate::text::{self, Joined, TextMessage};

/// Body of `/generate`, `/generate_stream` and `/tokenize`.
#[derive(Debug, Serialize)]
pub struct Body<'a, P> {
    inputs: Joined<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<P>,
}

/// `parameters` of a generation. `do_sample` is always there: a body without parameters samples.
#[derive(Debug, Default, Serialize)]
pub struct Parameters<'a> {
    do_sample: bool,
    details: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_new_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    typical_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repetition_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    return_full_text: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncate: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    watermark: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_n_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grammar: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    adapter_id: Option<&'a str>,
}

/// `parameters` of a scoring: the prompt's log-probabilities and as little generation as the server allows.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Scoring<'a> {
    do_sample: bool,
    details: bool,
    decoder_input_details: bool,
    max_new_tokens: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    adapter_id: Option<&'a str>,
}

/// A generation request translated, but for its prompt.
#[derive(Debug)]
pub struct Generation<'a> {
    parameters: Parameters<'a>,
    /// The stop texts to cut the answer at, also those that the server does not get.
    pub stop: Vec<&'a str>,
    /// Whether log-probabilities are wanted.
    pub logprobs: bool,
    /// What was dropped or changed.
    pub changed: Vec<Changed>,
}

impl<'a> Generation<'a> {
    /// Translates a request over the defaults.
    ///
    /// # Errors
    /// `unsupported` for a vendor parameter that TGI has not; `invalid_request` for a value of the wrong
    /// type or a temperature that is no temperature.
    pub fn new(defaults: &'a Defaults, request: &'a Generate<'a>) -> Result<Self> {
        let mut parameters = Parameters {
            details: defaults.details,
            max_new_tokens: request.max_tokens.or(defaults.max_new_tokens),
            typical_p: defaults.typical_p,
            repetition_penalty: defaults.repetition_penalty,
            frequency_penalty: defaults.frequency_penalty,
            return_full_text: defaults.return_full_text,
            truncate: defaults.truncate,
            watermark: defaults.watermark,
            top_n_tokens: request.logprobs.or(defaults.top_n_tokens),
            adapter_id: defaults.adapter_id.as_deref(),
            ..Parameters::default()
        };
        for (name, value) in &request.extra {
            parameters.take(name, value)?;
        }
        let mut changed = Vec::new();
        parameters.sample(defaults, request, &mut changed)?;
        let logprobs = parameters.top_n_tokens.is_some();
        parameters.ask_for_logprobs(defaults.max_top_n_tokens, &mut changed);
        let stop = parameters.stop_at(defaults.max_stop_sequences, request, &mut changed);
        Ok(Self { parameters, stop, logprobs, changed })
    }

    /// The body for the choice of this number. `best_of` is not `n`: TGI returns the best only, so each
    /// choice is a request of its own, with a seed of its own.
    pub fn body<'b>(
        &'b mut self,
        prompt: &'b str,
        seed: Option<u64>,
        choice: u32,
    ) -> Body<'b, &'b Parameters<'a>> {
        Body { inputs: Joined(prompt, ""), parameters: Some(self.parameters(seed, choice)) }
    }

    /// The parameters of the choice of this number, for a body of another shape.
    pub fn parameters(&mut self, seed: Option<u64>, choice: u32) -> &Parameters<'a> {
        if self.parameters.do_sample {
            self.parameters.seed = seed.map(|seed| seed.wrapping_add(u64::from(choice)));
        }
        &self.parameters
    }

    /// Whether the server will sample rather than take the likeliest token.
    pub fn samples(&self) -> bool {
        self.parameters.do_sample
    }
}

impl<'a> Parameters<'a> {
    /// One parameter of the vendor's own.
    fn take(&mut self, name: &str, value: &'a Value) -> Result<()> {
        match name {
            "typical_p" => self.typical_p = typed(name, value)?,
            "repetition_penalty" => self.repetition_penalty = typed(name, value)?,
            "frequency_penalty" => self.frequency_penalty = typed(name, value)?,
            "truncate" => self.truncate = typed(name, value)?,
            "watermark" => self.watermark = typed(name, value)?,
            "top_n_tokens" => self.top_n_tokens = typed(name, value)?,
            "adapter_id" => self.adapter_id = typed(name, value)?,
            "grammar" => self.grammar = Some(value).filter(|value| !value.is_null()),
            _ => return Err(Error::unsupported(&format!("the parameter `{name}`"))),
        }
        Ok(())
    }

    /// Decides between greedy and sampling. The model server samples as soon as it sees a temperature other
    /// than 1, a `top_k`, or a `top_p` or `typical_p` below 1, whatever `do_sample` says, so a greedy
    /// request must leave them all out (server/text_generation_server/utils/tokens.py).
    fn sample(
        &mut self,
        defaults: &Defaults,
        request: &Generate<'_>,
        changed: &mut Vec<Changed>,
    ) -> Result<()> {
        let temperature = request.temperature.or(defaults.temperature);
        if temperature.is_some_and(|temperature| !temperature.is_finite() || temperature < 0.0) {
            return Err(invalid("temperature: expected 0 (greedy) or more".to_owned()));
        }
        // The router refuses the values that mean "off"; leaving them out means the same.
        let top_p = request.top_p.or(defaults.top_p).filter(|p| *p < 1.0);
        let top_k = request.top_k.or(defaults.top_k).filter(|k| *k > 0);
        let typical_p = self.typical_p.take().filter(|p| *p < 1.0);
        let narrowed = top_p.is_some() || top_k.is_some() || typical_p.is_some();
        self.do_sample = temperature.map_or(narrowed, |temperature| temperature > 0.0);
        if self.do_sample {
            self.temperature = temperature;
            self.top_p = top_p;
            self.top_k = top_k;
            self.typical_p = typical_p;
            return Ok(());
        }
        for (parameter, given) in [
            ("top_p", top_p.is_some()),
            ("top_k", top_k.is_some()),
            ("typical_p", typical_p.is_some()),
        ] {
            if given {
                changed.push(change(
                    parameter,
                    "dropped: temperature 0 is greedy, and TGI would sample if it were sent".into(),
                ));
            }
        }
        Ok(())
    }

    /// Log-probabilities come with the details; 0 alternatives are asked for by leaving them out.
    fn ask_for_logprobs(&mut self, most: u32, changed: &mut Vec<Changed>) {
        let Some(wanted) = self.top_n_tokens.take() else {
            return;
        };
        self.details = true;
        self.top_n_tokens = Some(wanted.min(most)).filter(|n| *n > 0);
        if wanted > most {
            changed.push(change(
                "logprobs",
                format!(
                    "{most} alternatives a token instead of {wanted}: the server gives no more"
                ),
            ));
        }
    }

    /// Keeps the stop texts that the server can take, and returns all that the answer is cut at.
    fn stop_at(
        &mut self,
        most: usize,
        request: &'a Generate<'a>,
        changed: &mut Vec<Changed>,
    ) -> Vec<&'a str> {
        let stop: Vec<&str> =
            request.stop.iter().map(|stop| &**stop).filter(|stop| !stop.is_empty()).collect();
        if stop.len() < request.stop.len() {
            changed.push(change(
                "stop",
                "empty stop texts dropped: they would end every answer".into(),
            ));
        }
        self.stop = stop.iter().copied().take(most).collect();
        if stop.len() > most {
            changed.push(change(
                "stop",
                format!(
                    "only the first {most} of {} were sent, the server takes no more; the answer is cut \
                     at all of them",
                    stop.len()
                ),
            ));
        }
        stop
    }
}

/// The body that scores `context` followed by `continuation`.
pub fn scoring<'a>(
    defaults: &'a Defaults,
    context: &'a str,
    continuation: &'a str,
) -> Body<'a, Scoring<'a>> {
    let parameters = Scoring {
        do_sample: false,
        details: true,
        decoder_input_details: true,
        max_new_tokens: 1,
        adapter_id: defaults.adapter_id.as_deref(),
    };
    Body { inputs: Joined(context, continuation), parameters: Some(parameters) }
}

/// The body that asks for the tokens of a text.
pub fn tokenize(text: &str) -> Body<'_, ()> {
    Body { inputs: Joined(text, ""), parameters: None }
}

/// Body of `/chat_tokenize`.
#[derive(Debug, Serialize)]
pub struct ChatBody<'a> {
    /// Any name but `tgi` would be taken for an adapter.
    model: &'static str,
    messages: Vec<TextMessage<'a>>,
}

/// The body that asks for messages as text, the turn of the assistant opened.
///
/// # Errors
/// `unsupported` if a message holds an image.
pub fn chat<'a>(messages: &'a [Message<'a>]) -> Result<ChatBody<'a>> {
    Ok(ChatBody { model: "tgi", messages: text::messages(messages)? })
}

fn typed<'a, T: Deserialize<'a>>(name: &str, value: &'a Value) -> Result<T> {
    T::deserialize(value).map_err(|error| invalid(format!("{name}: {error}")))
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidRequest, message)
}

fn change(parameter: &str, detail: String) -> Changed {
    Changed { parameter: parameter.to_owned(), detail }
}
