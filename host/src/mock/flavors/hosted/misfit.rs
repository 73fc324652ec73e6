//! A body that does not fit the request's type, in OpenAI's words.

use super::Refusal;
use crate::mock::strict::Misfit;

impl From<Misfit> for Refusal {
    fn from(misfit: Misfit) -> Self {
        match &misfit {
            Misfit::Syntax(_) => Self::new(
                "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your \
                 HTTP library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)",
            ),
            Misfit::Unknown { path, .. } => Self::unknown(path),
            Misfit::Missing { path, .. } => Self::missing(path),
            Misfit::Type { path, message } => {
                let (got, expected) = (got(message), expected(message));
                let message = if path.is_empty() {
                    format!("Invalid body: expected {expected}, but got {got} instead.")
                } else {
                    format!(
                        "Invalid type for '{path}': expected {expected}, but got {got} instead."
                    )
                };
                Self::new(message).of(path, "invalid_type")
            }
        }
    }
}

/// What serde found: `invalid type: integer `7`, expected a string at line 1 column 9`.
fn got(message: &str) -> &'static str {
    let after = message.split_once(": ").map_or("", |(_, after)| after);
    let first = after.split([' ', ',']).next().unwrap_or("");
    match first {
        "boolean" => "a boolean",
        "integer" => "an integer",
        "floating" => "a decimal",
        "string" => "a string",
        "map" => "an object",
        "sequence" => "an array",
        "null" => "null",
        _ => "another value",
    }
}

/// What serde expected, in words of JSON.
fn expected(message: &str) -> &str {
    let after = message.rsplit_once(", expected ").map_or("another value", |(_, after)| after);
    let wanted = after.split(" at line ").next().unwrap_or(after);
    match wanted {
        "f64" => "a decimal",
        "i64" | "i32" | "u32" | "u64" | "usize" => "an integer",
        "a boolean" => "a boolean",
        "a sequence" => "an array",
        "a map" => "an object",
        "a string" | "a string or an array" => wanted,
        _ if wanted.starts_with("struct ") => "an object",
        _ => wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serdes_words_are_translated() {
        let table = [
            (
                "invalid type: integer `7`, expected a string at line 1 column 9",
                "an integer",
                "a string",
            ),
            ("invalid type: map, expected f64 at line 1 column 9", "an object", "a decimal"),
            ("invalid type: string \"a, expected b\", expected i64", "a string", "an integer"),
            ("invalid type: null, expected struct Message at line 1", "null", "an object"),
            ("invalid type: floating point `1.5`, expected i64", "a decimal", "an integer"),
        ];
        for (message, found, wanted) in table {
            assert_eq!((got(message), expected(message)), (found, wanted), "{message}");
        }
    }
}
