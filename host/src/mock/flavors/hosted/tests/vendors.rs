//! What Moonshot, xAI and Azure have of their own.

use serde_json::json;

use super::{chat, told};
use crate::mock::{
    Settings,
    testkit::{post, start},
};

#[test]
fn moonshot_has_its_own_bounds_and_short_errors() {
    let parts =
        json!({ "messages": [{ "role": "user", "content": [{ "type": "text", "text": "x" }] }] });
    let server = start(Settings::default());
    let table = [
        ("moonshot-v1-8k", json!({ "temperature": 0 }), 200, ""),
        ("moonshot-v1-8k", json!({ "temperature": 1.5 }), 400, "temperature"),
        ("moonshot-v1-8k", json!({ "temperature": 0.1, "n": 2 }), 400, "invalid n"),
        ("moonshot-v1-8k", json!({ "temperature": 0.5, "n": 2 }), 200, ""),
        ("moonshot-v1-8k", json!({ "functions": [] }), 400, "functions"),
        ("moonshot-v1-8k", parts.clone(), 400, "must be a string"),
        ("kimi-k2.5", parts, 200, ""),
        ("kimi-k2.5", json!({ "temperature": 0 }), 400, "only 1 is allowed"),
        ("kimi-k2.5", json!({ "temperature": 1, "thinking": { "type": "disabled" } }), 200, ""),
        ("kimi-k2.5", json!({ "thinking": { "type": "often" } }), 400, "thinking"),
        ("kimi-k2.5", json!({ "top_k": 4 }), 400, "'top_k'"),
    ];
    for (model, more, status, words) in table {
        let got = post(&server, "/moonshot/v1/chat/completions", &chat(model, &more));
        assert_eq!(got.status, status, "{model} {more}: {}", got.text());
        if status != 200 {
            let error = got.json()["error"].clone();
            assert_eq!(error["type"], "invalid_request_error");
            assert!(error["message"].as_str().unwrap().contains(words), "{error}");
            assert_eq!(error.as_object().unwrap().len(), 2);
        }
    }
}

#[test]
fn xai_has_errors_of_its_own_and_models_without_stop_texts() {
    let server = start(Settings::default());
    let table = [
        ("grok-3", json!({ "stop": ["x"], "frequency_penalty": 0.1 }), 200, ""),
        (
            "grok-3-mini",
            json!({ "stop": ["x"] }),
            400,
            "Model grok-3-mini does not support parameter stop.",
        ),
        ("grok-4", json!({ "stop": "x" }), 400, "Model grok-4 does not support parameter stop."),
        ("grok-code-fast-1", json!({ "frequency_penalty": 0.1 }), 400, "frequency_penalty"),
        ("grok-4", json!({ "max_completion_tokens": 100, "temperature": 0 }), 200, ""),
        ("grok-3", json!({ "colour": 1 }), 400, "'colour'"),
    ];
    for (model, more, status, words) in table {
        let got = post(&server, "/xai/v1/chat/completions", &chat(model, &more));
        assert_eq!(got.status, status, "{model} {more}: {}", got.text());
        if status != 200 {
            assert!(got.json()["error"].as_str().unwrap().contains(words), "{}", got.text());
            assert!(got.json()["code"].is_string());
        }
    }
}

#[test]
fn azure_wants_a_version_and_a_deployment() {
    let server = start(Settings::default());
    let body = chat("ignored", &json!({}));
    let deployment = "/azure/openai/deployments/gpt-4o-mini/chat/completions";
    let table = [
        (format!("{deployment}?api-version=2024-10-21"), 200, ""),
        (format!("{deployment}?api-version=2025-02-01-preview"), 200, ""),
        (deployment.to_owned(), 404, "404"),
        (format!("{deployment}?api-version=newest"), 404, "404"),
        ("/azure/openai/v1/chat/completions".to_owned(), 200, ""),
        ("/azure/openai/v1/chat/completions?api-version=preview".to_owned(), 200, ""),
        ("/azure/openai/v1/chat/completions?api-version=2024-10-21".to_owned(), 400, "BadRequest"),
        ("/azure/chat/completions?api-version=2024-10-21".to_owned(), 404, "404"),
        (
            "/azure/openai/deployments/mock-missing/chat/completions?api-version=2024-10-21"
                .to_owned(),
            404,
            "DeploymentNotFound",
        ),
    ];
    for (path, status, code) in table {
        let got = told(&server, &path, &body);
        assert_eq!((got.0, got.1.as_str()), (status, code), "{path}");
    }
    let got = post(&server, &format!("{deployment}?api-version=2024-10-21"), &body).json();
    assert_eq!(got["model"], "gpt-4o-mini");
    assert_eq!(got["choices"][0]["content_filter_results"]["hate"]["severity"], "safe");
    assert_eq!(got["prompt_filter_results"][0]["prompt_index"], 0);
    let bad = json!({ "messages": [{ "role": "user", "content": "mock-content-filter" }] });
    let got = post(&server, &format!("{deployment}?api-version=2024-10-21"), &bad);
    assert_eq!((got.status, &got.json()["error"]["code"]), (400, &json!("content_filter")));
    assert_eq!(got.json()["error"]["innererror"]["code"], "ResponsibleAIPolicyViolation");
}
