//! What each vendor's models do not take, and which of them think.
//!
//! OpenAI's families after `wire.md` 4.1 ("Reasoning-model differences"), xAI and Moonshot after 4.5, the router after
//! 5.2.

use super::{ChatRequest, Dialect, Refusal, values::decimal};
use crate::mock::flavors::text::TextOr;

/// How much a model thinks, and under which name it shows that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Thinking {
    /// Tokens; 0 for a model that does not think.
    pub(super) tokens: usize,
    /// Where the text stands.
    pub(super) shown: Shown,
}

/// Where thinking is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// Nowhere: only its tokens are told.
    Nowhere,
    /// `message.reasoning_content`.
    ReasoningContent,
    /// `message.reasoning`.
    Reasoning,
}

/// OpenAI's models, by what they take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    /// They take everything and do not think.
    Plain,
    /// o1, o3, o4.
    O { takes_stop: bool },
    /// gpt-5 and later.
    Gpt5 { takes_effort_none: bool },
}

fn family(model: &str) -> Family {
    let o = ["o1", "o3", "o4"].into_iter().find(|name| {
        model.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    });
    if let Some(name) = o {
        return Family::O { takes_stop: name == "o1" };
    }
    let Some(version) = model.strip_prefix("gpt-") else {
        return Family::Plain;
    };
    match version.as_bytes() {
        [b'5'..=b'9', ..] if !version.contains("-chat") => {
            Family::Gpt5 { takes_effort_none: !(version == "5" || version.starts_with("5-")) }
        }
        _ => Family::Plain,
    }
}

/// Whether OpenAI's model of this name thinks before it answers.
fn is_reasoning(model: &str) -> bool {
    family(model) != Family::Plain
}

/// Whether OpenAI's model of this name, or what it was tuned from, is for chats alone. A name that is not OpenAI's is
/// not.
fn is_chat_alone(model: &str) -> bool {
    let model = model.strip_prefix("ft:").unwrap_or(model);
    let numbered =
        |version: &str| version.as_bytes().first().is_some_and(|d| (b'4'..=b'9').contains(d));
    // Azure's name for it is the one without the point.
    let turbo =
        ["gpt-3.5-turbo", "gpt-35-turbo"].iter().find_map(|turbo| model.strip_prefix(turbo));
    model.starts_with("chatgpt")
        || is_reasoning(model)
        || model.strip_prefix("gpt-").is_some_and(numbered)
        || turbo.is_some_and(|rest| !rest.starts_with("-instruct"))
}

/// Refuses what OpenAI's models do not complete: a chat model anything, and all but the base models the
/// log-probabilities of a prompt (`wire.md` 4.1).
pub(super) fn check_completion(
    dialect: Dialect,
    model: &str,
    scores_prompt: bool,
) -> Result<(), Refusal> {
    if !matches!(dialect, Dialect::OpenAi | Dialect::Azure) {
        return Ok(());
    }
    if is_chat_alone(model) {
        let message = "This is a chat model and not supported in the v1/completions endpoint. \
                       Did you mean to use v1/chat/completions?";
        let param = Some("model".to_owned());
        return Err(Refusal { status: 404, param, ..Refusal::new(message) });
    }
    if scores_prompt && model.starts_with("gpt-") {
        let message =
            "Setting 'echo' and 'logprobs' at the same time is not supported for this model.";
        return Err(Refusal::new(message));
    }
    Ok(())
}

/// How much a model thinks about a request.
pub(super) fn thinking(dialect: Dialect, model: &str, request: &ChatRequest<'_>) -> Thinking {
    let tokens = match request.reasoning_effort.as_deref() {
        Some("none") => 0,
        Some("minimal") => 4,
        Some("low") => 12,
        Some("high") => 64,
        Some("xhigh" | "max") => 128,
        _ => 32,
    };
    let when = |thinks: bool, shown| Thinking { tokens: if thinks { tokens } else { 0 }, shown };
    match dialect {
        Dialect::OpenAi | Dialect::Azure => when(is_reasoning(model), Shown::Nowhere),
        Dialect::Vllm => when(model.contains("think"), Shown::Reasoning),
        Dialect::Xai if model.starts_with("grok-3-mini") => when(true, Shown::ReasoningContent),
        Dialect::Xai => when(is_grok_reasoning(model), Shown::Nowhere),
        Dialect::Moonshot => {
            let on = request.thinking.as_ref().is_none_or(|switch| &*switch.kind == "enabled");
            when(on && is_kimi_reasoning(model), Shown::ReasoningContent)
        }
        Dialect::HuggingFace => {
            when(model.contains("Thinking") || model.contains("-R1"), Shown::ReasoningContent)
        }
    }
}

fn is_grok_reasoning(model: &str) -> bool {
    (model.starts_with("grok-4") || model.starts_with("grok-code-fast"))
        && !model.contains("non-reasoning")
}

/// kimi-k2.5 and later, k3, and the models named for it.
fn is_kimi_reasoning(model: &str) -> bool {
    let later = model.strip_prefix("kimi-k").is_some_and(|version| {
        version.as_bytes().first().is_some_and(|digit| (b'3'..=b'9').contains(digit))
            || ["2.5", "2.6", "2.7", "2.8", "2.9"].iter().any(|later| version.starts_with(later))
    });
    later || model.contains("thinking")
}

/// Refuses what the vendor's model does not take.
pub(super) fn check(
    dialect: Dialect,
    model: &str,
    request: &ChatRequest<'_>,
) -> Result<(), Refusal> {
    let own: &[&str] = match dialect {
        Dialect::OpenAi | Dialect::Azure => &[],
        Dialect::Vllm => &["messages[].reasoning_content"],
        Dialect::Xai => &["search_parameters", "messages[].reasoning_content"],
        Dialect::Moonshot => &["thinking", "messages[].reasoning_content", "messages[].partial"],
        Dialect::HuggingFace => &["tool_prompt"],
    };
    request.check_foreign(own)?;
    match dialect {
        Dialect::OpenAi | Dialect::Azure => check_openai(model, request),
        Dialect::Xai => check_xai(model, request),
        Dialect::Moonshot => check_moonshot(model, request),
        Dialect::Vllm | Dialect::HuggingFace => Ok(()),
    }
}

fn first_of(fields: &[(&str, bool)]) -> Result<(), Refusal> {
    match fields.iter().find(|(_, present)| *present) {
        Some((name, _)) => Err(Refusal::unsupported_parameter(name, "")),
        None => Ok(()),
    }
}

fn check_openai(model: &str, request: &ChatRequest<'_>) -> Result<(), Refusal> {
    let effort = request.reasoning_effort.as_deref();
    let nonzero = |penalty: Option<f64>| penalty.is_some_and(|penalty| penalty != 0.0);
    let logprobs = request.logprobs == Some(true) || request.top_logprobs.is_some();
    let penalties = [
        ("presence_penalty", nonzero(request.presence_penalty)),
        ("frequency_penalty", nonzero(request.frequency_penalty)),
    ];
    let family = family(model);
    if family != Family::Plain && request.max_tokens.is_some() {
        let instead = " Use 'max_completion_tokens' instead.";
        return Err(Refusal::unsupported_parameter("max_tokens", instead));
    }
    let (refused, samples): (&[&str], bool) = match family {
        Family::Plain => return first_of(&[("reasoning_effort", effort.is_some())]),
        Family::O { takes_stop } => {
            first_of(&penalties)?;
            first_of(&[("stop", request.stop.is_some() && !takes_stop)])?;
            (&["none", "minimal", "xhigh", "max"], false)
        }
        Family::Gpt5 { takes_effort_none } => {
            first_of(&penalties)?;
            first_of(&[
                ("stop", request.stop.is_some()),
                ("logit_bias", request.logit_bias.is_some()),
            ])?;
            let refused: &[&str] = if takes_effort_none { &[] } else { &["none", "xhigh", "max"] };
            (refused, takes_effort_none && effort == Some("none"))
        }
    };
    if let Some(effort) = effort.filter(|effort| refused.contains(effort)) {
        let only = "Supported values are: 'low', 'medium', and 'high'.";
        let got = format!("'{effort}'");
        return Err(Refusal::unsupported_value("reasoning_effort", got, only));
    }
    if samples {
        return Ok(());
    }
    if let Some(temperature) = request.temperature.filter(|temperature| *temperature != 1.0) {
        let only = "Only the default (1) value is supported.";
        return Err(Refusal::unsupported_value("temperature", temperature, only));
    }
    first_of(&[("top_p", request.top_p.is_some()), ("logprobs", logprobs)])
}

fn check_xai(model: &str, request: &ChatRequest<'_>) -> Result<(), Refusal> {
    let newer = model.starts_with("grok-4") || model.starts_with("grok-code-fast");
    let refused = [
        ("stop", request.stop.is_some() && (newer || model.starts_with("grok-3-mini"))),
        ("frequency_penalty", request.frequency_penalty.is_some() && newer),
        ("presence_penalty", request.presence_penalty.is_some() && newer),
    ];
    match refused.into_iter().find(|(_, present)| *present) {
        Some((name, _)) => {
            let message = format!("Model {model} does not support parameter {name}.");
            Err(Refusal::new(message).of(name, "unsupported_parameter"))
        }
        None => Ok(()),
    }
}

fn check_moonshot(model: &str, request: &ChatRequest<'_>) -> Result<(), Refusal> {
    let reasons = is_kimi_reasoning(model);
    if reasons && request.temperature.is_some_and(|temperature| temperature != 1.0) {
        return Err(Refusal::new("invalid temperature: only 1 is allowed for this model"));
    }
    decimal("temperature", request.temperature, 0.0..=1.0)?;
    let temperature = request.temperature.unwrap_or(if reasons { 1.0 } else { 0.0 });
    if temperature < 0.3 && request.n.is_some_and(|n| n > 1) {
        return Err(Refusal::new("invalid n: only 1 is allowed when temperature is close to 0"));
    }
    if request.functions.is_some() || request.function_call.is_some() {
        return Err(Refusal::new("functions are not supported; use tools"));
    }
    let sees = model.contains("vision") || is_kimi_reasoning(model) && !model.contains("thinking");
    let parts = request.messages.iter().any(|m| matches!(m.content, Some(TextOr::List(_))));
    if parts && !sees {
        return Err(Refusal::new(
            "Invalid request: message content must be a string for this model",
        ));
    }
    let known = |kind: &str| matches!(kind, "enabled" | "disabled");
    if request.thinking.as_ref().is_some_and(|switch| !known(&switch.kind)) {
        return Err(Refusal::new("invalid thinking: type must be enabled or disabled"));
    }
    Ok(())
}

/// Those of the router's providers that have chats (`wire.md` 5.2).
const PROVIDERS: [&str; 16] = [
    "baseten",
    "cerebras",
    "cohere",
    "deepinfra",
    "featherless-ai",
    "fireworks-ai",
    "groq",
    "hf-inference",
    "novita",
    "nscale",
    "openai",
    "ovhcloud",
    "publicai",
    "scaleway",
    "together",
    "zai-org",
];

/// The model and its provider, from the router's `org/name[:provider|:fastest|:cheapest|:preferred]`.
pub(crate) fn routed(model: &str) -> Result<(&str, &str), Refusal> {
    let (id, suffix) = model.split_once(':').unwrap_or((model, "fastest"));
    let named = id.split_once('/').is_some_and(|(organisation, name)| {
        !organisation.is_empty() && !name.is_empty() && !name.contains('/')
    });
    if !named {
        let message = format!("The requested model '{model}' does not exist");
        return Err(Refusal::new(message).of("model", "model_not_found"));
    }
    match suffix {
        "fastest" => Ok((id, "groq")),
        "cheapest" => Ok((id, "novita")),
        "preferred" => Ok((id, "together")),
        provider if PROVIDERS.contains(&provider) => Ok((id, provider)),
        provider => {
            let message =
                format!("The requested model '{id}' is not supported by provider '{provider}'.");
            Err(Refusal::new(message).of("model", "model_not_supported"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_told_by_their_names() {
        let table = [
            ("gpt-4o-mini", Family::Plain),
            ("gpt-5-chat-latest", Family::Plain),
            ("o1", Family::O { takes_stop: true }),
            ("o3-mini", Family::O { takes_stop: false }),
            ("o4-mini-2025-04-16", Family::O { takes_stop: false }),
            ("omni-moderation", Family::Plain),
            ("gpt-5", Family::Gpt5 { takes_effort_none: false }),
            ("gpt-5-mini", Family::Gpt5 { takes_effort_none: false }),
            ("gpt-5.1", Family::Gpt5 { takes_effort_none: true }),
            ("gpt-6-nano", Family::Gpt5 { takes_effort_none: true }),
        ];
        for (model, expected) in table {
            assert_eq!(family(model), expected, "{model}");
        }
        for (model, expected) in [
            ("kimi-k2.5", true),
            ("kimi-k2-thinking", true),
            ("kimi-k3", true),
            ("kimi-k2-0905-preview", false),
            ("moonshot-v1-8k", false),
        ] {
            assert_eq!(is_kimi_reasoning(model), expected, "{model}");
        }
    }

    #[test]
    fn chat_models_are_told_from_those_that_complete() {
        for model in [
            "gpt-4o-mini",
            "gpt-4.1",
            "gpt-4",
            "gpt-4-turbo",
            "gpt-5-chat-latest",
            "o1",
            "o3-mini",
            "o4-mini",
            "chatgpt-4o-latest",
            "gpt-3.5-turbo",
            "gpt-3.5-turbo-0125",
            "gpt-35-turbo",
            "ft:gpt-4o-mini:acme::1",
        ] {
            assert!(is_chat_alone(model), "{model}");
        }
        for model in [
            "gpt-3.5-turbo-instruct",
            "gpt-35-turbo-instruct",
            "davinci-002",
            "babbage-002",
            "ft:davinci-002:acme::1",
            "gpt-oss-20b",
            "gpt2",
            "mock-model",
            "m",
            "o1x",
            "smollm2",
        ] {
            assert!(!is_chat_alone(model), "{model}");
        }
    }

    #[test]
    fn a_routed_model_has_an_organisation_and_a_known_provider() {
        let table = [
            ("openai/gpt-oss-20b", Some(("openai/gpt-oss-20b", "groq"))),
            ("openai/gpt-oss-20b:cheapest", Some(("openai/gpt-oss-20b", "novita"))),
            ("a/b:featherless-ai", Some(("a/b", "featherless-ai"))),
            ("a/b:fal-ai", None),
            ("a/b:nowhere", None),
            ("gpt2", None),
            ("a/b/c", None),
            ("/b", None),
        ];
        for (model, expected) in table {
            assert_eq!(routed(model).ok(), expected, "{model}");
        }
    }
}
