//! What backends hold outside (a rented machine, say): noted before it is made, freed at the end of a run, or later
//! by `host release` from the directory of a run that was killed.

use std::{path::Path, sync::Arc, time::Duration};

use plugin_api::{Error, ErrorKind, Request};
use serde_json::Value;
use tokio::{sync::watch, time::timeout};

use super::{
    error::RunError, event::Event, executor::ask_backend, open, retry::RetryPolicy,
    surroundings::Surroundings,
};
use crate::{
    config,
    plugin::{
        discover::Discovery,
        instance::{Instance, Notes},
    },
    printer::Printer,
    store::{
        ledger::{Holder, Ledger},
        run_dir,
    },
};

/// How a backend is asked to tidy up that holds nothing: once, and not for long.
const TIDY: RetryPolicy = RetryPolicy {
    max_retries: 0,
    attempt_timeout: Duration::from_secs(5),
    sample_timeout: Duration::from_secs(5),
    loading_timeout: Duration::ZERO,
};
/// How it is asked to free what it holds: what is not freed goes on costing.
const FREE: RetryPolicy = RetryPolicy {
    max_retries: 3,
    attempt_timeout: Duration::from_secs(120),
    sample_timeout: Duration::from_secs(10 * 60),
    loading_timeout: Duration::ZERO,
};

/// How long a backend may take to close before the user is told what is waited for.
const SLOW: Duration = Duration::from_millis(300);

/// The ledger as one backend sees it.
#[derive(Debug)]
pub struct BackendNotes {
    /// The run's ledger.
    pub ledger: Arc<Ledger>,
    /// The backend.
    pub holder: Holder,
}

impl Notes for BackendNotes {
    fn hold(&self, name: &str, note: Value) -> Result<(), String> {
        self.ledger.hold(&self.holder, name, note).map_err(|error| error.to_string())
    }

    fn free(&self, name: &str) -> Result<(), String> {
        self.ledger.free(&self.holder, name).map_err(|error| error.to_string())
    }
}

/// What the user is to be told of a backend that goes wrong when nothing more is asked of it: it says nothing of its
/// answers.
#[derive(Debug, thiserror::Error)]
#[error("backend `{backend}`: {message}")]
pub struct Remark {
    backend: String,
    message: String,
}

impl Remark {
    /// It, as reporters are told.
    pub fn event(&self) -> Event {
        Event::Warning { backend: Some(self.backend.clone()), message: self.message.clone() }
    }
}

/// A backend to be released: its id, and its plugin's side.
pub type Releasable = (String, Arc<Instance>);

/// What came of telling backends that this was all.
#[derive(Debug, Default)]
pub struct Outcome {
    /// A message, with the way out, for each that holds something still because it cannot be freed.
    pub unfreed: Vec<String>,
    /// Of those that hold nothing and died of it.
    pub died: Vec<Remark>,
}

/// Tells backends that this was all, all at once.
pub async fn release(backends: &[Releasable], ledger: &Ledger) -> Outcome {
    let mut outcome = Outcome::default();
    let each = backends.iter().map(|(id, instance)| async move {
        // Of one that is given up already everybody was told.
        let is_told = instance.broken().is_some();
        let error = release_one(id, instance, ledger).await.err();
        (id, is_told, error)
    });
    for (id, is_told, error) in futures_util::future::join_all(each).await {
        let held: Vec<String> = ledger.held(id).into_iter().map(|held| held.name).collect();
        if held.is_empty() {
            // A backend that cannot tidy up has answered its samples all the same.
            if let Some(error) = error.filter(|error| error.kind == ErrorKind::Crashed && !is_told)
            {
                outcome.died.push(Remark { backend: id.clone(), message: error.message });
            }
            continue;
        }
        let reason = error.map(|error| format!(" ({error})")).unwrap_or_default();
        outcome.unfreed.push(format!(
            "backend `{id}` still holds {}{reason}; it may go on costing: free it by `host release` with the \
             run's directory",
            held.join(", ")
        ));
    }
    outcome
}

/// Closes backends whose samples are all answered, all at once. Whoever stops now does not wait for it.
pub async fn close(
    backends: &[Releasable],
    stop: &watch::Sender<bool>,
    printer: &Printer,
) -> Vec<Remark> {
    let each = backends.iter().map(|(id, instance)| async move {
        let slow = || printer.status(&format!("closing backend `{id}` …"));
        let message = unless_stopped(instance.close(), stop.subscribe(), slow).await.err()?;
        Some(Remark { backend: id.clone(), message })
    });
    futures_util::future::join_all(each).await.into_iter().flatten().collect()
}

/// Waits for a backend to close, and says so if that takes long. The error says in words what goes wrong.
async fn unless_stopped(
    closed: impl Future<Output = Result<(), Error>>,
    mut stop: watch::Receiver<bool>,
    slow: impl FnOnce(),
) -> Result<(), String> {
    let closed = async {
        tokio::pin!(closed);
        if let Ok(closed) = timeout(SLOW, &mut closed).await {
            return closed;
        }
        slow();
        closed.await
    };
    tokio::select! {
        biased;
        closed = closed => closed.map_err(|error| error.message),
        // A run that was stopped before has its backends closed all the same.
        Ok(()) = stop.changed() => Err("stopped before its backend was closed".to_owned()),
    }
}

async fn release_one(id: &str, instance: &Arc<Instance>, ledger: &Ledger) -> Result<(), Error> {
    let held = ledger.held(id);
    let policy = if held.is_empty() { &TIDY } else { &FREE };
    match ask_backend(instance, Request::Release(held), policy, &|_, _| {}).await {
        Ok(_) => Ok(()),
        // A plugin without the SDK need not know of it: it holds nothing.
        Err(error) if error.kind == ErrorKind::Unsupported => Ok(()),
        Err(error) => Err(error),
    }
}

/// One backend of a run directory, freed or not.
#[derive(Debug)]
pub struct Released {
    /// Id of the backend.
    pub backend: String,
    /// What it held.
    pub resources: Vec<String>,
    /// Why not all of it is freed.
    pub error: Option<RunError>,
}

/// Frees what the backends of a run directory hold still. One that cannot be freed does not keep the others.
///
/// # Errors
/// The run is still going, or its ledger cannot be read.
pub async fn release_directory(
    directory: &Path,
    discovery: &Discovery,
    around: &Surroundings<'_>,
) -> Result<Vec<Released>, RunError> {
    if !directory.is_dir() {
        return Err(RunError::NoDirectory(directory.to_owned()));
    }
    let ledger = Arc::new(Ledger::of(directory)?);
    let mut all = Vec::new();
    for holder in ledger.holders() {
        let resources = ledger.held(&holder.id).into_iter().map(|held| held.name).collect();
        let error = free(directory, &holder, &ledger, discovery, around).await.err();
        all.push(Released { backend: holder.id, resources, error });
    }
    Ok(all)
}

async fn free(
    directory: &Path,
    holder: &Holder,
    ledger: &Arc<Ledger>,
    discovery: &Discovery,
    around: &Surroundings<'_>,
) -> Result<(), RunError> {
    let source = directory.join(run_dir::RESOURCES);
    let file = config::reopen(&holder.table, &source, &holder.folder)
        .map_err(super::backend_error::BackendError::from)?;
    let instance = open::alone(&file, ledger, discovery, around).await?;
    release_one(&holder.id, &instance, ledger).await.map_err(|error| RunError::Unreleased {
        backend: holder.id.clone(),
        reason: error.to_string(),
    })?;
    match ledger.held(&holder.id).as_slice() {
        [] => Ok(()),
        _ => Err(RunError::Unreleased {
            backend: holder.id.clone(),
            reason: "the plugin did not say that they are freed".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::pending};

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_wait_for_a_backend_that_does_not_close() {
        let stop = watch::Sender::new(true);
        let told = Cell::new(0);
        let slow = || told.set(told.get() + 1);
        assert_eq!(unless_stopped(async { Ok(()) }, stop.subscribe(), slow).await, Ok(()));
        assert_eq!(told.get(), 0);

        // The stop that was there before is no reason.
        let closes = async {
            sleep(2 * SLOW).await;
            Err(Error::new(ErrorKind::Crashed, "it died"))
        };
        let closed = unless_stopped(closes, stop.subscribe(), slow).await;
        assert_eq!((closed, told.get()), (Err("it died".to_owned()), 1));

        let stop = watch::Sender::new(false);
        let receiver = stop.subscribe();
        let stops = async {
            sleep(2 * SLOW).await;
            stop.send_replace(true);
        };
        let (closed, ()) = tokio::join!(unless_stopped(pending(), receiver, slow), stops);
        assert_eq!(closed, Err("stopped before its backend was closed".to_owned()));
        assert_eq!(told.get(), 2);
    }
}
