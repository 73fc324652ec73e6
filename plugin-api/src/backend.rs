//! The trait that an author implements: ordinary async Rust.

use std::future::Future;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{
    completion::{Answer, Completion},
    error::{Error, Result},
    host::Host,
    io::Io,
    join::join_all,
    message::{Description, Health, Held, Likelihood},
    request::{Generate, Loglikelihood, Message, Rolling},
};

/// A vendor's backend. One value is one configured backend; its requests run concurrently.
///
/// Await only what [`Io`] gives, or something that another thread of the plugin wakes: there is no
/// runtime here, so tokio's timers and sockets do not work.
///
/// ```
/// use plugin_api::*;
///
/// struct Parrot;
///
/// impl Backend for Parrot {
///     type Config = ();
///
///     fn open(_config: (), _host: Host) -> Result<Self> {
///         Ok(Self)
///     }
///
///     async fn generate(&self, request: &Generate<'_>, _io: &Io) -> Result<Completion> {
///         Ok(Completion::new(request.prompt.as_text()?, FinishReason::Stop))
///     }
/// }
/// ```
///
/// Everything else has a default. What a backend can do beside is what its manifest declares:
///
/// ```
/// use plugin_api::*;
///
/// struct Acme {
///     base_url: String,
/// }
///
/// impl Acme {
///     /// What the API says to `value`.
///     async fn ask<T: serde::de::DeserializeOwned>(
///         &self,
///         path: &str,
///         value: serde_json::Value,
///         io: &Io,
///     ) -> Result<T> {
///         let call = HttpRequest::post(format!("{}/{path}", self.base_url));
///         let reply = io.send(call.json(&value)?).await?;
///         if !reply.is_success() {
///             return Err(reply.error());
///         }
///         reply.json()
///     }
/// }
///
/// impl Backend for Acme {
/// #   type Config = String;
/// #   fn open(base_url: String, _: Host) -> Result<Self> { Ok(Self { base_url }) }
/// #   async fn generate(&self, _: &Generate<'_>, _: &Io) -> Result<Completion> { Err(Error::unsupported("text")) }
///     // …
///     async fn loglikelihood_rolling(&self, request: &Rolling<'_>, io: &Io) -> Result<Likelihood> {
///         let logprobs: Vec<f64> = self.ask("score", json!(request.text), io).await?;
///         let (logprob, tokens) = (logprobs.iter().sum(), logprobs.len() as u32);
///         Ok(Likelihood { logprob: Some(logprob), tokens, ..Likelihood::default() })
///     }
///
///     // One after the other, in place of all at once.
///     async fn loglikelihood_batch(
///         &self,
///         requests: &[Loglikelihood<'_>],
///         io: &Io,
///         answers: &Answers<'_, Vec<Likelihood>>,
///     ) {
///         for (item, request) in (0..).zip(requests) {
///             answers.put(item, self.loglikelihood(request, &io.for_item(item)).await);
///         }
///     }
///
///     async fn tokenize(&self, text: &str, io: &Io) -> Result<Vec<u32>> {
///         self.ask("tokenize", json!(text), io).await
///     }
///
///     async fn render(&self, messages: &[Message<'_>], _io: &Io) -> Result<String> {
///         let text = |message: &Message<'_>| message.as_text().map(|text| format!("{}: {text}\n", message.role));
///         let texts: Option<String> = messages.iter().map(text).collect();
///         texts.ok_or_else(|| Error::unsupported("messages with images"))
///     }
///
///     async fn embed(&self, texts: &[&str], io: &Io) -> Result<Vec<Vec<f32>>> {
///         self.ask("embed", json!(texts), io).await
///     }
///
///     async fn health(&self, io: &Io) -> Result<Health> {
///         let reply = io.send(HttpRequest::get(format!("{}/health", self.base_url))).await?;
///         Ok(Health { ready: reply.is_success(), ..Health::default() })
///     }
///
///     async fn describe(&self, io: &Io) -> Result<Description> {
///         let model: String = self.ask("model", json!(null), io).await?;
///         Ok(Description { model: Some(model), ..Description::default() })
///     }
///
///     // What an earlier run has left is given back before this one rents its own.
///     async fn prepare(&self, held: &[Held], io: &Io) -> Result<()> {
///         self.release(held, io).await?;
///         io.hold("machine", &json!({ "id": "eval-7" })).await?;
///         self.ask("rent", json!("eval-7"), io).await
///     }
///
///     async fn release(&self, held: &[Held], io: &Io) -> Result<()> {
///         for one in held {
///             let _: () = self.ask("give-back", one.note["id"].clone(), io).await?;
///             io.free(&one.name).await?;
///         }
///         Ok(())
///     }
/// }
///
/// use plugin_api::testkit::{Scripted, Stage};
/// let stage = Stage::<Acme>::open(json!("https://api.acme.test"));
/// let played = stage.ask(Request::Tokenize("Hello"), Scripted::json(&json!([1, 263])));
/// assert!(matches!(played.answer(), Answer::Tokens(ids) if ids == &[1, 263]));
/// ```
pub trait Backend: Send + Sync + Sized + 'static {
    /// The `config` of the backend's table in the run file, with the table's own `base_url` and `model` if there are
    /// fields of that name. Its JSON Schema is part of the manifest.
    type Config: DeserializeOwned + JsonSchema;

    /// Makes a backend from its configuration. Does no I/O, except to assets that the host grants.
    ///
    /// # Errors
    /// The configuration makes no sense; the message names the key.
    fn open(config: Self::Config, host: Host) -> Result<Self>;

    /// Generates `request.n` choices.
    fn generate(
        &self,
        request: &Generate<'_>,
        io: &Io,
    ) -> impl Future<Output = Result<Completion>> + Send;

    /// Scores each continuation after the shared context; the answers in the same order.
    fn loglikelihood(
        &self,
        request: &Loglikelihood<'_>,
        io: &Io,
    ) -> impl Future<Output = Result<Vec<Likelihood>>> + Send {
        let _ = (request, io);
        std::future::ready(Err(Error::unsupported("log-likelihood")))
    }

    /// Scores every token of a text once.
    fn loglikelihood_rolling(
        &self,
        request: &Rolling<'_>,
        io: &Io,
    ) -> impl Future<Output = Result<Likelihood>> + Send {
        let _ = (request, io);
        std::future::ready(Err(Error::unsupported("rolling log-likelihood")))
    }

    /// Several generations in one session. By default they run concurrently, each on its own.
    fn generate_batch(
        &self,
        requests: &[Generate<'_>],
        io: &Io,
        answers: &Answers<'_, Completion>,
    ) -> impl Future<Output = ()> + Send {
        async move {
            let items = requests.iter().zip(0..).map(|(request, item)| async move {
                let io = io.for_item(item);
                answers.put(item, self.generate(request, &io).await);
            });
            join_all(items).await;
        }
    }

    /// Several scorings in one session. By default they run concurrently, each on its own.
    fn loglikelihood_batch(
        &self,
        requests: &[Loglikelihood<'_>],
        io: &Io,
        answers: &Answers<'_, Vec<Likelihood>>,
    ) -> impl Future<Output = ()> + Send {
        async move {
            let items = requests.iter().zip(0..).map(|(request, item)| async move {
                let io = io.for_item(item);
                answers.put(item, self.loglikelihood(request, &io).await);
            });
            join_all(items).await;
        }
    }

    /// Whether the server is ready.
    fn health(&self, io: &Io) -> impl Future<Output = Result<Health>> + Send {
        let _ = io;
        std::future::ready(Err(Error::unsupported("health")))
    }

    /// Comes once before the first sample, with what an earlier, broken-off run of the same directory still
    /// holds. What costs until it is freed is noted by [`Io::hold`] before it is made.
    fn prepare(&self, held: &[Held], io: &Io) -> impl Future<Output = Result<()>> + Send {
        let _ = (held, io);
        std::future::ready(Ok(()))
    }

    /// Comes once after the last sample, also after a failed or interrupted run, or in a later process that
    /// cleans up after one that was killed: `held` is all that it may rely on. Each resource that is freed is
    /// told by [`Io::free`].
    fn release(&self, held: &[Held], io: &Io) -> impl Future<Output = Result<()>> + Send {
        let _ = (held, io);
        std::future::ready(Ok(()))
    }

    /// What is behind the backend, as far as it can tell.
    fn describe(&self, io: &Io) -> impl Future<Output = Result<Description>> + Send {
        let _ = io;
        std::future::ready(Ok(Description::default()))
    }

    /// Token ids of a text, special tokens added as the server adds them.
    fn tokenize(&self, text: &str, io: &Io) -> impl Future<Output = Result<Vec<u32>>> + Send {
        let _ = (text, io);
        std::future::ready(Err(Error::unsupported("tokenize")))
    }

    /// Chat messages as the text that the model sees.
    fn render(
        &self,
        messages: &[Message<'_>],
        io: &Io,
    ) -> impl Future<Output = Result<String>> + Send {
        let _ = (messages, io);
        std::future::ready(Err(Error::unsupported("render")))
    }

    /// One vector a text.
    fn embed(&self, texts: &[&str], io: &Io) -> impl Future<Output = Result<Vec<Vec<f32>>>> + Send {
        let _ = (texts, io);
        std::future::ready(Err(Error::unsupported("embed")))
    }
}

/// Where a batch puts its answers, in any order, each as soon as it is there.
///
/// ```
/// use plugin_api::{Answers, Completion, Error, Generate};
///
/// fn answer_each(requests: &[Generate<'_>], answers: &Answers<'_, Completion>) {
///     for (item, request) in (0..).zip(requests) {
///         let text = request.prompt.as_text();
///         answers.put(item, text.map(|text| Completion::new(text, "stop")));
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Answers<'a, T> {
    io: &'a Io,
    wrap: fn(T) -> Answer,
}

impl<'a, T> Answers<'a, T> {
    pub(crate) fn new(io: &'a Io, wrap: fn(T) -> Answer) -> Self {
        Self { io, wrap }
    }

    /// Answers the item of this number. An item that is never answered fails as `protocol`.
    pub fn put(&self, item: u32, result: Result<T>) {
        self.io.answer(item, result.map(self.wrap));
    }
}
