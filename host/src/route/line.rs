//! Who waits for a place: strictly first come, first served, so that nobody waits for ever. Knows neither what is
//! waited for nor a clock.

use std::{collections::VecDeque, task::Waker, time::Duration};

/// Those that wait, and those that were served and do not know it yet. Tickets only grow, so both are in order.
#[derive(Debug)]
pub(super) struct Line<W, G> {
    next: u64,
    waiting: VecDeque<Waiter<W>>,
    served: VecDeque<(u64, G)>,
    /// For when the first in line has set its timer, if it has.
    armed: Option<Duration>,
}

#[derive(Debug)]
struct Waiter<W> {
    ticket: u64,
    wanted: W,
    /// None until it has been polled.
    waker: Option<Waker>,
}

impl<W, G> Default for Line<W, G> {
    fn default() -> Self {
        Self { next: 0, waiting: VecDeque::new(), served: VecDeque::new(), armed: None }
    }
}

impl<W, G> Line<W, G> {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Joins the line at its end.
    pub(super) fn join(&mut self, wanted: W) -> u64 {
        let ticket = self.next;
        self.next += 1;
        self.waiting.push_back(Waiter { ticket, wanted, waker: None });
        ticket
    }

    /// What this ticket was given, if its turn has come.
    pub(super) fn collect(&mut self, ticket: u64) -> Option<G> {
        let index = self.served.binary_search_by_key(&ticket, |(ticket, _)| *ticket).ok()?;
        self.served.remove(index).map(|(_, given)| given)
    }

    /// Leaves the line without having been served.
    pub(super) fn leave(&mut self, ticket: u64) {
        if let Ok(index) = self.waiting.binary_search_by_key(&ticket, |waiter| waiter.ticket) {
            self.waiting.remove(index);
            if index == 0 {
                self.armed = None;
            }
        }
    }

    /// Serves from the front while `give` has something. Returns when it is worth trying again for who is first
    /// now, if that is known. Who was served is added to `wake`.
    pub(super) fn serve(
        &mut self,
        wake: &mut Vec<Waker>,
        mut give: impl FnMut(&W) -> Result<G, Option<Duration>>,
    ) -> Option<Duration> {
        while let Some(first) = self.waiting.front() {
            let given = match give(&first.wanted) {
                Ok(given) => given,
                Err(until) => return until,
            };
            if let Some(first) = self.waiting.pop_front() {
                wake.extend(first.waker);
                self.served.push_back((first.ticket, given));
                self.armed = None;
            }
        }
        None
    }

    /// Who is first in line is added to `wake` if it would sleep beyond `until`.
    pub(super) fn nudge(&self, wake: &mut Vec<Waker>, until: Option<Duration>) {
        let late = until.is_some_and(|until| self.armed.is_none_or(|armed| until < armed));
        if let Some(first) = self.waiting.front().filter(|_| late) {
            wake.extend(first.waker.clone());
        }
    }

    /// Who holds this ticket is being polled and was not served: remembers how to wake it. Whether it is first in
    /// line: then it must set its timer for `until`, and is woken when it should be earlier.
    pub(super) fn waits(&mut self, ticket: u64, waker: &Waker, until: Option<Duration>) -> bool {
        let Ok(index) = self.waiting.binary_search_by_key(&ticket, |waiter| waiter.ticket) else {
            return false;
        };
        match &mut self.waiting[index].waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        if index == 0 {
            self.armed = until;
        }
        index == 0
    }
}
