//! Generations on OpenAI's wire: the request out of the backend's defaults and the provider's rules, and how its reply is
//! to be read.
//!
//! Pure. The wire itself is [`wire::openai`]'s; addresses and keys are the glue's.

use plugin_api::{Completion, Error, Generate, Prompt, Reply, Result, SseEvent};
use serde_json::{Map, Value};
use wire::{
    json,
    openai::{self, Chat, Collector, Dialect, Input, Parameters, Prefill, Reading},
};

use crate::{
    call::{Collect, Encoded},
    config::Mode,
    normalise::{normalise, say_what_is_unset},
    parameters::{change, invalid, stop},
    provider::Provider,
};

/// What a backend says about all its requests.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whose rules hold.
    pub provider: Provider,
    /// The model's name by which rules are found.
    pub family: String,
    /// The route.
    pub mode: Mode,
    /// Fields of every body.
    pub body: Map<String, Value>,
    /// Takes `<think>…</think>` for reasoning.
    pub think_tags: bool,
    /// How the beginning of an answer is marked.
    pub prefill: Prefill,
}

/// Translates a request; what comes back is read as the second says. A server that fills in what is unset (`fills_in`)
/// gets every value of sampling.
///
/// # Errors
/// `unsupported` for a parameter that the wire has not, an image where messages are text, messages where the route
/// takes text; `invalid_request` for values that no server takes.
pub fn encode(
    options: &Options,
    model: &str,
    request: &Generate<'_>,
    fills_in: bool,
) -> Result<(Encoded, Reading)> {
    let provider = &options.provider;
    let mut changed = Vec::new();
    let stop = stop(request, &mut changed);
    let mut parameters = parameters(request, stop.clone())?;
    parameters.add_extra(&provider.body)?;
    parameters.add_extra(&options.body)?;
    let mut dialect = Dialect {
        flatten: provider.flatten,
        stream_usage: provider.stream_usage,
        prefill: options.prefill.clone(),
        ..Dialect::default()
    };
    let wanted = parameters.logprobs;
    changed.extend(normalise(provider, &options.family, &mut parameters, &mut dialect));
    if fills_in || provider.explicit_sampling {
        say_what_is_unset(&mut parameters);
    }
    let reading = Reading {
        stop: stop.clone(),
        think_tags: options.think_tags,
        logprobs: parameters.logprobs.and(wanted),
        n: request.n,
    };
    let (route, body) = match options.mode {
        Mode::Chat => {
            let chat = Chat::new(&dialect, model, &request.prompt, &parameters, request.stream)?;
            if chat.prefix_is_a_turn() {
                changed.push(change(
                    "messages",
                    "the last message, the beginning of an answer, is sent as a turn of its own: the server \
                     is not known to continue it (`prefill` says how it would)",
                ));
            }
            (&provider.chat_route, json::bytes(&chat)?)
        }
        Mode::Completions => {
            let Prompt::Text(text) = request.prompt else {
                return Err(Error::unsupported(
                    "chat messages in mode = \"completions\", which takes texts only",
                ));
            };
            if parameters.reasoning_effort.take().is_some() {
                changed.push(change("reasoning_effort", "dropped: /completions has none"));
            }
            let body = openai::Completion {
                stream: request.stream,
                stream_usage: dialect.stream_usage,
                ..openai::Completion::new(model, Input::Text(text, ""), &parameters)
            };
            (&provider.completions_route, json::bytes(&body)?)
        }
    };
    let headers = provider.headers.clone().into_iter().collect();
    Ok((Encoded { route: route.clone(), headers, body, stop, changed }, reading))
}

/// The request under the wire's names.
fn parameters(request: &Generate<'_>, stop: Vec<String>) -> Result<Parameters> {
    if request.temperature.is_some_and(|t| !t.is_finite() || t < 0.0) {
        return Err(invalid("temperature: expected 0 (greedy) or more"));
    }
    if request.top_p.is_some_and(|p| !(0.0..=1.0).contains(&p)) {
        return Err(invalid("top_p: expected 0 to 1"));
    }
    let mut parameters = Parameters {
        max_tokens: request.max_tokens,
        temperature: request.temperature,
        top_p: request.top_p,
        top_k: request.top_k.filter(|k| *k > 0).map(i64::from),
        seed: request.seed,
        stop,
        n: Some(request.n.max(1)),
        logprobs: request.logprobs,
        ..Parameters::default()
    };
    request.extra.iter().try_for_each(|(name, value)| parameters.set(name, value))?;
    Ok(parameters)
}

/// Reads a reply.
///
/// # Errors
/// As [`openai::completion`].
pub fn decode(reply: &Reply, reading: &Reading) -> Result<Completion> {
    openai::completion(reply, reading)
}

/// A collector of a stream.
pub fn collector(reading: &Reading) -> Box<dyn Collect> {
    Box::new(Streamed { collector: Collector::new(reading.clone()), handed: 0, rest: None })
}

/// [`Collector`] as the glue knows it: after the end, what is left of the text is handed out.
struct Streamed {
    collector: Collector,
    handed: usize,
    rest: Option<String>,
}

impl Collect for Streamed {
    fn take(&mut self, event: &SseEvent) -> Result<bool> {
        self.collector.take(event)
    }

    fn delta(&mut self) -> String {
        if let Some(rest) = &mut self.rest {
            return std::mem::take(rest);
        }
        let delta = self.collector.delta();
        self.handed += delta.len();
        delta
    }

    fn finish(&mut self) -> Result<Completion> {
        let completion = self.collector.finish()?;
        let text = completion.choices.first().map(|choice| choice.text.as_str());
        self.rest =
            Some(text.and_then(|text| text.get(self.handed..)).unwrap_or_default().to_owned());
        Ok(completion)
    }
}
