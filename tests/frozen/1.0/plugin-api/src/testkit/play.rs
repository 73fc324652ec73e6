//! Plays one session: gives it events, follows its actions, and sees that it keeps the contract.

use std::{collections::BTreeSet, time::Duration};

use super::{
    Driver, Fault, Played, Pushed, Random, Sent, Server, Stage,
    queue::{Coming, Queue},
    table::Ticket,
};
use crate::{
    backend::Backend,
    completion::Answer,
    error::Error,
    message::{Action, Event, Held},
    request::Request,
    session::Stepped,
};

/// Real time that a wake is waited for where the clock of the test would otherwise move on: a thread of the backend's
/// own knows no such clock.
const GRACE: Duration = Duration::from_millis(50);

/// Plays a session to its end, or until it was given this many events. Its ticket tells of wakes after the end.
pub(super) fn whole<B: Backend>(
    stage: &Stage<B>,
    requests: &[Request<'_>],
    server: &mut dyn Server,
    most: Option<u64>,
) -> Result<(Played, Ticket), Fault> {
    let held = match requests {
        [Request::Prepare(held) | Request::Release(held)] => held.clone(),
        _ => Vec::new(),
    };
    let mut driver = Driver::new(stage.backend.clone()).with_deadline(stage.deadline);
    let mut play = Play {
        server,
        items: u32::try_from(requests.len()).unwrap_or(u32::MAX),
        played: Played { held, ..Played::default() },
        queue: Queue::default(),
        calls: BTreeSet::new(),
        random: stage.random.clone(),
        parked: false,
        again: false,
    };
    if most != Some(0) {
        play.until(stage, &mut driver, requests, most)?;
    }
    play.played.elapsed = play.queue.now;
    let step = play.played.steps;
    let ticket = driver.close().map_err(|message| Fault::PanickedAtEnd { step, message })?;
    Ok((play.played, ticket))
}

struct Play<'a> {
    server: &'a mut dyn Server,
    items: u32,
    played: Played,
    queue: Queue,
    /// Numbers of calls and waits that were used.
    calls: BTreeSet<u64>,
    random: Option<Random>,
    parked: bool,
    again: bool,
}

impl Play<'_> {
    fn until<B: Backend>(
        &mut self,
        stage: &Stage<B>,
        driver: &mut Driver<B>,
        requests: &[Request<'_>],
        most: Option<u64>,
    ) -> Result<(), Fault> {
        self.played.steps = 1;
        let (stepped, pushed) = driver.begin(requests);
        self.follow(stepped, &pushed)?;
        let mut turns = 0;
        while self.open_items() > 0 {
            let step = self.played.steps;
            if most.is_some_and(|most| step >= most) {
                return Ok(());
            }
            if step >= stage.steps {
                return Err(Fault::Endless { steps: step });
            }
            let due_now = self.queue.next_at().is_some_and(|at| at <= self.queue.now);
            let (stepped, pushed) = if driver.ticket.woken_within(Duration::ZERO) {
                self.parked = false;
                driver.step(&Event::Woken {}, b"")
            } else if self.again && !due_now {
                self.again = false;
                turns += 1;
                if turns > stage.turns {
                    return Err(Fault::BusyWake { step, turns });
                }
                driver.step(&Event::Resumed {}, b"")
            } else if self.wait_for_wake(stage, driver, due_now)? {
                self.parked = false;
                driver.step(&Event::Woken {}, b"")
            } else {
                let Some((call, coming)) = self.queue.pop(self.random.as_mut()) else {
                    return Err(Fault::Stuck { step });
                };
                turns = 0;
                if self.queue.now > stage.deadline {
                    self.queue.now = stage.deadline;
                    self.played.timed_out = true;
                    return Ok(());
                }
                let (event, body) = coming.event(call);
                driver.step(&event, body)
            };
            self.played.steps += 1;
            if !pushed.iter().all(|pushed| matches!(pushed.read(), Some(Action::Again {}))) {
                turns = 0;
            }
            self.follow(stepped, &pushed)?;
        }
        Ok(())
    }

    /// Whether a wake came that a thread of the backend's own was waited for.
    fn wait_for_wake<B: Backend>(
        &self,
        stage: &Stage<B>,
        driver: &Driver<B>,
        due_now: bool,
    ) -> Result<bool, Fault> {
        if !self.parked || due_now {
            return Ok(false);
        }
        if let Some(at) = self.queue.next_at() {
            let left = at.saturating_sub(self.queue.now);
            return Ok(driver.ticket.woken_within(left.min(GRACE)));
        }
        if driver.ticket.woken_within(stage.patience) {
            return Ok(true);
        }
        Err(Fault::LostWake { step: self.played.steps })
    }

    fn open_items(&self) -> usize {
        usize::try_from(self.items).unwrap_or(usize::MAX).saturating_sub(self.played.answers.len())
    }

    fn follow(&mut self, stepped: Stepped, pushed: &[Pushed]) -> Result<(), Fault> {
        let step = self.played.steps;
        let actions = pushed.iter().map(|pushed| {
            let message = || format!("{pushed:?} is no action");
            let action =
                pushed.read().ok_or_else(|| Fault::Protocol { step, message: message() })?;
            Ok((action, pushed.body.as_slice()))
        });
        let actions = actions.collect::<Result<Vec<_>, Fault>>()?;
        if stepped == Stepped::Panicked {
            let message = actions.into_iter().find_map(|(action, _)| match action {
                Action::Fail(fail) => Some(fail.message.into_owned()),
                _ => None,
            });
            return Err(Fault::Panicked { step, message: message.unwrap_or_default() });
        }
        actions.into_iter().try_for_each(|(action, body)| self.act(action, body))
    }

    fn act(&mut self, action: Action<'_>, body: &[u8]) -> Result<(), Fault> {
        match action {
            Action::Http(http) => {
                self.uses(http.call.0)?;
                let sent = Sent::new(&http, body);
                let Some(scripted) = self.server.answer(&sent) else {
                    return Err(Fault::Unexpected {
                        step: self.played.steps,
                        request: sent.to_string(),
                        expected: self.server.expected(),
                    });
                };
                self.queue.answer(sent.call, sent.stream, sent.timeout, &scripted);
                self.played.requests.push(sent);
            }
            Action::Wait(wait) => {
                self.uses(wait.call.0)?;
                let time = Duration::from_millis(wait.ms);
                self.queue.push(time, wait.call.0, Coming::Elapsed);
                self.played.waits.push(time);
            }
            Action::Hold(hold) => {
                self.uses(hold.call.0)?;
                let note = serde_json::from_slice(body)
                    .map_err(|error| self.wrong(format!("a note that is no JSON: {error}")))?;
                self.played.held.retain(|held| held.name != *hold.name);
                self.played.held.push(Held { name: hold.name.to_string(), note });
                self.queue.push(Duration::ZERO, hold.call.0, Coming::Stored);
            }
            Action::Free(free) => {
                self.uses(free.call.0)?;
                self.played.held.retain(|held| held.name != *free.name);
                self.queue.push(Duration::ZERO, free.call.0, Coming::Stored);
            }
            Action::Cancel(cancel) => {
                if !self.calls.contains(&cancel.call.0) {
                    return Err(
                        self.wrong(format!("it cancels call {}, which is none", cancel.call.0))
                    );
                }
                self.queue.cancel(cancel.call.0);
                self.played.cancelled.push(cancel.call.0);
            }
            Action::Delta(delta) => {
                self.open_item(delta.item)?;
                let text = std::str::from_utf8(body)
                    .map_err(|_| self.wrong("a delta that is not UTF-8".to_owned()))?;
                self.played.deltas.entry(delta.item).or_default().push_str(text);
            }
            Action::Limits(limits) => self.played.limits.push(limits),
            Action::Park {} => self.parked = true,
            Action::Again {} => self.again = true,
            Action::Done(done) => {
                self.open_item(done.item)?;
                let answer = Answer::resolve(done.answer, body)
                    .map_err(|error| self.wrong(error.to_string()))?;
                self.played.answers.insert(done.item, Ok(answer));
            }
            Action::Fail(fail) => {
                let item = fail.item;
                let error = Error::from(fail);
                if let Some(item) = item {
                    self.open_item(item)?;
                    self.played.answers.insert(item, Err(error));
                } else {
                    for item in 0..self.items {
                        self.played.answers.entry(item).or_insert_with(|| Err(error.clone()));
                    }
                }
            }
        }
        Ok(())
    }

    fn uses(&mut self, call: u64) -> Result<(), Fault> {
        if self.calls.insert(call) {
            return Ok(());
        }
        Err(self.wrong(format!("it uses call {call} a second time")))
    }

    fn open_item(&self, item: u32) -> Result<(), Fault> {
        if item >= self.items {
            return Err(self.wrong(format!("there is no item {item}")));
        }
        if self.played.answers.contains_key(&item) {
            return Err(Fault::Twice { step: self.played.steps, item });
        }
        Ok(())
    }

    fn wrong(&self, message: String) -> Fault {
        Fault::Protocol { step: self.played.steps, message }
    }
}
