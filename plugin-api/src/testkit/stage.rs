//! A host in small, to which a test gives requests and a server.

#![allow(clippy::panic, reason = "a test helper fails by panicking")]

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use super::{Fault, Played, Random, Server, granted, open_with, play};
use crate::{backend::Backend, request::Request};

/// A host in small: plays requests to their end against a server of the test's own.
///
/// Time is that of the test: a wait or a late reply moves a clock forward and costs nothing. Only where a thread of
/// the backend's own must wake the session is there a real wait, with a bound. A session that breaks the contract
/// fails the test with the number of the step: see [`Fault`].
///
/// ```
/// # mod echo { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/echo.rs")); }
/// # use echo::Echo;
/// use std::time::Duration;
/// use plugin_api::{Generate, Prompt, Request, json};
/// use plugin_api::testkit::{Scripted, Sent, Stage};
///
/// let stage = Stage::<Echo>::open(json!({ "base_url": "http://test" }));
/// let played = stage.ask(
///     Request::Generate(Generate::new(Prompt::Text("Hello"))),
///     |sent: &Sent| {
///         let text = sent.json()["text"].clone();
///         Scripted::json(&json!({ "text": text })).after(Duration::from_secs(20))
///     },
/// );
/// assert_eq!(played.completion().choices[0].text, "Hello");
/// assert_eq!(played.elapsed, Duration::from_secs(20));
/// ```
///
/// Its bounds can be moved, and a fault looked at:
///
/// ```
/// # mod echo { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/echo.rs")); }
/// # use echo::Echo;
/// # use std::time::Duration;
/// # use plugin_api::{Generate, Prompt, Request, json};
/// # use plugin_api::testkit::{Scripted, Stage};
/// let stage = Stage::<Echo>::open(json!({ "base_url": "http://test" }))
///     .deadline(Duration::from_secs(60)) // on the clock of the test
///     .patience(Duration::from_secs(1)) // of the real time that a thread of the backend's takes
///     .turns(100)
///     .steps(1000)
///     .shuffled(7)
///     .omits_empty();
/// let hello = [Request::Generate(Generate::new(Prompt::Text("Hello")))];
/// let late = Scripted::json(&json!({ "text": "Hello" })).after(Duration::from_secs(90));
/// assert!(stage.play(&hello, late)?.timed_out);
/// # Ok::<(), plugin_api::testkit::Fault>(())
/// ```
#[derive(Debug)]
pub struct Stage<B> {
    pub(super) backend: Arc<B>,
    pub(super) deadline: Duration,
    pub(super) patience: Duration,
    pub(super) turns: u32,
    pub(super) steps: u64,
    pub(super) random: Option<Random>,
    pub(super) omits_empty: bool,
}

impl<B: Backend> Stage<B> {
    /// A stage for this backend; several may share one.
    ///
    /// ```
    /// # mod echo { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/echo.rs")); }
    /// # use echo::Echo;
    /// # use plugin_api::{Generate, Prompt, Request, json};
    /// # use plugin_api::testkit::{Scripted, Stage};
    /// use std::sync::Arc;
    ///
    /// let calm = Stage::<Echo>::open(json!({ "base_url": "http://test" }));
    /// let shuffled = Stage::new(Arc::clone(calm.backend())).shuffled(7);
    /// for stage in [calm, shuffled] {
    ///     let hello = Request::Generate(Generate::new(Prompt::Text("Hello")));
    ///     let played = stage.ask(hello, Scripted::json(&json!({ "text": "Hello" })));
    ///     assert_eq!(played.completion().choices[0].text, "Hello");
    /// }
    /// ```
    pub fn new(backend: Arc<B>) -> Self {
        Self {
            backend,
            deadline: Duration::from_secs(3600),
            patience: Duration::from_secs(10),
            turns: 1000,
            steps: 100_000,
            random: None,
            omits_empty: false,
        }
    }

    /// A stage for a backend of this configuration that is granted nothing.
    ///
    /// # Panics
    /// The backend does not open.
    #[track_caller]
    pub fn open(config: Value) -> Self {
        Self::granted(config, &[])
    }

    /// A stage for a backend of this configuration that has the secrets of these slots.
    ///
    /// # Panics
    /// The backend does not open.
    #[track_caller]
    pub fn granted(config: Value, secrets: &[&str]) -> Self {
        match open_with::<B>(granted(config, secrets)) {
            Ok(backend) => Self::new(Arc::new(backend)),
            Err(error) => panic!("the backend does not open: {error}"),
        }
    }

    /// The backend.
    pub fn backend(&self) -> &Arc<B> {
        &self.backend
    }

    /// The host ends a session after this time on the clock of the test, an hour unless it is said.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long, in real time, a wake by another thread is waited for; ten seconds unless it is said.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How many turns in a row a session may ask for while nothing else happens; a thousand unless it is said.
    #[must_use]
    pub fn turns(mut self, turns: u32) -> Self {
        self.turns = turns;
        self
    }

    /// How many steps a session may take; a hundred thousand unless it is said.
    #[must_use]
    pub fn steps(mut self, steps: u64) -> Self {
        self.steps = steps;
        self
    }

    /// Where events of several calls come at the same time, chance of this seed says in which order. Else they come
    /// in the order of the calls.
    #[must_use]
    pub fn shuffled(mut self, seed: u64) -> Self {
        self.random = Some(Random::new(seed));
        self
    }

    /// The vendor's wire leaves out what is empty (as protocol buffers do), so that an answer without a text may be all
    /// that the model said: [`super::garbage`] then takes it for one.
    #[must_use]
    pub fn omits_empty(mut self) -> Self {
        self.omits_empty = true;
        self
    }

    /// Plays one request to its end.
    ///
    /// # Panics
    /// The backend breaks the contract.
    #[track_caller]
    pub fn ask(&self, request: Request<'_>, server: impl Server) -> Played {
        self.batch(&[request], server)
    }

    /// Plays the items of one session to their end.
    ///
    /// # Panics
    /// The backend breaks the contract.
    #[track_caller]
    pub fn batch(&self, requests: &[Request<'_>], server: impl Server) -> Played {
        match self.play(requests, server) {
            Ok(played) => played,
            Err(fault) => panic!("{fault}"),
        }
    }

    /// As [`Stage::batch`], for who wants to look at the fault.
    ///
    /// # Errors
    /// The backend breaks the contract.
    pub fn play(&self, requests: &[Request<'_>], mut server: impl Server) -> Result<Played, Fault> {
        play::whole(self, requests, &mut server, None).map(|(played, _)| played)
    }
}
