//! A table of prices, the look-up in it, and the sum.
//!
//! Integers throughout: a price is in billionths of a US dollar a million tokens (so that $0.005 a million is exact), a
//! sum in billionths of a dollar, rounded half up once at the end.

use std::collections::HashMap;

use plugin_api::{Result, Usage};

use super::{builtin, litellm};

/// Billionths of a dollar in a dollar.
pub(super) const NANOS: u64 = 1_000_000_000;

/// A table of prices.
#[derive(Clone, Debug)]
pub struct Prices {
    name: String,
    /// By `provider/model`.
    models: HashMap<String, Model>,
}

/// How much a model takes in and gives out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Most tokens of a prompt.
    pub input_tokens: Option<u64>,
    /// Most tokens of an answer.
    pub output_tokens: Option<u64>,
}

/// What one model costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    pub(super) rates: Rates,
    /// What a request costs whose prompt has more tokens than this; ascending.
    pub(super) above: Vec<(u64, Rates)>,
    /// How much it takes in and gives out.
    pub window: Window,
}

/// Billionths of a US dollar a million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rates {
    pub(super) input: u64,
    pub(super) output: u64,
    pub(super) cached: Option<u64>,
    pub(super) reasoning: Option<u64>,
}

impl Prices {
    /// The table that is compiled in (`config/prices.toml`).
    ///
    /// # Errors
    /// `other` if the table is damaged, which a test rules out.
    pub fn builtin() -> Result<Self> {
        builtin::read(include_str!("../../../../config/prices.toml"))
    }

    /// LiteLLM's `model_prices_and_context_window.json`. Entries without prices a token are passed over.
    ///
    /// # Errors
    /// `invalid_request` if it is another kind of file.
    pub fn litellm_json(bytes: &[u8]) -> Result<Self> {
        litellm::read(bytes)
    }

    pub(super) fn new(name: String, models: HashMap<String, Model>) -> Self {
        Self { name, models }
    }

    /// What table this is, for the record of a run.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many names have a price.
    #[cfg(test)]
    pub(super) fn names(&self) -> usize {
        self.models.len()
    }

    /// `provider/model`; then `model` if that names its vendor itself, as it does behind a proxy; then the same two
    /// without a date at the end (`gpt-4o-2024-11-20` is priced as `gpt-4o` unless it has a price of its own). None if
    /// the model is unknown.
    pub fn find(&self, provider: &str, model: &str) -> Option<&Model> {
        let dated = Some(model);
        let undated = without_date(model);
        dated.into_iter().chain(undated).find_map(|model| {
            let full = format!("{provider}/{model}");
            self.models.get(&full).or_else(|| self.models.get(model))
        })
    }
}

impl Model {
    /// What a request is estimated to cost, in billionths of a US dollar. None, never 0, if the server did not count
    /// the tokens. Free models cost 0.
    ///
    /// (prompt − cached) · input + cached · cached price + (completion − reasoning) · output + reasoning · reasoning price
    /// (wire.md 4.6; `Usage` counts reasoning in `completion_tokens`, so it is taken out before it is priced apart).
    pub fn cost_usd_nanos(&self, usage: &Usage) -> Option<u64> {
        let (prompt, completion) = (usage.prompt_tokens?, usage.completion_tokens?);
        let cached = usage.cached_tokens.unwrap_or(0).min(prompt);
        let reasoning = usage.reasoning_tokens.unwrap_or(0).min(completion);
        let rates = self
            .above
            .iter()
            .rev()
            .find(|(tokens, _)| prompt > *tokens)
            .map_or(&self.rates, |(_, rates)| rates);
        let price = |tokens: u64, rate: u64| u128::from(tokens) * u128::from(rate);
        let per_million = price(prompt - cached, rates.input)
            + price(cached, rates.cached.unwrap_or(rates.input))
            + price(completion - reasoning, rates.output)
            + price(reasoning, rates.reasoning.unwrap_or(rates.output));
        u64::try_from((per_million + 500_000) / 1_000_000).ok()
    }
}

/// A name without `-YYYY-MM-DD` or `-YYYYMMDD` at its end; none if there is no such end.
fn without_date(model: &str) -> Option<&str> {
    let is_date = |text: &str, dashes: [usize; 3]| {
        text.bytes().enumerate().all(|(at, byte)| {
            if dashes.contains(&at) { byte == b'-' } else { byte.is_ascii_digit() }
        })
    };
    [("-YYYY-MM-DD".len(), [0, 5, 8]), ("-YYYYMMDD".len(), [0, 0, 0])].into_iter().find_map(
        |(length, dashes)| {
            let at = model.len().checked_sub(length)?;
            let (name, date) = model.split_at_checked(at)?;
            (!name.is_empty() && is_date(date, dashes)).then_some(name)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(prompt: u64, completion: u64, cached: u64, reasoning: u64) -> Usage {
        Usage {
            prompt_tokens: Some(prompt),
            completion_tokens: Some(completion),
            cached_tokens: Some(cached),
            reasoning_tokens: Some(reasoning),
            ..Usage::default()
        }
    }

    fn table() -> Prices {
        let rates = |input, output, cached, reasoning| Rates { input, output, cached, reasoning };
        let model = |rates, above| Model { rates, above, window: Window::default() };
        let models = [
            // $2, $10, $0.50, and $12 for reasoning.
            (
                "acme/full",
                model(rates(2 * NANOS, 10 * NANOS, Some(NANOS / 2), Some(12 * NANOS)), Vec::new()),
            ),
            ("acme/plain", model(rates(NANOS, 3 * NANOS, None, None), Vec::new())),
            (
                "acme/tiered",
                model(
                    rates(NANOS, 3 * NANOS, Some(NANOS / 10), None),
                    vec![
                        (1000, rates(2 * NANOS, 6 * NANOS, Some(NANOS / 5), None)),
                        (5000, rates(4 * NANOS, 8 * NANOS, None, None)),
                    ],
                ),
            ),
            ("acme/tiny", model(rates(1, 1, None, None), Vec::new())),
            ("acme/free", model(rates(0, 0, None, None), Vec::new())),
        ];
        let models = models.into_iter().map(|(name, model)| (name.to_owned(), model)).collect();
        Prices::new("test".to_owned(), models)
    }

    #[test]
    fn costs_are_those_computed_by_hand() {
        let table = table();
        for (model, usage, nanos) in [
            // 1000 · 2e-6 + 100 · 10e-6 = 0.003 dollars.
            ("full", usage(1000, 100, 0, 0), Some(3_000_000)),
            // 600 · 2e-6 + 400 · 0.5e-6 + 60 · 10e-6 + 40 · 12e-6 = 0.0012 + 0.0002 + 0.0006 + 0.00048.
            ("full", usage(1000, 100, 400, 40), Some(2_480_000)),
            // No prices of their own: cached as input, reasoning as output, neither counted twice.
            ("plain", usage(1000, 100, 400, 40), Some(1_300_000)),
            // Counts that cannot be: no more is cached than came, no more thought than said.
            ("plain", usage(10, 10, 99, 99), Some(40_000)),
            // The threshold itself is below it.
            ("tiered", usage(1000, 10, 0, 0), Some(1_030_000)),
            // 501 · 2e-6 + 500 · 0.2e-6 + 10 · 6e-6.
            ("tiered", usage(1001, 10, 500, 0), Some(1_162_000)),
            ("tiered", usage(6000, 10, 500, 0), Some(24_080_000)),
            // 0.499999 rounds down, a half up.
            ("tiny", usage(499_999, 0, 0, 0), Some(0)),
            ("tiny", usage(499_999, 1, 0, 0), Some(1)),
            ("free", usage(1000, 10, 0, 0), Some(0)),
            ("unknown", usage(1000, 10, 0, 0), None),
            ("full", Usage { prompt_tokens: Some(1), ..Usage::default() }, None),
            ("full", Usage { completion_tokens: Some(1), ..Usage::default() }, None),
            ("full", usage(u64::MAX, u64::MAX, 0, 0), None),
        ] {
            assert_eq!(
                table.find("acme", model).and_then(|model| model.cost_usd_nanos(&usage)),
                nanos,
                "{model} {usage:?}"
            );
        }
    }

    #[test]
    fn a_name_is_looked_up_in_full_then_alone_then_without_its_date() {
        let table = table();
        for (provider, model, found) in [
            ("acme", "plain", true),
            ("acme", "plain-2026-01-31", true),
            ("acme", "plain-20260131", true),
            ("proxy", "acme/plain", true),
            ("proxy", "acme/plain-20260131", true),
            // Another vendor's model of the same name is not that one.
            ("other", "plain", false),
            ("acme", "plain-preview", false),
            ("acme", "plain-2026-01", false),
            ("acme", "20260131", false),
            ("acme", "", false),
        ] {
            let cost = table
                .find(provider, model)
                .and_then(|model| model.cost_usd_nanos(&usage(1, 1, 0, 0)));
            assert_eq!(cost.is_some(), found, "{provider} {model}");
        }
    }
}
