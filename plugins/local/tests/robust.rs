//! Early ends and odd requests with the real model: what every plugin must survive. There is no server to send garbage.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::{Arc, OnceLock};

use local::backend::Local;
use plugin_api::{
    Generate, Loglikelihood, Prompt, Request,
    message::OpenHead,
    testkit::{Scripted, Stage, drop_at_every_step, open_with},
};

fn stage() -> Option<Stage<Local>> {
    static LOCAL: OnceLock<Option<Arc<Local>>> = OnceLock::new();
    let local = LOCAL.get_or_init(|| {
        let path = common::model_file()?;
        let assets = [("model".to_owned(), path.display().to_string())].into();
        let config = serde_json::json!({});
        Some(Arc::new(open_with(OpenHead { config, assets, ..OpenHead::default() }).unwrap()))
    });
    // It computes in turns, which is no busy wait.
    Some(Stage::new(Arc::clone(local.as_ref()?)).turns(1_000_000))
}

#[test]
fn a_session_may_end_at_any_step() {
    if stage().is_none() {
        return;
    }
    let nobody = || Scripted::new(404, "");
    let generate = Generate {
        max_tokens: Some(2),
        temperature: Some(0.0),
        ..Generate::new(Prompt::Text("The capital of France is"))
    };
    let score = Loglikelihood {
        prompt: Prompt::Text("Paris is"),
        continuations: vec![" big"],
        token_logprobs: true,
    };
    for request in [
        Request::Generate(Generate { stream: true, ..generate }),
        Request::Loglikelihood(score),
        Request::Tokenize("a b"),
        Request::Describe,
    ] {
        drop_at_every_step(|| stage().unwrap(), &[request], nobody);
    }
}
