//! Tells a backend that can answer nothing at all from one that cannot answer some samples: a wrong key, a model
//! that is not there, a request that this server will never take. Such a run is stopped with one message after the
//! first few samples, and not after every sample has failed in the same way.

use plugin_api::{Error, ErrorKind};

use super::retry::is_retriable;

/// Failures of the same kind and with the same words after which a backend is given up.
const SAME_WORDS: u32 = 3;
/// The same if only the kind is equal: then the samples themselves may be at fault.
const SAME_KIND: u32 = 8;

/// What the first samples of one backend came to.
#[derive(Debug, Default)]
pub struct Fatal {
    /// Whether it is settled that this backend can answer something, or is given up.
    settled: bool,
    first: Option<First>,
}

#[derive(Debug)]
struct First {
    kind: ErrorKind,
    status: Option<u16>,
    message: String,
    same_kind: u32,
    same_words: u32,
}

impl Fatal {
    /// A sample is finished. Returns the message with which to stop, once, when every sample so far has failed
    /// for the same reason and will for ever.
    pub fn add(&mut self, backend: &str, result: Result<(), &Error>) -> Option<String> {
        if self.settled {
            return None;
        }
        let Err(error) = result else {
            self.settled = true;
            return None;
        };
        if !is_fatal(error) {
            // It may yet be that nothing is ever answered; but then not for one reason that is known to last.
            self.settled = !is_retriable(error.kind);
            return None;
        }
        let first = self.first.get_or_insert_with(|| First {
            kind: error.kind,
            status: error.http_status,
            message: error.message.clone(),
            same_kind: 0,
            same_words: 0,
        });
        if (first.kind, first.status) != (error.kind, error.http_status) {
            self.settled = true;
            return None;
        }
        first.same_kind += 1;
        first.same_words += u32::from(first.message == error.message);
        let count = first.same_kind;
        if first.same_words < SAME_WORDS && count < SAME_KIND {
            return None;
        }
        self.settled = true;
        Some(format!(
            "backend `{backend}`: the first {count} samples all failed and the others would too: {error}; {}",
            hint(error)
        ))
    }
}

/// Whether the next sample would fail alike.
fn is_fatal(error: &Error) -> bool {
    let says_so = matches!(
        error.kind,
        ErrorKind::Unauthorized
            | ErrorKind::ForbiddenOrigin
            | ErrorKind::InvalidRequest
            | ErrorKind::Unsupported
            | ErrorKind::Protocol
            | ErrorKind::Panic
    );
    // A route or model that is not there, by whatever name a plugin calls it.
    says_so || is_absent(error) && !is_retriable(error.kind)
}

fn is_absent(error: &Error) -> bool {
    matches!(error.http_status, Some(404 | 405 | 410))
}

/// What to do about it.
fn hint(error: &Error) -> &'static str {
    match error.kind {
        ErrorKind::Unauthorized => "look at the key, and at what it is allowed",
        ErrorKind::ForbiddenOrigin => {
            "look at `base_url`; `origins` in the run file lets requests go further"
        }
        ErrorKind::Panic | ErrorKind::Protocol => {
            "the plugin is at fault, and its author should know"
        }
        _ if is_absent(error) => "look at `model` and `base_url`",
        ErrorKind::Unsupported => {
            "this backend cannot do what the task asks; choose another task or backend"
        }
        _ => "look at the model, the backend's `config` and the task's `generate` parameters",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: ErrorKind, status: Option<u16>, message: &str) -> Error {
        Error { http_status: status, ..Error::new(kind, message) }
    }

    /// After which sample a backend is given up.
    fn given_up(results: &[Result<(), Error>]) -> Option<usize> {
        let mut fatal = Fatal::default();
        results.iter().position(|result| fatal.add("small", result.as_ref().copied()).is_some())
    }

    #[test]
    fn a_condition_that_lasts_stops_the_run_at_the_third_sample() {
        for (kind, status) in [
            (ErrorKind::Unauthorized, Some(401)),
            (ErrorKind::InvalidRequest, Some(404)),
            (ErrorKind::InvalidRequest, Some(400)),
            (ErrorKind::Unsupported, None),
            (ErrorKind::ForbiddenOrigin, None),
            (ErrorKind::Protocol, None),
            (ErrorKind::Panic, None),
            (ErrorKind::UnexpectedReply, Some(404)),
        ] {
            let results = vec![Err(error(kind, status, "no")); 5];
            assert_eq!(given_up(&results), Some(2), "{kind}");
        }
    }

    #[test]
    fn what_may_pass_or_is_one_samples_own_fault_stops_nothing() {
        for kind in [
            ErrorKind::RateLimited,
            ErrorKind::Overloaded,
            ErrorKind::Loading,
            ErrorKind::Timeout,
            ErrorKind::Transport,
            ErrorKind::Crashed,
            ErrorKind::ContextLength,
            ErrorKind::ContentFilter,
            ErrorKind::UnexpectedReply,
            ErrorKind::Other,
        ] {
            assert_eq!(given_up(&vec![Err(error(kind, None, "no")); 50]), None, "{kind}");
        }
    }

    #[test]
    fn one_answer_disarms_it_for_good() {
        let denied = || Err(error(ErrorKind::Unauthorized, Some(401), "no"));
        let mut results = vec![denied(), denied(), Ok(())];
        results.extend((0..50).map(|_| denied()));
        assert_eq!(given_up(&results), None);
    }

    #[test]
    fn failures_of_two_kinds_are_not_one_condition() {
        let results = [
            Err(error(ErrorKind::Unauthorized, Some(401), "no")),
            Err(error(ErrorKind::InvalidRequest, Some(400), "no")),
            Err(error(ErrorKind::Unauthorized, Some(401), "no")),
            Err(error(ErrorKind::Unauthorized, Some(401), "no")),
        ];
        assert_eq!(given_up(&results), None);
    }

    #[test]
    fn samples_that_are_refused_each_in_other_words_are_given_a_longer_chance() {
        let results: Vec<_> = (0..20)
            .map(|sample| {
                Err(error(ErrorKind::InvalidRequest, Some(400), &format!("sample {sample}")))
            })
            .collect();
        assert_eq!(given_up(&results), Some(7));
    }

    #[test]
    fn failures_that_may_pass_are_looked_over() {
        let results = [
            Err(error(ErrorKind::Timeout, None, "slow")),
            Err(error(ErrorKind::Unauthorized, Some(401), "no")),
            Err(error(ErrorKind::Transport, None, "cut")),
            Err(error(ErrorKind::Unauthorized, Some(401), "no")),
            Err(error(ErrorKind::Unauthorized, Some(401), "no")),
        ];
        assert_eq!(given_up(&results), Some(4));
    }

    #[test]
    fn the_message_names_the_backend_the_reason_and_a_way_out() {
        let mut fatal = Fatal::default();
        let error = error(ErrorKind::InvalidRequest, Some(404), "model `x` does not exist");
        let message = (0..3).find_map(|_| fatal.add("small", Err(&error)));
        assert_eq!(
            message.as_deref(),
            Some(
                "backend `small`: the first 3 samples all failed and the others would too: invalid_request: model `x` \
                 does not exist (HTTP 404); look at `model` and `base_url`"
            )
        );
        assert_eq!(fatal.add("small", Err(&error)), None);
    }
}
