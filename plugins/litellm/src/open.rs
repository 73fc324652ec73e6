//! From a backend's table in the run file to a backend: provider, address, key, and what its codec is told.
//!
//! Does no I/O but to read the file of prices that the host grants. What cannot work is refused here, with the way out, before the first sample.

use std::sync::{OnceLock, atomic::AtomicBool};

use plugin_api::{Error, ErrorKind, Host, Result};
use serde_json::{Map, Value, json};

use crate::{
    Litellm, Wire,
    address::Base,
    anthropic,
    azure::Azure,
    config::{Config, Mode},
    gemini,
    key::Keys,
    openai,
    parameters::invalid,
    prices::Prices,
    provider::{self, Provider},
    table::{Budget, Flavor, Table, ThinkingSwitch},
};

/// Environment variables of Azure's `api-version`, in order.
pub const VERSION_ENV: [&str; 3] =
    ["AZURE_OPENAI_API_VERSION", "AZURE_API_VERSION", "OPENAI_API_VERSION"];
/// Of OpenAI's organisation and project.
pub const ORGANIZATION_ENV: [&str; 2] = ["OPENAI_ORGANIZATION", "OPENAI_ORG_ID"];
/// Of OpenAI's project.
pub const PROJECT_ENV: [&str; 1] = ["OPENAI_PROJECT_ID"];

/// Makes a backend.
///
/// # Errors
/// The configuration makes no sense, or the provider wants a key that is not there.
pub(crate) fn open(config: Config, host: &Host) -> Result<Litellm> {
    let config = config.resolved()?;
    let table = Table::builtin()?.extended(&config.providers);
    let (provider, model) = provider::resolve(
        &table,
        config.provider.as_deref(),
        &config.model,
        config.base_url.as_deref(),
    )?;
    let family = config.base_model.as_deref().unwrap_or(&model);
    let mut provider = provider.for_model(family);
    let base = base(&provider, config.base_url.as_deref(), host)?;
    if !base.own && provider.flavor == Flavor::Openai {
        // Another server under the provider's name is taken for a plain one of the wire: it may not know the
        // newer name of the budget, and may know what the provider does not.
        provider.budget = Budget::MaxTokens;
        provider.drop.clear();
    }
    let azure = (provider.flavor == Flavor::Azure).then(|| {
        let version = config.api_version.as_deref().or(base.api_version.as_deref());
        let version = version.or_else(|| env(host, &VERSION_ENV).map(|(_, value)| value));
        Azure::new(&base.url, version)
    });
    let bearer = azure.as_ref().is_some_and(Azure::takes_bearer);
    let keys = Keys::new(&provider, &base, bearer, host)?;
    let wire = wire(&config, &provider, family)?;
    let defaults = defaults(&config, &provider)?;
    let headers = headers(&config, &provider, &base, host);
    let prices = prices(host)?;
    let price = prices.find(&provider.id, family).cloned();
    Ok(Litellm {
        config,
        provider,
        model,
        base,
        azure,
        wire,
        headers,
        defaults,
        keys,
        price,
        prices: prices.name().to_owned(),
        server: OnceLock::new(),
        no_tokenize: AtomicBool::new(false),
        no_lists: AtomicBool::new(false),
    })
}

/// LiteLLM's own file of prices, if the run file grants one as the asset `prices`; else the table that is compiled in.
fn prices(host: &Host) -> Result<Prices> {
    let Some(path) = host.asset("prices") else { return Prices::builtin() };
    let bytes = std::fs::read(path)
        .map_err(|error| invalid(format!("the asset `prices` cannot be read: {error}")))?;
    Prices::litellm_json(&bytes)
}

/// Where the requests go: the run file's word, else the environment's, else the provider's own address. A variable that
/// names another address is not followed silently: requests would go where nobody can see it.
fn base(provider: &Provider, given: Option<&str>, host: &Host) -> Result<Base> {
    if let Some(given) = given {
        return Base::given(provider, given);
    }
    let names: Vec<&str> = provider.base_env.iter().map(String::as_str).collect();
    if let Some((name, value)) = env(host, &names) {
        let base = Base::given(provider, value)
            .map_err(|error| invalid(format!("${name}: {}", error.message)))?;
        if base.own {
            return Ok(base);
        }
        let secrets = if host.has_secret(&provider.key.slot) {
            format!(" and, if its key may go there, secrets = [\"{}\"]", provider.key.slot)
        } else {
            String::new()
        };
        let why = if provider.origins.is_empty() {
            "is not followed on its own: requests would go where the run file does not show it"
        } else {
            "names another address than the provider's own"
        };
        return Err(invalid(format!(
            "${name} {why} (`{}`); if it is meant, write base_url = \"${{{name}}}\"{secrets} into the \
             backend's table",
            provider.id
        )));
    }
    match &provider.base_url {
        Some(url) => Ok(Base { url: url.clone(), own: true, api_version: None }),
        None => Err(invalid(format!(
            "base_url: the provider `{}` has no address of its own; write base_url into the backend's table{}",
            provider.id,
            names
                .first()
                .map(|name| match provider.origins.is_empty() {
                    true => format!(" (base_url = \"${{{name}}}\", say)"),
                    false => format!(" (or set {name})"),
                })
                .unwrap_or_default()
        ))),
    }
}

/// The first of these variables that is set.
fn env<'h>(host: &'h Host, names: &[&str]) -> Option<(String, &'h str)> {
    names.iter().find_map(|name| {
        let value = host.env(name).map(str::trim).filter(|value| !value.is_empty())?;
        Some(((*name).to_owned(), value))
    })
}

fn wire(config: &Config, provider: &Provider, family: &str) -> Result<Wire> {
    if config.mode == Mode::Completions
        && matches!(provider.flavor, Flavor::Anthropic | Flavor::Gemini)
    {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("mode: `{}` has no /completions", provider.id),
        ));
    }
    Ok(match provider.flavor {
        Flavor::Openai | Flavor::Azure => Wire::Openai(Box::new(openai::Options {
            family: family.to_owned(),
            mode: config.mode,
            body: config.extra_body.clone(),
            think_tags: config.think_tags,
            prefill: config
                .prefill
                .as_deref()
                .map_or_else(|| provider.prefill.clone(), provider::prefill),
            provider: provider.clone(),
        })),
        Flavor::Anthropic => {
            let options = anthropic::Options::default();
            Wire::Anthropic(anthropic::Options {
                version: config.anthropic_version.clone().unwrap_or(options.version),
                beta: config.anthropic_beta.clone(),
                thinking: config.thinking.as_ref().map(|thinking| match thinking {
                    Value::Bool(true) => json!({ "type": "adaptive" }),
                    Value::Bool(false) => json!({ "type": "disabled" }),
                    object => object.clone(),
                }),
                sampling: anthropic::takes_sampling(family),
                ..options
            })
        }
        Flavor::Gemini => Wire::Gemini(gemini::Options {
            safety: config.safety_settings.clone(),
            thinking: config.thinking.as_ref().map(|thinking| match thinking {
                Value::Bool(true) => json!({ "includeThoughts": true }),
                Value::Bool(false) => json!({ "thinkingBudget": 0 }),
                object => object.clone(),
            }),
            sampling: gemini::takes_sampling(family),
        }),
    })
}

/// Vendor parameters that the run file sets for all requests.
fn defaults(config: &Config, provider: &Provider) -> Result<Map<String, Value>> {
    let mut defaults = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            defaults.insert(name.to_owned(), value);
        }
    };
    put("min_p", config.min_p.map(Value::from));
    put("presence_penalty", config.presence_penalty.map(Value::from));
    put("frequency_penalty", config.frequency_penalty.map(Value::from));
    put("repetition_penalty", config.repetition_penalty.map(Value::from));
    put("reasoning_effort", config.reasoning_effort.clone().map(Value::from));
    put("response_format", config.response_format.clone().map(Value::from));
    put("chat_template_kwargs", config.chat_template_kwargs.clone().map(Value::from));
    if matches!(provider.flavor, Flavor::Openai | Flavor::Azure)
        && let Some(thinking) = &config.thinking
    {
        switch(thinking, provider, &mut defaults)?;
    }
    Ok(defaults)
}

/// `thinking` in the vendor's own form.
fn switch(thinking: &Value, provider: &Provider, defaults: &mut Map<String, Value>) -> Result<()> {
    let Value::Bool(on) = *thinking else {
        defaults.insert("thinking".to_owned(), thinking.clone());
        return Ok(());
    };
    match provider.thinking {
        Some(ThinkingSwitch::Thinking) => {
            let name = if on { "enabled" } else { "disabled" };
            defaults.insert("thinking".to_owned(), json!({ "type": name }));
        }
        Some(ThinkingSwitch::EnableThinking) => {
            defaults.insert("enable_thinking".to_owned(), on.into());
        }
        Some(ThinkingSwitch::ChatTemplateKwargs) => {
            let arguments = defaults.entry("chat_template_kwargs").or_insert_with(|| json!({}));
            // What is written there itself wins.
            if let Value::Object(arguments) = arguments {
                arguments.entry("enable_thinking").or_insert_with(|| on.into());
            }
        }
        None => {
            return Err(invalid(format!(
                "thinking: how `{}` is told is not known; set reasoning_effort, write the vendor's own table, \
                 or a field into extra_body",
                provider.id
            )));
        }
    }
    Ok(())
}

/// Headers of every request: the run file's, and OpenAI's own two. Those come from the environment only for OpenAI's own
/// address.
fn headers(
    config: &Config,
    provider: &Provider,
    base: &Base,
    host: &Host,
) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> =
        config.extra_headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let own = provider.id == "openai" && base.own;
    for (name, given, variables) in [
        ("openai-organization", &config.organization, &ORGANIZATION_ENV[..]),
        ("openai-project", &config.project, &PROJECT_ENV[..]),
    ] {
        let found = env(host, variables).filter(|_| own).map(|(_, value)| value.to_owned());
        if let Some(value) = given.clone().or(found) {
            headers.push((name.to_owned(), value));
        }
    }
    headers
}

/// Environment variables, beside those of the table, whose values [`open`] reads.
pub fn environment() -> impl Iterator<Item = &'static str> {
    VERSION_ENV.into_iter().chain(ORGANIZATION_ENV).chain(PROJECT_ENV)
}
