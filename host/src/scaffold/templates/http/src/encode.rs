//! Requests as the server takes them. Pure.

use plugin_api::{
    Changed, Error, Generate, HttpRequest, Message, Prompt, Result, json, serde_json::Value,
};

use crate::Config;

/// The request for an answer: a chat for messages, a completion for a text.
///
/// # Errors
/// `unsupported` for messages that are more than text.
pub(crate) fn generate(config: &Config, request: &Generate<'_>) -> Result<HttpRequest<'static>> {
    let (route, key, prompt) = match &request.prompt {
        Prompt::Messages(messages) => {
            let messages = messages.iter().map(message).collect::<Result<Vec<_>>>()?;
            ("/v1/chat/completions", "messages", Value::from(messages))
        }
        Prompt::Text(text) => ("/v1/completions", "prompt", Value::from(*text)),
    };
    let mut body = json!({ "model": config.model, "n": request.n });
    body[key] = prompt;
    let optional = [
        ("max_tokens", request.max_tokens.map(Value::from)),
        ("temperature", request.temperature.map(Value::from)),
        ("top_p", request.top_p.map(Value::from)),
        ("seed", request.seed.map(Value::from)),
        (
            "stop",
            (!request.stop.is_empty()).then(|| json!(request.stop)),
        ),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            body[name] = value;
        }
    }
    // What the run file gives for this vendor alone stands above what it gives for all.
    for (name, value) in &request.extra {
        body[name.as_str()] = value.clone();
    }
    HttpRequest::post(config.url(route)).json(&body)
}

/// What was asked for and is not sent: the run tells it beside its scores.
pub(crate) fn changed(request: &Generate<'_>) -> Vec<Changed> {
    let dropped = [
        ("top_k", request.top_k.is_some()),
        ("logprobs", request.logprobs.is_some()),
    ];
    let dropped = dropped.iter().filter(|(_, asked)| *asked);
    let changed = dropped.map(|(parameter, _)| Changed {
        parameter: (*parameter).to_owned(),
        detail: "not sent: this plugin does not know it yet".to_owned(),
    });
    changed.collect()
}

fn message(message: &Message<'_>) -> Result<Value> {
    let text = message.as_text();
    let text = text.ok_or_else(|| Error::unsupported("messages with images"))?;
    Ok(json!({ "role": message.role, "content": text }))
}
