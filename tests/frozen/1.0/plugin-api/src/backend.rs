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
pub trait Backend: Send + Sync + Sized + 'static {
    /// The backend's table in the run file. Its JSON Schema is part of the manifest.
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
