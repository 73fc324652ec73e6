//! A plugin that uses what the contract had in version 1.0: whole and streamed replies, secrets, waits, deltas, limits,
//! batches, turns, wakes from a thread of its own, and every kind of request.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex},
    task::{Poll, Waker},
    thread,
    time::Duration,
};

use plugin_api::*;

#[derive(Deserialize, JsonSchema)]
#[serde(crate = "plugin_api::serde", deny_unknown_fields)]
#[schemars(crate = "plugin_api::schemars")]
struct Config {
    base_url: String,
}

struct Frozen {
    config: Config,
    host: Host,
}

impl Backend for Frozen {
    type Config = Config;

    fn open(config: Config, host: Host) -> Result<Self> {
        if config.base_url.is_empty() {
            return Err(Error::new(ErrorKind::InvalidRequest, "base_url: is empty"));
        }
        host.log(Level::Debug, "open");
        Ok(Self { config, host })
    }

    async fn generate(&self, request: &Generate<'_>, io: &Io) -> Result<Completion> {
        let prompt = text(&request.prompt)?;
        let text = if request.stream { self.streamed(&prompt, io).await? } else { self.whole(&prompt, io).await? };
        io.wait(Duration::from_millis(1)).await;
        io.again().await;
        let mut completion = Completion::new(text, "stop");
        let choice = completion.choices[0].clone();
        completion.choices = vec![choice; request.n.max(1) as usize];
        Ok(completion.with_usage(Some(prompt.len() as u64), Some(1)))
    }

    async fn loglikelihood(&self, request: &Loglikelihood<'_>, io: &Io) -> Result<Vec<Likelihood>> {
        self.whole(&text(&request.prompt)?, io).await?;
        Ok(request.continuations.iter().map(|text| likelihood(text)).collect())
    }

    async fn loglikelihood_rolling(&self, request: &Rolling<'_>, io: &Io) -> Result<Likelihood> {
        self.whole(request.text, io).await?;
        Ok(likelihood(request.text))
    }

    async fn health(&self, io: &Io) -> Result<Health> {
        self.whole("ready?", io).await?;
        Ok(Health { ready: true, detail: String::new() })
    }

    async fn describe(&self, _: &Io) -> Result<Description> {
        woken_by_a_thread().await;
        Ok(Description { model: Some("frozen".to_owned()), ..Description::default() })
    }

    async fn tokenize(&self, text: &str, _: &Io) -> Result<Vec<u32>> {
        Ok(text.bytes().map(u32::from).collect())
    }

    async fn render(&self, messages: &[Message<'_>], _: &Io) -> Result<String> {
        Ok(messages.iter().filter_map(Message::as_text).collect())
    }

    async fn embed(&self, texts: &[&str], _: &Io) -> Result<Vec<Vec<f32>>> {
        Ok(texts.iter().map(|text| vec![text.len() as f32]).collect())
    }
}

impl Frozen {
    fn ask<'a>(&'a self, body: &str) -> HttpRequest<'a> {
        let call = HttpRequest::post(self.config.base_url.as_str()).body(body.into());
        if self.host.has_secret("api_key") { call.bearer("api_key") } else { call }
    }

    async fn whole(&self, body: &str, io: &Io) -> Result<String> {
        let reply = io.send(self.ask(body)).await?;
        if !reply.is_success() {
            return Err(reply.error());
        }
        string(reply.body())
    }

    async fn streamed(&self, body: &str, io: &Io) -> Result<String> {
        let mut stream = io.stream(self.ask(body)).await?;
        if !stream.head().is_success() {
            return Err(stream.collect().await?.error());
        }
        let mut all = Vec::new();
        while let Some(chunk) = stream.chunk().await? {
            io.delta("more");
            all.extend_from_slice(&chunk);
        }
        string(&all)
    }
}

fn string(bytes: &[u8]) -> Result<String> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(Error::unexpected("the reply is no text").with_excerpt(bytes)),
    }
}

fn text(prompt: &Prompt<'_>) -> Result<String> {
    match prompt {
        Prompt::Text(text) => Ok((*text).to_owned()),
        Prompt::Messages(messages) => {
            let texts: Option<Vec<_>> = messages.iter().map(Message::as_text).collect();
            Ok(texts.ok_or_else(|| Error::unsupported("images"))?.join("\n"))
        }
    }
}

fn likelihood(text: &str) -> Likelihood {
    Likelihood {
        logprob: Some(-0.5 * text.len() as f64),
        tokens: text.len().max(1) as u32,
        greedy: Some(false),
        ..Likelihood::default()
    }
}

/// Waits for a thread of the plugin's own, which ends before this does.
async fn woken_by_a_thread() {
    let shared: Arc<Mutex<(bool, Option<Waker>)>> = Arc::default();
    let theirs = Arc::clone(&shared);
    let thread = thread::spawn(move || {
        let mut state = theirs.lock().unwrap();
        state.0 = true;
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    });
    poll_fn(|context| {
        let mut state = shared.lock().unwrap();
        if state.0 {
            return Poll::Ready(());
        }
        state.1 = Some(context.waker().clone());
        Poll::Pending
    })
    .await;
    let _ = thread.join();
}

export_plugin!(Frozen);
