//! What OpenAI says of a request that it does not take: message, type, parameter, code.

use std::fmt::Display;

use super::Dialect;
use crate::mock::exchange::{Asked, Trouble};

/// A refusal in OpenAI's terms; a dialect writes it in its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// HTTP status.
    pub(crate) status: u16,
    /// `error.type`.
    pub(crate) kind: &'static str,
    /// `error.message`.
    pub(crate) message: String,
    /// `error.param`.
    pub(crate) param: Option<String>,
    /// `error.code`.
    pub(crate) code: Option<&'static str>,
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It is not taken.
    Refused(Refusal),
    /// The server that answers in the model's place failed.
    Trouble(Trouble),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl Refusal {
    /// Status 400, `invalid_request_error`.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            status: 400,
            kind: "invalid_request_error",
            message: message.into(),
            param: None,
            code: None,
        }
    }

    /// Because of this parameter.
    pub(crate) fn of(self, param: impl Into<String>, code: &'static str) -> Self {
        Self { param: Some(param.into()), code: Some(code), ..self }
    }

    /// There is no such field.
    pub(crate) fn unknown(path: &str) -> Self {
        Self::new(format!("Unknown parameter: '{path}'.")).of(path, "unknown_parameter")
    }

    /// A field is not there.
    pub(crate) fn missing(path: &str) -> Self {
        let message = format!("Missing required parameter: '{path}'.");
        Self::new(message).of(path, "missing_required_parameter")
    }

    /// A field that this model has not.
    pub(crate) fn unsupported_parameter(name: &str, instead: &str) -> Self {
        let message =
            format!("Unsupported parameter: '{name}' is not supported with this model.{instead}");
        Self::new(message).of(name, "unsupported_parameter")
    }

    /// A value that this model has not.
    pub(crate) fn unsupported_value(name: &str, got: impl Display, only: &str) -> Self {
        let message =
            format!("Unsupported value: '{name}' does not support {got} with this model. {only}");
        Self::new(message).of(name, "unsupported_value")
    }

    /// A string that is none of those expected.
    pub(crate) fn invalid_value(path: &str, got: &str, expected: &[&str]) -> Self {
        let names: Vec<String> = expected.iter().map(|name| format!("'{name}'")).collect();
        let (last, others) = names.split_last().map_or(("", &names[..]), |(l, o)| (l.as_str(), o));
        let message = format!(
            "Invalid value: '{got}'. Supported values are: {} and {last}.",
            others.join(", ")
        );
        Self::new(message).of(path, "invalid_value")
    }

    /// The model does not exist.
    pub(crate) fn missing_model(dialect: Dialect, model: &str) -> Self {
        let (message, code) = match dialect {
            Dialect::Azure => (
                "The API deployment for this resource does not exist. If you created the deployment within the last 5 \
                 minutes, please wait a moment and try again."
                    .to_owned(),
                "DeploymentNotFound",
            ),
            _ => (
                format!("The model `{model}` does not exist or you do not have access to it."),
                "model_not_found",
            ),
        };
        Self { status: 404, ..Self::new(message).of("model", code) }
    }

    /// The body says that it is no JSON.
    pub(crate) fn content_type(got: &str) -> Self {
        let message = format!(
            "Unsupported content type: '{got}'. This API method only accepts 'application/json' requests."
        );
        Self { code: Some("unsupported_content_type"), ..Self::new(message) }
    }

    /// There is nothing at this path, or not for this method.
    pub(crate) fn no_route(asked: &Asked<'_>) -> Self {
        Self { status: 404, ..Self::new(format!("Invalid URL ({} {})", asked.method, asked.path)) }
    }

    /// The prompt is too long.
    pub(crate) fn context_length(most: usize, got: usize, param: &'static str) -> Self {
        let message = format!(
            "This model's maximum context length is {most} tokens. However, your messages resulted in {got} tokens. \
             Please reduce the length of the messages."
        );
        Self::new(message).of(param, "context_length_exceeded")
    }
}
