//! Whether an answer may come of a broken reply.

use super::{broken::Nature, mangle::STRANGE};
use crate::{
    completion::{Answer, Choice, Completion},
    error::{Error, ErrorKind},
    message::{FinishReason, Likelihood},
};

/// Why this is no proper end of an item whose good answer is `good`; none if it is one.
pub(super) fn wrong(
    nature: Nature,
    stream: bool,
    good: &Answer,
    found: &Result<Answer, Error>,
) -> Option<String> {
    match found {
        Err(error) => wrong_error(nature, error),
        Ok(answer) => wrong_answer(nature, stream, good, answer),
    }
}

fn wrong_error(nature: Nature, error: &Error) -> Option<String> {
    use ErrorKind as K;
    if matches!(error.kind, K::Panic | K::Crashed | K::Protocol | K::Cancelled) {
        return Some(format!("`{}` is not for a backend to say", error.kind));
    }
    if error.message.is_empty() {
        return Some("the failure has no message".to_owned());
    }
    let later = matches!(
        error.kind,
        K::RateLimited | K::Overloaded | K::Loading | K::Timeout | K::Transport
    );
    let never = matches!(
        error.kind,
        K::InvalidRequest
            | K::Unauthorized
            | K::ContextLength
            | K::ContentFilter
            | K::ForbiddenOrigin
    );
    match nature {
        Nature::Status(401) if later => {
            Some("the host would try again with the same key".to_owned())
        }
        Nature::Status(429) if never => {
            Some("the host would not try again, which the server asks it to do later".to_owned())
        }
        Nature::Status(500 | 502..=599) if never => {
            Some("the host would not try again, though it was the server that failed".to_owned())
        }
        _ => None,
    }
}

fn wrong_answer(nature: Nature, stream: bool, good: &Answer, found: &Answer) -> Option<String> {
    match (good, found) {
        (Answer::Completion(good), Answer::Completion(found)) => {
            wrong_completion(nature, stream, good, found)
        }
        (Answer::Likelihoods(good), Answer::Likelihoods(found)) => {
            wrong_likelihoods(nature, good, found)
        }
        // What a server is like may be told from nothing.
        (Answer::Health(_), Answer::Health(_))
        | (Answer::Description(_), Answer::Description(_))
        | (Answer::Nothing, Answer::Nothing) => None,
        _ if says_something(nature) || nature == Nature::Smudged => None,
        _ => (format!("{good:?}") != format!("{found:?}")).then(invented),
    }
}

/// Whether the reply still has a shape that an answer can be made of.
fn says_something(nature: Nature) -> bool {
    matches!(nature, Nature::Mutated | Nature::Emptied)
}

fn invented() -> String {
    "it is an answer that the server did not give".to_owned()
}

fn wrong_completion(
    nature: Nature,
    stream: bool,
    good: &Completion,
    found: &Completion,
) -> Option<String> {
    if found.choices.is_empty() {
        return Some("a completion without a choice".to_owned());
    }
    if found.choices.len() != good.choices.len() && !says_something(nature) {
        return Some(invented());
    }
    let expected: Vec<&Choice> = good.choices.iter().collect();
    let is_wrong = |(index, choice): (usize, &Choice)| {
        let same = |good: &&Choice| good.text == choice.text;
        if expected.get(index).is_some_and(same) {
            return false;
        }
        let part = expected.iter().any(|good| is_said(&choice.text, good, stream));
        match nature {
            Nature::Shapeless | Nature::Status(_) => true,
            Nature::Smudged => !(choice.text.contains('\u{fffd}') || (part && stream)),
            Nature::Mutated | Nature::Emptied => {
                let explained = stream
                    || nature == Nature::Emptied
                    || choice.finish_reason != FinishReason::Stop;
                !choice.text.contains(STRANGE) && !(part && (!choice.text.is_empty() || explained))
            }
        }
    };
    found.choices.iter().enumerate().any(is_wrong).then(invented)
}

fn wrong_likelihoods(nature: Nature, good: &[Likelihood], found: &[Likelihood]) -> Option<String> {
    if found.len() != good.len() {
        return Some(format!("{} likelihoods, where {} were asked for", found.len(), good.len()));
    }
    if !says_something(nature) {
        let same = |(good, found): (&Likelihood, &Likelihood)| {
            (good.logprob, good.tokens) == (found.logprob, found.tokens)
        };
        return (!good.iter().zip(found).all(same)).then(invented);
    }
    let is_wrong = |one: &&Likelihood| {
        one.tokens == 0 || one.logprob.is_some_and(|logprob| !logprob.is_finite() || logprob > 0.01)
    };
    found.iter().find(is_wrong).map(|one| format!("{one:?} is the likelihood of nothing"))
}

/// Whether a text is made of what the good choice says, or what it thinks.
fn is_said(text: &str, good: &Choice, stream: bool) -> bool {
    let whole = format!("{}{}", good.reasoning.as_deref().unwrap_or_default(), good.text);
    // Where the piece with the stop text is lost, more comes than would have.
    is_part(text, &whole) || (stream && text.starts_with(&good.text))
}

/// Whether `text` is `whole` with some of its characters left out.
fn is_part(text: &str, whole: &str) -> bool {
    let mut rest = whole.chars();
    text.chars().all(|c| rest.any(|other| other == c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_out_of_nothing_is_wrong_and_a_failure_is_right() {
        let answer = |text: &str, reason| Answer::Completion(Completion::new(text, reason));
        let good = answer("ab", "stop");
        let judge = |nature, text, reason| wrong(nature, false, &good, &Ok(answer(text, reason)));
        for (nature, text, reason, right) in [
            (Nature::Shapeless, "ab", "stop", true),
            (Nature::Shapeless, "", "stop", false),
            (Nature::Shapeless, "a", "length", false),
            (Nature::Status(500), "a", "stop", false),
            (Nature::Smudged, "a\u{fffd}", "stop", true),
            (Nature::Smudged, "", "stop", false),
            (Nature::Mutated, STRANGE, "stop", true),
            (Nature::Mutated, "b", "stop", true),
            (Nature::Mutated, "true", "stop", false),
            (Nature::Mutated, "", "stop", false),
            (Nature::Mutated, "", "length", true),
            (Nature::Emptied, "", "stop", true),
            (Nature::Emptied, "[]", "stop", false),
        ] {
            assert_eq!(judge(nature, text, reason).is_none(), right, "{nature:?} {text:?}");
        }
        let fails =
            |nature, kind| wrong(nature, false, &good, &Err(Error::new(kind, "x"))).is_some();
        assert!(!fails(Nature::Shapeless, ErrorKind::UnexpectedReply));
        assert!(fails(Nature::Shapeless, ErrorKind::Panic));
        assert!(fails(Nature::Status(401), ErrorKind::Overloaded));
        assert!(fails(Nature::Status(429), ErrorKind::InvalidRequest));
        assert!(fails(Nature::Status(503), ErrorKind::Unauthorized));
        assert!(!fails(Nature::Status(501), ErrorKind::InvalidRequest));
        assert!(
            wrong(Nature::Shapeless, false, &good, &Err(Error::new(ErrorKind::Other, "")))
                .is_some()
        );
    }

    #[test]
    fn a_likelihood_is_a_number_of_something() {
        let of = |logprob, tokens| {
            Answer::Likelihoods(vec![Likelihood { logprob, tokens, ..Likelihood::default() }])
        };
        let good = of(Some(-1.0), 1);
        let judge = |nature, found| wrong(nature, false, &good, &Ok(found)).is_none();
        assert!(judge(Nature::Shapeless, of(Some(-1.0), 1)));
        assert!(!judge(Nature::Shapeless, of(Some(-2.0), 1)));
        assert!(judge(Nature::Mutated, of(Some(-2.0), 1)));
        assert!(judge(Nature::Mutated, of(None, 1)));
        assert!(!judge(Nature::Mutated, of(Some(1.5e300), 1)));
        assert!(!judge(Nature::Mutated, of(Some(-1.0), 0)));
        assert!(!judge(Nature::Mutated, Answer::Likelihoods(Vec::new())));
    }
}
