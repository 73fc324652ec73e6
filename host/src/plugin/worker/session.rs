//! One session in a worker: its steps, and the watch over each of them.

use std::{sync::Arc, time::Duration};

use plugin_api::Error;
use tokio::time::sleep;

use super::{
    link::{Link, Step},
    watch::Overdue,
};
use crate::plugin::{
    action::{Pushed, protocol},
    load::Status,
};

/// Longest time without an answer while a step is due, for a plugin that only translates: a step of it is a matter of
/// microseconds.
const STEP_LIMIT: Duration = Duration::from_secs(10);
/// How long a step may go on after its session has ended, for a plugin that only translates.
const LATE_LIMIT: Duration = Duration::from_secs(1);
/// The same for one that computes, and looks now and then whether it is still wanted.
const LATE_COMPUTING_LIMIT: Duration = Duration::from_secs(10);

/// One session in a worker; ended when dropped.
pub struct Session {
    link: Arc<Link>,
    token: u64,
    computes: bool,
    begun: bool,
    /// How many steps the worker had been sent when the last one of this had.
    sent: u64,
    cpu_us: Option<u64>,
}

impl Session {
    /// A session that begins with its first step.
    pub(super) fn new(link: Arc<Link>, token: u64, computes: bool) -> Self {
        Self { link, token, computes, begun: false, sent: 0, cpu_us: None }
    }

    /// Gives the session one event; what it pushes is appended to `pushed`.
    ///
    /// # Errors
    /// The worker died, or the session did not begin.
    pub async fn step(
        &mut self,
        head: &[u8],
        body: &[u8],
        pushed: &mut Vec<Pushed>,
    ) -> Result<Status, Error> {
        let before = self.before(r#""event":"#);
        self.send(&[before.as_bytes(), head, b"}}"], body, pushed).await
    }

    /// The same for a head that need not be JSON.
    ///
    /// # Errors
    /// As for [`Self::step`].
    pub async fn step_raw(
        &mut self,
        head: &[u8],
        body: &[u8],
        pushed: &mut Vec<Pushed>,
    ) -> Result<Status, Error> {
        let before = self.before(&format!(r#""head_bytes":{}}}}}"#, head.len()));
        self.send(&[before.as_bytes()], &[head, body].concat(), pushed).await
    }

    /// CPU time of the last step in microseconds, if that is measured.
    pub fn cpu_us(&self) -> Option<u64> {
        self.cpu_us
    }

    /// The beginning of a frame's head, as far as this.
    fn before(&mut self, rest: &str) -> String {
        let begin = if self.begun { "" } else { r#""begin":true,"# };
        self.begun = true;
        format!(r#"{{"step":{{"session":"{}",{begin}{rest}"#, self.token)
    }

    async fn send(
        &mut self,
        head: &[&[u8]],
        body: &[u8],
        pushed: &mut Vec<Pushed>,
    ) -> Result<Status, Error> {
        let inner = self.link.inner();
        let (mut answer, sent) = inner.step(self.token, head, body)?;
        self.sent = sent;
        let answer = if self.computes {
            answer.await
        } else {
            tokio::select! {
                biased;
                answer = &mut answer => answer,
                // It is ended by this, which is its answer.
                () = inner.watch(self.token, sent, STEP_LIMIT) => answer.await,
            }
        };
        let Step { pushed: mut did, status, cpu_us } =
            answer.unwrap_or_else(|_| Err(protocol("the worker forgot the session")))?;
        self.cpu_us = cpu_us;
        if pushed.is_empty() {
            *pushed = did;
        } else {
            pushed.append(&mut did);
        }
        Ok(status)
    }

    /// Waits until its worker is dead, and says why.
    pub async fn dies(&self) -> Error {
        self.link.inner().dies().await
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let inner = self.link.inner();
        if !self.begun || !inner.end(self.token) {
            return;
        }
        // Its step goes on: for a while that is no fault.
        let (late, token, sent) = (Arc::clone(inner), self.token, self.sent);
        let computes = self.computes;
        inner.runtime().spawn(async move {
            if !computes {
                return late.watch(token, sent, LATE_LIMIT).await;
            }
            sleep(LATE_COMPUTING_LIMIT).await;
            // Its steps run beside each other, so that it waits for no other one.
            if late.goes_on(token) {
                late.kill(&Overdue::Stuck(LATE_COMPUTING_LIMIT).to_string());
            }
        });
    }
}
