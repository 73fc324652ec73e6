//! From what is typed to what is meant: defaults filled in, values checked, each mode with its own.
//! Pure.

use std::collections::BTreeMap;

use plugin_api::{Error, ErrorKind, Result};
use wire::tgi::Defaults;

use crate::{
    address,
    config::{Config, Mode},
    settings::{ChatDefaults, Endpoint, Managed, Place, Router, Serverless, Settings},
};

impl Config {
    /// What is meant.
    ///
    /// # Errors
    /// `invalid_request`; the message names the key and the way out.
    pub fn resolved(self) -> Result<Settings> {
        self.refuse_keys_of_other_modes()?;
        self.check_ranges()?;
        let headers = headers(&self.extra_headers)?;
        Ok(match self.mode {
            Mode::Router => Settings::Router(self.router(headers)?),
            Mode::Serverless => Settings::Serverless(self.serverless(headers)?),
            Mode::Endpoint => Settings::Endpoint(Box::new(self.endpoint(headers)?)),
        })
    }

    fn router(self, mut headers: Vec<(String, String)>) -> Result<Router> {
        let defaults = self.chat_defaults();
        let base = address::router(self.base_url.as_deref())?;
        let model = with_provider(required_model(self.model, Mode::Router)?, self.provider)?;
        headers.extend(self.bill_to.map(|payer| ("x-hf-bill-to".to_owned(), payer)));
        Ok(Router { base, model, headers, defaults })
    }

    fn serverless(self, headers: Vec<(String, String)>) -> Result<Serverless> {
        // Unset, the classic pipelines send the prompt back with the answer.
        let defaults = Defaults { return_full_text: Some(false), ..self.text_defaults() };
        let models = address::serverless(self.base_url.as_deref())?;
        let model = required_model(self.model, Mode::Serverless)?;
        if model.contains(':') {
            return Err(wrong("model: the suffix of a provider is for mode = \"router\""));
        }
        Ok(Serverless {
            url: format!("{models}/{model}"),
            model,
            headers,
            defaults,
            wait_for_model: self.wait_for_model.unwrap_or(false),
            use_cache: self.use_cache,
            max_loading_wait_ms: u64::from(self.max_loading_wait.unwrap_or(60)) * 1000,
        })
    }

    fn endpoint(self, mut headers: Vec<(String, String)>) -> Result<Endpoint> {
        let hold = self.scale_up_timeout.map(|s| ("x-scale-up-timeout".to_owned(), s.to_string()));
        headers.extend(hold);
        let health_route = self.health_route.clone();
        if health_route.as_deref().is_some_and(|route| !route.starts_with('/')) {
            return Err(wrong("health_route: expected a path that begins with `/`"));
        }
        Ok(Endpoint {
            model: self.model.clone(),
            headers,
            text: self.text_defaults(),
            chat: self.chat_defaults(),
            engine: self.engine.unwrap_or_default(),
            health_route,
            wait_timeout_s: self.wait_timeout.unwrap_or(1800),
            poll_interval_s: self.poll_interval.unwrap_or(5),
            place: self.place()?,
        })
    }

    fn place(self) -> Result<Place> {
        let Some(name) = self.name.clone() else {
            let base = self.base_url.as_deref().ok_or_else(|| {
                wrong(
                    "an endpoint needs `base_url`, its own URL, or a `name` to find it by over the \
                     management API",
                )
            })?;
            if let Some(key) =
                self.keys_of_management().into_iter().find_map(|(key, set)| set.then_some(key))
            {
                return Err(wrong(&format!(
                    "{key}: has no effect without `name`, since an endpoint by its URL is not managed"
                )));
            }
            return Ok(Place::Url(address::endpoint(base)?));
        };
        for (key, text) in [("name", Some(&name)), ("namespace", self.namespace.as_ref())] {
            if text.is_some_and(|text| !is_one_segment(text)) {
                return Err(wrong(&format!(
                    "{key}: expected letters, digits, `-`, `_` and `.` only"
                )));
            }
        }
        let management = address::management(self.base_url.as_deref())?;
        let plan = self.plan()?;
        Ok(Place::Managed(Box::new(Managed {
            api: management.api,
            whoami: management.whoami,
            name,
            namespace: self.namespace,
            reuse_existing: self.reuse_existing.unwrap_or(true),
            auto_start: self.auto_start.unwrap_or(true),
            on_finish: self.on_finish.unwrap_or_default(),
            repository: self.model,
            revision: self.revision,
            plan,
        })))
    }

    fn text_defaults(&self) -> Defaults {
        Defaults {
            max_new_tokens: self.max_new_tokens,
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            typical_p: self.typical_p,
            repetition_penalty: self.repetition_penalty,
            frequency_penalty: self.frequency_penalty,
            truncate: self.truncate,
            watermark: self.watermark,
            adapter_id: self.adapter_id.clone(),
            details: self.details.unwrap_or(true),
            ..Defaults::default()
        }
    }

    fn chat_defaults(&self) -> ChatDefaults {
        ChatDefaults {
            max_tokens: self.max_new_tokens,
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            min_p: self.min_p,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            repetition_penalty: self.repetition_penalty,
            reasoning_effort: self.reasoning_effort.clone(),
            extra_body: self.extra_body.clone(),
            separate_choices: self.separate_choices.unwrap_or(false),
        }
    }

    fn check_ranges(&self) -> Result<()> {
        for (key, value) in [
            ("max_new_tokens", self.max_new_tokens),
            ("truncate", self.truncate),
            ("max_loading_wait", self.max_loading_wait),
            ("wait_timeout", self.wait_timeout),
            ("poll_interval", self.poll_interval),
            ("scale_up_timeout", self.scale_up_timeout),
            ("max_replica", self.max_replica),
        ] {
            if value == Some(0) {
                return Err(wrong(&format!("{key}: expected 1 or more")));
            }
        }
        if self.temperature.is_some_and(|temperature| temperature < 0.0) {
            return Err(wrong("temperature: expected 0 (greedy) or more"));
        }
        for (key, value) in [("top_p", self.top_p), ("typical_p", self.typical_p)] {
            if value.is_some_and(|value| value <= 0.0 || value > 1.0) {
                return Err(wrong(&format!("{key}: expected more than 0, and at most 1 (off)")));
            }
        }
        Ok(())
    }
}

fn required_model(model: Option<String>, mode: Mode) -> Result<String> {
    let model = model.filter(|model| !model.is_empty()).ok_or_else(|| {
        let mode = mode.as_str();
        wrong(&format!(
            "model: mode = \"{mode}\" needs the model's name on the Hub, `acme/model-7b` say"
        ))
    })?;
    let strange = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#' | '\\');
    if model.contains(strange) || model.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(wrong("model: expected a name on the Hub, `acme/model-7b` say"));
    }
    Ok(model)
}

/// The model with the provider as its suffix.
fn with_provider(model: String, provider: Option<String>) -> Result<String> {
    let Some(provider) = provider else { return Ok(model) };
    let provider = provider.trim_start_matches(':');
    if provider.is_empty() || !is_one_segment(provider) {
        return Err(wrong(
            "provider: expected a provider's name, or fastest, cheapest or preferred",
        ));
    }
    match model.rsplit_once(':') {
        Some((_, suffix)) if suffix == provider => Ok(model),
        Some((_, suffix)) => Err(wrong(&format!(
            "provider: says `{provider}`, and the model's own suffix `{suffix}`; keep one of them"
        ))),
        None => Ok(format!("{model}:{provider}")),
    }
}

/// The further headers, names in lower case.
fn headers(given: &BTreeMap<String, String>) -> Result<Vec<(String, String)>> {
    given
        .iter()
        .map(|(name, value)| match name.to_ascii_lowercase() {
            name if name == "authorization" || name == "cookie" => Err(wrong(&format!(
                "extra_headers: `{name}` carries a secret, which a run file must not; the token is the slot \
                 `hf_token`"
            ))),
            name if name == "content-type" => {
                Err(wrong("extra_headers: `content-type` is the plugin's own"))
            }
            name => Ok((name, value.clone())),
        })
        .collect()
}

/// Whether a text is one segment of a path as it stands.
fn is_one_segment(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.chars().all(plain) && !text.chars().all(|c| c == '.')
}

/// A configuration that makes no sense; the message begins with the key.
pub(crate) fn wrong(message: &str) -> Error {
    Error::new(ErrorKind::InvalidRequest, message)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn resolved(config: Value) -> Result<Settings> {
        serde_json::from_value::<Config>(config).unwrap().resolved()
    }

    fn router(config: Value) -> Router {
        match resolved(config) {
            Ok(Settings::Router(router)) => router,
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn the_provider_is_the_models_suffix_wherever_it_is_said() {
        for (config, model, fixed) in [
            (json!({ "model": "a/b:novita" }), "a/b:novita", true),
            (json!({ "model": "a/b", "provider": "novita" }), "a/b:novita", true),
            (json!({ "model": "a/b", "provider": ":novita" }), "a/b:novita", true),
            (json!({ "model": "a/b:novita", "provider": "novita" }), "a/b:novita", true),
            (json!({ "model": "a/b", "provider": "fastest" }), "a/b:fastest", false),
            (json!({ "model": "a/b:cheapest" }), "a/b:cheapest", false),
            (json!({ "model": "a/b:preferred" }), "a/b:preferred", false),
            (json!({ "model": "a/b" }), "a/b", false),
        ] {
            let router = router(config);
            assert_eq!((&*router.model, router.unfixed().is_none()), (model, fixed));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_the_name_of_its_key() {
        let at = |more: Value| {
            let mut config = json!({ "mode": "endpoint", "name": "x", "model": "a/b" });
            config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            config
        };
        for (config, key) in [
            (json!({}), "model"),
            (json!({ "model": "" }), "model"),
            (json!({ "model": "a/../b" }), "model"),
            (json!({ "model": "a b" }), "model"),
            (json!({ "mode": "serverless", "model": "a/b:novita" }), "model"),
            (json!({ "model": "a/b:novita", "provider": "together" }), "provider"),
            (json!({ "model": "a/b", "provider": "" }), "provider"),
            (json!({ "model": "a/b", "base_url": "here" }), "base_url"),
            (json!({ "model": "a/b", "extra_headers": { "Authorization": "x" } }), "extra_headers"),
            (json!({ "model": "a/b", "max_new_tokens": 0 }), "max_new_tokens"),
            (json!({ "model": "a/b", "temperature": -1 }), "temperature"),
            (json!({ "model": "a/b", "top_p": 0 }), "top_p"),
            (json!({ "mode": "endpoint" }), "an endpoint needs"),
            (at(json!({ "name": "a/b" })), "name"),
            (at(json!({ "name": ".." })), "name"),
            (at(json!({ "namespace": "a b" })), "namespace"),
            (at(json!({ "health_route": "ready" })), "health_route"),
            (at(json!({ "instance_type": "nvidia-a10g" })), "instance_type"),
            (at(json!({ "min_replica": 2 })), "min_replica"),
            (at(json!({ "image_url": "vllm/vllm-openai", "dtype": "awq" })), "dtype"),
            (at(json!({ "wait_timeout": 0 })), "wait_timeout"),
        ] {
            let error = resolved(config.clone()).unwrap_err();
            assert!(error.message.starts_with(key), "{config}: {error}");
        }
    }

    #[test]
    fn a_key_of_another_mode_is_refused_because_it_would_do_nothing() {
        for (config, key, home) in [
            (json!({ "model": "a/b", "use_cache": true }), "use_cache", "serverless"),
            (json!({ "model": "a/b", "name": "x" }), "name", "endpoint"),
            (json!({ "model": "a/b", "region": "x" }), "region", "endpoint"),
            (json!({ "model": "a/b", "truncate": 5 }), "truncate", "serverless"),
            (json!({ "mode": "serverless", "model": "a/b", "bill_to": "x" }), "bill_to", "router"),
            (
                json!({ "mode": "serverless", "model": "a/b", "reasoning_effort": "low" }),
                "reasoning_effort",
                "router",
            ),
            (
                json!({ "mode": "endpoint", "base_url": "https://x", "wait_for_model": true }),
                "wait_for_model",
                "serverless",
            ),
            (
                json!({ "mode": "endpoint", "base_url": "https://x", "on_finish": "delete" }),
                "on_finish",
                "`name`",
            ),
        ] {
            let message = resolved(config).unwrap_err().message;
            assert!(message.starts_with(key) && message.contains(home), "{message}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let typed = json!({ "model": "a/b", "parallel_calls_count": 4 });
        assert!(serde_json::from_value::<Config>(typed).is_err());
    }
}
