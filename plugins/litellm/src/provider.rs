//! A provider as it is meant, and which one a run file means (wire.md 4.6, Names).
//!
//! Pure. The order: named by `provider`, else the first segment of the model's name, else the origin of the base URL,
//! else any OpenAI-compatible server at the base URL, else the family that the model's name tells.

use std::collections::BTreeMap;

use plugin_api::{Error, ErrorKind, Result};
use serde_json::{Map, Value};
use wire::openai::Prefill;

use crate::{
    address,
    table::{Budget, Flavor, Row, Rule, Table, ThinkingSwitch},
};

/// What a base URL stands for where no provider is named.
const ANY: &str = "openai_compatible";

/// A provider, every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Provider {
    /// Its name.
    pub id: String,
    /// The wire.
    pub flavor: Flavor,
    /// Where routes are appended; none if the run file must say.
    pub base_url: Option<String>,
    /// Environment variables that stand for another one, in order.
    pub base_env: Vec<String>,
    /// Where the key may go: patterns of origins.
    pub origins: Vec<String>,
    /// The key.
    pub key: Key,
    /// Sent with every request.
    pub headers: BTreeMap<String, String>,
    /// Fields of every body.
    pub body: Map<String, Value>,
    /// What a base URL without a path gets; begins with a slash or is empty.
    pub bare_path: String,
    /// Route of chat.
    pub chat_route: String,
    /// Route of completions.
    pub completions_route: String,
    /// Route of the list of models.
    pub models_route: String,
    /// The name of the budget of tokens.
    pub budget: Budget,
    /// The content of a message is one string.
    pub flatten: bool,
    /// How the beginning of an answer is marked.
    pub prefill: Prefill,
    /// Whether `stream_options.include_usage` is known.
    pub stream_usage: bool,
    /// Whether several choices can be asked for at once.
    pub n: bool,
    /// The most stop texts that are taken.
    pub stops: usize,
    /// The most alternatives a token.
    pub logprobs_max: Option<u32>,
    /// The name of the seed, if it is another one.
    pub seed_name: Option<String>,
    /// Parameters that are never taken.
    pub drop: Vec<String>,
    /// Larger temperatures are lowered to it.
    pub temperature_max: Option<f64>,
    /// Unset sampling values are sent.
    pub explicit_sampling: bool,
    /// How reasoning is switched on and off.
    pub thinking: Option<ThinkingSwitch>,
    /// What differs by model; after [`Provider::for_model`], what differs for that one.
    pub rules: Vec<Rule>,
}

/// How a provider is told who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Key {
    /// The secret slot of the key.
    pub slot: String,
    /// Where the host looks for it, in order.
    pub env: Vec<String>,
    /// Its header; none is `authorization: Bearer`.
    pub header: Option<String>,
    /// Further headers that carry it.
    pub headers: Vec<String>,
    /// The secret slot of a token that stands in for it, and where the host looks for that.
    pub token: Option<(String, Vec<String>)>,
    /// Sent where there is no key.
    pub default: Option<String>,
    /// Not needed at the provider's own address.
    pub optional: bool,
}

impl Provider {
    /// The provider of this name or alias.
    ///
    /// # Errors
    /// `invalid_request` if there is none, with names that are like it; `unsupported` if it cannot be used.
    pub fn named(table: &Table, name: &str) -> Result<Self> {
        let Some((id, row)) = table.find(name) else {
            let near = table.near(name);
            let hint = if near.is_empty() {
                "a provider of your own is a table [backend.config.providers.NAME]".to_owned()
            } else {
                format!("did you mean {}?", near.join(" or "))
            };
            return Err(invalid(format!("there is no provider `{name}`; {hint}")));
        };
        if let Some(why) = &row.unsupported {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("the provider `{id}` cannot be used: {why}"),
            ));
        }
        Ok(Self::of(table, id, row.clone()))
    }

    fn of(table: &Table, id: &str, row: Row) -> Self {
        let flavor = row.flavor.unwrap_or_default();
        let base_url = row.base_url.map(|url| url.trim_end_matches('/').to_owned());
        let own = base_url.as_deref().and_then(address::origin);
        let shared = row.rules_of.as_deref().and_then(|name| table.find(name));
        let shared = shared.and_then(|(_, row)| row.rules.clone()).unwrap_or_default();
        let slot = row.slot.unwrap_or_else(|| id.to_owned());
        let bare = match flavor {
            Flavor::Openai => "/v1",
            Flavor::Gemini => "/v1beta",
            Flavor::Azure | Flavor::Anthropic => "",
        };
        Self {
            id: id.to_owned(),
            flavor,
            base_env: row.base_env.unwrap_or_default(),
            origins: own.into_iter().chain(row.origins.into_iter().flatten()).collect(),
            key: Key {
                token: row.token_env.map(|env| (format!("{slot}_token"), env)),
                slot,
                env: row.key_env.unwrap_or_default(),
                header: row.key_header,
                headers: row.key_headers.unwrap_or_default(),
                default: row.default_key,
                optional: row.key_optional.unwrap_or(false),
            },
            headers: row.headers.unwrap_or_default(),
            body: row.body.unwrap_or_default(),
            bare_path: row.bare_path.unwrap_or_else(|| bare.to_owned()),
            chat_route: row.chat_route.unwrap_or_else(|| "/chat/completions".to_owned()),
            completions_route: row.completions_route.unwrap_or_else(|| "/completions".to_owned()),
            models_route: row.models_route.unwrap_or_else(|| "/models".to_owned()),
            budget: row.budget.unwrap_or_default(),
            flatten: row.flatten.unwrap_or(false),
            prefill: row.prefill.as_deref().map_or(Prefill::AsIs, prefill),
            stream_usage: row.stream_usage.unwrap_or(true),
            n: row.n.unwrap_or(true),
            stops: row.stops.unwrap_or(4),
            logprobs_max: row.logprobs_max,
            seed_name: row.seed_name,
            drop: row.drop.unwrap_or_default(),
            temperature_max: row.temperature_max,
            explicit_sampling: row.explicit_sampling.unwrap_or(false),
            thinking: row.thinking,
            rules: row.rules.into_iter().flatten().chain(shared).collect(),
            base_url,
        }
    }

    /// Whether an origin is the provider's own.
    pub fn is_own(&self, origin: &str) -> bool {
        self.origins.iter().any(|pattern| address::is_in(pattern, origin))
    }

    /// Whether it is no provider by name, but whatever serves OpenAI's wire at the base URL.
    pub fn is_any(&self) -> bool {
        self.id == ANY
    }

    /// The provider with the rules for this model alone.
    #[must_use]
    pub fn for_model(mut self, model: &str) -> Self {
        self.rules.retain(|rule| rule.is_for(model));
        self
    }

    /// Whether its rules say that the model reasons.
    pub fn reasons(&self) -> bool {
        self.rules.iter().any(|rule| rule.reasoning)
    }
}

/// `prefill` as it is written.
pub fn prefill(name: &str) -> Prefill {
    match name {
        "as_is" => Prefill::AsIs,
        "continue_final_message" => Prefill::ContinueFinal,
        flag => Prefill::Flag(flag.to_owned()),
    }
}

/// The provider that a run file means, and the model's name there.
///
/// # Errors
/// As for [`Provider::named`]; `invalid_request` if nothing tells the provider.
pub fn resolve(
    table: &Table,
    named: Option<&str>,
    model: &str,
    base_url: Option<&str>,
) -> Result<(Provider, String)> {
    let first = model.split_once('/').or_else(|| model.split_once(':'));
    if let Some(name) = named {
        let provider = Provider::named(table, name)?;
        let same = |prefix: &str| table.find(prefix).is_some_and(|(id, _)| id == provider.id);
        // Its own prefix is cut, and only that: a model's name may have slashes of its own.
        let rest = model.split_once('/').filter(|(prefix, _)| same(prefix)).map(|(_, rest)| rest);
        let model = rest.unwrap_or(model).to_owned();
        return Ok((provider, model));
    }
    let known = first.filter(|(prefix, rest)| {
        // `azure:deployment` is an older form of one provider; elsewhere a colon is a tag.
        let slash = model.get(prefix.len()..).is_some_and(|rest| rest.starts_with('/'));
        !rest.is_empty() && table.find(prefix).is_some_and(|(id, _)| slash || id == "azure")
    });
    if let Some((name, rest)) = known {
        return Ok((Provider::named(table, name)?, rest.to_owned()));
    }
    if let Some(url) = base_url {
        let name = by_base(table, url).unwrap_or(ANY);
        return Ok((Provider::named(table, name)?, model.to_owned()));
    }
    let family = table.rows().find(|(_, row)| {
        let mut families = row.families.iter().flatten();
        families.any(|family| model.starts_with(family.as_str()))
    });
    if let Some((name, _)) = family {
        return Ok((Provider::named(table, name)?, model.to_owned()));
    }
    let mut message = format!("model: `{model}` does not say which provider it is of; ");
    match model.split_once('/') {
        Some((name, _)) => {
            let near = table.near(name);
            if near.is_empty() {
                message.push_str(&format!("`{name}` is no known one; write a known one, "));
            } else {
                message.push_str(&format!("did you mean {}? ", near.join(" or ")));
            }
        }
        None => message.push_str("write `provider/model`, "),
    }
    message.push_str("or set `provider`, or `base_url` for any OpenAI-compatible server");
    Err(invalid(message))
}

/// The provider whose own address this is: the one with the longest path that it begins with.
fn by_base<'t>(table: &'t Table, url: &str) -> Option<&'t str> {
    let origin = address::origin(url)?;
    table
        .rows()
        .filter(|(_, row)| row.unsupported.is_none())
        .filter_map(|(name, row)| {
            let own = row.base_url.as_deref().unwrap_or_default();
            let listed = row.origins.iter().flatten().any(|p| address::is_in(p, &origin));
            let is_own = address::origin(own).as_deref() == Some(origin.as_str());
            let fits = if is_own && url.starts_with(own) { own.len() } else { 0 };
            // A server on this machine is whoever listens there.
            let local = own.starts_with("http://");
            (!local && (is_own || listed)).then_some((name, fits))
        })
        .reduce(|best, other| if other.1 > best.1 { other } else { best })
        .map(|(name, _)| name)
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_name_a_provider_finds_it() {
        let table = Table::builtin().unwrap();
        for (named, model, base, id, name) in [
            (None, "openai/gpt-4o-mini", None, "openai", "gpt-4o-mini"),
            (None, "grok/grok-4", None, "xai", "grok-4"),
            (None, "kimi/kimi-k2.5", None, "moonshot", "kimi-k2.5"),
            (None, "google/gemini-2.5-flash", None, "gemini", "gemini-2.5-flash"),
            (None, "azure_openai/dep", None, "azure", "dep"),
            (None, "azure:dep", None, "azure", "dep"),
            (None, "deepseek/deepseek-chat", None, "deepseek", "deepseek-chat"),
            // Only the first segment goes.
            (None, "openrouter/openai/o3", None, "openrouter", "openai/o3"),
            (None, "ollama/llama3:8b", None, "ollama", "llama3:8b"),
            // The run file's word wins, and cuts its own prefix only.
            (
                Some("hosted_vllm"),
                "openai/gpt-oss-20b",
                Some("http://127.0.0.1:1"),
                "hosted_vllm",
                "openai/gpt-oss-20b",
            ),
            (Some("grok"), "xai/grok-4", None, "xai", "grok-4"),
            // The address tells.
            (
                None,
                "meta-llama/Llama-3",
                Some("https://api.groq.com/openai/v1"),
                "groq",
                "meta-llama/Llama-3",
            ),
            (None, "m", Some("https://r.openai.azure.com"), "azure", "m"),
            (
                None,
                "qwen",
                Some("https://dashscope-intl.aliyuncs.com/compatible-mode/v1"),
                "qwencloud",
                "qwen",
            ),
            // Any server of the wire.
            (
                None,
                "meta-llama/Llama-3",
                Some("http://127.0.0.1:8000"),
                "openai_compatible",
                "meta-llama/Llama-3",
            ),
            (None, "claude-3", Some("http://127.0.0.1:4000"), "openai_compatible", "claude-3"),
            (
                None,
                "llama3:8b",
                Some("http://localhost:8000/api/v1"),
                "openai_compatible",
                "llama3:8b",
            ),
            // The model's name tells.
            (None, "gpt-4o-mini", None, "openai", "gpt-4o-mini"),
            (None, "o3-mini", None, "openai", "o3-mini"),
            (None, "claude-sonnet-4-5", None, "anthropic", "claude-sonnet-4-5"),
            (None, "gemini-2.5-flash", None, "gemini", "gemini-2.5-flash"),
            (None, "grok-4", None, "xai", "grok-4"),
            (None, "moonshot-v1-8k", None, "moonshot", "moonshot-v1-8k"),
            (None, "deepseek-chat", None, "deepseek", "deepseek-chat"),
        ] {
            let (provider, found) = resolve(&table, named, model, base).unwrap();
            assert_eq!((provider.id.as_str(), found.as_str()), (id, name), "{model}");
        }
    }

    #[test]
    fn what_tells_no_provider_is_an_error_with_a_way_out() {
        let table = Table::builtin().unwrap();
        for (named, model, says) in [
            (None, "antropic/claude-3", "anthropic"),
            (None, "some-model", "provider/model"),
            (Some("opnai"), "m", "openai"),
            (Some("mine"), "m", "[backend.config.providers.NAME]"),
            (None, "huggingface/x/y", "plugin = \"huggingface\""),
            (None, "bedrock/x", "bedrock_mantle"),
        ] {
            let error = resolve(&table, named, model, None).unwrap_err();
            assert!(error.message.contains(says), "{}", error.message);
        }
    }

    #[test]
    fn azure_reasons_where_openai_does() {
        let azure = Provider::named(&Table::builtin().unwrap(), "azure").unwrap();
        let reasons = |model| azure.clone().for_model(model).reasons();
        assert!(reasons("o3-mini") && reasons("gpt-5-mini"));
        assert!(!reasons("gpt-4o") && !reasons("gpt-5-chat-latest"));
        assert_eq!(azure.key.token.as_ref().map(|(slot, _)| slot.as_str()), Some("azure_token"));
    }
}
