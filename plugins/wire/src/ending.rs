//! Words for the end of a generation that leave no answer to grade.
//!
//! Pure. Which words mean a whole answer, or one that was cut at its limit, each wire says for itself.

use plugin_api::{Error, ErrorKind};

/// The failure that a finish reason tells, if it is one: the server gave the generation up, and what text there is
/// the model did not end (wire.md 7.2). Another try may end better.
pub fn broken_off(finish_reason: &str) -> Option<Error> {
    matches!(finish_reason, "abort" | "aborted" | "error").then(|| {
        let message =
            format!("the server broke the generation off (finish reason `{finish_reason}`)");
        Error::new(ErrorKind::Overloaded, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_that_was_given_up_is_a_failure_and_any_other_end_is_none() {
        for word in ["abort", "aborted", "error"] {
            assert_eq!(broken_off(word).unwrap().kind, ErrorKind::Overloaded, "{word}");
        }
        for word in ["stop", "length", "content_filter", "tool_calls", "", "weary"] {
            assert!(broken_off(word).is_none(), "{word}");
        }
    }
}
