//! LiteLLM's own price file (wire.md 4.6): a JSON object of some thousands of models with some hundreds of kinds of fields,
//! of which a handful are read. Prices are US dollars a token.
//!
//! Loose: an entry of another shape is passed over, so that one oddity does not cost all prices.

use std::{collections::HashMap, fmt};

use plugin_api::{Error, ErrorKind, Result};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::table::{Model, Prices, Rates, Window};

/// Reads the file.
///
/// # Errors
/// `invalid_request` if it is no JSON object, or none of its entries has a price.
pub(super) fn read(bytes: &[u8]) -> Result<Prices> {
    let wrong = |what: &str| {
        Error::new(
            ErrorKind::InvalidRequest,
            format!("prices: expected LiteLLM's model_prices_and_context_window.json, {what}"),
        )
    };
    let file: File = serde_json::from_slice(bytes)
        .map_err(|error| wrong(&format!("which this is not: {error}")))?;
    if file.0.is_empty() {
        return Err(wrong("but no entry has a price"));
    }
    let name = format!("LiteLLM's file of {} bytes, {} models", bytes.len(), file.0.len());
    Ok(Prices::new(name, file.0))
}

/// The models that have prices.
struct File(HashMap<String, Model>);

impl<'de> Deserialize<'de> for File {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Models;
        impl<'de> Visitor<'de> for Models {
            type Value = File;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of models")
            }
            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<File, A::Error> {
                let mut models = HashMap::new();
                while let Some((key, node)) = map.next_entry::<String, Node>()? {
                    // What shows the fields to a reader is no model.
                    let read = if key == "sample_spec" { None } else { model(&node) };
                    let Some((provider, model)) = read else { continue };
                    if key.contains('/') {
                        models.insert(key, model);
                    } else {
                        // A bare name is its provider's; a full one beside it is more exact.
                        models.entry(format!("{provider}/{key}")).or_insert(model);
                    }
                }
                Ok(File(models))
            }
        }
        deserializer.deserialize_map(Models)
    }
}

/// Any JSON, as far as it matters here.
enum Node {
    Number(f64),
    Text(String),
    /// The fields that are numbers or texts.
    Object(Vec<(String, Node)>),
    Other,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Node;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_f64<E>(self, number: f64) -> std::result::Result<Node, E> {
                Ok(Node::Number(number))
            }
            #[allow(clippy::cast_precision_loss, reason = "windows and prices are far smaller")]
            fn visit_u64<E>(self, number: u64) -> std::result::Result<Node, E> {
                Ok(Node::Number(number as f64))
            }
            fn visit_i64<E>(self, _: i64) -> std::result::Result<Node, E> {
                Ok(Node::Other)
            }
            fn visit_bool<E>(self, _: bool) -> std::result::Result<Node, E> {
                Ok(Node::Other)
            }
            fn visit_unit<E>(self) -> std::result::Result<Node, E> {
                Ok(Node::Other)
            }
            fn visit_str<E>(self, text: &str) -> std::result::Result<Node, E> {
                Ok(Node::Text(text.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut seq: A,
            ) -> std::result::Result<Node, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Node::Other)
            }
            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Node, A::Error> {
                let mut fields = Vec::new();
                while let Some((key, node)) = map.next_entry::<String, Node>()? {
                    if matches!(node, Node::Number(_) | Node::Text(_)) {
                        fields.push((key, node));
                    }
                }
                Ok(Node::Object(fields))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

const INPUT: &str = "input_cost_per_token";
const OUTPUT: &str = "output_cost_per_token";
const CACHED: &str = "cache_read_input_token_cost";
const REASONING: &str = "output_cost_per_reasoning_token";

/// Provider and prices of an entry; none if it has no prices a token.
fn model(node: &Node) -> Option<(&str, Model)> {
    let Node::Object(fields) = node else {
        return None;
    };
    let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, node)| node);
    let provider = match field("litellm_provider") {
        // OpenAI's older route under a name of its own.
        Some(Node::Text(provider)) if provider == "text-completion-openai" => "openai",
        Some(Node::Text(provider)) => provider,
        _ => return None,
    };
    let number = |name: &str| match field(name) {
        Some(Node::Number(number)) => Some(*number),
        _ => None,
    };
    let price = |name: &str| number(name).and_then(nanos_a_million);
    let rates = Rates {
        input: price(INPUT)?,
        output: price(OUTPUT)?,
        cached: price(CACHED),
        reasoning: price(REASONING),
    };
    let tier = |thousands: u64| {
        let price = |name: &str| price(&format!("{name}_above_{thousands}k_tokens"));
        let rates = Rates {
            input: price(INPUT).unwrap_or(rates.input),
            output: price(OUTPUT).unwrap_or(rates.output),
            cached: price(CACHED).or(rates.cached),
            reasoning: price(REASONING).or(rates.reasoning),
        };
        (thousands * 1000, rates)
    };
    let mut thresholds: Vec<u64> = fields.iter().filter_map(|(key, _)| threshold(key)).collect();
    thresholds.sort_unstable();
    thresholds.dedup();
    let window = Window {
        input_tokens: number("max_input_tokens").and_then(whole),
        output_tokens: number("max_output_tokens").and_then(whole),
    };
    let above = thresholds.into_iter().map(tier).collect();
    Some((provider, Model { rates, above, window }))
}

/// Thousands of tokens in `input_cost_per_token_above_200k_tokens`, or in that of the output.
fn threshold(key: &str) -> Option<u64> {
    let rest = key.strip_prefix(INPUT).or_else(|| key.strip_prefix(OUTPUT))?;
    let thousands = rest.strip_prefix("_above_")?.strip_suffix("k_tokens")?;
    thousands.parse().ok().filter(|thousands| *thousands < u64::from(u32::MAX))
}

/// A price that can be one: at most a dollar a token.
fn nanos_a_million(dollars_a_token: f64) -> Option<u64> {
    (0.0..=1.0).contains(&dollars_a_token).then(|| whole(dollars_a_token * 1e15)).flatten()
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
fn whole(number: f64) -> Option<u64> {
    (0.0..=1e15).contains(&number).then(|| number.round() as u64)
}

#[cfg(test)]
mod tests {
    use plugin_api::Usage;
    use serde_json::json;

    use super::*;

    fn usage(prompt: u64, completion: u64) -> Usage {
        Usage {
            prompt_tokens: Some(prompt),
            completion_tokens: Some(completion),
            ..Usage::default()
        }
    }

    #[test]
    fn entries_are_read_as_litellm_means_them() {
        let file = json!({
            "sample_spec": { "litellm_provider": "one of", "input_cost_per_token": 0.0, "output_cost_per_token": 0.0,
                             "max_input_tokens": "max input tokens, if the provider specifies it" },
            "fallback_generalizations": { "rules": [{ "name": "x" }] },
            "gpt-4o-mini": { "litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1.5e-07,
                             "output_cost_per_token": 6e-07, "cache_read_input_token_cost": 7.5e-08,
                             "input_cost_per_token_batches": 7.5e-08, "max_input_tokens": 128000 },
            "gemini/gemini-2.5-pro": { "litellm_provider": "gemini", "input_cost_per_token": 1.25e-06,
                             "output_cost_per_token": 1e-05, "input_cost_per_token_above_200k_tokens": 2.5e-06,
                             "output_cost_per_token_above_200k_tokens": 1.5e-05,
                             "input_cost_per_token_above_200k_tokens_priority": 9.0 },
            "deepseek-chat": { "litellm_provider": "deepseek", "input_cost_per_token": 9e-06, "output_cost_per_token": 9e-06 },
            "deepseek/deepseek-chat": { "litellm_provider": "deepseek", "input_cost_per_token": 2.8e-07,
                             "output_cost_per_token": 4.2e-07 },
            "gpt-3.5-turbo-instruct": { "litellm_provider": "text-completion-openai",
                             "input_cost_per_token": 1.5e-06, "output_cost_per_token": 2e-06 },
            "acme/thinks": { "litellm_provider": "acme", "input_cost_per_token": 0, "output_cost_per_token": 5e-07,
                             "output_cost_per_reasoning_token": 4e-06 },
            "acme/strange": [1, { "a": [2] }],
            "acme/negative": { "litellm_provider": "acme", "input_cost_per_token": -1e-06, "output_cost_per_token": 1 },
            "acme/text": { "litellm_provider": "acme", "input_cost_per_token": "1", "output_cost_per_token": 1e-06 },
            "dall-e": { "litellm_provider": "openai", "input_cost_per_image": 0.02 },
        });
        let prices = read(file.to_string().as_bytes()).unwrap();
        for (provider, model, usage, nanos) in [
            ("openai", "gpt-4o-mini", usage(1000, 100), Some(210_000)),
            ("openai", "gpt-4o-mini-2024-07-18", usage(1000, 100), Some(210_000)),
            // A bare name is its provider's alone.
            ("ollama", "gpt-4o-mini", usage(1000, 100), None),
            ("gemini", "gemini-2.5-pro", usage(200_000, 0), Some(250_000_000)),
            ("gemini", "gemini-2.5-pro", usage(200_001, 1), Some(500_017_500)),
            ("deepseek", "deepseek-chat", usage(100, 0), Some(28_000)),
            ("openai", "gpt-3.5-turbo-instruct", usage(100, 0), Some(150_000)),
            (
                "acme",
                "thinks",
                Usage { reasoning_tokens: Some(60), ..usage(100, 100) },
                Some(260_000),
            ),
            ("acme", "strange", usage(1, 1), None),
            ("acme", "negative", usage(1, 1), None),
            ("acme", "text", usage(1, 1), None),
            ("openai", "dall-e", usage(1, 1), None),
        ] {
            let cost = prices.find(provider, model).and_then(|model| model.cost_usd_nanos(&usage));
            assert_eq!(cost, nanos, "{provider}/{model}");
        }
        let window = prices.find("openai", "gpt-4o-mini").unwrap().window;
        assert_eq!(window, Window { input_tokens: Some(128_000), output_tokens: None });
    }

    #[test]
    fn another_file_is_refused() {
        for text in
            ["", "[]", "3", "<html>", "{}", "{\"a\":1}", "{\"a\":{\"litellm_provider\":\"b\"}"]
        {
            let error = read(text.as_bytes()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidRequest, "{text}");
            assert!(error.message.contains("model_prices_and_context_window.json"));
        }
    }
}
