//! Whole sessions, driven event by event as the host would.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod drive;
#[allow(dead_code, reason = "shared with the vendors' golden tests")]
mod vendor;

use std::sync::Arc;

use drive::{backend, begin, calls, chat_reply, generate, head, reply_with, streamed};
use litellm::Litellm;
use plugin_api::{
    Answer, ErrorKind, FinishReason, Generate, Likelihood, Loglikelihood, Message, Prompt, Request,
    Rolling,
    message::{Action, CallRef, Decimal, Event, TransportError},
    testkit::{Driver, Pushed, answer, completion, deltas, likelihoods, open_with},
};
use serde_json::{Value, json};
use vendor::{cases, golden};

fn openai() -> Arc<Litellm> {
    backend(json!({ "model": "openai/gpt-4o-mini", "base_url": "http://127.0.0.1:9" }))
}

fn forbidden(driver: &mut Driver<Litellm>, call: u64) -> Vec<Pushed> {
    driver.event(
        &Event::TransportError(TransportError {
            call: Decimal(call),
            kind: ErrorKind::ForbiddenOrigin,
            message: "the secret is not for that".into(),
        }),
        b"",
    )
}

#[test]
fn an_answer_has_its_text_usage_price_and_model() {
    let mut driver = Driver::new(openai());
    driver.start(&[Request::Generate(generate(Prompt::Text("Q")))]);
    let completion = completion(&driver.reply_json(1, &chat_reply("A\n\nB")));
    assert_eq!(completion.choices[0].text, "A");
    assert_eq!(completion.model.as_deref(), Some("served-1"));
    // 9 prompt tokens at 0.15 and 2 at 0.6 US dollars a million.
    assert_eq!(completion.usage.cost_usd_nanos, Some(9 * 150 + 2 * 600));
}

#[test]
fn a_price_file_of_the_run_file_takes_the_tables_place() {
    let path = std::env::temp_dir().join(format!("litellm-prices-{}.json", std::process::id()));
    let file = json!({ "gpt-4o-mini": { "litellm_provider": "openai", "mode": "chat",
                       "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6 } });
    std::fs::write(&path, file.to_string()).unwrap();
    let config = json!({ "model": "openai/gpt-4o-mini", "base_url": "http://127.0.0.1:9" });
    let mut opened = head(&config, &Value::Null, &Value::Null);
    opened.assets.insert("prices".to_owned(), path.display().to_string());
    let backend = open_with::<Litellm>(opened);
    std::fs::write(&path, "[]").unwrap();
    let mut other = head(&config, &Value::Null, &Value::Null);
    other.assets.insert("prices".to_owned(), path.display().to_string());
    let refused = open_with::<Litellm>(other).is_err();
    std::fs::remove_file(&path).unwrap();
    assert!(refused);
    let mut driver = Driver::new(Arc::new(backend.unwrap()));
    driver.start(&[Request::Generate(generate(Prompt::Text("Q")))]);
    let completion = completion(&driver.reply_json(1, &chat_reply("A")));
    assert_eq!(completion.usage.cost_usd_nanos, Some(9 * 1000 + 2 * 2000));
}

#[test]
fn a_key_goes_to_a_foreign_address_only_if_the_host_lets_it() {
    let config = json!({ "model": "openai/gpt-4o-mini", "base_url": "http://127.0.0.1:9" });
    let open =
        || Arc::new(open_with::<Litellm>(head(&config, &Value::Null, &json!(["openai"]))).unwrap());
    let request = || [Request::Generate(generate(Prompt::Text("Q")))];

    // Not granted: the host refuses the request that names the key, and it is sent without.
    let refused = open();
    let mut driver = Driver::new(Arc::clone(&refused));
    let start = calls(&driver.start(&request()));
    assert_eq!(start[0].headers["authorization"], "Bearer <openai>");
    let next = calls(&forbidden(&mut driver, 1));
    assert_eq!(next[0].headers.get("authorization"), None);
    assert_eq!(next[0].body, start[0].body);
    let told = answer(&driver.reply(2, 401, b"{\"error\":{\"message\":\"no key\"}}")).unwrap_err();
    assert_eq!(told.kind, ErrorKind::Unauthorized);
    assert!(told.message.contains("secrets = [\"openai\"]"), "{}", told.message);
    // From now on nobody asks again.
    let start = calls(&Driver::new(refused).start(&request()));
    assert_eq!(start[0].headers.get("authorization"), None);

    // Granted: it stays.
    let granted = open();
    let mut driver = Driver::new(Arc::clone(&granted));
    driver.start(&request());
    completion(&driver.reply_json(1, &chat_reply("A")));
    let start = calls(&Driver::new(granted).start(&request()));
    assert_eq!(start[0].headers["authorization"], "Bearer <openai>");

    // An address that is not reachable at all says so itself.
    let mut driver = Driver::new(open());
    driver.start(&request());
    forbidden(&mut driver, 1);
    assert_eq!(answer(&forbidden(&mut driver, 2)).unwrap_err().kind, ErrorKind::ForbiddenOrigin);

    // A stream asks the same question.
    let mut driver = Driver::new(open());
    let request = Generate { stream: true, ..generate(Prompt::Text("Q")) };
    driver.start(&[Request::Generate(request)]);
    let next = calls(&forbidden(&mut driver, 1));
    assert!(next[0].stream);
    assert_eq!(next[0].headers.get("authorization"), None);
}

#[test]
fn no_request_of_one_provider_names_anothers_key() {
    let all: Vec<Value> =
        serde_json::from_str::<Value>(include_str!("../plugin.json")).unwrap()["secrets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|slot| slot["slot"].clone())
            .collect();
    for (model, header, key) in [
        ("openai/gpt-4o", "authorization", "Bearer <openai>"),
        ("xai/grok-3", "authorization", "Bearer <xai>"),
        ("moonshot/moonshot-v1-8k", "authorization", "Bearer <moonshot>"),
        ("anthropic/claude-haiku-4-5", "x-api-key", "<anthropic>"),
        ("gemini/gemini-2.5-flash", "x-goog-api-key", "<gemini>"),
        ("groq/m", "authorization", "Bearer <groq>"),
    ] {
        let opened = head(&json!({ "model": model }), &Value::Null, &json!(all));
        let backend = open_with::<Litellm>(opened).unwrap();
        let request = Generate { max_tokens: Some(9), ..generate(Prompt::Text("Q")) };
        let start = calls(&Driver::new(Arc::new(backend)).start(&[Request::Generate(request)]));
        assert_eq!(start[0].headers[header], key, "{model}");
        let slots = start[0].headers.to_string().matches('<').count();
        assert_eq!(slots, 1, "{model}: {}", start[0].headers);
    }
}

#[test]
fn what_cannot_work_is_refused_when_it_opens_with_the_way_out() {
    for (config, env, secrets, says) in [
        (json!({ "model": "groq/m" }), json!({}), json!([]), "GROQ_API_KEY"),
        (json!({ "model": "groq/m" }), json!({}), json!(["openai"]), "GROQ_API_KEY"),
        (json!({ "model": "antropic/m" }), json!({}), json!([]), "did you mean anthropic"),
        (json!({ "model": "hosted_vllm/m" }), json!({}), json!([]), "HOSTED_VLLM_API_BASE"),
        (json!({ "model": "azure/m" }), json!({}), json!(["azure"]), "AZURE_OPENAI_ENDPOINT"),
        (
            json!({ "model": "openai/m" }),
            json!({ "OPENAI_BASE_URL": "https://proxy.example/v1" }),
            json!(["openai"]),
            "base_url = \"${OPENAI_BASE_URL}\" and, if its key may go there, secrets = [\"openai\"]",
        ),
        (
            json!({ "model": "hosted_vllm/m" }),
            json!({ "HOSTED_VLLM_API_BASE": "http://gpu:8000" }),
            json!([]),
            "base_url = \"${HOSTED_VLLM_API_BASE}\"",
        ),
        (
            json!({ "model": "anthropic/m", "mode": "completions" }),
            json!({}),
            json!(["anthropic"]),
            "no /completions",
        ),
        (json!({ "model": "groq/m", "thinking": true }), json!({}), json!(["groq"]), "extra_body"),
        (json!({ "model": "openai/m", "base_url": "localhost" }), json!({}), json!([]), "base_url"),
        (json!({ "model": "gigachat/m" }), json!({}), json!(["gigachat"]), "cannot be used"),
    ] {
        let error = open_with::<Litellm>(head(&config, &env, &secrets)).unwrap_err();
        assert!(error.contains(says), "{config}: {error}");
    }
    // The provider's own address by way of the environment is no surprise.
    let env = json!({ "OPENAI_BASE_URL": "https://api.openai.com/v1" });
    let config = json!({ "model": "openai/m" });
    assert!(open_with::<Litellm>(head(&config, &env, &json!(["openai"]))).is_ok());
}

#[test]
fn with_strict_params_a_change_is_a_failure_before_anything_is_sent() {
    let strict = json!({ "model": "openai/o3-mini", "base_url": "http://127.0.0.1:9",
                         "strict_params": true });
    let mut driver = Driver::new(backend(strict));
    let pushed = driver.start(&[Request::Generate(generate(Prompt::Text("Q")))]);
    assert!(calls(&pushed).is_empty());
    let error = answer(&pushed).unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidRequest);
    assert!(error.message.contains("temperature") && error.message.contains("stop"));

    // What the run file asked for itself is no breach.
    let strict = json!({ "model": "openai/o3-mini", "base_url": "http://127.0.0.1:9",
                         "drop_params": false, "reasoning_budget_factor": 4 });
    let mut driver = Driver::new(backend(strict));
    let request = Generate { temperature: None, stop: Vec::new(), ..generate(Prompt::Text("Q")) };
    let start = calls(&driver.start(&[Request::Generate(request)]));
    assert_eq!(start[0].body["max_completion_tokens"], 64);
    let completion = completion(&driver.reply_json(1, &chat_reply("A")));
    assert_eq!(completion.changed[0].parameter, "max_tokens");
}

#[test]
fn a_budget_stays_within_the_context_and_is_widened_only_where_the_model_reasons() {
    let budget = |config: Value| {
        let mut config = config;
        config["base_url"] = json!("http://127.0.0.1:9");
        let request = Generate { max_tokens: Some(100), ..generate(Prompt::Text("Q")) };
        let mut driver = Driver::new(backend(config));
        let start = calls(&begin(&mut driver, Request::Generate(request), None));
        let body = &start[0].body;
        body.get("max_completion_tokens").or(body.get("max_tokens")).cloned().unwrap()
    };
    for (config, sent) in [
        (json!({ "model": "openai/o3-mini" }), 100),
        (json!({ "model": "openai/o3-mini", "reasoning_budget_factor": 10 }), 1000),
        (
            json!({ "model": "openai/o3-mini", "reasoning_budget_factor": 10, "max_model_length": 300 }),
            300,
        ),
        (json!({ "model": "openai/gpt-4o", "reasoning_budget_factor": 10 }), 100),
        (json!({ "model": "openai/gpt-4o", "max_model_length": 50 }), 50),
        (json!({ "model": "m", "reasoning_budget_factor": 2, "reasoning_model": true }), 200),
        (json!({ "model": "deepseek/deepseek-reasoner", "reasoning_budget_factor": 2 }), 200),
    ] {
        assert_eq!(budget(config.clone()), sent, "{config}");
    }
}

#[test]
fn defaults_of_the_run_file_hold_where_a_request_says_nothing() {
    let config = json!({ "model": "m", "base_url": "http://127.0.0.1:9", "max_new_tokens": 7,
        "temperature": 0.5, "top_p": 0.9, "top_k": 4, "min_p": 0.1, "seed": 3, "stop": ["x"],
        "top_logprobs": 2, "presence_penalty": 0.1, "frequency_penalty": 0.2,
        "repetition_penalty": 1.1, "reasoning_effort": "low", "thinking": true,
        "chat_template_kwargs": { "tools": false }, "response_format": { "type": "json_object" },
        "extra_body": { "brand_new": 1 } });
    let backend = backend(config);
    let silent = Generate {
        max_tokens: None,
        temperature: None,
        stop: Vec::new(),
        ..generate(Prompt::Text("Q"))
    };
    let mut driver = Driver::new(Arc::clone(&backend));
    let start = calls(&begin(&mut driver, Request::Generate(silent), None));
    assert_eq!(
        start[0].body,
        json!({ "model": "m", "messages": [{ "role": "user", "content": "Q" }], "max_tokens": 7,
            "temperature": 0.5, "top_p": 0.9, "top_k": 4, "min_p": 0.1, "seed": 3, "stop": ["x"],
            "logprobs": true, "top_logprobs": 2, "presence_penalty": 0.1,
            "frequency_penalty": 0.2, "repetition_penalty": 1.1, "reasoning_effort": "low",
            "chat_template_kwargs": { "tools": false, "enable_thinking": true },
            "response_format": { "type": "json_object" }, "brand_new": 1 })
    );
    let mut said = generate(Prompt::Text("Q"));
    said.extra.insert("min_p".to_owned(), json!(0.2));
    let start = calls(&Driver::new(backend).start(&[Request::Generate(said)]));
    let body = &start[0].body;
    assert_eq!((&body["max_tokens"], &body["temperature"]), (&json!(16), &json!(0.0)));
    assert_eq!((&body["min_p"], &body["stop"]), (&json!(0.2), &json!(["\n\n"])));
}

#[test]
fn a_parameter_that_the_wire_has_not_is_refused_by_name() {
    let mut request = generate(Prompt::Text("Q"));
    request.extra.insert("stop_sequences".to_owned(), json!(["x"]));
    let pushed = Driver::new(openai()).start(&[Request::Generate(request)]);
    let error = answer(&pushed).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert!(error.message.contains("`stop_sequences`"));
}

#[test]
fn several_choices_are_one_call_or_as_many_as_the_vendor_needs() {
    let mut driver = Driver::new(openai());
    let several = |prompt| Generate { n: 3, seed: Some(40), ..generate(prompt) };
    let start = calls(&driver.start(&[Request::Generate(several(Prompt::Text("Q")))]));
    assert_eq!((start.len(), &start[0].body["n"]), (1, &json!(3)));
    // Fewer than asked for is no answer.
    let error = answer(&driver.reply_json(1, &chat_reply("A"))).unwrap_err();
    assert_eq!(error.kind, ErrorKind::UnexpectedReply);

    let one_each = json!({ "model": "lm_studio/m", "base_url": "http://127.0.0.1:9" });
    let mut driver = Driver::new(backend(one_each));
    let start = calls(&driver.start(&[Request::Generate(several(Prompt::Text("Q")))]));
    let seeds: Vec<_> = start.iter().map(|call| call.body["seed"].clone()).collect();
    assert_eq!(seeds, [40, 41, 42]);
    assert!(start.iter().all(|call| call.body.get("n").is_none()));
    let mut pushed = Vec::new();
    for (call, text) in [(3, "c"), (1, "a"), (2, "b")] {
        pushed = driver.reply_json(call, &chat_reply(text));
    }
    let completion = completion(&pushed);
    let texts: Vec<_> = completion.choices.iter().map(|choice| choice.text.as_str()).collect();
    assert_eq!(texts, ["a", "b", "c"]);
    assert_eq!(completion.usage.completion_tokens, Some(6));
}

#[test]
fn a_claude_gives_one_choice_a_call() {
    let config = json!({ "model": "anthropic/claude-haiku-4-5", "base_url": "http://127.0.0.1:9/anthropic" });
    let mut driver = Driver::new(backend(config));
    let request = Generate { n: 2, stream: true, ..generate(Prompt::Text("Q")) };
    let start = calls(&driver.start(&[Request::Generate(request)]));
    assert_eq!(start.iter().map(|call| call.stream).collect::<Vec<_>>(), [true, false]);
    assert!(start.iter().all(|call| call.url == "http://127.0.0.1:9/anthropic/v1/messages"));
}

#[test]
fn a_stream_gives_the_same_answer_wherever_its_bytes_are_cut() {
    let golden = golden("openai_streams.json");
    let case = &cases(&golden, "cases")[0];
    let body = case["body"].as_str().unwrap().as_bytes();
    let backend = openai();
    for cut in 0..=body.len() {
        let request = generate(Prompt::Text("Q"));
        let pushed = streamed(Arc::clone(&backend), request, &[&body[..cut], &body[cut..]]);
        let completion = completion(&pushed);
        assert_eq!(json!(completion.choices[0].text), case["choices"][0]["text"], "cut at {cut}");
        assert_eq!(json!(deltas(&pushed)), case["delta"], "cut at {cut}");
        assert_eq!(completion.usage.prompt_tokens, Some(7));
        assert!(completion.usage.cost_usd_nanos.is_some());
    }
}

#[test]
fn a_stream_cut_short_is_a_transport_failure() {
    let golden = golden("openai_streams.json");
    let body = cases(&golden, "cases")[0]["body"].as_str().unwrap();
    let ends = body.find("\"finish_reason\": \"length\"").unwrap();
    let backend = openai();
    for cut in (0..ends).filter(|at| body.is_char_boundary(*at)).step_by(5) {
        let pushed =
            streamed(Arc::clone(&backend), generate(Prompt::Text("Q")), &[&body.as_bytes()[..cut]]);
        assert_eq!(answer(&pushed).unwrap_err().kind, ErrorKind::Transport, "cut at {cut}");
    }
    let mut driver = Driver::new(openai());
    let request = Generate { stream: true, ..generate(Prompt::Text("Q")) };
    driver.start(&[Request::Generate(request)]);
    driver.reply(1, 200, b"");
    driver.event(&Event::Chunk(CallRef { call: Decimal(1) }), &body.as_bytes()[..90]);
    let broken = Event::TransportError(TransportError {
        call: Decimal(1),
        kind: ErrorKind::Transport,
        message: "reset".into(),
    });
    assert_eq!(answer(&driver.event(&broken, b"")).unwrap_err().message, "reset");
}

#[test]
fn what_comes_instead_of_events_is_an_answer_or_a_failure_of_its_kind() {
    let whole = chat_reply("A").to_string();
    let pushed = streamed(openai(), generate(Prompt::Text("Q")), &[b" \n", whole.as_bytes()]);
    assert_eq!(completion(&pushed).choices[0].text, "A");
    assert_eq!(deltas(&pushed), "A");
    for (body, kind) in [
        (&b"<html>hello"[..], ErrorKind::UnexpectedReply),
        (b"{\"error\":{\"message\":\"busy\",\"code\":503}}", ErrorKind::Overloaded),
        (b"data: {\"error\":{\"message\":\"slow down\",\"code\":429}}\n\n", ErrorKind::RateLimited),
        // The last event lacks its end, and tells a failure all the same.
        (b"data: {\"error\":{\"message\":\"slow down\",\"code\":429}}", ErrorKind::RateLimited),
        (b"data: {\"choi", ErrorKind::Transport),
        (b"", ErrorKind::Transport),
    ] {
        let pushed = streamed(openai(), generate(Prompt::Text("Q")), &[body]);
        let error = answer(&pushed).unwrap_err();
        assert_eq!(error.kind, kind, "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn a_stream_that_is_refused_tells_why() {
    let mut driver = Driver::new(openai());
    let request = Generate { stream: true, ..generate(Prompt::Text("Q")) };
    driver.start(&[Request::Generate(request)]);
    reply_with(&mut driver, 1, 429, &[("retry-after-ms", "1500")], "");
    let call = Decimal(1);
    let body = br#"{"error":{"message":"Rate limit reached","code":"rate_limit_exceeded"}}"#;
    driver.event(&Event::Chunk(CallRef { call }), body);
    let error = answer(&driver.event(&Event::End(CallRef { call }), b"")).unwrap_err();
    assert_eq!((error.kind, error.retry_after_ms), (ErrorKind::RateLimited, Some(1500)));
}

#[test]
fn rate_limits_and_request_ids_are_passed_on() {
    let mut driver = Driver::new(openai());
    driver.start(&[Request::Generate(generate(Prompt::Text("Q")))]);
    let headers = [
        ("x-ratelimit-remaining-requests", "59"),
        ("x-ratelimit-remaining-tokens", "149984"),
        ("x-ratelimit-reset-tokens", "6m0s"),
        ("x-request-id", "req-1"),
    ];
    let pushed = reply_with(&mut driver, 1, 400, &headers, r#"{"error":{"message":"no"}}"#);
    let limits = pushed.iter().find_map(|pushed| match pushed.action() {
        Action::Limits(limits) => Some(limits),
        _ => None,
    });
    let limits = limits.expect("limits");
    assert_eq!((limits.requests_remaining, limits.reset_ms), (Some(59), Some(360_000)));
    assert_eq!(answer(&pushed).unwrap_err().request_id.as_deref(), Some("req-1"));
}

#[test]
fn an_answer_that_reasoning_left_empty_keeps_the_reasoning() {
    let mut driver = Driver::new(openai());
    driver.start(&[Request::Generate(generate(Prompt::Text("Q")))]);
    let mut reply = chat_reply("<think>so long");
    reply["choices"][0]["finish_reason"] = json!("length");
    let choice = completion(&driver.reply_json(1, &reply)).choices.remove(0);
    assert_eq!((choice.text.as_str(), choice.finish_reason), ("", FinishReason::Length));
    assert_eq!(choice.reasoning.as_deref(), Some("so long"));
}

#[test]
fn continuations_are_scored_as_the_server_can() {
    for case in cases(&golden("scoring.json"), "cases") {
        let name = &case["name"];
        let opened = head(&case["config"], &Value::Null, &case["secrets"]);
        let mut driver = Driver::new(Arc::new(open_with::<Litellm>(opened).unwrap()));
        let strings = case["continuations"].as_array().unwrap();
        let request = Loglikelihood {
            prompt: Prompt::Text(case["context"].as_str().unwrap()),
            continuations: strings.iter().map(|text| text.as_str().unwrap()).collect(),
            token_logprobs: false,
        };
        let mut pushed = driver.start(&[Request::Loglikelihood(request)]);
        for step in case["exchange"].as_array().unwrap() {
            let asked = calls(&pushed);
            let expected = step.as_array().unwrap();
            assert_eq!(asked.len(), expected.len(), "{name}: {pushed:?}");
            for (asked, expected) in asked.iter().zip(expected) {
                assert_eq!(asked.url, expected["url"], "{name}");
                assert_eq!(&asked.body, expected.get("body").unwrap_or(&Value::Null), "{name}");
                pushed = driver.reply_json(asked.call, &expected["reply"]);
            }
        }
        if let Some(kind) = case.get("fails") {
            let error = answer(&pushed).unwrap_err();
            assert_eq!(&json!(error.kind), kind, "{name}");
            assert!(error.message.contains(case["says"].as_str().unwrap()), "{}", error.message);
            continue;
        }
        let shown = |found: &Likelihood| {
            let rounded = found.logprob.map(|logprob| (logprob * 1e9).round() / 1e9);
            json!({ "logprob": rounded, "tokens": found.tokens, "greedy": found.greedy,
                    "prompt_tokens": found.prompt_tokens })
        };
        let found: Value = likelihoods(&pushed).iter().map(shown).collect();
        assert_eq!(found, case["likelihoods"], "{name}");
    }
}

#[test]
fn a_server_is_asked_who_it_is_only_once() {
    let golden = golden("scoring.json");
    let case = &cases(&golden, "cases")[0];
    let backend = backend(case["config"].clone());
    let request = || {
        Request::Loglikelihood(Loglikelihood {
            prompt: Prompt::Text("Q"),
            continuations: vec![" a", " b"],
            token_logprobs: false,
        })
    };
    let mut driver = Driver::new(Arc::clone(&backend));
    driver.start(&[request()]);
    driver.reply_json(1, &case["exchange"][0][0]["reply"]);
    let next = calls(&Driver::new(backend).start(&[request()]));
    let urls: Vec<_> = next.iter().map(|call| call.url.as_str()).collect();
    assert_eq!(urls, ["http://127.0.0.1:8000/tokenize"; 3]);
}

#[test]
fn a_server_that_is_still_loading_is_asked_again_and_not_taken_for_another() {
    let backend = backend(json!({ "model": "smollm2", "base_url": "http://127.0.0.1:8080" }));
    let start = |backend| {
        let mut driver = Driver::new(backend);
        let start = calls(&driver.start(&[Request::Generate(generate(Prompt::Text("Q")))]));
        assert_eq!(start[0].url, "http://127.0.0.1:8080/v1/models");
        driver
    };
    let loading = br#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#;
    let mut driver = start(Arc::clone(&backend));
    let error = answer(&driver.reply(1, 503, loading)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Loading);
    let mut driver = start(Arc::clone(&backend));
    let models = json!({ "data": [{ "id": "smollm2", "owned_by": "llamacpp" }] });
    let next = calls(&driver.reply_json(1, &models));
    assert_eq!(next[0].url, "http://127.0.0.1:8080/v1/chat/completions");
    assert_eq!(next[0].body["min_p"], 0.0);
    // Known by now. It has one slot, so that each choice is a call.
    let two = Generate { n: 2, ..generate(Prompt::Text("Q")) };
    let next = calls(&Driver::new(backend).start(&[Request::Generate(two)]));
    assert_eq!(next.len(), 2);
    assert_eq!((&next[1].body["min_p"], next[1].body.get("n")), (&json!(0.0), None));
}

#[test]
fn a_whole_text_is_scored_but_its_first_token() {
    let echo = golden("scoring.json")["cases"][2]["exchange"][0][0]["reply"].clone();
    let opened = head(
        &json!({ "model": "openai/davinci-002", "mode": "completions" }),
        &Value::Null,
        &json!(["openai"]),
    );
    let mut driver = Driver::new(Arc::new(open_with::<Litellm>(opened).unwrap()));
    let start = calls(&driver.start(&[Request::Rolling(Rolling { text: "Q: x yes sir" })]));
    assert_eq!(start[0].body["prompt"], "Q: x yes sir");
    let found = likelihoods(&driver.reply_json(1, &echo));
    assert_eq!(found[0].tokens, 4);
    assert!((found[0].logprob.unwrap() + 5.05).abs() < 1e-9);
}

#[test]
fn messages_and_empty_continuations_are_not_scored() {
    let opened = || backend(json!({ "model": "m", "base_url": "http://127.0.0.1:9" }));
    let request = |prompt, continuation| {
        Request::Loglikelihood(Loglikelihood {
            prompt,
            continuations: vec![continuation],
            token_logprobs: false,
        })
    };
    let chat = Prompt::Messages(vec![Message::text("user", "Q")]);
    let error = answer(&Driver::new(opened()).start(&[request(chat, " a")])).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    let pushed = Driver::new(opened()).start(&[request(Prompt::Text("Q"), "")]);
    assert_eq!(answer(&pushed).unwrap_err().kind, ErrorKind::InvalidRequest);
}

#[test]
fn a_description_names_provider_model_prices_and_window() {
    let own = backend(json!({ "model": "m", "base_url": "http://127.0.0.1:9" }));
    let mut driver = Driver::new(own);
    let start = calls(&driver.start(&[Request::Describe]));
    assert_eq!(start[0].url, "http://127.0.0.1:9/v1/models");
    let models = golden("scoring.json")["cases"][4]["exchange"][0][0]["reply"].clone();
    match answer(&driver.reply_json(1, &models)) {
        Ok(Answer::Description(found)) => {
            assert_eq!(
                (found.model.as_deref(), found.engine.as_deref()),
                (Some("m"), Some("openai_compatible"))
            );
            assert_eq!(found.context_tokens, Some(2048));
            assert!(found.prices.is_some());
        }
        other => panic!("{other:?}"),
    }
    // A vendor is not asked.
    let opened = head(&json!({ "model": "openai/gpt-4o" }), &Value::Null, &json!(["openai"]));
    let mut driver = Driver::new(Arc::new(open_with::<Litellm>(opened).unwrap()));
    let pushed = driver.start(&[Request::Describe]);
    assert!(calls(&pushed).is_empty());
    assert!(
        matches!(answer(&pushed), Ok(Answer::Description(found)) if found.context_tokens == Some(128_000))
    );
}

#[test]
fn a_server_is_ready_when_it_lists_its_models() {
    let health = |status: u16, body: &[u8]| {
        let mut driver = Driver::new(openai());
        assert_eq!(calls(&driver.start(&[Request::Health]))[0].method, "GET");
        answer(&driver.reply(1, status, body))
    };
    assert!(matches!(health(200, b"{\"data\":[]}"), Ok(Answer::Health(health)) if health.ready));
    assert!(matches!(health(404, b""), Ok(Answer::Health(health)) if health.ready));
    assert!(matches!(health(503, b""), Ok(Answer::Health(health)) if !health.ready));
    assert_eq!(health(401, b"").unwrap_err().kind, ErrorKind::Unauthorized);
}
