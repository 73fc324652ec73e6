//! What a server says of its rate limits in headers: `x-ratelimit-*` (wire.md 4.1).
//!
//! Pure. The headers must be named in the plugin's manifest, [`HEADERS`] among its `reply_headers`.

use plugin_api::{Limits, Reply};

/// The reply headers that this module and [`super::failure`] read.
pub const HEADERS: &[&str] = &[
    "retry-after",
    "retry-after-ms",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
    "x-request-id",
    "x-should-retry",
];

/// The limits, if the server says anything of them. The window that starts anew is the later one of requests
/// and tokens.
pub fn of(reply: &Reply) -> Option<Limits> {
    let number = |name: &str| reply.header(name)?.trim().parse().ok();
    let span = |name: &str| duration_ms(reply.header(name)?);
    let limits = Limits {
        requests_remaining: number("x-ratelimit-remaining-requests"),
        tokens_remaining: number("x-ratelimit-remaining-tokens"),
        reset_ms: span("x-ratelimit-reset-requests").max(span("x-ratelimit-reset-tokens")),
    };
    (limits.requests_remaining.is_some() || limits.tokens_remaining.is_some()).then_some(limits)
}

/// A duration as `6m0s`, `20ms`, `1h2m3.5s`; a bare number is seconds. In milliseconds, rounded up.
pub fn duration_ms(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    if let Ok(seconds) = rest.parse::<f64>() {
        return millis(seconds * 1000.0);
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest.get(..digits)?.parse().ok()?;
        let unit = rest.get(digits..)?;
        let (factor, length) = match unit.as_bytes() {
            [b'm', b's', ..] => (1.0, 2),
            [b'u' | b'n', b's', ..] => (0.0, 2),
            [b'h', ..] => (3_600_000.0, 1),
            [b'm', ..] => (60_000.0, 1),
            [b's', ..] => (1000.0, 1),
            [b'd', ..] => (86_400_000.0, 1),
            _ => return None,
        };
        total += value * factor;
        rest = unit.get(length..)?;
    }
    (!text.trim().is_empty()).then_some(total).and_then(millis)
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates; negatives are out"
)]
fn millis(value: f64) -> Option<u64> {
    (value.is_finite() && value >= 0.0).then(|| value.ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_every_form_that_vendors_write() {
        for (text, ms) in [
            ("6m0s", Some(360_000)),
            ("20ms", Some(20)),
            ("1s", Some(1000)),
            ("1h2m3.5s", Some(3_723_500)),
            ("7.66s", Some(7660)),
            ("12", Some(12_000)),
            ("0", Some(0)),
            ("", None),
            ("soon", None),
            ("-1", None),
            ("5x", None),
            ("2026-10-21T07:28:00Z", None),
        ] {
            assert_eq!(duration_ms(text), ms, "{text:?}");
        }
    }

    #[test]
    fn limits_are_told_only_where_the_server_tells_them() {
        let headers = [
            ("x-ratelimit-remaining-requests", "59"),
            ("x-ratelimit-remaining-tokens", "149984"),
            ("x-ratelimit-reset-requests", "1s"),
            ("x-ratelimit-reset-tokens", "6m0s"),
        ];
        let limits = of(&Reply::new(200, &headers, b"")).unwrap();
        assert_eq!(limits.requests_remaining, Some(59));
        assert_eq!(limits.tokens_remaining, Some(149_984));
        assert_eq!(limits.reset_ms, Some(360_000));
        assert!(of(&Reply::new(200, &[("x-ratelimit-reset-requests", "1s")], b"")).is_none());
    }
}
