//! What is on its way to a session, in the order of a clock that costs no time.

use std::time::Duration;

use super::{Random, Scripted};
use crate::{
    error::ErrorKind,
    message::{CallRef, Decimal, Event, ReplyHead, TransportError},
};

/// An event on its way.
#[derive(Clone, Debug)]
pub(super) enum Coming {
    Reply { status: u16, headers: Vec<(String, String)>, body: Vec<u8> },
    Chunk(Vec<u8>),
    End,
    Broken(ErrorKind),
    Elapsed,
    Stored,
}

impl Coming {
    /// As the session gets it: head, and body.
    pub(super) fn event(&self, call: u64) -> (Event<'_>, &[u8]) {
        let call = Decimal(call);
        match self {
            Self::Reply { status, headers, body } => {
                let headers = headers.iter().map(|(n, v)| (n.as_str().into(), v.as_str().into()));
                let head = ReplyHead { call, status: *status, headers: headers.collect() };
                (Event::Reply(head), body)
            }
            Self::Chunk(bytes) => (Event::Chunk(CallRef { call }), bytes),
            Self::End => (Event::End(CallRef { call }), &[]),
            Self::Broken(kind) => {
                let message = "the test breaks it off here".into();
                (Event::TransportError(TransportError { call, kind: *kind, message }), &[])
            }
            Self::Elapsed => (Event::Elapsed(CallRef { call }), &[]),
            Self::Stored => (Event::Stored(CallRef { call }), &[]),
        }
    }
}

#[derive(Debug)]
struct Due {
    at: Duration,
    call: u64,
    coming: Coming,
}

/// Events by the time at which they come; of those of one time and call, in order.
#[derive(Debug, Default)]
pub(super) struct Queue {
    due: Vec<Due>,
    pub(super) now: Duration,
}

impl Queue {
    pub(super) fn push(&mut self, delay: Duration, call: u64, coming: Coming) {
        self.due.push(Due { at: self.now.saturating_add(delay), call, coming });
    }

    /// Puts in what a server does with a call, within the time that the call allows.
    pub(super) fn answer(
        &mut self,
        call: u64,
        stream: bool,
        timeout: Duration,
        scripted: &Scripted,
    ) {
        let after = scripted.after;
        if !timeout.is_zero() && after > timeout {
            return self.push(timeout, call, Coming::Broken(ErrorKind::Timeout));
        }
        let (status, headers) = (scripted.status, scripted.headers.clone());
        match (stream && !scripted.silent, scripted.breaks) {
            (false, Some(kind)) => self.push(after, call, Coming::Broken(kind)),
            (false, None) => {
                let body = scripted.body.clone();
                self.push(after, call, Coming::Reply { status, headers, body });
            }
            (true, breaks) => {
                self.push(after, call, Coming::Reply { status, headers, body: Vec::new() });
                for piece in scripted.cut() {
                    self.push(after, call, Coming::Chunk(piece));
                }
                self.push(after, call, breaks.map_or(Coming::End, Coming::Broken));
            }
        }
    }

    pub(super) fn cancel(&mut self, call: u64) {
        self.due.retain(|due| due.call != call);
    }

    pub(super) fn next_at(&self) -> Option<Duration> {
        self.due.iter().map(|due| due.at).min()
    }

    /// Takes the next event and moves the clock to it. Calls whose events come at the same time get their turns in
    /// the order in which they were made, or by chance.
    pub(super) fn pop(&mut self, random: Option<&mut Random>) -> Option<(u64, Coming)> {
        let at = self.next_at()?;
        let mut first: Vec<usize> = Vec::new();
        for (index, due) in self.due.iter().enumerate().filter(|(_, due)| due.at == at) {
            let is_of = |known: &usize| self.due.get(*known).is_some_and(|k| k.call == due.call);
            if !first.iter().any(is_of) {
                first.push(index);
            }
        }
        let chosen = random.map_or(0, |random| random.below(first.len()));
        let index = *first.get(chosen)?;
        let due = self.due.remove(index);
        self.now = due.at;
        Some((due.call, due.coming))
    }
}
