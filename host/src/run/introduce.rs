//! What an open backend is asked before its first sample: to prepare, and who it is.

use std::{cell::Cell, pin::pin, time::Duration};

use plugin_api::{Answer, Error, ErrorKind, Request, message::Description};
use tokio::time::timeout;

use super::{
    backend::{OpenBackend, Replica},
    backend_error::BackendError,
    executor::ask_backend,
    ready::Waiting,
    retry::{RetryPolicy, is_retriable},
};
use crate::{printer::Printer, store::ledger::Ledger};

/// Longest time that a backend may take to prepare, over all attempts: to load a model, or to have a machine started.
/// A plugin that waits for something has a shorter bound of its own.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(3600);
/// After this long a person wonders what goes on.
const LONG: Duration = Duration::from_secs(10);

/// Lets the backend prepare at each of its servers, waits for the server and asks it who it is: a server that is
/// down, or is another one than the plugin is for, is found out before the first sample. As long as one is ready,
/// those that are not are told of, and left to the router: they may come later.
///
/// # Errors
/// [`BackendError::NotReady`] with what to do, or what [`Waiting::wait`] says, if no server is ready.
pub async fn introduce(
    mut backend: OpenBackend,
    ledger: &Ledger,
    printer: &Printer,
) -> Result<OpenBackend, BackendError> {
    let each = backend.replicas.iter();
    let each = each.map(|replica| introduce_one(&backend, replica, ledger, printer));
    let mut described: Vec<Description> = Vec::new();
    let mut absent = Vec::new();
    for one in futures_util::future::join_all(each).await {
        match one {
            Ok(description) => described.push(description),
            Err(error) => absent.push(error),
        }
    }
    let mut described = described.into_iter();
    match (described.next(), absent.is_empty()) {
        (None, false) => return Err(absent.swap_remove(0)),
        (Some(description), _) => backend.description = description,
        (None, true) => {}
    }
    for error in absent {
        printer.warn(&format!("{error}; its other servers go on without it"));
    }
    for other in described {
        let (first, model) = (&backend.description.model, &other.model);
        if let (Some(first), Some(model)) = (first, model)
            && first != model
        {
            printer.warn(&format!(
                "backend `{}`: its servers serve different models, `{first}` and `{model}`: results mix them",
                backend.id
            ));
        }
    }
    Ok(backend)
}

/// Does some work, and tells if it takes long.
async fn tell_if_long<T>(work: impl Future<Output = T>, tell: impl FnOnce()) -> T {
    let mut work = pin!(work);
    match timeout(LONG, &mut work).await {
        Ok(done) => done,
        Err(_) => {
            tell();
            work.await
        }
    }
}

async fn introduce_one(
    backend: &OpenBackend,
    replica: &Replica,
    ledger: &Ledger,
    printer: &Printer,
) -> Result<Description, BackendError> {
    let not_ready = |error: Error| BackendError::NotReady {
        backend: backend.id.clone(),
        at: replica.base_url.as_ref().map(|url| format!(" ({url})")).unwrap_or_default(),
        hint: match error.kind {
            ErrorKind::Transport | ErrorKind::Timeout if replica.base_url.is_some() => {
                "; is the server running, and is base_url right?"
            }
            ErrorKind::UnexpectedReply => {
                "; is base_url that of a server which this plugin is for?"
            }
            ErrorKind::Loading => "; run.loading_timeout says how long it is waited for",
            _ => "",
        },
        error,
    };
    // A server that is loading is waited for here, even if no sample is asked twice.
    let fewest = u32::from(!backend.retry.loading_timeout.is_zero());
    let max_retries = backend.retry.max_retries.clamp(fewest, 2);
    let policy = RetryPolicy { max_retries, sample_timeout: Duration::MAX, ..backend.retry };
    let told = Cell::new(false);
    let waits = |error: &Error, _: Duration| {
        if error.kind == ErrorKind::Loading && !told.replace(true) {
            let longest = humantime::format_duration(policy.loading_timeout);
            printer.note(&format!(
                "backend `{}`: {}; it is waited for, {longest} at most",
                backend.id, error.message
            ));
        }
    };
    let preparing =
        RetryPolicy { attempt_timeout: PREPARE_TIMEOUT, sample_timeout: PREPARE_TIMEOUT, ..policy };
    let prepare = || {
        let held = ledger.held(&replica.holder);
        let asked = ask_backend(&replica.instance, Request::Prepare(held), &preparing, &waits);
        tell_if_long(asked, || {
            let [long, longest] = [LONG, PREPARE_TIMEOUT].map(humantime::format_duration);
            printer.note(&format!(
                "backend `{}` has prepared for {long}; it is waited for, {longest} at most",
                backend.id
            ));
        })
    };
    let server = Waiting {
        backend: &replica.holder,
        base_url: replica.base_url.as_ref(),
        instance: &replica.instance,
        launched: replica.launched.as_deref(),
        limit: backend.wait_ready,
    };
    // First, since some servers are only there once they are prepared; most have nothing to do here.
    let mut prepared = server.while_up(prepare()).await?;
    let failed = prepared.as_ref().err().map(|error| error.kind);
    if failed.is_none_or(|kind| kind == ErrorKind::Unsupported || is_retriable(kind)) {
        server.wait(printer).await?;
    }
    if failed.is_some_and(is_retriable) && !server.limit.is_zero() {
        prepared = server.while_up(prepare()).await?;
    }
    match prepared {
        Ok(_) => {}
        // A plugin without the SDK need not know of it: it has nothing to prepare.
        Err(error) if error.kind == ErrorKind::Unsupported => {}
        Err(error) => return Err(not_ready(error)),
    }
    let describe = ask_backend(&replica.instance, Request::Describe, &policy, &waits);
    let described = server.while_up(describe).await?;
    let description = match described {
        Ok(Answer::Description(description)) => description,
        Ok(_) => {
            return Err(not_ready(Error::new(
                ErrorKind::Protocol,
                "it describes itself by another answer",
            )));
        }
        Err(error) if error.kind == ErrorKind::Unsupported => Description::default(),
        Err(error) => return Err(not_ready(error)),
    };
    Ok(description)
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_what_takes_long_is_told_and_it_is_waited_for_all_the_same() {
        for (factor, expected) in [(0.9, 0), (1.1, 1), (100.0, 1)] {
            let told = Cell::new(0);
            let work = async {
                sleep(LONG.mul_f64(factor)).await;
                "done"
            };
            assert_eq!(tell_if_long(work, || told.set(told.get() + 1)).await, "done");
            assert_eq!(told.get(), expected, "{factor}");
        }
    }
}
