//! Waiting for an endpoint: how long, and what it says of itself meanwhile. Reads no clock: time is counted by the
//! waits. Knows nothing of the management API.

use std::time::Duration;

use plugin_api::{Error, ErrorKind, HttpRequest, Io, Result};

use crate::call::{Caller, with_way_out};

/// Time left for freeing what is held before the host's deadline, in seconds.
const MARGIN_S: u64 = 20;

/// The time that is left for waiting, counted by the waits.
#[derive(Debug)]
pub struct Patience {
    left_s: u64,
    given_s: u64,
    poll_s: u64,
}

impl Patience {
    /// The time that the run file gives, or less if the host ends the session before.
    pub fn new(io: &Io, wait_timeout_s: u32, poll_interval_s: u32) -> Self {
        let deadline = io.deadline().map_or(u64::MAX, |deadline| deadline.as_secs());
        let given_s = u64::from(wait_timeout_s).min(deadline.saturating_sub(MARGIN_S));
        Self { left_s: given_s, given_s, poll_s: u64::from(poll_interval_s.max(1)) }
    }

    /// Waits for the next look; false if the time is over.
    pub async fn wait(&mut self, io: &Io) -> bool {
        if self.left_s == 0 {
            return false;
        }
        let step = self.poll_s.min(self.left_s);
        self.left_s -= step;
        io.wait(Duration::from_secs(step)).await;
        true
    }

    /// The failure of a wait that took too long. It is none that is tried again: that would only double the time
    /// that the run file gives.
    pub fn over(&self, last: &str) -> Error {
        let given = self.given_s;
        Error::new(
            ErrorKind::Other,
            format!(
                "the endpoint was not ready within {given} s (last: {last}); `wait_timeout` gives it more time"
            ),
        )
    }
}

/// What an endpoint says of itself.
#[derive(Debug)]
pub enum Readiness {
    /// It answers.
    Ready,
    /// It does not yet, and why.
    NotYet(String),
    /// It answers, but has no such route.
    NoRoute(Error),
}

/// Asks the endpoint itself.
///
/// # Errors
/// What no waiting mends: a refused token, an origin that is not allowed.
pub async fn health(caller: &Caller, url: &str, route: &str, io: &Io) -> Result<Readiness> {
    let reply = match io.send(caller.dress(HttpRequest::get(format!("{url}{route}")))).await {
        Ok(reply) => reply,
        Err(error) if matches!(error.kind, ErrorKind::Transport | ErrorKind::Timeout) => {
            return Ok(Readiness::NotYet(error.to_string()));
        }
        Err(error) => return Err(error),
    };
    if reply.is_success() {
        return Ok(Readiness::Ready);
    }
    let error = wire::openai::failure::of(&reply);
    match reply.status {
        401..=403 => Err(with_way_out(error)),
        404 | 405 => Ok(Readiness::NoRoute(error)),
        status => Ok(Readiness::NotYet(format!("{route} answers {status}"))),
    }
}
