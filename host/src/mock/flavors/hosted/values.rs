//! Bounds of values, in OpenAI's words.

use std::ops::RangeInclusive;

use super::Refusal;

/// A whole number within bounds, if it is there.
pub(super) fn integer(
    name: &str,
    value: Option<i64>,
    bounds: RangeInclusive<i64>,
) -> Result<(), Refusal> {
    let Some(value) = value.filter(|value| !bounds.contains(value)) else {
        return Ok(());
    };
    Err(if value < *bounds.start() {
        outside(
            name,
            "integer",
            ("below minimum", ">=", bounds.start()),
            value,
            "integer_below_min_value",
        )
    } else {
        outside(
            name,
            "integer",
            ("above maximum", "<=", bounds.end()),
            value,
            "integer_above_max_value",
        )
    })
}

/// A number within bounds, if it is there.
pub(super) fn decimal(
    name: &str,
    value: Option<f64>,
    bounds: RangeInclusive<f64>,
) -> Result<(), Refusal> {
    let Some(value) = value.filter(|value| !bounds.contains(value)) else {
        return Ok(());
    };
    Err(if value < *bounds.start() {
        outside(
            name,
            "decimal",
            ("below minimum", ">=", bounds.start()),
            value,
            "decimal_below_min_value",
        )
    } else {
        outside(
            name,
            "decimal",
            ("above maximum", "<=", bounds.end()),
            value,
            "decimal_above_max_value",
        )
    })
}

fn outside<T: std::fmt::Display>(
    name: &str,
    what: &str,
    (side, sign, bound): (&str, &str, &T),
    got: T,
    code: &'static str,
) -> Refusal {
    Refusal::new(format!(
        "Invalid '{name}': {what} {side} value. Expected a value {sign} {bound}, but got {got} instead."
    ))
    .of(name, code)
}

/// At most this many.
pub(super) fn at_most(name: &str, most: usize, got: usize) -> Result<(), Refusal> {
    if got <= most {
        return Ok(());
    }
    let message = format!(
        "Invalid '{name}': array too long. Expected an array with maximum length {most}, but got an array with \
         length {got} instead."
    );
    Err(Refusal::new(message).of(name, "array_above_max_length"))
}

/// One of these, if it is there.
pub(super) fn one_of(name: &str, value: Option<&str>, expected: &[&str]) -> Result<(), Refusal> {
    match value {
        Some(value) if !expected.contains(&value) => {
            Err(Refusal::invalid_value(name, value, expected))
        }
        _ => Ok(()),
    }
}
