//! SGLang as a plugin: its native `/generate`, alone, streamed and in batches, and log-likelihood from the prompt's
//! log-probabilities.
//!
//! Here requests become calls and replies answers; what they look like is the business of [`encode`], [`tokens`] and [`decode`].
//! Nothing here retries, waits or reads a clock. The server's routes are used as of version 0.5.23.
//!
//! Text goes to the server as text, so that its tokenizer adds BOS as it does for everyone, unless
//! `add_special_tokens = false`; a conversation goes through the server's template to token ids. Log-likelihood
//! always sends ids, cut at the boundary as lm-eval cuts them.

pub mod chat;
pub mod choice;
pub mod config;
pub mod decode;
pub mod encode;
pub mod failure;
mod generate;
pub mod likelihood;
pub mod sampling;
mod scoring;
pub mod stream;
pub mod tokens;

use std::{borrow::Cow, sync::OnceLock};

use plugin_api::{
    Answers, Backend, Completion, Description, Error, Generate, Health, Host, HttpRequest, Io,
    Likelihood, Loglikelihood, Message, Prompt, Reply, Result, Rolling, export_plugin, join_all,
};
use serde::Serialize;
use serde_json::{Map, Value};
use wire::text;

use crate::{
    config::Config,
    decode::{Detokenized, ModelInfo, Models, ServerInfo, Tokens},
    encode::Input,
};

/// The slot of the server's key.
const API_KEY: &str = "api_key";

/// One SGLang server.
#[derive(Debug)]
pub struct Sglang {
    config: Config,
    host: Host,
    /// The context length that the server tells, once it was asked; none if it does not say. It is a property of
    /// the server, so that it does not matter which session asks.
    context: OnceLock<Option<u64>>,
}

impl Backend for Sglang {
    type Config = Config;

    fn open(config: Config, host: Host) -> Result<Self> {
        Ok(Self { config: config.resolved()?, host, context: OnceLock::new() })
    }

    async fn generate(&self, request: &Generate<'_>, io: &Io) -> Result<Completion> {
        self.generated(request, io).await
    }

    async fn generate_batch(
        &self,
        requests: &[Generate<'_>],
        io: &Io,
        answers: &Answers<'_, Completion>,
    ) {
        self.generated_batch(requests, io, answers).await;
    }

    async fn loglikelihood(&self, request: &Loglikelihood<'_>, io: &Io) -> Result<Vec<Likelihood>> {
        self.scored(request, io).await
    }

    async fn loglikelihood_rolling(&self, request: &Rolling<'_>, io: &Io) -> Result<Likelihood> {
        self.scored_whole(request, io).await
    }

    async fn health(&self, io: &Io) -> Result<Health> {
        let reply = io.send(self.get(self.config.health.route())).await?;
        if reply.is_success() {
            return Ok(Health { ready: true, detail: String::new() });
        }
        let error = failure::of(&reply);
        match reply.status {
            502..=504 => Ok(Health { ready: false, detail: error.to_string() }),
            _ => Err(error),
        }
    }

    async fn describe(&self, io: &Io) -> Result<Description> {
        // Older servers know only the second name of a route.
        let routes: [&[&str]; 3] = [
            &["/model_info", "/get_model_info"],
            &["/server_info", "/get_server_info"],
            &["/v1/models"],
        ];
        let replies = join_all(routes.map(|routes| self.first_known(routes, io))).await;
        let [model, server, models] = <[Result<Reply>; 3]>::try_from(replies)
            .map_err(|_| Error::unexpected("a description was lost"))?;
        let model = model?;
        let info: ModelInfo<'_> = decode::success(&model)?;
        if info.is_generation == Some(false) {
            return Err(Error::unsupported("a model that embeds and does not generate"));
        }
        // What else there is is worth knowing, but not worth a failure.
        let version = server.ok().and_then(|reply| {
            let info: ServerInfo<'_> = decode::success(&reply).ok()?;
            info.version.map(|version| version.into_owned())
        });
        let context = models
            .ok()
            .and_then(|reply| decode::success::<Models>(&reply).ok()?.data.first()?.max_model_len);
        let leading = self.tokens(&[""], self.config.add_special_tokens, io).await.ok();
        let leading = leading.and_then(|lists| lists.into_iter().next());
        Ok(Description {
            model: Some(info.served_model_name.unwrap_or(info.model_path).into_owned()),
            engine: Some("sglang".to_owned()),
            version,
            context_tokens: self.config.max_context_tokens.map(u64::from).or(context),
            bos: leading.map(|ids| if ids.is_empty() { "none" } else { "bos" }.to_owned()),
            ..Description::default()
        })
    }

    async fn tokenize(&self, text: &str, io: &Io) -> Result<Vec<u32>> {
        let lists = self.tokens(&[text], self.config.add_special_tokens, io).await?;
        Ok(lists.into_iter().next().unwrap_or_default())
    }

    async fn render(&self, messages: &[Message<'_>], io: &Io) -> Result<String> {
        self.rendered(messages, io).await
    }
}

impl Sglang {
    fn get(&self, route: &str) -> HttpRequest<'static> {
        self.authorized(HttpRequest::get(format!("{}{route}", self.config.base_url)))
    }

    fn post<T: Serialize>(&self, route: &str, body: &T) -> Result<HttpRequest<'static>> {
        let call = HttpRequest::post(format!("{}{route}", self.config.base_url));
        wire::json::body(self.authorized(call), body)
    }

    fn authorized<'a>(&self, call: HttpRequest<'a>) -> HttpRequest<'a> {
        if self.host.has_secret(API_KEY) { call.bearer(API_KEY) } else { call }
    }

    /// The reply of the first of these routes that the server knows.
    async fn first_known(&self, routes: &[&str], io: &Io) -> Result<Reply> {
        let (last, others) = routes.split_last().ok_or_else(|| Error::unsupported("no route"))?;
        for route in others {
            let reply = io.send(self.get(route)).await?;
            if reply.status != 404 {
                return Ok(reply);
            }
        }
        io.send(self.get(last)).await
    }

    /// Whether a prompt goes to the server as text.
    const fn sends_text(&self, prompt: &Prompt<'_>) -> bool {
        matches!(prompt, Prompt::Text(_)) && self.config.add_special_tokens
    }

    /// A prompt as the server gets it.
    async fn input<'a>(
        &self,
        prompt: &Prompt<'a>,
        template: &Map<String, Value>,
        io: &Io,
    ) -> Result<Input<'a>> {
        match prompt {
            Prompt::Text(text) if self.config.add_special_tokens => {
                Ok(Input::Text(Cow::Borrowed(text)))
            }
            Prompt::Text(text) => {
                let lists = self.tokens(&[text], false, io).await?;
                Ok(Input::Ids(lists.concat()))
            }
            Prompt::Messages(messages) => {
                let (messages, prefix) = text::split_prefix(messages)?;
                let mut ids = self.templated(messages, template, io).await?;
                if !prefix.is_empty() {
                    ids.extend(self.tokens(&[&*prefix], false, io).await?.concat());
                }
                Ok(Input::Ids(ids))
            }
        }
    }

    /// Token ids of texts, a list for each.
    async fn tokens(&self, texts: &[&str], special: bool, io: &Io) -> Result<Vec<Vec<u32>>> {
        let body = tokens::tokenize(texts, special);
        let reply = io.send(self.post("/tokenize", &body)?).await?;
        let Tokens { tokens } = decode::success::<Tokens<Vec<Vec<u32>>>>(&reply)?;
        if tokens.len() != texts.len() {
            let message =
                format!("{} texts were tokenised instead of {}", tokens.len(), texts.len());
            return Err(Error::unexpected(message).with_excerpt(reply.body()));
        }
        Ok(tokens)
    }

    /// Token ids of a conversation by the server's template, the turn of the assistant opened.
    async fn templated(
        &self,
        messages: &[Message<'_>],
        template: &Map<String, Value>,
        io: &Io,
    ) -> Result<Vec<u32>> {
        let body = tokens::chat(messages, template)?;
        let reply = io.send(self.post("/v1/tokenize", &body)?).await?;
        let ids = decode::success::<Tokens<Vec<u32>>>(&reply).map_err(chat::refused)?.tokens;
        if ids.is_empty() {
            return Err(
                Error::unexpected("the chat template gave no token").with_excerpt(reply.body())
            );
        }
        Ok(ids)
    }

    /// The text of tokens, special ones included.
    async fn text_of(&self, ids: &[u32], io: &Io) -> Result<String> {
        let reply = io.send(self.post("/detokenize", &tokens::detokenize(ids))?).await?;
        Ok(decode::success::<Detokenized<'_>>(&reply)?.text.into_owned())
    }
}

export_plugin!(Sglang);
