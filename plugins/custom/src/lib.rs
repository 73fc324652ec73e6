//! A provider described in a run file, as a plugin: a Jinja template for the body of a request, JSON pointers for what
//! is in a reply.
//!
//! Here requests become calls and replies answers; what they look like is the run file's business, which
//! [`provider`] compiles. Nothing here knows a vendor, retries, waits or reads a clock.
//!
//! Log-likelihood is not offered: it needs the tokens of context and continuation, which servers count in too many
//! ways to describe by pointers.

pub mod condition;
pub mod config;
pub mod decode;
pub mod encode;
pub mod events;
pub mod extract;
pub mod failure;
pub mod headers;
pub mod logprobs;
pub mod provider;
pub mod stream;
pub mod template;
pub mod typed;

use std::time::Duration;

use plugin_api::{
    Backend, Changed, Completion, Description, Error, ErrorKind, Generate, Health, Host,
    HttpRequest, Io, Result, export_plugin, join_all,
};

use crate::{
    config::Config,
    decode::{Decoded, Wanted},
    provider::Provider,
    stream::{Collector, Ended},
};

/// One provider.
#[derive(Debug)]
pub struct Custom {
    provider: Provider,
}

impl Backend for Custom {
    type Config = Config;

    fn open(config: Config, host: Host) -> Result<Self> {
        Ok(Self { provider: Provider::new(&config, &host)? })
    }

    async fn generate(&self, request: &Generate<'_>, io: &Io) -> Result<Completion> {
        let generation = self.provider.generation(request)?;
        let streams = request.stream && self.provider.stream.is_some();
        let logprobs = request.logprobs.is_some() && self.provider.reply.tokens().is_some();
        let mut calls = Vec::new();
        for call in generation.calls(streams) {
            let body = generation
                .body(call, &io.request_id(), io.attempt())
                .map_err(|error| encode::refused(&error))?;
            let http = self.provider.ask(call.stream).body(body.into_bytes());
            calls.push((http, call));
        }
        let answers = calls.into_iter().map(|(http, call)| {
            let wanted = Wanted { stop: &generation.stop, logprobs, n: call.n };
            async move {
                match self.provider.stream.as_ref().filter(|_| call.stream) {
                    Some(shape) => self.streamed(http, shape, wanted, io).await,
                    None => self.whole(http, wanted, io).await,
                }
            }
        });
        let mut completion =
            Completion { model: self.provider.model.clone(), ..Completion::default() };
        for answer in join_all(answers).await {
            let Decoded { choices, usage, model } = answer?;
            completion.choices.extend(choices);
            completion.usage.add(usage);
            completion.model = model.or(completion.model);
        }
        completion.changed = generation.changed;
        if logprobs && completion.choices.iter().any(|choice| choice.logprobs.is_none()) {
            let detail = "the server gave none where the configuration looks for them".to_owned();
            completion.changed.push(Changed { parameter: "logprobs".to_owned(), detail });
        }
        Ok(completion)
    }

    async fn health(&self, io: &Io) -> Result<Health> {
        let Some(call) = self.provider.ask_health() else {
            return Err(Error::unsupported("health: the configuration has no `health` table"));
        };
        let reply = io.send(call).await?;
        if self.provider.is_healthy(&reply) {
            return Ok(Health { ready: true, detail: String::new() });
        }
        if reply.is_success() {
            let unlike = Error::unexpected("the reply is not that of a server that is ready")
                .with_excerpt(reply.body());
            return Ok(Health { ready: false, detail: unlike.to_string() });
        }
        let error = self.provider.failure(&reply);
        match error.kind {
            ErrorKind::RateLimited
            | ErrorKind::Overloaded
            | ErrorKind::Loading
            | ErrorKind::Timeout => Ok(Health { ready: false, detail: error.to_string() }),
            _ => Err(error),
        }
    }

    async fn describe(&self, _: &Io) -> Result<Description> {
        let (model, lacks) = (self.provider.model.clone(), self.provider.lacks());
        Ok(Description { model, lacks, ..Description::default() })
    }
}

impl Custom {
    async fn whole(&self, call: HttpRequest<'_>, wanted: Wanted<'_>, io: &Io) -> Result<Decoded> {
        let reply = io.send(call).await?;
        if !reply.is_success() {
            return Err(self.provider.failure(&reply));
        }
        self.provider.reply.reply(&self.provider.failures, &reply, wanted)
    }

    async fn streamed(
        &self,
        call: HttpRequest<'_>,
        shape: &stream::Shape,
        wanted: Wanted<'_>,
        io: &Io,
    ) -> Result<Decoded> {
        let mut stream = io.stream(call).await?;
        if !stream.head().is_success() {
            return Err(self.provider.failure(&stream.collect().await?));
        }
        let Provider { reply, failures, .. } = &self.provider;
        let mut collector = Collector::new(shape, reply, failures, wanted.stop, wanted.logprobs);
        let mut over = false;
        let ended = loop {
            let Some(chunk) = stream.chunk().await? else {
                over = true;
                break collector.end()?;
            };
            if let Some(ended) = collector.push(&chunk)? {
                break ended;
            }
            pass_on(io, collector.delta());
        };
        let Ended { choice, usage, model, by_server } = ended;
        pass_on(io, collector.rest(&choice));
        if by_server && !over {
            // A proxy may keep the stream open; the answer is whole without its end.
            stream.drain(io, Duration::from_millis(100)).await;
        }
        Ok(Decoded { choices: vec![choice], usage, model })
    }
}

fn pass_on(io: &Io, text: &str) {
    if !text.is_empty() {
        io.delta(text);
    }
}

export_plugin!(Custom);
