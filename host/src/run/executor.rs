//! Asks one sample: its attempts, its deadlines, its grade. Owns no state of the run.

use std::time::Duration;

use plugin_api::{Answer, Error, ErrorKind, Request};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use super::{
    backend::OpenBackend,
    event::Event,
    feed::Work,
    grade::{Graded, grade, refused},
    recorder::Note,
    request::requests,
    retry::{Failed, Failures, RetryPolicy},
};
use crate::{
    plugin::session::{Job, drive},
    store::record::Timing,
};

/// A sample that has been asked.
#[derive(Debug)]
pub struct Finished {
    /// What was asked.
    pub work: Work,
    /// What came of it.
    pub result: Result<Graded, Error>,
    /// Attempts made, over all requests.
    pub attempts: u32,
    /// How long it took.
    pub timing: Timing,
    /// When its first attempt began.
    pub started: Instant,
    /// Whether the response cache answered, and nobody was asked.
    pub cached: bool,
}

/// Asks a sample until it is answered, or no attempt is left.
pub async fn execute(work: Work, notes: &mpsc::Sender<Note>) -> Finished {
    let started = Instant::now();
    let mut asked = Asked::default();
    let result = ask_all(&work, started, &mut asked, notes).await;
    let (task, rendered) = (&work.unit.task, &work.prepared.rendered);
    let result = match result {
        Ok(answers) => grade(task, rendered, answers),
        Err(error) => refused(task, rendered, &error).unwrap_or(Err(error)),
    };
    asked.timing.total = milliseconds(started.elapsed());
    let Asked { attempts, timing, cached, .. } = asked;
    Finished { work, result, attempts, timing, started, cached }
}

/// What was spent on a sample so far.
#[derive(Default)]
struct Asked {
    attempts: u32,
    timing: Timing,
    failures: Failures,
    cached: bool,
}

async fn ask_all(
    work: &Work,
    started: Instant,
    asked: &mut Asked,
    notes: &mpsc::Sender<Note>,
) -> Result<Vec<Answer>, Error> {
    let unit = &work.unit;
    let requests = requests(
        &work.prepared.rendered,
        unit.task.generation.as_ref(),
        work.repeat,
        unit.backend.stream,
    );
    let cache = unit.backend.cache.as_ref();
    let cache = cache.map(|cache| (cache, cache.key(&requests, work.repeat)));
    if let Some((cache, key)) = cache
        && let Some(answers) = cache.get(key, &requests).await
    {
        asked.cached = true;
        return Ok(answers);
    }
    let mut answers = Vec::new();
    for request in &requests {
        answers.push(ask(work, request, started, asked, notes).await?);
    }
    if let Some((cache, key)) = cache {
        cache.put(key, &requests, &answers);
    }
    Ok(answers)
}

async fn ask(
    work: &Work,
    request: &Request<'_>,
    started: Instant,
    asked: &mut Asked,
    notes: &mpsc::Sender<Note>,
) -> Result<Answer, Error> {
    let backend = &work.unit.backend;
    let id = &work.prepared.sample.id.0;
    let request_id = format!("{}/{}/{}", work.unit.name.task, id, work.repeat);
    asked.failures.next_request();
    let mut attempt = 0;
    loop {
        attempt += 1;
        asked.attempts += 1;
        let left = backend.retry.left(&asked.failures, started.elapsed());
        let begun = Instant::now();
        let (result, retry_after) =
            try_once(backend, request, &request_id, attempt, left, asked).await;
        let took = begun.elapsed();
        asked.timing.attempt = milliseconds(took);
        let error = match result {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let failed = Failed { kind: error.kind, retry_after, at: started.elapsed(), took };
        let Some(wait) = backend.retry.next(&mut asked.failures, &failed, fastrand::f64()) else {
            return Err(error);
        };
        let retry = Event::Retry {
            unit: work.unit.name.clone(),
            id: id.clone(),
            attempt,
            kind: error.kind.to_string(),
            message: error.to_string(),
            wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        };
        let _ = notes.send(Note::Retry(work.unit.index, retry)).await;
        tokio::time::sleep(wait).await;
    }
}

/// One attempt: the answer, and how long the server asked to wait.
async fn try_once(
    backend: &OpenBackend,
    request: &Request<'_>,
    request_id: &str,
    attempt: u32,
    left: Duration,
    asked: &mut Asked,
) -> (Result<Answer, Error>, Option<Duration>) {
    if left.is_zero() {
        let time = humantime::format_duration(backend.retry.sample_timeout);
        let message = format!("the sample's time ({time}) is spent");
        return (Err(Error::new(ErrorKind::Timeout, message)), None);
    }
    let deadline = backend.retry.attempt_timeout.min(left);
    let job = Job { request_id, attempt, deadline, requests: std::slice::from_ref(request) };
    match timeout(deadline, drive(&backend.instance, job)).await {
        Ok(outcome) => {
            asked.timing.first_text = outcome.first_delta.map(milliseconds);
            let lost =
                || Err(Error::new(ErrorKind::Protocol, "the session ended without an answer"));
            let result = outcome.items.into_iter().next().unwrap_or_else(lost);
            let asked_by_plugin = result
                .as_ref()
                .err()
                .and_then(|error| error.retry_after_ms)
                .map(Duration::from_millis);
            (result, asked_by_plugin.or(outcome.retry_after))
        }
        Err(_) => {
            let message = format!("no answer within {}", humantime::format_duration(deadline));
            (Err(Error::new(ErrorKind::Timeout, message)), None)
        }
    }
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
        let failed = Failed { kind: error.kind, retry_after, at, took };
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
