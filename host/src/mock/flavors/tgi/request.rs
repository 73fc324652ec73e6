//! What TGI accepts (router/src/lib.rs and router/src/validation.rs, version 3.3), with unknown keys refused.
//!
//! Pure. The texts of its complaints are the server's own.

use std::borrow::Cow;

use serde::{Deserialize, de::IgnoredAny};

use super::{MAX_INPUT_TOKENS, MAX_TOTAL_TOKENS};
use crate::mock::flavors::compatible::{Message, OneOrMany, StreamOptions};

/// Most sequences that the best is chosen of.
pub(super) const MAX_BEST_OF: usize = 2;
/// Most stop texts.
pub(super) const MAX_STOPS: usize = 4;
/// Most prompts of one request.
pub(super) const MAX_BATCH: usize = 4;
/// Most alternatives a token.
const MAX_TOP: u32 = 5;

/// Body of `/generate`, `/generate_stream`, `/` and `/tokenize`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Generate<'a> {
    #[serde(borrow)]
    pub(super) inputs: Cow<'a, str>,
    #[serde(borrow, default = "absent")]
    pub(super) parameters: Parameters<'a>,
    /// Only for `/`; the other routes are one or the other, but take it.
    #[serde(default)]
    pub(super) stream: bool,
}

/// How to generate.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Parameters<'a> {
    pub(super) best_of: Option<usize>,
    pub(super) temperature: Option<f64>,
    repetition_penalty: Option<f64>,
    pub(super) frequency_penalty: Option<f64>,
    top_k: Option<i32>,
    pub(super) top_p: Option<f64>,
    typical_p: Option<f64>,
    do_sample: bool,
    pub(super) max_new_tokens: Option<usize>,
    pub(super) return_full_text: Option<bool>,
    #[serde(borrow)]
    pub(super) stop: Vec<Cow<'a, str>>,
    pub(super) truncate: Option<usize>,
    #[serde(rename = "watermark")]
    _watermark: bool,
    pub(super) details: bool,
    pub(super) decoder_input_details: bool,
    pub(super) seed: Option<u64>,
    pub(super) top_n_tokens: Option<u32>,
    #[serde(rename = "grammar")]
    _grammar: Option<Grammar>,
    #[serde(rename = "adapter_id")]
    _adapter_id: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Grammar {
    #[serde(rename = "type")]
    _kind: GrammarKind,
    #[serde(rename = "value")]
    _value: IgnoredAny,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum GrammarKind {
    Json,
    JsonObject,
    JsonSchema,
    Regex,
}

/// Body of `/chat_tokenize`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChatTokenize<'a> {
    #[serde(rename = "model", default)]
    _model: Option<IgnoredAny>,
    #[serde(borrow)]
    pub(super) messages: Vec<Message<'a>>,
}

/// Body of `/v1/chat/completions`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Chat<'a> {
    #[serde(borrow, default)]
    pub(super) model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) messages: Vec<Message<'a>>,
    #[serde(default)]
    pub(super) frequency_penalty: Option<f64>,
    #[serde(default)]
    pub(super) logprobs: Option<bool>,
    #[serde(default)]
    pub(super) top_logprobs: Option<u32>,
    #[serde(alias = "max_completion_tokens", default)]
    pub(super) max_tokens: Option<usize>,
    #[serde(rename = "presence_penalty", default)]
    _presence_penalty: Option<f64>,
    #[serde(default)]
    pub(super) stop: Option<Vec<String>>,
    #[serde(default)]
    pub(super) stream: bool,
    #[serde(default)]
    pub(super) stream_options: Option<StreamOptions>,
    #[serde(default)]
    pub(super) seed: Option<u64>,
    #[serde(default)]
    pub(super) temperature: Option<f64>,
    #[serde(default)]
    pub(super) top_p: Option<f64>,
    #[serde(rename = "tools", default)]
    _tools: Option<IgnoredAny>,
    #[serde(rename = "tool_prompt", default)]
    _tool_prompt: Option<String>,
    #[serde(rename = "tool_choice", default)]
    _tool_choice: Option<IgnoredAny>,
    #[serde(rename = "response_format", default)]
    _response_format: Option<Grammar>,
    #[serde(rename = "n", default)]
    _n: Option<u32>,
    #[serde(rename = "logit_bias", default)]
    _logit_bias: Option<IgnoredAny>,
}

/// Body of `/v1/completions`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Completion {
    #[serde(rename = "model", default)]
    _model: Option<String>,
    pub(super) prompt: OneOrMany<String>,
    #[serde(default)]
    pub(super) max_tokens: Option<usize>,
    #[serde(default)]
    pub(super) temperature: Option<f64>,
    #[serde(default)]
    pub(super) top_p: Option<f64>,
    #[serde(default)]
    pub(super) stream: bool,
    #[serde(default)]
    pub(super) stream_options: Option<StreamOptions>,
    #[serde(default)]
    pub(super) seed: Option<u64>,
    #[serde(rename = "repetition_penalty", default)]
    _repetition_penalty: Option<f64>,
    #[serde(default)]
    pub(super) frequency_penalty: Option<f64>,
    #[serde(default)]
    pub(super) stop: Option<Vec<String>>,
    #[serde(default)]
    pub(super) suffix: Option<String>,
}

/// TGI samples if `parameters` is absent altogether.
fn absent() -> Parameters<'static> {
    Parameters { do_sample: true, ..Parameters::default() }
}

impl Parameters<'_> {
    /// Whether the answer depends on chance, by the model server's notion
    /// (server/text_generation_server/utils/tokens.py).
    pub(super) fn samples(&self) -> bool {
        self.do_sample
            || self.temperature.is_some_and(|temperature| temperature != 1.0)
            || self.top_k.is_some()
            || self.top_p.is_some()
            || self.typical_p.is_some()
    }

    /// The temperature of the answer: 0 where nothing asks for sampling.
    pub(super) fn sampled_at(&self) -> f64 {
        if self.samples() { self.temperature.unwrap_or(1.0) } else { 0.0 }
    }

    /// What the OpenAI-shaped routes make of a temperature; a penalty is handed on.
    pub(super) fn at(temperature: Option<f64>, frequency_penalty: Option<f64>) -> Self {
        match temperature {
            Some(0.0) => Self { frequency_penalty, ..Self::default() },
            temperature => {
                Self { do_sample: true, temperature, frequency_penalty, ..Self::default() }
            }
        }
    }
}

impl Generate<'_> {
    /// Checks the values; `input_tokens` counts BOS.
    ///
    /// # Errors
    /// The complaint.
    pub(super) fn check(&self, input_tokens: usize, stream: bool) -> Result<(), String> {
        let p = &self.parameters;
        let best_of = p.best_of.unwrap_or(1);
        let outside = |share: Option<f64>| share.is_some_and(|share| share <= 0.0 || share >= 1.0);
        let not_positive = |value: Option<f64>| value.is_some_and(|value| value <= 0.0);
        let new = p.max_new_tokens.unwrap_or(0);
        let complaints: [(bool, &dyn Fn() -> String); 17] = [
            (self.inputs.is_empty(), &|| "`inputs` cannot be empty".to_owned()),
            (best_of == 0 || best_of > MAX_BEST_OF, &|| {
                format!("`best_of` must be > 0 and <= {MAX_BEST_OF}. Given: {best_of}")
            }),
            (best_of > 1 && stream, &|| {
                "`best_of` != 1 is not supported when streaming tokens".to_owned()
            }),
            (best_of > 1 && !p.samples(), &|| {
                "you must use sampling when `best_of` is > 1".to_owned()
            }),
            (best_of > 1 && p.seed.is_some(), &|| {
                "`seed` must not be set when `best_of` > 1".to_owned()
            }),
            (p.decoder_input_details && stream, &|| {
                "`decoder_input_details` == true is not supported when streaming tokens".to_owned()
            }),
            (not_positive(p.temperature), &|| "`temperature` must be strictly positive".to_owned()),
            (not_positive(p.repetition_penalty), &|| {
                "`repetition_penalty` must be strictly positive".to_owned()
            }),
            (p.frequency_penalty.is_some_and(|f| !(-2.0..=2.0).contains(&f)), &|| {
                "`frequency_penalty` must be >= -2.0 and <= 2.0".to_owned()
            }),
            (outside(p.top_p), &|| "`top_p` must be > 0.0 and < 1.0".to_owned()),
            (outside(p.typical_p), &|| "`typical_p` must be > 0.0 and < 1.0".to_owned()),
            (p.top_k.is_some_and(|k| k <= 0), &|| "`top_k` must be strictly positive".to_owned()),
            (p.max_new_tokens == Some(0), &|| {
                "`max_new_tokens` must be strictly positive".to_owned()
            }),
            (p.stop.len() > MAX_STOPS, &|| {
                let given = p.stop.len();
                format!("`stop` supports up to {MAX_STOPS} stop sequences. Given: {given}")
            }),
            (p.top_n_tokens.is_some_and(|n| n > MAX_TOP), &|| {
                let given = p.top_n_tokens.unwrap_or(0);
                format!("`top_n_tokens` must be >= 0 and <= {MAX_TOP}. Given: {given}")
            }),
            (p.truncate.is_some_and(|n| n == 0 || n > MAX_INPUT_TOKENS), &|| {
                let given = p.truncate.unwrap_or(0);
                format!(
                    "`truncate` must be strictly positive and less than {MAX_INPUT_TOKENS}. Given: \
                     {given}"
                )
            }),
            (
                input_tokens > MAX_INPUT_TOKENS || input_tokens + new.min(1024) > MAX_TOTAL_TOKENS,
                &|| {
                    format!(
                        "`inputs` tokens + `max_new_tokens` must be <= {MAX_TOTAL_TOKENS}. Given: \
                         {input_tokens} `inputs` tokens and {new} `max_new_tokens`"
                    )
                },
            ),
        ];
        match complaints.iter().find(|(wrong, _)| *wrong) {
            Some((_, complaint)) => Err(complaint()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(parameters: &str, stream: bool) -> Option<String> {
        let body = format!(r#"{{"inputs":"Q","parameters":{parameters}}}"#);
        serde_json::from_str::<Generate<'_>>(&body).unwrap().check(2, stream).err()
    }

    #[test]
    fn values_out_of_range_are_complained_of() {
        let table = [
            (r#"{"top_p":1.0}"#, "`top_p` must be > 0.0 and < 1.0"),
            (r#"{"top_p":0}"#, "`top_p` must be > 0.0 and < 1.0"),
            (r#"{"typical_p":1}"#, "`typical_p` must be"),
            (r#"{"temperature":0}"#, "`temperature` must be strictly positive"),
            (r#"{"repetition_penalty":0}"#, "`repetition_penalty` must be"),
            (r#"{"frequency_penalty":2.5}"#, "`frequency_penalty` must be"),
            (r#"{"top_k":0}"#, "`top_k` must be"),
            (r#"{"max_new_tokens":0}"#, "`max_new_tokens` must be"),
            (r#"{"stop":["a","b","c","d","e"]}"#, "`stop` supports up to 4"),
            (r#"{"top_n_tokens":6}"#, "`top_n_tokens` must be"),
            (r#"{"truncate":0}"#, "`truncate` must be"),
            (r#"{"best_of":2}"#, "you must use sampling"),
            (r#"{"best_of":3,"do_sample":true}"#, "`best_of` must be > 0 and <= 2"),
            (r#"{"best_of":2,"do_sample":true,"seed":1}"#, "`seed` must not be set"),
        ];
        for (parameters, expected) in table {
            let complaint = complaint(parameters, false).unwrap_or_default();
            assert!(complaint.starts_with(expected), "{parameters}: {complaint}");
        }
        assert_eq!(complaint(r#"{"max_new_tokens":5,"top_p":0.9,"stop":["a"]}"#, true), None);
        assert!(complaint(r#"{"decoder_input_details":true}"#, true).is_some());
        let long: Generate<'_> = serde_json::from_str(r#"{"inputs":"Q"}"#).unwrap();
        assert!(long.check(MAX_TOTAL_TOKENS, false).unwrap_err().contains("Given: 16384 `inputs`"));
    }

    #[test]
    fn sampling_switches_itself_on() {
        let samples =
            |body: &str| serde_json::from_str::<Generate<'_>>(body).unwrap().parameters.samples();
        for (parameters, expected) in [
            (r#"{"do_sample":false}"#, false),
            (r#"{"temperature":1.0}"#, false),
            (r#"{"do_sample":false,"top_p":0.999}"#, true),
            (r#"{"temperature":0.7}"#, true),
            (r#"{"top_k":5}"#, true),
        ] {
            let body = format!(r#"{{"inputs":"Q","parameters":{parameters}}}"#);
            assert_eq!(samples(&body), expected, "{parameters}");
        }
        assert!(samples(r#"{"inputs":"Q"}"#));
    }

    #[test]
    fn keys_that_do_not_belong_are_refused() {
        for body in [
            r#"{"inputs":"Q","temperature":1}"#,
            r#"{"inputs":"Q","parameters":{"max_tokens":1}}"#,
            r#"{"inputs":"Q","parameters":{"seed":-1}}"#,
            r#"{"inputs":"Q","parameters":{"grammar":{"type":"ebnf","value":""}}}"#,
            r#"{"inputs":["Q"]}"#,
            r#"{"parameters":{}}"#,
        ] {
            assert!(serde_json::from_str::<Generate<'_>>(body).is_err(), "{body}");
        }
        let stop = r#"{"messages":[{"role":"user","content":"Q"}],"stop":"a"}"#;
        assert!(serde_json::from_str::<Chat<'_>>(stop).is_err());
    }
}
