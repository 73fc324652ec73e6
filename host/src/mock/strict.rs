//! Reading a request strictly, so that each vendor's complaint can be made of what does not fit.
//!
//! Request types deny unknown fields by serde's own attribute; this module says what serde found, apart from its words.
//! Knows no vendor.

use serde::Deserialize;

/// What is wrong with a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// It is no JSON.
    Syntax(String),
    /// A field that the type has not.
    Unknown {
        /// Where it is: `parameters.top_q`.
        path: String,
        /// serde's words: the field, and what was expected.
        message: String,
    },
    /// A field that must be there is not.
    Missing {
        /// Where it would be.
        path: String,
        /// serde's words.
        message: String,
    },
    /// A value of another type.
    Type {
        /// Where it is; empty for the body itself.
        path: String,
        /// serde's words.
        message: String,
    },
}

impl Misfit {
    /// Where; empty for the body itself and for what is no JSON.
    pub(crate) fn path(&self) -> &str {
        match self {
            Self::Syntax(_) => "",
            Self::Unknown { path, .. } | Self::Missing { path, .. } | Self::Type { path, .. } => {
                path
            }
        }
    }

    /// serde's words.
    pub(crate) fn message(&self) -> &str {
        match self {
            Self::Syntax(message)
            | Self::Unknown { message, .. }
            | Self::Missing { message, .. }
            | Self::Type { message, .. } => message,
        }
    }
}

/// Reads a body as `T`.
///
/// # Errors
/// What does not fit, and where.
pub(crate) fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Misfit> {
    serde_json::from_slice(body).map_err(|error| misfit::<T>(body, &error))
}

/// Reads once more, more slowly, to learn where.
#[cold]
fn misfit<'a, T: Deserialize<'a>>(body: &'a [u8], error: &serde_json::Error) -> Misfit {
    if !error.is_data() {
        return Misfit::Syntax(error.to_string());
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let Err(error) = serde_path_to_error::deserialize::<_, T>(&mut reader) else {
        return Misfit::Syntax(error.to_string());
    };
    let path = match error.path().to_string() {
        path if path == "." => String::new(),
        path => path,
    };
    let message = error.inner().to_string();
    if message.starts_with("unknown field `") {
        // The path names the unknown field itself.
        Misfit::Unknown { path, message }
    } else if let Some(name) = quoted(&message, "missing field `") {
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        Misfit::Missing { path, message }
    } else {
        Misfit::Type { path, message }
    }
}

fn quoted<'m>(message: &'m str, before: &str) -> Option<&'m str> {
    message.strip_prefix(before)?.split('`').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only the shape matters")]
    struct Outer {
        name: String,
        #[serde(default)]
        inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only the shape matters")]
    struct Inner {
        size: u32,
    }

    #[test]
    fn a_misfit_says_what_and_where() {
        let misfit = |body: &str| read::<Outer>(body.as_bytes()).unwrap_err();
        let kind = |misfit: &Misfit| match misfit {
            Misfit::Syntax(_) => "syntax",
            Misfit::Unknown { .. } => "unknown",
            Misfit::Missing { .. } => "missing",
            Misfit::Type { .. } => "type",
        };
        let table = [
            ("{", "syntax", ""),
            ("", "syntax", ""),
            (r#"{"name":"a","colour":1}"#, "unknown", "colour"),
            (r#"{"name":"a","inner":{"size":1,"x":1}}"#, "unknown", "inner.x"),
            (r#"{"inner":null}"#, "missing", "name"),
            (r#"{"name":"a","inner":{}}"#, "missing", "inner.size"),
            (r#"{"name":"a","inner":{"size":"big"}}"#, "type", "inner.size"),
            ("[]", "type", ""),
        ];
        for (body, expected, path) in table {
            let misfit = misfit(body);
            assert_eq!((kind(&misfit), misfit.path()), (expected, path), "{body}: {misfit:?}");
        }
        let unknown = misfit(r#"{"name":"a","colour":1}"#);
        assert!(unknown.message().starts_with("unknown field `colour`, expected"));
    }
}
