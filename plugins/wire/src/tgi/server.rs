//! One server that speaks TGI's routes, as calls: which ones a request needs, in which order, and what is kept
//! between requests. What they look like is [`encode`]'s and [`decode`]'s business.
//!
//! Nothing here retries or reads a clock. The routes are those of version 3.3; chat goes through the server's
//! template and then as text, so that there is one way for all requests.
//!
//! BOS is the server's: it puts its own before every text, so a prompt holds none. A rolling log-likelihood
//! leaves out the first token of the whole, which is that BOS, or the text's own first token where the server
//! puts none.

use std::{
    borrow::Cow,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use plugin_api::{
    Choice, Completion, Description, Error, ErrorKind, Generate, Health, Host, HttpRequest, Io,
    Level, Likelihood, Loglikelihood, Message, Prompt, Reply, Result, Rolling, SseParser, Usage,
    join_all,
};
use serde::Serialize;

use super::{
    Defaults, chat,
    decode::{self, Info, Scored, Templated, TextToken},
    encode::{self, Generation},
    failure, likelihood,
    stream::{Collector, Ended},
};
use crate::{json, object::Object, text};

/// One server that speaks TGI's routes.
#[derive(Debug)]
pub struct Server {
    base_url: String,
    defaults: Defaults,
    host: Host,
    /// The slot of the key, if there is one to send.
    key: Option<&'static str>,
    headers: Vec<(String, String)>,
    /// Ids of the tokens that the server puts before every text, once they are known. They are a property of
    /// the served model, so that it does not matter which session asks.
    leading: OnceLock<Vec<u32>>,
    warned: AtomicBool,
}

impl Server {
    /// The server at `base_url`, which ends without a slash. `slot` is sent as a bearer token if the host has
    /// a secret for it.
    pub fn new(base_url: String, defaults: Defaults, host: Host, slot: &'static str) -> Self {
        let key = host.has_secret(slot).then_some(slot);
        Self {
            base_url,
            defaults,
            host,
            key,
            headers: Vec::new(),
            leading: OnceLock::new(),
            warned: AtomicBool::new(false),
        }
    }

    /// Sends these headers with every request; names in lower case.
    #[must_use]
    pub fn with_headers(mut self, headers: Vec<(String, String)>) -> Self {
        self.headers = headers;
        self
    }

    /// Generates; each choice by a request of its own.
    ///
    /// # Errors
    /// What [`failure`] makes of a reply, and what [`Generation::new`] refuses.
    pub async fn generate(&self, request: &Generate<'_>, io: &Io) -> Result<Completion> {
        let mut generation = Generation::new(&self.defaults, request)?;
        let prompt = self.prompt(&request.prompt, io).await?;
        let mut calls = Vec::new();
        for choice in 0..request.n.max(1) {
            // Deltas are an item's, not a choice's: only the first choice is streamed.
            let streamed = request.stream && choice == 0;
            let route = if streamed { "/generate_stream" } else { "/generate" };
            let body = generation.body(&prompt, request.seed, choice);
            calls.push((self.post(route, &body)?, streamed));
        }
        let choices = calls.into_iter().map(|(call, streamed)| {
            let generation = &generation;
            async move {
                if streamed {
                    streamed_choice(call, generation, io).await
                } else {
                    let reply = io.send(call).await?;
                    decode::choice(&reply, &generation.stop, generation.logprobs)
                }
            }
        });
        let mut completion = Completion::default();
        for choice in join_all(choices).await {
            let (choice, usage) = choice?;
            completion.choices.push(choice);
            completion.usage.add(usage);
        }
        completion.changed = generation.changed;
        Ok(completion)
    }

    /// Scores each continuation after the shared context.
    ///
    /// # Errors
    /// As [`likelihood::after_context`], and what [`failure`] makes of a reply.
    pub async fn loglikelihood(
        &self,
        request: &Loglikelihood<'_>,
        io: &Io,
    ) -> Result<Vec<Likelihood>> {
        let prompt = self.prompt(&request.prompt, io).await?;
        let (context, _) = plugin_api::split_context(&prompt);
        if context.len() == prompt.len() && request.continuations.contains(&"") {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                "an empty continuation has no score",
            ));
        }
        // All calls are under way at once: none needs another's answer.
        let context = (!context.is_empty())
            .then(|| self.post("/tokenize", &encode::tokenize(context)))
            .transpose()?
            .map(|call| io.send(call));
        let mut wholes = Vec::with_capacity(request.continuations.len());
        for continuation in &request.continuations {
            let body = encode::scoring(&self.defaults, &prompt, continuation);
            wholes.push(io.send(self.post("/generate", &body)?));
        }
        let context = match context {
            Some(reply) => Cow::Owned(ids(&reply.await?)?),
            None => Cow::Borrowed(self.leading(io).await?),
        };
        let wholes = join_all(wholes).await.into_iter();
        wholes
            .map(|reply| {
                let reply = reply?;
                let Object(Scored { details }) = decode::success(&reply)?;
                likelihood::after_context(&context, &details.prefill, request.token_logprobs)
            })
            .collect()
    }

    /// Scores every token of a text that follows another.
    ///
    /// # Errors
    /// As [`likelihood::rolling`], and what [`failure`] makes of a reply.
    pub async fn loglikelihood_rolling(
        &self,
        request: &Rolling<'_>,
        io: &Io,
    ) -> Result<Likelihood> {
        let body = encode::scoring(&self.defaults, request.text, "");
        let reply = io.send(self.post("/generate", &body)?).await?;
        let Object(Scored { details }) = decode::success(&reply)?;
        likelihood::rolling(&details.prefill)
    }

    /// Whether the server answers for its model.
    ///
    /// # Errors
    /// A status that means neither ready nor not yet.
    pub async fn health(&self, io: &Io) -> Result<Health> {
        let reply = io.send(self.get("/health")).await?;
        if reply.is_success() {
            return Ok(Health { ready: true, detail: String::new() });
        }
        let error = failure::of(&reply);
        match reply.status {
            502..=504 => Ok(Health { ready: false, detail: error.to_string() }),
            _ => Err(error),
        }
    }

    /// What `/info` says, and whether the server puts a token before a text.
    ///
    /// # Errors
    /// What [`failure`] makes of the reply.
    pub async fn describe(&self, io: &Io) -> Result<Description> {
        let reply = io.send(self.get("/info"));
        // What the server puts before a text is worth knowing, but not worth a failure.
        let leading = self.leading(io).await.ok();
        let reply = reply.await?;
        let Object(info): Object<Info<'_>> = decode::success(&reply)?;
        Ok(Description {
            model: Some(info.model_id.into_owned()),
            engine: Some("text-generation-inference".to_owned()),
            version: info.version.map(|version| version.0.into_owned()),
            context_tokens: info.max_total_tokens,
            bos: leading.map(|ids| if ids.is_empty() { "none" } else { "bos" }.to_owned()),
            ..Description::default()
        })
    }

    /// Token ids of a text, with what the server puts before it.
    ///
    /// # Errors
    /// What [`failure`] makes of the reply.
    pub async fn tokenize(&self, text: &str, io: &Io) -> Result<Vec<u32>> {
        ids(&io.send(self.post("/tokenize", &encode::tokenize(text))?).await?)
    }

    /// Messages as the text that `/generate` takes.
    ///
    /// # Errors
    /// `unsupported` for an image; what [`failure`] makes of a reply.
    pub async fn render(&self, messages: &[Message<'_>], io: &Io) -> Result<String> {
        let (messages, prefix) = text::split_prefix(messages)?;
        let reply = io.send(self.post("/chat_tokenize", &encode::chat(messages)?)?);
        let leading = self.leading(io).await?;
        let reply = reply.await?;
        let Object(templated): Object<Templated<'_>> = decode::success(&reply)?;
        let text = chat::without_leading(&templated, leading).unwrap_or_else(|| {
            if !self.warned.swap(true, Ordering::Relaxed) {
                self.host.log(
                    Level::Warn,
                    "the chat template begins with the BOS token and the server adds another; the \
                     server's slow tokenizer does not say which text to take out",
                );
            }
            &templated.templated_text
        });
        let mut whole = String::with_capacity(text.len() + prefix.len());
        whole.push_str(text);
        whole.push_str(&prefix);
        Ok(whole)
    }

    fn get(&self, route: &str) -> HttpRequest<'_> {
        self.with_its_headers(HttpRequest::get(format!("{}{route}", self.base_url)))
    }

    fn post<T: Serialize>(&self, route: &str, body: &T) -> Result<HttpRequest<'_>> {
        let call = HttpRequest::post(format!("{}{route}", self.base_url));
        json::body(self.with_its_headers(call), body)
    }

    fn with_its_headers<'a>(&'a self, mut call: HttpRequest<'a>) -> HttpRequest<'a> {
        if let Some(slot) = self.key {
            call = call.bearer(slot);
        }
        for (name, value) in &self.headers {
            call = call.header(name, value);
        }
        call
    }

    /// A prompt as the text that the server gets.
    async fn prompt<'a>(&self, prompt: &Prompt<'a>, io: &Io) -> Result<Cow<'a, str>> {
        match prompt {
            Prompt::Text(text) => Ok(Cow::Borrowed(text)),
            Prompt::Messages(messages) => Ok(Cow::Owned(self.render(messages, io).await?)),
        }
    }

    /// The tokens that the server puts before every text: those that two texts of one letter share.
    async fn leading(&self, io: &Io) -> Result<&[u32]> {
        if let Some(known) = self.leading.get() {
            return Ok(known);
        }
        let a = io.send(self.post("/tokenize", &encode::tokenize("a"))?);
        let b = io.send(self.post("/tokenize", &encode::tokenize("b"))?);
        let (a, b) = (ids(&a.await?)?, ids(&b.await?)?);
        if a.is_empty() || b.is_empty() || a == b {
            // Remembered, this would leave a second BOS in every prompt.
            return Err(Error::unexpected(format!(
                "the server's /tokenize makes {a:?} of \"a\" and {b:?} of \"b\""
            )));
        }
        Ok(self.leading.get_or_init(|| likelihood::common_prefix(&a, &b)))
    }
}

async fn streamed_choice(
    call: HttpRequest<'_>,
    generation: &Generation<'_>,
    io: &Io,
) -> Result<(Choice, Usage)> {
    let mut stream = io.stream(call).await?;
    if !stream.head().is_success() {
        return Err(failure::of(&stream.collect().await?));
    }
    let mut events = SseParser::default();
    let mut collector = Collector::new(&generation.stop, generation.logprobs);
    let mut page = None;
    let mut first = true;
    let ended = loop {
        let Some(chunk) = stream.chunk().await? else {
            // An event that the end of the stream cut off is no event.
            let last = events.finish().and_then(|event| collector.take(&event.data).ok().flatten());
            break last.ok_or_else(|| page.unwrap_or_else(|| collector.broken_off()))?;
        };
        if std::mem::take(&mut first) && crate::phrases::is_markup(&chunk) {
            page = Some(Error::unexpected("a page came instead of events").with_excerpt(&chunk));
        }
        let mut ended = None;
        for event in events.push(&chunk) {
            ended = collector.take(&event.data)?;
            if ended.is_some() {
                break;
            }
        }
        if let Some(ended) = ended {
            break ended;
        }
        pass_on(io, collector.delta());
    };
    let Ended { choice, usage, by_server } = ended;
    pass_on(io, collector.rest(&choice));
    if by_server {
        // A proxy may keep the stream open; the answer is whole without its end.
        stream.drain(io, Duration::from_millis(100)).await;
    }
    Ok((choice, usage))
}

fn pass_on(io: &Io, text: &str) {
    if !text.is_empty() {
        io.delta(text);
    }
}

fn ids(reply: &Reply) -> Result<Vec<u32>> {
    let tokens: Vec<TextToken<'_>> = decode::success(reply)?;
    Ok(tokens.into_iter().map(|token| token.id).collect())
}
