//! What the fake accepts: the request types of TGI (router/src/lib.rs and router/src/validation.rs, version 3.3),
//! but with unknown keys refused.
//!
//! Pure. The texts of its refusals are the server's own.

use serde::{Deserialize, de::IgnoredAny};

use super::{Builder, reply::Refusal};

/// Body of `/generate`, `/generate_stream` and `/tokenize`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Generate {
    pub(super) inputs: String,
    #[serde(default = "absent")]
    pub(super) parameters: Parameters,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Parameters {
    best_of: Option<usize>,
    temperature: Option<f32>,
    repetition_penalty: Option<f32>,
    frequency_penalty: Option<f32>,
    top_k: Option<i32>,
    top_p: Option<f32>,
    typical_p: Option<f32>,
    pub(super) do_sample: bool,
    pub(super) max_new_tokens: Option<usize>,
    pub(super) return_full_text: Option<bool>,
    pub(super) stop: Vec<String>,
    pub(super) truncate: Option<usize>,
    #[allow(dead_code, reason = "accepted; it changes no answer of the fake")]
    watermark: bool,
    pub(super) details: bool,
    pub(super) decoder_input_details: bool,
    pub(super) seed: Option<u64>,
    pub(super) top_n_tokens: Option<u32>,
    #[allow(dead_code, reason = "accepted; it changes no answer of the fake")]
    grammar: Option<Grammar>,
    #[allow(dead_code, reason = "accepted; it changes no answer of the fake")]
    adapter_id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only its shape is checked")]
struct Grammar {
    #[serde(rename = "type")]
    kind: GrammarKind,
    value: IgnoredAny,
}

#[derive(Debug, Deserialize)]
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
pub(super) struct Chat {
    #[allow(dead_code, reason = "the fake has no adapters")]
    #[serde(default)]
    model: Option<String>,
    pub(super) messages: Vec<Message>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Message {
    pub(super) role: String,
    pub(super) content: String,
}

/// TGI samples if `parameters` is absent altogether.
fn absent() -> Parameters {
    Parameters { do_sample: true, ..Parameters::default() }
}

/// Reads a body as the server's framework does.
pub(super) fn read<'a, T: Deserialize<'a>>(
    content_type: &str,
    body: &'a [u8],
) -> Result<T, Refusal> {
    if !content_type.starts_with("application/json") {
        return Err(Refusal::text(
            415,
            "Expected request with `Content-Type: application/json`".to_owned(),
        ));
    }
    serde_json::from_slice(body).map_err(|error| {
        if error.is_data() {
            let text = format!("Failed to deserialize the JSON body into the target type: {error}");
            Refusal::text(422, text)
        } else {
            Refusal::text(400, format!("Failed to parse the request body as JSON: {error}"))
        }
    })
}

impl Parameters {
    /// Whether the answer depends on chance, by the model server's notion.
    pub(super) fn samples(&self) -> bool {
        self.do_sample
            || self.temperature.is_some_and(|t| (t - 1.0).abs() > f32::EPSILON)
            || self.top_k.is_some()
            || self.top_p.is_some()
            || self.typical_p.is_some()
    }
}

impl Generate {
    /// Checks the values; `input_length` is in tokens.
    pub(super) fn validate(
        &self,
        server: &Builder,
        input_length: usize,
        stream: bool,
    ) -> Result<(), Refusal> {
        let p = &self.parameters;
        let outside = |value: Option<f32>| value.is_some_and(|value| value <= 0.0 || value >= 1.0);
        let not_positive = |value: Option<f32>| value.is_some_and(|value| value <= 0.0);
        let best_of = p.best_of.unwrap_or(1);
        let new = p.max_new_tokens.unwrap_or(0);
        let complaint = if self.inputs.is_empty() {
            "`inputs` cannot be empty".to_owned()
        } else if best_of == 0 || best_of > 2 {
            format!("`best_of` must be > 0 and <= 2. Given: {best_of}")
        } else if best_of > 1 && stream {
            "`best_of` != 1 is not supported when streaming tokens".to_owned()
        } else if best_of > 1 && !p.samples() {
            "you must use sampling when `best_of` is > 1".to_owned()
        } else if best_of > 1 && p.seed.is_some() {
            "`seed` must not be set when `best_of` > 1".to_owned()
        } else if p.decoder_input_details && stream {
            "`decoder_input_details` == true is not supported when streaming tokens".to_owned()
        } else if not_positive(p.temperature) {
            "`temperature` must be strictly positive".to_owned()
        } else if not_positive(p.repetition_penalty) {
            "`repetition_penalty` must be strictly positive".to_owned()
        } else if p.frequency_penalty.is_some_and(|f| !(-2.0..=2.0).contains(&f)) {
            "`frequency_penalty` must be >= -2.0 and <= 2.0".to_owned()
        } else if outside(p.top_p) {
            "`top_p` must be > 0.0 and < 1.0".to_owned()
        } else if outside(p.typical_p) {
            "`typical_p` must be > 0.0 and < 1.0".to_owned()
        } else if p.top_k.is_some_and(|k| k <= 0) {
            "`top_k` must be strictly positive".to_owned()
        } else if p.max_new_tokens == Some(0) {
            "`max_new_tokens` must be strictly positive".to_owned()
        } else if p.stop.len() > server.max_stop_sequences {
            let most = server.max_stop_sequences;
            format!("`stop` supports up to {most} stop sequences. Given: {}", p.stop.len())
        } else if p.top_n_tokens.is_some_and(|n| n > 5) {
            let given = p.top_n_tokens.unwrap_or(0);
            format!("`top_n_tokens` must be >= 0 and <= 5. Given: {given}")
        } else if let Some(n) = p.truncate.filter(|n| *n == 0 || *n > server.max_input_tokens) {
            let most = server.max_input_tokens;
            format!("`truncate` must be strictly positive and less than {most}. Given: {n}")
        } else if input_length + new.min(1024) > server.max_total_tokens {
            format!(
                "`inputs` tokens + `max_new_tokens` must be <= {}. Given: {input_length} `inputs` \
                 tokens and {new} `max_new_tokens`",
                server.max_total_tokens
            )
        } else if input_length > server.max_input_tokens {
            let most = server.max_input_tokens;
            format!("`inputs` must have less than {most} tokens. Given: {input_length}")
        } else {
            return Ok(());
        };
        Err(Refusal::validation(&complaint))
    }
}
