//! Asks one sample: its attempts, its deadlines, its grade. Owns no state of the run.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use plugin_api::{Answer, Error, ErrorKind, Request};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use super::{
    attempt::try_once,
    backend::OpenBackend,
    event::Event,
    feed::Work,
    grade::{Graded, grade, refused},
    in_flight::Slot,
    recorder::Note,
    request::{prefix, requests, tokens_wanted},
    retry::{Failed, Failures, RetryPolicy, is_of_the_server},
    spending::Spending,
};
use crate::{
    config::BaseUrl,
    plugin::session::{Job, drive},
    route::{
        change::{Patience, Rest},
        router::{Place, Wanted},
    },
    stage,
    store::record::{Timing, Tokens},
};

/// A sample that has been asked.
#[derive(Debug)]
pub struct Finished {
    /// What was asked.
    pub work: Work,
    /// What came of it.
    pub result: Result<Graded, Error>,
    /// Why its own backend did not answer, if another was asked.
    pub failed_at_own: Option<Error>,
    /// Tokens that its answers used, also those of requests after which another one failed.
    pub usage: Tokens,
    /// Attempts made, over all requests.
    pub attempts: u32,
    /// How long it took.
    pub timing: Timing,
    /// When its first attempt began.
    pub started: Instant,
    /// The backend that was asked last.
    pub backend: Arc<OpenBackend>,
    /// Which of its replicas; none if no attempt was made.
    pub replica: Option<usize>,
    /// Whether the response cache answered, and nobody was asked.
    pub cached: bool,
}

impl Finished {
    /// Whether no other backend stood in for the sample's own.
    pub fn is_of_its_own(&self) -> bool {
        self.backend.id == self.work.unit.backend.id
    }

    /// Where the replica is that was asked last.
    pub fn at(&self) -> Option<&BaseUrl> {
        self.backend.replicas.get(self.replica?)?.base_url.as_ref()
    }
}

/// What a worker has at hand for each of its samples.
pub struct Desk<'a> {
    /// Where it shows what it is at.
    pub slot: &'a Slot,
    /// What may be spent: nothing more is begun once it is.
    pub spending: &'a Spending,
    /// Where it tells of attempts that are repeated.
    pub notes: &'a mpsc::Sender<Note>,
    /// Told true before its sample waits for another attempt, and false after it.
    pub rest: &'a (dyn Fn(bool) + Send + std::marker::Sync),
}

/// Asks a sample until it is answered, or no attempt is left: of its own backend, then of those that stand in for it.
/// None if the budget is spent before that: whoever takes the run up again asks it.
pub async fn execute(work: Work, desk: &Desk<'_>) -> Option<Finished> {
    let mut asked = Asked::default();
    let unit = Arc::clone(&work.unit);
    let (task, rendered) = (&unit.task, &work.prepared.rendered);
    let mut backend = &unit.backend;
    let mut failed_at_own = None;
    let mut result = ask_all(&work, backend, &mut asked, desk).await;
    for other in &unit.fallbacks {
        let Err(Unanswered::Failed(error)) = &result else { break };
        // A refusal is an answer.
        if refused(task, rendered, error).is_some() {
            break;
        }
        if asked.is_cut_off(desk) {
            return None;
        }
        failed_at_own.get_or_insert_with(|| error.clone());
        backend = other;
        asked.failures = Failures::default();
        asked.clock = None;
        result = ask_all(&work, backend, &mut asked, desk).await;
    }
    // What follows is the host's time and not the sample's.
    let (ended, ended_unix) = (Instant::now(), unix_ms());
    stage::begin().await;
    let result = match result {
        Ok(answers) => grade(task, rendered, answers),
        Err(Unanswered::Failed(error)) => refused(task, rendered, &error).unwrap_or(Err(error)),
        Err(Unanswered::Spent) => return None,
    };
    let Asked { attempts, mut timing, first, replica, cached, usage, .. } = asked;
    let started = first.unwrap_or(ended);
    timing.total = milliseconds(ended.duration_since(started));
    timing.ended_unix = ended_unix;
    let backend = Arc::clone(backend);
    Some(Finished {
        work,
        result,
        failed_at_own,
        usage,
        attempts,
        timing,
        started,
        backend,
        replica,
        cached,
    })
}

/// Why a request has no answer.
enum Unanswered {
    /// It failed, and no attempt is left.
    Failed(Error),
    /// The run's budget is spent, and so no other attempt is made.
    Spent,
}

impl From<Error> for Unanswered {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// What was spent on a sample so far.
#[derive(Default)]
struct Asked {
    attempts: u32,
    timing: Timing,
    failures: Failures,
    /// When its first attempt began.
    first: Option<Instant>,
    /// Since when its time is counted at this backend: the wait for the first place does not count, since it says
    /// nothing of the sample.
    clock: Option<Instant>,
    /// The replica of the last attempt.
    replica: Option<usize>,
    cached: bool,
    /// Whether a backend has answered a request of the sample.
    paid: bool,
    usage: Tokens,
}

impl Asked {
    /// Whether nothing more of the sample is asked, because the budget is spent. What is paid for in part is finished:
    /// else it would be paid for again.
    fn is_cut_off(&self, desk: &Desk<'_>) -> bool {
        !self.paid && desk.spending.is_spent()
    }

    /// Until a sample is cut off; for ever, if it is not.
    async fn cut_off(paid: bool, desk: &Desk<'_>) {
        if paid {
            std::future::pending::<()>().await;
        }
        desk.spending.spent().await;
    }

    fn elapsed(&self) -> Duration {
        self.clock.map(|clock| clock.elapsed()).unwrap_or_default()
    }
}

async fn ask_all(
    work: &Work,
    backend: &OpenBackend,
    asked: &mut Asked,
    desk: &Desk<'_>,
) -> Result<Vec<Answer>, Unanswered> {
    let unit = &work.unit;
    let (rendered, generation) = (&work.prepared.rendered, unit.task.generation.as_ref());
    let requests = requests(rendered, generation, work.repeat, backend.stream);
    let cache = backend.cache.as_ref();
    let cache = cache.map(|cache| (cache, cache.key(&requests, work.repeat)));
    if let Some((cache, key)) = cache
        && let Some(answers) = cache.get(key, &requests).await
    {
        // An answer that another backend gave to a part of the sample was paid for, and this one is free beside it.
        if !asked.paid {
            asked.cached = true;
            answers.iter().for_each(|answer| asked.usage.add(answer));
        }
        return Ok(answers);
    }
    let mut answers = Vec::with_capacity(requests.len());
    for request in &requests {
        let answer = ask(work, backend, request, asked, desk).await?;
        asked.paid = true;
        asked.usage.add(&answer);
        answers.push(answer);
    }
    if let Some((cache, key)) = cache {
        cache.put(key, &requests, &answers);
    }
    Ok(answers)
}

async fn ask(
    work: &Work,
    backend: &OpenBackend,
    request: &Request<'_>,
    asked: &mut Asked,
    desk: &Desk<'_>,
) -> Result<Answer, Unanswered> {
    let id = &work.prepared.sample.id.0;
    let request_id = format!("{}/{}/{}", work.unit.name.task, id, work.repeat);
    let prefix = if backend.by_prefix { prefix(request) } else { 0 };
    let tokens = if backend.counts_tokens { tokens_wanted(request) } else { 0 };
    let mut avoid = None;
    asked.failures.next_request();
    let mut attempt = 0;
    loop {
        attempt += 1;
        let wanted = Wanted { prefix, tokens, avoid };
        let paid = asked.paid;
        let place = tokio::select! {
            biased;
            place = place(backend, wanted, asked) => place?,
            () = Asked::cut_off(paid, desk) => return Err(Unanswered::Spent),
        };
        // What follows is the plugin's encoding of the request.
        stage::begin().await;
        if asked.is_cut_off(desk) {
            return Err(Unanswered::Spent);
        }
        let begun = Instant::now();
        asked.first.get_or_insert(begun);
        asked.clock.get_or_insert(begun);
        let left = backend.retry.left(&asked.failures, asked.elapsed());
        if left.is_zero() {
            return Err(out_of_time(backend).into());
        }
        asked.attempts += 1;
        desk.slot.attempt(begun);
        let deadline = backend.retry.attempt_timeout.min(left);
        let job = Job {
            request_id: &request_id,
            attempt,
            deadline,
            requests: std::slice::from_ref(request),
        };
        // If the server failed only this request, the request may be why.
        let fails_others = place.is_probe() && place.failed_before() >= attempt;
        let tried = try_once(backend, place, wanted, job, desk.spending).await;
        let took = begun.elapsed().saturating_sub(tried.held_up);
        asked.timing.attempt = milliseconds(took);
        asked.timing.first_text = tried.first_delta.map(milliseconds);
        asked.replica = Some(tried.replica);
        let error = match tried.result {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if backend.broken().is_some() {
            return Err(error.into());
        }
        avoid = Some(tried.replica);
        let failed = Failed {
            kind: error.kind,
            retry_after: tried.retry_after,
            at: asked.elapsed(),
            took,
            is_free: fails_others && is_of_the_server(&error),
        };
        let Some(wait) = backend.retry.next(&mut asked.failures, &failed, fastrand::f64()) else {
            return Err(error.into());
        };
        if asked.is_cut_off(desk) {
            return Err(Unanswered::Spent);
        }
        let retry = Event::Retry {
            unit: work.unit.name.clone(),
            id: id.clone(),
            attempt,
            kind: error.kind.to_string(),
            message: error.to_string(),
            wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        };
        let _ = desk.notes.send(Note::Retry(work.unit.index, retry)).await;
        let _resting = Resting::begin(desk);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = Asked::cut_off(asked.paid, desk) => return Err(Unanswered::Spent),
        }
    }
}

/// Waits for leave to ask. What a sample waits for its first place, and what it waits because of a rate, does not count:
/// neither says anything of the sample.
///
/// # Errors
/// The sample's time is over before, or would be before the server wants to be asked again.
async fn place(backend: &OpenBackend, wanted: Wanted, asked: &mut Asked) -> Result<Place, Error> {
    let (router, retry) = (&backend.router, &backend.retry);
    let left = retry.left(&asked.failures, asked.elapsed());
    let patience = Patience { refused: left, loading: left.max(retry.loading_timeout) };
    let waiting = router.place_within(wanted, patience);
    let placed = if asked.clock.is_none() {
        waiting.await
    } else {
        let mut waiting = pin!(waiting);
        loop {
            let before = router.paced();
            let left = retry.left(&asked.failures, asked.elapsed());
            let placed = timeout(left, &mut waiting).await;
            asked.failures.excuse(router.paced().saturating_sub(before));
            match placed {
                Ok(placed) => break placed,
                Err(_) if retry.left(&asked.failures, asked.elapsed()).is_zero() => {
                    return Err(out_of_time(backend));
                }
                Err(_) => {}
            }
        }
    };
    placed.map_err(|rest| left_alone(&rest))
}

/// A sample that waits for its next attempt; also if it is dropped there.
struct Resting<'a>(&'a (dyn Fn(bool) + Send + std::marker::Sync));

impl<'a> Resting<'a> {
    fn begin(desk: &Desk<'a>) -> Self {
        (desk.rest)(true);
        Self(desk.rest)
    }
}

impl Drop for Resting<'_> {
    fn drop(&mut self) {
        (self.0)(false);
    }
}

/// Why a sample is not asked that would have to wait for longer than it has time.
fn left_alone(rest: &Rest) -> Error {
    let seconds = rest.left.as_secs().max(1);
    let time = humantime::format_duration(Duration::from_secs(seconds));
    Error::new(
        rest.kind,
        format!(
            "the server asks to be left alone for another {time}, longer than a sample has time (`sample_timeout`)"
        ),
    )
}

fn out_of_time(backend: &OpenBackend) -> Error {
    let time = humantime::format_duration(backend.retry.sample_timeout);
    Error::new(ErrorKind::Timeout, format!("the sample's time ({time}) is spent"))
}

/// Asks a backend something that is not about a sample, as patiently as `policy` says. `waits` is told of each
/// failure that is not the last, and of the wait after it.
///
/// # Errors
/// The last attempt's failure.
pub async fn ask_backend(
    instance: &std::sync::Arc<crate::plugin::instance::Instance>,
    request: Request<'_>,
    policy: &RetryPolicy,
    waits: &dyn Fn(&Error, Duration),
) -> Result<Answer, Error> {
    let started = Instant::now();
    let mut failures = Failures::default();
    let mut attempt = 0;
    loop {
        attempt += 1;
        let limit = policy.attempt_timeout.min(policy.left(&failures, started.elapsed()));
        let begun = Instant::now();
        let job = Job {
            request_id: "host",
            attempt,
            deadline: limit,
            requests: std::slice::from_ref(&request),
        };
        let (error, asked_to_wait) = match timeout(limit, drive(instance, job)).await {
            Ok(outcome) => match outcome.items.into_iter().next() {
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(error)) => (error, outcome.retry_after),
                None => (Error::new(ErrorKind::Protocol, "no answer"), None),
            },
            Err(_) => {
                let message = format!("no answer within {}", humantime::format_duration(limit));
                (Error::new(ErrorKind::Timeout, message), None)
            }
        };
        let retry_after = error.retry_after_ms.map(Duration::from_millis).or(asked_to_wait);
        let (at, took) = (started.elapsed(), begun.elapsed());
        let failed = Failed { kind: error.kind, retry_after, at, took, is_free: false };
        let Some(wait) = policy.next(&mut failures, &failed, fastrand::f64()) else {
            return Err(error);
        };
        waits(&error, wait);
        tokio::time::sleep(wait).await;
    }
}

fn milliseconds(time: Duration) -> f64 {
    // Microseconds are as fine as such a time is worth.
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// The time of day; none from a clock that stands before 1970.
fn unix_ms() -> Option<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(now.as_millis()).ok()
}
