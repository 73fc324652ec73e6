//! Our own table, `config/prices.toml`.
//!
//! Strict: an unknown key or a price that is no decimal number damages the whole table.

use std::collections::HashMap;

use plugin_api::{Error, ErrorKind, Result};
use serde::Deserialize;

use super::table::{Model, NANOS, Prices, Rates, Window};

/// The format that this version reads.
const FORMAT: u32 = 1;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    date: String,
    source: String,
    model: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    #[serde(default)]
    also: Vec<String>,
    input: String,
    output: String,
    cached: Option<String>,
    reasoning: Option<String>,
    max_input: Option<u64>,
    max_output: Option<u64>,
    source: String,
    #[serde(default)]
    above: Vec<Tier>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tier {
    tokens: u64,
    input: String,
    output: String,
    cached: Option<String>,
    reasoning: Option<String>,
}

/// Reads the table.
///
/// # Errors
/// `other`, saying what is wrong with it.
pub(super) fn read(text: &str) -> Result<Prices> {
    let file: File = toml::from_str(text).map_err(|error| damaged(&error.to_string()))?;
    if file.format != FORMAT {
        return Err(damaged(&format!("format {} instead of {FORMAT}", file.format)));
    }
    let mut models = HashMap::new();
    for entry in file.model {
        if entry.source.is_empty() {
            return Err(damaged(&format!("{}: no source", entry.id)));
        }
        let rates =
            rates(&entry.input, &entry.output, entry.cached.as_deref(), entry.reasoning.as_deref());
        let above = entry.above.iter().map(|tier| {
            let rates = self::rates(
                &tier.input,
                &tier.output,
                tier.cached.as_deref(),
                tier.reasoning.as_deref(),
            )?;
            Some((tier.tokens, rates))
        });
        let (Some(rates), Some(above)) = (rates, above.collect::<Option<Vec<_>>>()) else {
            return Err(damaged(&format!("{}: a price is no decimal number", entry.id)));
        };
        if !above.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(damaged(&format!("{}: `above` does not ascend", entry.id)));
        }
        let window = Window { input_tokens: entry.max_input, output_tokens: entry.max_output };
        let model = Model { rates, above, window };
        for name in entry.also.into_iter().chain([entry.id]) {
            if models.insert(name.clone(), model.clone()).is_some() {
                return Err(damaged(&format!("{name} is there twice")));
            }
        }
    }
    Ok(Prices::new(format!("prices.toml of {} ({})", file.date, file.source), models))
}

fn damaged(what: &str) -> Error {
    Error::new(ErrorKind::Other, format!("the table of prices is damaged: {what}"))
}

fn rates(
    input: &str,
    output: &str,
    cached: Option<&str>,
    reasoning: Option<&str>,
) -> Option<Rates> {
    Some(Rates {
        input: nanos(input)?,
        output: nanos(output)?,
        cached: cached.map(|text| nanos(text).ok_or(())).transpose().ok()?,
        reasoning: reasoning.map(|text| nanos(text).ok_or(())).transpose().ok()?,
    })
}

/// Dollars as a decimal number of at most nine places, in billionths.
fn nanos(text: &str) -> Option<u64> {
    let (whole, places) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(places) || places.len() > 9 {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let places: u64 = format!("{places:0<9}").parse().ok()?;
    whole.checked_mul(NANOS)?.checked_add(places)
}

#[cfg(test)]
mod tests {
    use plugin_api::Usage;

    use super::*;

    #[test]
    fn a_decimal_number_is_read_exactly() {
        for (text, found) in [
            ("0", Some(0)),
            ("2.5", Some(2_500_000_000)),
            ("0.005", Some(5_000_000)),
            ("10.000000001", Some(10_000_000_001)),
            ("0.0000000001", None),
            ("-1", None),
            ("1e3", None),
            (".5", None),
            ("5.", None),
            ("", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(nanos(text), found, "{text}");
        }
    }

    #[test]
    fn the_table_that_is_compiled_in_is_whole_and_its_costs_those_computed_by_hand() {
        let prices = Prices::builtin().unwrap();
        assert!(prices.names() >= 40, "{}", prices.names());
        assert!(prices.name().contains("litellm 1.109.1"), "{}", prices.name());
        let usage = |prompt, completion, cached, reasoning| Usage {
            prompt_tokens: Some(prompt),
            completion_tokens: Some(completion),
            cached_tokens: Some(cached),
            reasoning_tokens: Some(reasoning),
            ..Usage::default()
        };
        for (provider, model, usage, nanos) in [
            // wire.md 4.6: 1.5e-07 in, 6e-07 out, cached 7.5e-08.
            ("openai", "gpt-4o-mini", usage(1000, 100, 400, 0), 180_000),
            ("azure", "gpt-4o-mini-2024-07-18", usage(1000, 100, 400, 0), 180_000),
            // The one date with a price of its own: $5 and $15.
            ("openai", "gpt-4o-2024-05-13", usage(1000, 100, 0, 0), 6_500_000),
            // $1 and $5.
            ("anthropic", "claude-haiku-4-5-20251001", usage(1000, 100, 0, 0), 1_500_000),
            // $0.30 and $2.50, thoughts among the 100.
            ("gemini", "gemini-2.5-flash", usage(1000, 100, 0, 60), 550_000),
            // $1.25 and $10 up to 200k; $2.50 and $15 above, $0.25 cached.
            ("gemini", "gemini-2.5-pro", usage(200_000, 100, 0, 0), 251_000_000),
            ("gemini", "gemini-2.5-pro", usage(200_001, 100, 1, 0), 501_500_250),
            ("proxy", "moonshot/kimi-k3", usage(1000, 100, 0, 0), 4_500_000),
        ] {
            let cost = prices.find(provider, model).and_then(|model| model.cost_usd_nanos(&usage));
            assert_eq!(cost, Some(nanos), "{provider}/{model}");
        }
        let window = prices.find("openai", "gpt-4o-mini").unwrap().window;
        assert_eq!(window, Window { input_tokens: Some(128_000), output_tokens: Some(16_384) });
    }

    #[test]
    fn a_damaged_table_says_what_is_wrong() {
        let head = "format = 1\ndate = \"d\"\nsource = \"s\"\n";
        let entry = "[[model]]\nid = \"a/b\"\ninput = \"1\"\noutput = \"2\"\nsource = \"s\"\n";
        assert!(read(&format!("{head}{entry}")).is_ok());
        for (text, words) in [
            (format!("{head}{entry}{entry}"), "twice"),
            (format!("{head}{entry}cached = \"x\"\n"), "a/b"),
            (format!("{head}{entry}cache = \"1\"\n"), "cache"),
            (format!("{head}{entry}").replace("format = 1", "format = 2"), "format 2"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.message.contains(words), "{error}");
        }
    }
}
