//! What the golden files do not show: other requests than generations, and what is refused.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{open, run, try_open};
use plugin_api::{Answer, ErrorKind, Loglikelihood, Message, Prompt, Request, Rolling};
use serde_json::{Value, json};

fn ids(ids: &[u32]) -> Value {
    ids.iter().map(|id| json!({ "id": id, "text": "", "start": 0, "stop": 0 })).collect()
}

fn scoring() -> Request<'static> {
    Request::Loglikelihood(Loglikelihood {
        prompt: Prompt::Text("Q: x\nA: "),
        continuations: vec!["yes"],
        token_logprobs: false,
    })
}

/// evaluation.md V3.
#[test]
fn an_endpoint_with_tgi_scores_as_tgi_does() {
    let config = json!({ "mode": "endpoint", "base_url": "https://x", "engine": "tgi", "scale_up_timeout": 9 });
    let context = [1, 660, 29901, 921, 13, 29909, 29901];
    let logprobs = [
        json!(null),
        json!(-9.1),
        json!(-0.4),
        json!(-3.2),
        json!(-1.1),
        json!(-0.9),
        json!(-0.1),
        json!(-0.75),
    ];
    let prefill: Vec<Value> = context
        .iter()
        .chain(&[4874])
        .zip(logprobs)
        .map(|(id, logprob)| json!({ "id": id, "text": "", "logprob": logprob }))
        .collect();
    let whole = json!({ "generated_text": "", "details": { "finish_reason": "length", "generated_tokens": 1,
        "prefill": prefill, "tokens": [] } });
    let scored = run(&open(&config, true), scoring(), &mut |sent| match sent.url.as_str() {
        "https://x/tokenize" => common::json(200, &ids(&context)),
        "https://x/generate" => common::json(200, &whole),
        other => panic!("{other}"),
    });
    assert!(scored.sent.iter().all(|sent| sent.header("x-scale-up-timeout") == Some("9")));
    assert!(
        scored.sent.iter().all(|sent| sent.header("authorization") == Some("Bearer {hf_token}"))
    );
    match scored.answer() {
        Answer::Likelihoods(found) => {
            assert_eq!(
                (found[0].logprob, found[0].tokens, found[0].boundary_merged),
                (Some(-0.75), 1, false)
            );
        }
        other => panic!("{other:?}"),
    }
    let rolled =
        run(&open(&config, false), Request::Rolling(Rolling { text: "Q: x\nA: yes" }), &mut |_| {
            common::json(200, &whole)
        });
    assert!(matches!(rolled.answer(), Answer::Likelihoods(found) if found[0].tokens == 7));
}

#[test]
fn what_needs_a_prompts_tokens_is_unsupported_where_there_are_none_and_says_where_there_are() {
    let models = json!({ "object": "list", "data": [{ "id": "m", "owned_by": "vllm" }] });
    for config in [
        json!({ "model": "acme/m:novita" }),
        json!({ "mode": "serverless", "model": "acme/m" }),
        json!({ "mode": "endpoint", "base_url": "https://x", "engine": "openai" }),
    ] {
        for request in [
            scoring(),
            Request::Rolling(Rolling { text: "a b" }),
            Request::Tokenize("a"),
            Request::Render(vec![Message::text("user", "hi")]),
        ] {
            let error =
                run(&open(&config, false), request, &mut |_| common::json(200, &models)).error();
            assert_eq!(error.kind, ErrorKind::Unsupported);
            assert!(error.message.contains("TGI"), "{error}");
        }
    }
}

#[test]
fn each_service_says_whether_it_is_ready() {
    let health = |config: &Value, status: u16, body: &Value| {
        let run = run(&open(config, true), Request::Health, &mut |_| common::json(status, body));
        (run.log.clone(), run.result.unwrap())
    };
    let router = json!({ "model": "acme/m:novita" });
    let (log, result) = health(&router, 200, &json!({ "object": "list", "data": [] }));
    assert_eq!(log, ["GET /v1/models"]);
    assert!(matches!(result, Ok(Answer::Health(health)) if health.ready));
    let (_, result) = health(&router, 503, &json!({ "error": "down" }));
    assert!(matches!(result, Ok(Answer::Health(health)) if !health.ready));
    let (_, result) = health(&router, 401, &json!({ "error": "Invalid token" }));
    assert_eq!(result.unwrap_err().kind, ErrorKind::Unauthorized);

    let serverless = json!({ "mode": "serverless", "model": "acme/m" });
    let (log, result) = health(&serverless, 200, &json!([{ "generated_text": "a" }]));
    assert_eq!(log, ["POST /hf-inference/models/acme/m"]);
    assert!(matches!(result, Ok(Answer::Health(health)) if health.ready));
    let loading = json!({ "error": "Model acme/m is currently loading", "estimated_time": 20.0 });
    let (_, result) = health(&serverless, 503, &loading);
    assert!(
        matches!(result, Ok(Answer::Health(health)) if !health.ready && health.detail.contains("loading"))
    );
}

#[test]
fn each_service_says_what_it_is() {
    let described = |config: &Value, replies: &[(u16, Value)]| {
        let mut replies = replies.iter();
        let run = run(&open(config, false), Request::Describe, &mut |_| {
            let (status, body) = replies.next().unwrap();
            common::json(*status, body)
        });
        match run.answer() {
            Answer::Description(found) => found,
            other => panic!("{other:?}"),
        }
    };
    let router = described(&json!({ "model": "acme/m", "provider": "novita" }), &[]);
    assert_eq!(
        (router.model.as_deref(), router.engine.as_deref()),
        (Some("acme/m:novita"), Some("inference-providers"))
    );
    let serverless = described(&json!({ "mode": "serverless", "model": "acme/m" }), &[]);
    assert_eq!(serverless.engine.as_deref(), Some("hf-inference"));

    let endpoint = json!({ "mode": "endpoint", "base_url": "https://x" });
    let info = json!({ "model_id": "/repository", "version": "3.3.5", "max_total_tokens": 2048 });
    let tgi = described(
        &endpoint,
        &[(200, info.clone()), (200, info), (200, ids(&[1, 5])), (200, ids(&[1, 6]))],
    );
    assert_eq!(
        (tgi.engine.as_deref(), tgi.context_tokens, tgi.bos.as_deref()),
        (Some("text-generation-inference"), Some(2048), Some("bos"))
    );

    let models = json!({ "object": "list", "data": [{ "id": "/repository", "owned_by": "vllm", "max_model_len": 4096 }] });
    let vllm = described(
        &endpoint,
        &[
            (404, json!({ "detail": "Not Found" })),
            (200, models),
            (200, json!({ "version": "0.33.0" })),
        ],
    );
    assert_eq!(
        (vllm.model.as_deref(), vllm.engine.as_deref()),
        (Some("/repository"), Some("vllm"))
    );
    assert_eq!((vllm.version.as_deref(), vllm.context_tokens), (Some("0.33.0"), Some(4096)));
}

#[test]
fn an_endpoint_is_asked_once_what_it_is() {
    let plugin = open(&json!({ "mode": "endpoint", "base_url": "https://x" }), false);
    let request = || Request::Generate(common::generate(Prompt::Text("Q")));
    let mut server = |sent: &common::Sent| match sent.url.as_str() {
        "https://x/info" => common::json(200, &json!({ "model_id": "m", "max_total_tokens": 9 })),
        _ => common::json(200, &json!({ "generated_text": "a" })),
    };
    assert_eq!(run(&plugin, request(), &mut server).log.len(), 2);
    assert_eq!(run(&plugin, request(), &mut server).log, ["POST /generate"]);
}

#[test]
fn a_configuration_that_makes_no_sense_does_not_open() {
    for (config, says) in [
        (json!({}), "model"),
        (json!({ "mode": "endpoint" }), "base_url"),
        (json!({ "mode": "routers", "model": "a/b" }), "router"),
        (json!({ "model": "a/b", "hf_token": "hf_x" }), "hf_token"),
    ] {
        assert!(try_open(&config, false).unwrap_err().contains(says), "{config}");
    }
}
