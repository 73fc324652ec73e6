//! The files that become the manifest are those of the code and of the table of providers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use litellm::{
    address, open,
    provider::Provider,
    table::{Row, Table},
};
use plugin_api::{capability::Capability, manifest::Declared, testkit};
use serde_json::{Value, json};
use wire::openai::limits;

#[test]
fn the_schema_is_fresh() {
    testkit::check_schema::<litellm::Litellm>(env!("CARGO_MANIFEST_DIR")).unwrap();
}

/// Every provider that can be used.
fn usable() -> Vec<Provider> {
    let table = Table::builtin().unwrap();
    let names = table.rows().filter(|(_, row)| row.unsupported.is_none());
    names.map(|(name, _)| Provider::named(&table, name).unwrap()).collect()
}

/// `plugin.json` as the table of providers makes it: a slot for each key, tied to its provider's own origins.
fn declared() -> Value {
    let mut slots = Vec::new();
    let mut origins = BTreeSet::new();
    let mut env: BTreeSet<String> = open::environment().map(str::to_owned).collect();
    for provider in usable() {
        let slot = |name: &str, variables: &[String]| json!({ "slot": name, "env": variables, "optional": true, "origins": provider.origins });
        if !provider.key.env.is_empty() {
            slots.push(slot(&provider.key.slot, &provider.key.env));
        }
        if let Some((name, variables)) = &provider.key.token {
            slots.push(slot(name, variables));
        }
        origins.extend(provider.origins);
        env.extend(provider.base_env);
    }
    let further = [
        "anthropic-ratelimit-requests-remaining",
        "anthropic-ratelimit-tokens-remaining",
        "request-id",
    ];
    let headers: BTreeSet<&str> = limits::HEADERS.iter().copied().chain(further).collect();
    json!({
        "id": "litellm",
        "capabilities": ["generate", "chat", "stream", "loglikelihood", "loglikelihood_rolling", "health"],
        "secrets": slots,
        "env": env,
        "origins": origins,
        "reply_headers": headers,
    })
}

#[test]
fn the_manifest_is_that_of_the_table_of_providers() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/plugin.json");
    let fresh = declared();
    if std::env::var_os("UPDATE_MANIFEST").is_some() {
        fs::write(path, format!("{fresh:#}\n")).unwrap();
    }
    let found: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert!(found == fresh, "plugin.json is stale: run UPDATE_MANIFEST=1 cargo test -p litellm");
    let declared: Declared = serde_json::from_value(found).unwrap();
    let known = |capability: &Capability| !matches!(capability, Capability::Other(_));
    assert!(declared.capabilities.iter().all(known));
}

#[test]
fn every_row_is_reached_by_https_or_on_this_machine() {
    for provider in usable() {
        for origin in &provider.origins {
            let local = ["http://localhost:", "http://127.0.0.1:"];
            assert!(
                origin.starts_with("https://") || local.iter().any(|host| origin.starts_with(host)),
                "{}: {origin}",
                provider.id
            );
        }
        if let Some(url) = &provider.base_url {
            assert!(provider.is_own(&address::origin(url).unwrap()), "{}", provider.id);
        }
        for route in [&provider.chat_route, &provider.completions_route, &provider.models_route] {
            assert!(route.starts_with('/'), "{}: {route}", provider.id);
        }
    }
}

#[test]
fn every_key_has_a_slot_of_its_own_and_goes_to_one_vendor() {
    let mut slots = BTreeSet::new();
    let mut origins: BTreeMap<String, String> = BTreeMap::new();
    for provider in usable() {
        assert!(slots.insert(provider.key.slot.clone()), "{}", provider.id);
        assert!(!provider.key.slot.is_empty());
        for origin in provider.origins.iter().filter(|origin| origin.starts_with("https://")) {
            if let Some(other) = origins.insert(origin.clone(), provider.id.clone()) {
                // One service under two names, which share a key's variable.
                assert!(
                    ["dashscope", "qwen_ai_platform"].contains(&other.as_str()),
                    "{} and {other} share {origin}",
                    provider.id
                );
            }
        }
    }
}

#[test]
fn every_name_is_one_providers_and_every_usable_row_can_ask_for_a_key() {
    let table = Table::builtin().unwrap();
    let mut names = BTreeSet::new();
    for (name, row) in table.rows() {
        let Row { aliases, unsupported, key_env, .. } = row;
        for name in std::iter::once(name).chain(aliases.iter().flatten().map(String::as_str)) {
            assert!(names.insert(name.to_owned()), "{name}");
        }
        assert!(unsupported.is_some() || key_env.is_some(), "{name}");
    }
    // Those of wire.md 4.7, and azure, anthropic, gemini and any compatible server.
    assert!(usable().len() >= 105, "{}", usable().len());
}
