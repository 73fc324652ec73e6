//! What the encoders of several vendors share: typed reading of a vendor's own parameters, checks that every vendor
//! makes alike, and the records of what was changed.
//!
//! Pure; knows no wire format.

use base64::{display::Base64Display, engine::general_purpose::STANDARD};
use plugin_api::{Changed, Error, ErrorKind, Generate, Result};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

/// A record of a change.
pub(crate) fn change(parameter: &str, detail: impl Into<String>) -> Changed {
    Changed { parameter: parameter.to_owned(), detail: detail.into() }
}

/// A request that no server will accept.
pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidRequest, message)
}

/// A vendor's own parameter as its type; none if it is null.
///
/// # Errors
/// `invalid_request`, naming the parameter, if it is of another type.
pub(crate) fn typed<'a, T: Deserialize<'a>>(name: &str, value: &'a Value) -> Result<Option<T>> {
    Option::deserialize(value).map_err(|error| invalid(format!("{name}: {error}")))
}

/// A parameter that the wire has not.
pub(crate) fn unknown(name: &str) -> Error {
    Error::unsupported(&format!("the parameter `{name}`"))
}

/// The stop texts that the answer is cut at.
pub(crate) fn stop(request: &Generate<'_>, changed: &mut Vec<Changed>) -> Vec<String> {
    let stop: Vec<String> =
        request.stop.iter().filter(|stop| !stop.is_empty()).map(|stop| stop.to_string()).collect();
    if stop.len() < request.stop.len() {
        changed
            .push(change("stop", "empty stop texts dropped: they would end every answer at once"));
    }
    stop
}

/// The temperature, no higher than the vendor takes it.
///
/// # Errors
/// `invalid_request` if it is no temperature.
pub(crate) fn temperature(
    request: &Generate<'_>,
    most: f64,
    changed: &mut Vec<Changed>,
) -> Result<Option<f64>> {
    let Some(temperature) = request.temperature else {
        return Ok(None);
    };
    if !temperature.is_finite() || temperature < 0.0 {
        return Err(invalid("temperature: expected 0 (greedy) or more"));
    }
    if temperature > most {
        changed.push(change(
            "temperature",
            format!("{most} instead of {temperature}: the API takes no more"),
        ));
    }
    Ok(Some(temperature.min(most)))
}

/// `top_p` where it narrows the choice of tokens; 1 is every vendor's default.
///
/// # Errors
/// `invalid_request` if it is no probability.
pub(crate) fn top_p(request: &Generate<'_>) -> Result<Option<f64>> {
    match request.top_p {
        Some(p) if !(0.0..=1.0).contains(&p) => Err(invalid("top_p: expected 0 to 1")),
        top_p => Ok(top_p.filter(|p| *p < 1.0)),
    }
}

/// Records that a model without sampling parameters does not get these.
pub(crate) fn sampling_dropped(
    model: &str,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<u32>,
    changed: &mut Vec<Changed>,
) {
    let why = format!("dropped: {model} takes no sampling parameters");
    if let Some(temperature) = temperature {
        let greedy = if temperature == 0.0 { ", so its answers are not greedy" } else { "" };
        changed.push(change("temperature", format!("{temperature} {why}{greedy}")));
    }
    if let Some(top_p) = top_p {
        changed.push(change("top_p", format!("{top_p} {why}")));
    }
    if let Some(top_k) = top_k {
        changed.push(change("top_k", format!("{top_k} {why}")));
    }
}

/// The shape of an answer, as OpenAI's `response_format` says it and LiteLLM's users write it for every vendor.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum AnswerFormat {
    /// Any text: nothing to be said.
    Text,
    /// Some JSON.
    Json,
    /// JSON of this schema.
    Schema(Map<String, Value>),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ResponseFormat {
    Text,
    JsonObject,
    JsonSchema { json_schema: NamedSchema },
}

#[derive(Debug, Deserialize)]
struct NamedSchema {
    schema: Map<String, Value>,
}

/// Reads `response_format`.
///
/// # Errors
/// `invalid_request` if it has another shape.
pub(crate) fn answer_format(name: &str, value: &Value) -> Result<AnswerFormat> {
    Ok(match typed(name, value)? {
        None | Some(ResponseFormat::Text) => AnswerFormat::Text,
        Some(ResponseFormat::JsonObject) => AnswerFormat::Json,
        Some(ResponseFormat::JsonSchema { json_schema }) => {
            AnswerFormat::Schema(json_schema.schema)
        }
    })
}

/// Records a number that the wire has no place for; null says nothing.
///
/// # Errors
/// `invalid_request` if it is no number.
pub(crate) fn number_dropped(name: &str, value: &Value, changed: &mut Vec<Changed>) -> Result<()> {
    if typed::<f64>(name, value)?.is_some() {
        changed.push(change(name, "dropped: the API has none"));
    }
    Ok(())
}

/// Bytes written as base64, without a copy in memory first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Base64<'a>(pub(crate) &'a [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(self.0, &STANDARD))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bytes_are_written_as_base64() {
        assert_eq!(json!(Base64(&[0, 255, 1, 2])), json!("AP8BAg=="));
    }

    #[test]
    fn the_shape_of_an_answer_is_read_as_openai_writes_it() {
        for (value, format) in [
            (json!(null), Some(AnswerFormat::Text)),
            (json!({ "type": "text" }), Some(AnswerFormat::Text)),
            (json!({ "type": "json_object" }), Some(AnswerFormat::Json)),
            (
                json!({ "type": "json_schema", "json_schema": { "name": "n", "schema": {} } }),
                Some(AnswerFormat::Schema(Map::new())),
            ),
            (json!({ "type": "xml" }), None),
            (json!("json"), None),
        ] {
            assert_eq!(answer_format("response_format", &value).ok(), format, "{value}");
        }
    }

    #[test]
    fn a_parameter_of_the_wrong_type_is_named() {
        assert_eq!(typed::<u32>("top_k", &json!(3)).unwrap(), Some(3));
        assert_eq!(typed::<u32>("top_k", &json!(null)).unwrap(), None);
        let error = typed::<u32>("top_k", &json!("3")).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidRequest);
        assert!(error.message.starts_with("top_k: "), "{error}");
    }
}
