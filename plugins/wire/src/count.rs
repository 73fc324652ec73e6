//! Counts of tokens as servers write them: whole numbers, now and then as `10.0`.
//!
//! Pure. An answer is no worse for a count that is none, so nothing here fails: what is no count is unknown.

use serde::{Deserialize, Deserializer};
use serde_json::{Number, Value};

/// 2^53: above it not every whole number has a form of its own in JSON, and sums of them are no sums.
const MOST: u64 = 1 << 53;

/// The count that a number is; none if it is negative, has a fraction or is above 2^53.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "the range is checked before, and its ends have forms of their own"
)]
pub fn of(number: &Number) -> Option<u64> {
    if let Some(count) = number.as_u64() {
        return Some(count).filter(|count| *count <= MOST);
    }
    let number = number.as_f64()?;
    let counts = number.fract() == 0.0 && (0.0..=MOST as f64).contains(&number);
    counts.then_some(number as u64)
}

/// Reads a field that should hold a count; with anything else in it the count is unknown.
///
/// # Errors
/// What stands there is no JSON.
pub fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(number) => of(&number),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_count_is_unknown() {
        #[derive(Deserialize)]
        struct Counted {
            #[serde(default, deserialize_with = "read")]
            n: Option<u64>,
        }
        for (text, count) in [
            ("0", Some(0)),
            ("10", Some(10)),
            ("10.0", Some(10)),
            ("1e3", Some(1000)),
            ("-0.0", Some(0)),
            ("9007199254740992", Some(MOST)),
            ("9007199254740993", None),
            ("9007199254740994.0", None),
            ("18446744073709551615", None),
            ("1e30", None),
            ("-5", None),
            ("10.5", None),
            ("\"10\"", None),
            ("null", None),
            ("true", None),
            ("[10]", None),
            ("{\"n\":10}", None),
        ] {
            let read: Counted = serde_json::from_str(&format!("{{\"n\":{text}}}")).unwrap();
            assert_eq!(read.n, count, "{text}");
        }
        assert_eq!(serde_json::from_str::<Counted>("{}").unwrap().n, None);
    }
}
