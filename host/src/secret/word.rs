//! Secrets that are words: what a local server is given that wants no key, `vllm` say. Hiding one that the host's own
//! files hold as well would spoil them, and hide nothing.

use serde_json::Value;

use super::Secret;

/// Nothing of this length is a word.
const TOO_LONG: usize = 16;

/// Words that the host writes as values, and reads again.
const WRITTEN: [&str; 43] = [
    // How a sample ended.
    "scored",
    "unscored",
    "refusal",
    "truncation",
    "truncated",
    "no_answer",
    "reasoning_budget",
    "reasoning_truncated",
    // Who says a message.
    "system",
    "developer",
    "user",
    "assistant",
    "tool",
    // Why a reply ended.
    "stop",
    "length",
    "content_filter",
    "tool_calls",
    // Kinds of errors.
    "rate_limited",
    "overloaded",
    "loading",
    "timeout",
    "transport",
    "unauthorized",
    "forbidden_origin",
    "invalid_request",
    "context_length",
    "unsupported",
    "unexpected_reply",
    "cancelled",
    "panic",
    "crashed",
    "protocol",
    "other",
    // How a run ended, and where a plugin runs.
    "complete",
    "interrupted",
    "spent",
    "failed",
    "worker",
    "in-process",
    // What a task is of.
    "multiple_choice",
    "generate",
    "completion",
    "chat",
];

/// Whether a secret is a word that stands in what the host writes, or in a value of these.
pub fn is_own_word(secret: &Secret, values: impl FnOnce() -> Value) -> bool {
    let word = secret.expose();
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'_');
    if !(super::redact::SHORTEST_SECRET..TOO_LONG).contains(&word.len())
        || !word.bytes().all(is_letter)
    {
        return false;
    }
    WRITTEN.iter().any(|written| written.contains(word)) || stands_in(word, &values())
}

fn stands_in(word: &str, value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(word),
        Value::Array(items) => items.iter().any(|item| stands_in(word, item)),
        Value::Object(object) => object.values().any(|item| stands_in(word, item)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use plugin_api::ErrorKind;
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_word_that_is_written_anyway_is_one() {
        let values =
            json!({"backend": [{"model": "hosted_vllm/m-1", "n": 12345}], "key": "sk-123456"});
        for (secret, expected) in [
            ("vllm", true),
            ("hosted_vllm", true),
            ("length", true),
            ("score", true),
            // Is not redacted.
            ("m", false),
            ("EMPTY", false),
            ("letmein", false),
            // A name is not redacted either.
            ("backend", false),
            // May be one.
            ("sk-123456", false),
            ("12345", false),
        ] {
            let secret = Secret::new(secret.to_owned());
            assert_eq!(is_own_word(&secret, || values.clone()), expected, "{}", secret.expose());
        }
    }

    #[test]
    fn every_kind_of_error_is_written() {
        for kind in ErrorKind::ALL {
            assert!(WRITTEN.contains(&kind.to_string().as_str()), "{kind}");
        }
    }
}
