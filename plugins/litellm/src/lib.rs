//! Many vendors in one plugin, named provider/model as LiteLLM users write it.
//!
//! Here requests become calls and replies answers. What they look like is the business of a codec for each wire
//! ([`openai`], [`anthropic`], [`gemini`]); which vendor speaks which, where and with what quirks is data
//! ([`table`], `config/providers.toml`). Nothing here retries, waits or reads a clock.

pub mod address;
mod answer;
pub mod anthropic;
pub mod azure;
pub mod call;
pub mod config;
mod conversation;
pub mod gemini;
pub mod key;
pub mod likelihood;
pub mod normalise;
pub mod open;
pub mod openai;
mod parameters;
pub mod prices;
pub mod provider;
mod request;
pub mod score;
pub mod table;

use std::{
    sync::{OnceLock, atomic::AtomicBool},
    time::Duration,
};

use plugin_api::{
    Backend, Changed, Completion, Description, Error, ErrorKind, Generate, Health, Host,
    HttpRequest, Io, Likelihood, Limits, Loglikelihood, Reply, Result, Rolling, SseParser, Stream,
    export_plugin, join_all,
};
use serde_json::{Map, Value};
use wire::openai::{Reading, limits};

use crate::{
    address::Base,
    azure::Azure,
    call::{Collect, Encoded},
    config::Config,
    key::Keys,
    prices::Model,
    provider::Provider,
    score::Server,
};

/// One model of one vendor.
#[derive(Debug)]
pub struct Litellm {
    config: Config,
    provider: Provider,
    /// The model's name at the provider.
    model: String,
    base: Base,
    azure: Option<Azure>,
    wire: Wire,
    /// Sent with every request.
    headers: Vec<(String, String)>,
    /// Vendor parameters where a request names none.
    defaults: Map<String, Value>,
    keys: Keys,
    /// What the model costs, if that is known.
    price: Option<Model>,
    /// Which table says so.
    prices: String,
    /// Who the server is, once it was asked.
    server: OnceLock<Option<Server>>,
    /// The server was found to have no route that tokenises.
    no_tokenize: AtomicBool,
    /// The server does not score several prompts by one request.
    no_lists: AtomicBool,
}

/// The codec, and what it is told of all requests.
#[derive(Debug)]
enum Wire {
    Openai(Box<openai::Options>),
    Anthropic(anthropic::Options),
    Gemini(gemini::Options),
}

/// A request ready to be sent, and how its reply is read.
#[derive(Debug)]
struct Prepared {
    encoded: Encoded,
    reader: Reader,
    stream: bool,
}

#[derive(Debug)]
enum Reader {
    Openai(Reading),
    Anthropic,
    Gemini,
}

impl Backend for Litellm {
    type Config = Config;

    fn open(config: Config, host: Host) -> Result<Self> {
        open::open(config, &host)
    }

    async fn generate(&self, request: &Generate<'_>, io: &Io) -> Result<Completion> {
        let mut notes = Vec::new();
        let engine = self.engine(io).await?;
        let fills_in = engine.is_some_and(Server::fills_in);
        let request = self.filled(request, &mut notes);
        let prepared = self
            .calls(&request, engine.is_none_or(Server::gives_several))
            .iter()
            .map(|request| self.prepare(request, fills_in))
            .collect::<Result<Vec<_>>>()?;
        if let Some(first) = prepared.first() {
            self.insist(&first.encoded.changed)?;
        }
        let answers = join_all(prepared.into_iter().map(|call| self.perform(call, io))).await;
        let mut completion = merged(answers)?;
        self.insist(&completion.changed)?;
        completion.changed.extend(notes);
        Ok(completion)
    }

    async fn loglikelihood(&self, request: &Loglikelihood<'_>, io: &Io) -> Result<Vec<Likelihood>> {
        self.scores(request, io).await
    }

    async fn loglikelihood_rolling(&self, request: &Rolling<'_>, io: &Io) -> Result<Likelihood> {
        self.rolling(request.text, io).await
    }

    async fn health(&self, io: &Io) -> Result<Health> {
        let own = match &self.wire {
            Wire::Anthropic(options) => anthropic::headers(options),
            Wire::Openai(_) | Wire::Gemini(_) => Vec::new(),
        };
        let call = HttpRequest::get(self.models_url());
        let call = own.iter().fold(call, |call, (name, value)| call.header(name, value.as_str()));
        let reply = self.keys.send(self.headed(call), io).await?;
        if reply.is_success() {
            return Ok(Health { ready: true, detail: String::new() });
        }
        match reply.status {
            404 | 405 => Ok(Health {
                ready: true,
                detail: "the server answers, but has no list of models".to_owned(),
            }),
            502..=504 => Ok(Health { ready: false, detail: self.failure(&reply).to_string() }),
            _ => Err(self.failure(&reply)),
        }
    }

    async fn describe(&self, io: &Io) -> Result<Description> {
        // What a server tells of itself is worth knowing, but not worth a failure; vendors tell nothing.
        let own = matches!(self.wire, Wire::Openai(_)) && !self.is_vendor();
        let server = if own { self.server(io).await.ok().flatten() } else { None };
        Ok(Description {
            model: Some(self.model.clone()),
            engine: Some(self.provider.id.clone()),
            context_tokens: server
                .and_then(|server| server.context_tokens)
                .or(self.config.max_model_length.map(u64::from))
                .or_else(|| self.price.as_ref()?.window.input_tokens),
            prices: Some(self.prices.clone()),
            bos: own.then(|| {
                let added = self.config.add_special_tokens;
                if added { "as the server's tokenizer adds it" } else { "none" }.to_owned()
            }),
            lacks: self.lacks(io).await,
            ..Description::default()
        })
    }
}

impl Litellm {
    /// The request as its vendor takes it, or as an engine does that fills in what is unset.
    fn prepare(&self, request: &Generate<'_>, fills_in: bool) -> Result<Prepared> {
        let (encoded, reader) = match &self.wire {
            Wire::Openai(options) => {
                let (encoded, reading) = openai::encode(options, &self.model, request, fills_in)?;
                (encoded, Reader::Openai(reading))
            }
            Wire::Anthropic(options) => {
                (anthropic::encode(options, &self.model, request)?, Reader::Anthropic)
            }
            Wire::Gemini(options) => {
                (gemini::encode(options, &self.model, request)?, Reader::Gemini)
            }
        };
        Ok(Prepared { encoded, reader, stream: request.stream })
    }

    /// With `strict_params`, what was dropped or changed is a failure.
    fn insist(&self, changed: &[Changed]) -> Result<()> {
        if self.config.strict_params != Some(true) || changed.is_empty() {
            return Ok(());
        }
        let list: Vec<String> =
            changed.iter().map(|c| format!("{}: {}", c.parameter, c.detail)).collect();
        Err(Error::new(
            ErrorKind::InvalidRequest,
            format!(
                "strict_params: {}/{} does not take the request as it is ({})",
                self.provider.id,
                self.model,
                list.join("; ")
            ),
        ))
    }

    /// Sends a request and reads its answer.
    async fn perform(&self, prepared: Prepared, io: &Io) -> Result<Completion> {
        let Prepared { encoded, reader, stream } = prepared;
        let Encoded { route, headers, body, stop, changed } = encoded;
        let call = HttpRequest::post(self.url(&route)).header("content-type", "application/json");
        let call =
            headers.iter().fold(call, |call, (name, value)| call.header(name, value.as_str()));
        let call = self.headed(call).body(body);
        let mut completion = if stream {
            let stream = self.keys.stream(call, io).await?;
            self.streamed(stream, &reader, &stop, io).await?
        } else {
            let reply = self.keys.send(call, io).await?;
            self.note_limits(&reply, io);
            reader.decode(&reply, &stop).map_err(|error| self.keys.explain(error))?
        };
        completion.changed.splice(0..0, changed);
        let price = self.price.as_ref();
        completion.usage.cost_usd_nanos =
            price.and_then(|price| price.cost_usd_nanos(&completion.usage));
        Ok(completion)
    }

    async fn streamed(
        &self,
        mut stream: Stream,
        reader: &Reader,
        stop: &[String],
        io: &Io,
    ) -> Result<Completion> {
        self.note_limits(stream.head(), io);
        if !stream.head().is_success() {
            let reply = stream.collect().await?;
            return Err(self.failure_by(reader, &reply));
        }
        let mut events = SseParser::default();
        let mut collector = reader.collector(stop);
        let mut whole: Option<Vec<u8>> = None;
        let mut begun = false;
        let complete = loop {
            let Some(chunk) = stream.chunk().await? else {
                if let Some(body) = whole {
                    // A server that does not stream answers as if it had not been asked to.
                    let reply = Reply::new(stream.head().status, &[], &body);
                    let completion = reader.decode(&reply, stop)?;
                    pass_on(io, completion.choices.first().map_or("", |choice| &choice.text));
                    return Ok(completion);
                }
                // An event that the end of the stream cut off is no event.
                break match events.finish().map(|event| collector.take(&event)) {
                    Some(Err(error)) if error.kind != ErrorKind::UnexpectedReply => {
                        return Err(self.keys.explain(error));
                    }
                    complete => matches!(complete, Some(Ok(true))),
                };
            };
            if !begun && let Some(first) = chunk.iter().find(|byte| !byte.is_ascii_whitespace()) {
                begun = true;
                // No event begins so: JSON, or a page.
                whole = matches!(first, b'{' | b'[' | b'<').then(Vec::new);
            }
            if let Some(body) = &mut whole {
                body.extend_from_slice(&chunk);
                continue;
            }
            let mut complete = false;
            for event in events.push(&chunk) {
                complete = collector.take(&event).map_err(|error| self.keys.explain(error))?;
                if complete {
                    break;
                }
            }
            if complete {
                break true;
            }
            pass_on(io, &collector.delta());
        };
        let completion = collector.finish()?;
        pass_on(io, &collector.delta());
        if complete {
            // A proxy may keep the stream open; the answer is whole without its end.
            stream.drain(io, Duration::from_millis(100)).await;
        }
        Ok(completion)
    }

    fn note_limits(&self, reply: &Reply, io: &Io) {
        let number = |name: &str| reply.header(name)?.trim().parse().ok();
        let limits = limits::of(reply).or_else(|| {
            // Anthropic's names; its times need a clock.
            let requests_remaining = number("anthropic-ratelimit-requests-remaining");
            let tokens_remaining = number("anthropic-ratelimit-tokens-remaining");
            (requests_remaining.is_some() || tokens_remaining.is_some()).then_some(Limits {
                requests_remaining,
                tokens_remaining,
                reset_ms: None,
            })
        });
        if let Some(limits) = limits {
            io.limits(limits);
        }
    }

    pub(crate) fn failure(&self, reply: &Reply) -> Error {
        let reader = match &self.wire {
            Wire::Openai(_) => Reader::Openai(Reading::default()),
            Wire::Anthropic(_) => Reader::Anthropic,
            Wire::Gemini(_) => Reader::Gemini,
        };
        self.failure_by(&reader, reply)
    }

    fn failure_by(&self, reader: &Reader, reply: &Reply) -> Error {
        self.keys.explain(match reader {
            Reader::Openai(_) => wire::openai::failure::of(reply),
            Reader::Anthropic => anthropic::failure(reply),
            Reader::Gemini => gemini::failure(reply),
        })
    }

    /// The address of a route.
    fn url(&self, route: &str) -> String {
        match &self.azure {
            Some(azure) => azure.url(&self.model, route),
            None => format!("{}{route}", self.base.url),
        }
    }

    fn models_url(&self) -> String {
        match (&self.azure, &self.wire) {
            (Some(azure), _) => azure.models(),
            (None, Wire::Anthropic(_)) => format!("{}/v1/models", self.base.url),
            (None, _) => format!("{}{}", self.base.url, self.provider.models_route),
        }
    }

    /// Adds what every request carries.
    fn headed<'a>(&'a self, call: HttpRequest<'a>) -> HttpRequest<'a> {
        self.headers.iter().fold(call, |call, (name, value)| call.header(name, value.as_str()))
    }
}

impl Reader {
    fn decode(&self, reply: &Reply, stop: &[String]) -> Result<Completion> {
        match self {
            Self::Openai(reading) => openai::decode(reply, reading),
            Self::Anthropic => anthropic::decode(reply, stop),
            Self::Gemini => gemini::decode(reply, stop),
        }
    }

    fn collector(&self, stop: &[String]) -> Box<dyn Collect> {
        match self {
            Self::Openai(reading) => openai::collector(reading),
            Self::Anthropic => anthropic::collector(stop),
            Self::Gemini => gemini::collector(stop),
        }
    }
}

/// One completion out of those of calls for one choice each.
fn merged(answers: Vec<Result<Completion>>) -> Result<Completion> {
    let mut answers = answers.into_iter();
    let mut whole = answers.next().unwrap_or_else(|| Ok(Completion::default()))?;
    for answer in answers {
        let answer = answer?;
        whole.choices.extend(answer.choices);
        whole.usage.add(answer.usage);
        for change in answer.changed {
            if !whole.changed.contains(&change) {
                whole.changed.push(change);
            }
        }
    }
    Ok(whole)
}

fn pass_on(io: &Io, text: &str) {
    if !text.is_empty() {
        io.delta(text);
    }
}

export_plugin!(Litellm);
