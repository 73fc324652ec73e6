//! The backend under test, and what it is asked.

use plugin_api::{Generate, Prompt, Request, json, testkit::Stage};

use my_plugin::Server;

pub fn stage() -> Stage<Server> {
    Stage::open(json!({ "base_url": "http://server/", "model": "small" }))
}

/// A greedy request for few tokens.
pub fn generate(prompt: Prompt<'_>) -> Request<'_> {
    Request::Generate(Generate {
        max_tokens: Some(16),
        temperature: Some(0.0),
        stop: vec!["\n".into()],
        ..Generate::new(prompt)
    })
}
