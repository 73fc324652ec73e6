//! Waits for a backend's server: one that the host has started, or one that somebody else starts while it waits.
//! Whether it is the right server is not asked here.

use std::{io, sync::Arc, time::Duration};

use plugin_api::{Answer, Error, ErrorKind, Request};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use url::Url;

use super::{
    backend_error::BackendError,
    executor::ask_backend,
    retry::{RetryPolicy, is_retriable},
};
use crate::{
    config::BaseUrl, launch::server::Launched, plugin::instance::Instance, printer::Printer,
};

/// The pause after the first look; it doubles to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Longest time of one look.
const LOOK: Duration = Duration::from_secs(10);
/// Longest time to connect, where that is all that can be tried.
const CONNECT: Duration = Duration::from_secs(2);

/// A server that is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Waiting<'a> {
    /// The backend, or its replica, as messages name it.
    pub backend: &'a str,
    /// Where the server is.
    pub base_url: Option<&'a BaseUrl>,
    /// The plugin's side.
    pub instance: &'a Arc<Instance>,
    /// The server, if the host started it.
    pub launched: Option<&'a Launched>,
    /// Longest wait; zero if the server must be up.
    pub limit: Duration,
}

/// What a look shows.
enum Look {
    /// The server answers; what, is for others to judge.
    Up,
    NotYet(Error),
}

impl Waiting<'_> {
    /// Asks the plugin for the server's health until it is good, or until the server answers anything that time does
    /// not change. A plugin that knows no such question is asked who it is, once the server takes connections.
    ///
    /// # Errors
    /// [`BackendError::NotInTime`], or [`BackendError::ServerEnded`] as soon as a launched server ends.
    pub async fn wait(&self, printer: &Printer) -> Result<(), BackendError> {
        if self.limit.is_zero() {
            return Ok(());
        }
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut is_told = false;
        loop {
            let left = self.limit.saturating_sub(begun.elapsed());
            let error = match self.while_up(self.look(left)).await? {
                Look::Up => break,
                Look::NotYet(error) => error,
            };
            if !std::mem::replace(&mut is_told, true) {
                printer.note(&self.told());
            }
            let left = self.limit.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Err(self.not_in_time(error));
            }
            self.while_up(sleep(pause.min(left))).await?;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
        if is_told {
            let took = begun.elapsed().as_secs_f64();
            printer
                .note(&format!("backend `{}`: its server is up after {took:.1} s", self.backend));
        }
        Ok(())
    }

    /// Does something as long as a launched server lives.
    ///
    /// # Errors
    /// [`BackendError::ServerEnded`]
    pub async fn while_up<T>(&self, work: impl Future<Output = T>) -> Result<T, BackendError> {
        let Some(launched) = self.launched else { return Ok(work.await) };
        tokio::select! {
            // What another server at its address answers does not count.
            biased;
            end = launched.ended() => Err(BackendError::ServerEnded {
                backend: self.backend.to_owned(),
                end,
                log: launched.last_words(),
            }),
            done = work => Ok(done),
        }
    }

    async fn look(&self, left: Duration) -> Look {
        let limit = LOOK.min(left.max(LONGEST_PAUSE));
        let policy = RetryPolicy {
            max_retries: 0,
            attempt_timeout: limit,
            sample_timeout: limit,
            loading_timeout: Duration::ZERO,
        };
        let ask = |request| ask_backend(self.instance, request, &policy, &|_, _| {});
        let answer = match ask(Request::Health).await {
            Err(error) if error.kind == ErrorKind::Unsupported => {
                if let Some(BaseUrl::Server(url)) = self.base_url
                    && let Err(error) = listens(url).await
                {
                    let message = format!("nothing listens at {url}: {error}");
                    return Look::NotYet(Error::new(ErrorKind::Transport, message));
                }
                ask(Request::Describe).await
            }
            answer => answer,
        };
        seen(answer)
    }

    fn told(&self) -> String {
        let longest = humantime::format_duration(self.limit);
        let output = match self.launched {
            Some(launched) => format!("; its output goes to {}", launched.log().display()),
            None => String::new(),
        };
        format!("backend `{}`: waiting for its server, {longest} at most{output}", self.backend)
    }

    fn not_in_time(&self, error: Error) -> BackendError {
        BackendError::NotInTime {
            backend: self.backend.to_owned(),
            at: self.base_url.map(|url| format!(" ({url})")).unwrap_or_default(),
            waited: self.limit,
            error,
            log: self.launched.map(Launched::last_words).unwrap_or_default(),
        }
    }
}

fn seen(answer: Result<Answer, Error>) -> Look {
    match answer {
        Ok(Answer::Health(health)) if !health.ready => {
            let detail = if health.detail.is_empty() { "it says so" } else { &health.detail };
            Look::NotYet(Error::new(ErrorKind::Loading, detail))
        }
        Ok(_) => Look::Up,
        Err(error) if is_retriable(error.kind) => Look::NotYet(error),
        // A key that is refused, a route that is not there: a server says so.
        Err(_) => Look::Up,
    }
}

/// Connects to where a URL is.
///
/// # Errors
/// Why it cannot.
pub(super) async fn listens(url: &Url) -> io::Result<()> {
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Err(io::Error::other("it names no host"));
    };
    // An IPv6 address stands in brackets in a URL only.
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let stream = timeout(CONNECT, TcpStream::connect((host, port))).await??;
    // On one machine, a port that nobody has may be given to the very socket that looks for it.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use plugin_api::Health;

    use super::*;

    #[test]
    fn only_what_time_may_change_is_waited_for() {
        let health = |ready| Ok(Answer::Health(Health { ready, detail: String::new() }));
        assert!(matches!(seen(health(true)), Look::Up));
        assert!(matches!(seen(health(false)), Look::NotYet(_)));
        for kind in ErrorKind::ALL {
            let waits = matches!(seen(Err(Error::new(*kind, "x"))), Look::NotYet(_));
            assert_eq!(waits, is_retriable(*kind), "{kind}");
        }
    }

    #[tokio::test]
    async fn what_listens_is_told_from_what_does_not() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = std::net::TcpListener::bind(address) else { continue };
            let url = Url::parse(&format!("http://{}/v1", listener.local_addr().unwrap())).unwrap();
            assert!(listens(&url).await.is_ok(), "{url}");
            drop(listener);
            assert!(listens(&url).await.is_err(), "{url}");
        }
    }
}
