//! Inference Endpoints that were created here: their states over time, and the servers that they run.
//!
//! An endpoint starts in [`Settings::endpoint_start`](crate::mock::Settings): half of it pending, half initializing. One
//! that was scaled to zero starts again when it is asked for something, and answers 503 meanwhile, unless the request
//! says by `X-Scale-Up-Timeout` how long it will wait. One that was paused has to be resumed. One whose repository has
//! the word of [`cue::MISSING_MODEL`] fails.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};

use super::error;
use crate::mock::{
    exchange::{Answer, Asked, Wire},
    flavors::{cue, tgi::Tgi},
    server::Mock,
};

/// Most endpoints at a time.
const MOST: usize = 64;
/// Longest that a request is held.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// All endpoints.
#[derive(Debug, Default)]
pub(crate) struct Endpoints(Mutex<Vec<Endpoint>>);

/// One of them. Its name is its own over all namespaces, since it is its address.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) namespace: String,
    pub(super) name: String,
    /// `type`, `compute`, `model`, `provider` and the like, as they were asked for.
    pub(super) spec: Value,
    pub(super) phase: Phase,
}

/// What was done last to an endpoint; its state follows from that and the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It was created.
    Created(Duration),
    /// It was changed.
    Updated(Duration),
    /// It was resumed, or woken by a request.
    Woken(Duration),
    /// It was paused.
    Paused,
    /// It has no replica.
    ScaledToZero,
}

/// Why an endpoint is not created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotCreated {
    Exists,
    TooMany,
}

impl Endpoint {
    /// `status.state` at a time after the mock's start.
    pub(super) fn state(&self, now: Duration, start: Duration) -> &'static str {
        let repository = self.spec["model"]["repository"].as_str().unwrap_or("");
        let ready = if cue::is_missing(repository) { "failed" } else { "running" };
        let after = |since: Duration| now.saturating_sub(since);
        match self.phase {
            Phase::Paused => "paused",
            Phase::ScaledToZero => "scaledToZero",
            Phase::Created(since) if after(since) < start / 2 => "pending",
            Phase::Created(since) | Phase::Woken(since) if after(since) < start => "initializing",
            Phase::Updated(since) if after(since) < start => "updating",
            Phase::Created(_) | Phase::Woken(_) | Phase::Updated(_) => ready,
        }
    }

    /// When it will have started.
    fn ready_at(&self, start: Duration) -> Option<Duration> {
        match self.phase {
            Phase::Created(since) | Phase::Updated(since) | Phase::Woken(since) => {
                Some(since + start)
            }
            Phase::Paused | Phase::ScaledToZero => None,
        }
    }

    /// As the management shows it; `host` is that by which the mock was addressed.
    pub(super) fn shown(&self, now: Duration, start: Duration, host: &str) -> Value {
        let state = self.state(now, start);
        let message = match state {
            "running" => "Endpoint is ready",
            "failed" => "Endpoint failed to start: repository not found",
            "paused" => "Endpoint is paused",
            "scaledToZero" => "Endpoint is scaled to zero",
            _ => "Endpoint is starting",
        };
        let url = (state != "pending")
            .then(|| format!("http://{host}/huggingface/endpoints/{}", self.name));
        let by = json!({ "id": "0000000000000000000000aa", "name": "mock" });
        let mut shown = self.spec.clone();
        shown["accountId"] = Value::Null;
        shown["name"] = json!(self.name);
        shown["status"] = json!({
            "createdAt": "2026-01-01T00:00:00.000Z",
            "createdBy": by,
            "updatedAt": "2026-01-01T00:00:00.000Z",
            "updatedBy": by,
            "private": null,
            "state": state,
            "message": message,
            "readyReplica": u8::from(state == "running"),
            "targetReplica": u8::from(!matches!(state, "paused" | "scaledToZero")),
            "url": url,
        });
        shown
    }
}

impl Endpoints {
    fn all(&self) -> MutexGuard<'_, Vec<Endpoint>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one.
    pub(super) fn create(&self, endpoint: Endpoint) -> Result<(), NotCreated> {
        let mut all = self.all();
        if all.iter().any(|other| other.name == endpoint.name) {
            return Err(NotCreated::Exists);
        }
        if all.len() >= MOST {
            return Err(NotCreated::TooMany);
        }
        all.push(endpoint);
        Ok(())
    }

    /// Those of a namespace.
    pub(super) fn of(&self, namespace: &str) -> Vec<Endpoint> {
        self.all().iter().filter(|endpoint| endpoint.namespace == namespace).cloned().collect()
    }

    /// Does something with one of a namespace, if it exists.
    pub(super) fn with<T>(
        &self,
        namespace: &str,
        name: &str,
        act: impl FnOnce(&mut Endpoint) -> T,
    ) -> Option<T> {
        let mut all = self.all();
        let is =
            |endpoint: &&mut Endpoint| endpoint.namespace == namespace && endpoint.name == name;
        all.iter_mut().find(is).map(act)
    }

    /// Removes one.
    pub(super) fn delete(&self, namespace: &str, name: &str) -> bool {
        let mut all = self.all();
        let before = all.len();
        all.retain(|endpoint| endpoint.namespace != namespace || endpoint.name != name);
        all.len() < before
    }

    /// The state of one, and when it will run; one without replicas is woken.
    fn wake(&self, name: &str, now: Duration, start: Duration) -> Option<(&'static str, Duration)> {
        let mut all = self.all();
        let endpoint = all.iter_mut().find(|endpoint| endpoint.name == name)?;
        if endpoint.phase == Phase::ScaledToZero {
            endpoint.phase = Phase::Woken(now);
        }
        let ready = endpoint.ready_at(start).unwrap_or(Duration::MAX);
        Some((endpoint.state(now, start), ready))
    }
}

/// While no replica runs.
pub(super) fn unavailable() -> Answer {
    error(503, "Service Unavailable")
}

/// What an endpoint's own URL answers: TGI, once it runs.
pub(super) async fn answer(name: &str, path: &str, asked: Asked<'_>, mock: &Mock) -> Answer {
    let start = mock.settings.endpoint_start;
    let now = mock.up();
    let Some((mut state, ready)) = mock.endpoints.wake(name, now, start) else {
        return error(404, "Not Found");
    };
    let patience = asked.header("x-scale-up-timeout").and_then(|value| value.parse::<f64>().ok());
    let patience = patience.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    if matches!(state, "pending" | "initializing")
        && let Some(patience) = patience
    {
        let left = ready.saturating_sub(now);
        tokio::time::sleep(left.min(patience).min(LONGEST_WAIT)).await;
        state = mock.endpoints.wake(name, mock.up(), start).map_or("paused", |(state, _)| state);
    }
    match state {
        // An endpoint that is changed goes on running meanwhile.
        "running" | "updating" => {}
        "paused" => return error(400, "Bad Request: Invalid state: paused"),
        "failed" => return error(400, "Bad Request: Invalid state: failed"),
        _ => return unavailable(),
    }
    Tgi.answer(Asked { path, ..asked }, mock).await
}
