//! What servers say in prose where a status and a code leave it open. The phrases are those of wire.md 4.6, as
//! the vendors and engines write them.
//!
//! Pure. A phrase only refines the kind of a failure; it never makes a failure of a success.

/// Phrases in lower case by which servers say that prompt and answer do not fit the model's context.
const TOO_LONG: &[&str] = &[
    "context_length_exceeded",
    "exceed context limit",
    "this model's maximum context length is",
    "requested token count exceeds the model's maximum context length",
    "is longer than the model's context length",
    "`inputs` tokens + `max_new_tokens` must be",
    "`inputs` must have less than",
    "input tokens exceed the configured limit",
    "exceeds the available context size",
    "exceeds the maximum number of tokens allowed",
    "model's maximum context limit",
    "prompt is too long",
];

/// Whether a server's words say that prompt and answer do not fit the model's context.
pub fn is_too_long(text: &str) -> bool {
    let text = text.to_lowercase();
    let both = |a: &str, b: &str| text.contains(a) && text.contains(b);
    TOO_LONG.iter().any(|phrase| text.contains(phrase))
        || both("current length is", "while limit is")
        || (both("maximum input length is", "tokens"))
        || both("input too long:", "input tokens, limit is")
}

/// Whether a body is a page rather than data: what a proxy, or a wrong address, answers with.
pub fn is_markup(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_for_a_context_that_is_too_small() {
        for (text, too_long) in [
            ("This model's maximum context length is 8192 tokens. However, …", true),
            (
                "The input (9000 tokens) is longer than the model's context length (8192 tokens).",
                true,
            ),
            ("the request exceeds the available context size, try increasing it", true),
            ("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048", true),
            ("The current length is 5000 while limit is 4096", true),
            ("prompt is too long: 210000 tokens > 200000 maximum", true),
            ("max_tokens is too large: 5000", false),
            ("rate limit reached", false),
        ] {
            assert_eq!(is_too_long(text), too_long, "{text}");
        }
    }

    #[test]
    fn a_page_is_not_data() {
        assert!(is_markup(b" \n<!DOCTYPE html>"));
        assert!(!is_markup(b"{\"a\":\"<b>\"}"));
        assert!(!is_markup(b""));
    }
}
