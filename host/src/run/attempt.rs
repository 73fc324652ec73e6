//! One attempt at a request: at one replica, and if it takes long and the run wants that, at a second one beside it.

use std::{
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use plugin_api::{Answer, Error, ErrorKind};
use tokio::time::{Instant, timeout};

use super::{backend::OpenBackend, hedge::Hedge, request::tokens_of, spending::Spending};
use crate::{
    plugin::session::{Job, Outcome, drive},
    route::router::{Attempt, Place, Wanted},
};

/// One attempt.
pub(super) struct Tried {
    pub(super) result: Result<Answer, Error>,
    /// How long the server asked to wait.
    pub(super) retry_after: Option<Duration>,
    /// From the start to the first text of a stream.
    pub(super) first_delta: Option<Duration>,
    /// The replica that gave the result.
    pub(super) replica: usize,
    /// How long a reply that was there waited for those of other samples.
    pub(super) held_up: Duration,
}

/// One attempt. If it takes long and the run wants that, another one is sent after it, and the first answer counts.
pub(super) async fn try_once(
    backend: &OpenBackend,
    place: Place,
    wanted: Wanted,
    job: Job<'_>,
    spending: &Spending,
) -> Tried {
    let Some(hedge) = &backend.hedge else { return try_at(backend, place, job).await };
    let begun = Instant::now();
    let after = {
        let mut hedge = lock(hedge);
        hedge.sent();
        hedge.after()
    };
    let tried = match after {
        Some(after) => {
            let may_hedge = || !spending.is_spent();
            try_twice(backend, hedge, place, wanted, job, Second { after, may_hedge: &may_hedge })
                .await
        }
        None => try_at(backend, place, job).await,
    };
    if tried.result.is_ok() {
        lock(hedge).answered(begun.elapsed().saturating_sub(tried.held_up));
    }
    tried
}

/// When a second attempt is sent beside the first, and whether it may be then.
struct Second<'a> {
    after: Duration,
    may_hedge: &'a (dyn Fn() -> bool + Sync),
}

/// One attempt, and another one beside it if there is no answer `after` this time and the hedge allows it.
async fn try_twice(
    backend: &OpenBackend,
    hedge: &Mutex<Hedge>,
    place: Place,
    wanted: Wanted,
    job: Job<'_>,
    Second { after, may_hedge }: Second<'_>,
) -> Tried {
    let replica = place.replica();
    let mut first = pin!(try_at(backend, place, job));
    if let Ok(tried) = timeout(after, &mut first).await {
        return tried;
    }
    if !may_hedge() {
        return first.await;
    }
    let Some(claim) = Claim::get(hedge) else { return first.await };
    let elsewhere = Wanted { avoid: Some(replica), ..wanted };
    let begun = Instant::now();
    // A backend that is kept busy has no place free at once, but soon; the first answer may be sooner.
    let other = tokio::select! {
        biased;
        tried = &mut first => return tried,
        other = backend.router.place(elsewhere) => other,
    };
    claim.used();
    let deadline = job.deadline.saturating_sub(after).saturating_sub(begun.elapsed());
    let mut second = Box::pin(try_at(backend, other, Job { deadline, ..job }));
    tokio::select! {
        tried = &mut first => match tried.result {
            Ok(_) => tried,
            Err(_) => second.await,
        },
        tried = &mut second => match tried.result {
            Ok(_) => tried,
            Err(_) => first.await,
        },
    }
}

/// Leave to hedge one request, which is given back unless it is used.
struct Claim<'a>(Option<&'a Mutex<Hedge>>);

impl<'a> Claim<'a> {
    fn get(hedge: &'a Mutex<Hedge>) -> Option<Self> {
        lock(hedge).claim().then_some(Self(Some(hedge)))
    }

    fn used(mut self) {
        self.0 = None;
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if let Some(hedge) = self.0 {
            lock(hedge).give_back();
        }
    }
}

/// One attempt at one replica.
async fn try_at(backend: &OpenBackend, place: Place, job: Job<'_>) -> Tried {
    let replica = place.replica();
    let begun = Instant::now();
    let lost = || Err(Error::new(ErrorKind::Protocol, "the session ended without an answer"));
    let (result, outcome) = match backend.replicas.get(replica) {
        Some(at) => match timeout(job.deadline, drive(&at.instance, job)).await {
            Ok(mut outcome) => (outcome.items.pop().unwrap_or_else(lost), Some(outcome)),
            Err(_) => {
                let time = humantime::format_duration(job.deadline);
                let message = format!("no answer within {time}");
                (Err(Error::new(ErrorKind::Timeout, message)), None)
            }
        },
        None => (lost(), None),
    };
    let Outcome { retry_after, first_delta, limits, held_up, .. } = outcome.unwrap_or_default();
    let by_plugin = result.as_ref().err().and_then(|error| error.retry_after_ms);
    let retry_after = by_plugin.map(Duration::from_millis).or(retry_after);
    place.done(&Attempt {
        result: result.as_ref().map(tokens_of).map_err(|error| error.kind),
        took: begun.elapsed().saturating_sub(held_up),
        retry_after,
        limits: limits.as_ref(),
    });
    Tried { result, retry_after, first_delta, replica, held_up }
}

fn lock(hedge: &Mutex<Hedge>) -> MutexGuard<'_, Hedge> {
    hedge.lock().unwrap_or_else(PoisonError::into_inner)
}
