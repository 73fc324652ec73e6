//! The table of providers as it is written: `config/providers.toml`, compiled in, and the run file's rows over it.
//!
//! What a row means, with its defaults, is [`crate::provider`]'s business. Reads no file.

use std::collections::BTreeMap;

use plugin_api::{Error, ErrorKind, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

/// The table that comes with the plugin.
const BUILTIN: &str = include_str!("../../../config/providers.toml");

/// The wire that a provider speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Flavor {
    /// OpenAI's chat completions and completions.
    #[default]
    Openai,
    /// The same under Azure's addresses.
    Azure,
    /// Anthropic's Messages.
    Anthropic,
    /// Google's `generateContent`.
    Gemini,
}

/// The name of the budget of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Budget {
    /// What every compatible server knows.
    #[default]
    MaxTokens,
    /// OpenAI's newer name, which its reasoning models insist on.
    MaxCompletionTokens,
}

/// The field by which a server is told whether to reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ThinkingSwitch {
    /// `thinking = {type = "enabled"}` or `"disabled"`.
    Thinking,
    /// `enable_thinking`, true or false.
    EnableThinking,
    /// The same inside `chat_template_kwargs`.
    ChatTemplateKwargs,
}

/// One provider. Every key may be left out; see `config/providers.toml` for what each is when it is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Row {
    /// The wire.
    pub flavor: Option<Flavor>,
    /// Where routes are appended.
    pub base_url: Option<String>,
    /// Environment variables that stand for another base URL, in order.
    pub base_env: Option<Vec<String>>,
    /// Further names.
    pub aliases: Option<Vec<String>>,
    /// Beginnings of model names that belong to the provider where none is named.
    pub families: Option<Vec<String>>,
    /// Where the key may go beside the base URL's own origin.
    pub origins: Option<Vec<String>>,
    /// Environment variables of the key, in order.
    pub key_env: Option<Vec<String>>,
    /// Environment variables of a token that is sent as `authorization: Bearer` where the key is not there.
    pub token_env: Option<Vec<String>>,
    /// The header of the key; unset, `authorization: Bearer`.
    pub key_header: Option<String>,
    /// Further headers that carry the key.
    pub key_headers: Option<Vec<String>>,
    /// Works without a key at its own address.
    pub key_optional: Option<bool>,
    /// Sent where there is no key. No secret.
    pub default_key: Option<String>,
    /// The secret slot of the key; unset, the provider's name. A row of a run file needs a slot of that name in
    /// `[[backend.slot]]`.
    pub slot: Option<String>,
    /// Sent with every request.
    pub headers: Option<BTreeMap<String, String>>,
    /// Fields of every body.
    pub body: Option<Map<String, Value>>,
    /// What a base URL without a path gets.
    pub bare_path: Option<String>,
    /// Route of chat.
    pub chat_route: Option<String>,
    /// Route of completions.
    pub completions_route: Option<String>,
    /// Route of the list of models.
    pub models_route: Option<String>,
    /// The name of the budget of tokens.
    pub budget: Option<Budget>,
    /// The content of a message is one string.
    pub flatten: Option<bool>,
    /// How the beginning of an answer is marked: `as_is`, `continue_final_message`, or the name of a field of the
    /// message.
    pub prefill: Option<String>,
    /// Whether `stream_options.include_usage` is known.
    pub stream_usage: Option<bool>,
    /// Whether several choices can be asked for at once.
    pub n: Option<bool>,
    /// The most stop texts that are taken.
    pub stops: Option<usize>,
    /// The most alternatives a token.
    pub logprobs_max: Option<u32>,
    /// The name of the seed.
    pub seed_name: Option<String>,
    /// Parameters that are never taken.
    pub drop: Option<Vec<String>>,
    /// Larger temperatures are lowered to it.
    pub temperature_max: Option<f64>,
    /// Unset sampling values would come from the server's own configuration, so they are sent.
    pub explicit_sampling: Option<bool>,
    /// How reasoning is switched on and off.
    pub thinking: Option<ThinkingSwitch>,
    /// Another provider whose rules hold too.
    pub rules_of: Option<String>,
    /// What differs by model.
    pub rules: Option<Vec<Rule>>,
    /// Why it cannot be used.
    pub unsupported: Option<String>,
}

/// What differs for some models.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// Names of models; `*` stands for any text.
    pub models: Vec<String>,
    /// Names that are not meant.
    pub except: Vec<String>,
    /// Holds unless `reasoning_effort` is `none`.
    pub while_reasoning: bool,
    /// Parameters that are not taken.
    pub drop: Vec<String>,
    /// The only temperature that is taken.
    pub temperature: Option<f64>,
    /// Larger temperatures are lowered to it.
    pub temperature_max: Option<f64>,
    /// Smaller temperatures are raised to it where several choices are asked for.
    pub temperature_min_with_n: Option<f64>,
    /// The name of the budget of tokens.
    pub budget: Option<Budget>,
    /// The role that stands for `system`.
    pub system_role: Option<String>,
    /// The models reason.
    pub reasoning: bool,
}

impl Rule {
    /// Whether the rule is for this model.
    pub fn is_for(&self, model: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| fits(pattern, model));
        any(&self.models) && !any(&self.except)
    }
}

/// Whether a name fits a pattern in which `*` stands for any text.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|name| {
            name.char_indices()
                .map(|(at, _)| at)
                .chain([name.len()])
                .any(|at| name.get(at..).is_some_and(|tail| fits(rest, tail)))
        }),
    }
}

/// Every provider by name.
#[derive(Clone, Debug)]
pub struct Table(BTreeMap<String, Row>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    providers: BTreeMap<String, Row>,
}

impl Table {
    /// The table that comes with the plugin.
    ///
    /// # Errors
    /// It is not what it should be: a fault of the build, which a test finds.
    pub fn builtin() -> Result<Self> {
        let wrong = |why: String| {
            Error::new(ErrorKind::Other, format!("the compiled-in table of providers: {why}"))
        };
        let file: File = toml::from_str(BUILTIN).map_err(|error| wrong(error.to_string()))?;
        if file.format != 1 {
            return Err(wrong(format!("format {} instead of 1", file.format)));
        }
        Ok(Self(file.providers))
    }

    /// The table with these rows over it: a key that is set there wins.
    #[must_use]
    pub fn extended(mut self, rows: &BTreeMap<String, Row>) -> Self {
        for (name, row) in rows {
            let known = self.0.remove(name).unwrap_or_default();
            self.0.insert(name.clone(), over(known, row.clone()));
        }
        self
    }

    /// Every provider.
    pub fn rows(&self) -> impl Iterator<Item = (&str, &Row)> {
        self.0.iter().map(|(name, row)| (name.as_str(), row))
    }

    /// A provider by its name or one of its aliases.
    pub fn find(&self, name: &str) -> Option<(&str, &Row)> {
        self.0.get_key_value(name).map(|(name, row)| (name.as_str(), row)).or_else(|| {
            self.rows().find(|(_, row)| row.aliases.iter().flatten().any(|alias| alias == name))
        })
    }

    /// Names that are like this one.
    pub fn near(&self, name: &str) -> Vec<&str> {
        let name = name.to_lowercase();
        let names = self.rows().flat_map(|(known, row)| {
            std::iter::once(known).chain(row.aliases.iter().flatten().map(String::as_str))
        });
        let like = |known: &str| {
            let close = distance(known, &name) <= 1 + name.len().min(known.len()) / 4;
            close || (name.len() > 2 && (known.contains(&name) || name.contains(known)))
        };
        names.filter(|known| like(known)).take(5).collect()
    }
}

/// One row over another.
fn over(under: Row, row: Row) -> Row {
    macro_rules! either {
        ($($field:ident),* $(,)?) => {
            Row { $($field: row.$field.or(under.$field)),* }
        };
    }
    either!(
        flavor,
        base_url,
        base_env,
        aliases,
        families,
        origins,
        key_env,
        token_env,
        key_header,
        key_headers,
        key_optional,
        default_key,
        slot,
        headers,
        body,
        bare_path,
        chat_route,
        completions_route,
        models_route,
        budget,
        flatten,
        prefill,
        stream_usage,
        n,
        stops,
        logprobs_max,
        seed_name,
        drop,
        temperature_max,
        explicit_sampling,
        thinking,
        rules_of,
        rules,
        unsupported,
    )
}

/// Edits between two names (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.chars()) {
            let next = (diagonal + usize::from(x != y)).min(left + 1).min(*cell + 1);
            diagonal = *cell;
            *cell = next;
            left = next;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name, fit) in [
            ("o3", "o3", true),
            ("o3", "o3-mini", false),
            ("o3-*", "o3-mini", true),
            ("*", "", true),
            ("*-thinking*", "kimi-k2-thinking-turbo", true),
            ("*-thinking*", "kimi-k2", false),
            ("gpt-*-chat", "gpt-5-chat", true),
        ] {
            assert_eq!(fits(pattern, name), fit, "{pattern} {name}");
        }
    }

    #[test]
    fn names_that_are_like_one_are_found() {
        let table = Table::builtin().unwrap();
        assert!(table.near("antropic").contains(&"anthropic"));
        assert!(table.near("Open-AI").contains(&"openai"));
        assert!(table.near("togetherai").contains(&"together_ai"));
        assert!(table.near("zzzzzzzzzz").is_empty());
        assert_eq!(
            [("kitten", "sitting"), ("", "ab"), ("same", "same")].map(|(a, b)| distance(a, b)),
            [3, 2, 0]
        );
    }

    #[test]
    fn a_row_of_the_run_file_wins_key_by_key() {
        let row = Row { base_url: Some("https://eu.example".to_owned()), ..Row::default() };
        let rows = BTreeMap::from([("groq".to_owned(), row)]);
        let table = Table::builtin().unwrap().extended(&rows);
        let (_, groq) = table.find("groq").unwrap();
        assert_eq!(groq.base_url.as_deref(), Some("https://eu.example"));
        assert_eq!(groq.key_env.as_deref().unwrap(), ["GROQ_API_KEY"]);
        assert_eq!(table.find("kimi").unwrap().0, "moonshot");
    }
}
