//! Hugging Face over real connections (wire.md 5.2 to 5.4, 7.4).

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::mock::{
    Faults, Server, Settings,
    testkit::{Got, get, post, send, start},
};

const CHAT: &str = "/huggingface/v1/chat/completions";
const CLASSIC: &str = "/huggingface/hf-inference/models/gpt2";
const MANAGE: &str = "/huggingface/v2/endpoint/someone";

fn chat(model: &str) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": "What is 17 + 26?" }] })
}

fn call(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Got {
    let mut all = vec![("content-type", "application/json")];
    all.extend_from_slice(headers);
    send(server, method, path, &all, &body.to_string()).unwrap()
}

#[test]
fn the_router_wants_an_organisation_and_a_provider_that_it_knows() {
    let server = start(Settings { api_key: Some("hf_x".to_owned()), ..Settings::default() });
    let ask = |model: &str| {
        let headers = [("authorization", "Bearer hf_x"), ("x-hf-bill-to", "mock-org")];
        call(&server, "POST", CHAT, &headers, &chat(model))
    };
    for model in ["a/b", "a/b:novita", "a/b:fastest", "a/b:cheapest", "a/b:preferred"] {
        assert_eq!(ask(model).json()["choices"][0]["message"]["content"], "43", "{model}");
    }
    for (model, code) in [
        ("gpt2", "model_not_found"),
        ("a/b:nowhere", "model_not_supported"),
        ("a/b:replicate", "model_not_supported"),
    ] {
        let got = ask(model);
        assert_eq!((got.status, &got.json()["error"]["code"]), (400, &json!(code)), "{model}");
    }
    let got = post(&server, CHAT, &chat("a/b"));
    assert_eq!(
        (got.status, got.json()),
        (401, json!({ "error": "Invalid username or password." }))
    );
    let headers = [("authorization", "Bearer hf_x")];
    let list = send(&server, "GET", "/huggingface/v1/models", &headers, "").unwrap().json();
    assert!(list["data"][0]["providers"].is_array());
    let who = send(&server, "GET", "/huggingface/api/whoami-v2", &headers, "").unwrap().json();
    assert_eq!(who["name"], "mock");
}

#[test]
fn classic_generation_answers_a_list_and_is_strict() {
    let server = start(Settings::default());
    let body = |more: Value| {
        let mut body = json!({
            "inputs": "What is 17 + 26?",
            "parameters": { "max_new_tokens": 20, "do_sample": false, "return_full_text": false },
        });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    let options = json!({ "options": { "use_cache": false, "wait_for_model": true } });
    let reply = post(&server, CLASSIC, &body(options)).json();
    assert_eq!(reply[0]["generated_text"], "43");
    for (more, status, words) in [
        (json!({ "colour": 1 }), 400, "Error in `colour`"),
        (json!({ "options": { "hurry": true } }), 400, "Error in `options.hurry`"),
        (json!({ "parameters": { "colour": 1 } }), 400, "colour"),
        (json!({ "parameters": { "top_p": 1.0, "do_sample": false } }), 422, "top_p"),
        (json!({ "inputs": 7 }), 400, "inputs"),
    ] {
        let got = post(&server, CLASSIC, &body(more));
        assert_eq!(got.status, status, "{}", got.text());
        assert!(got.json()["error"].to_string().contains(words), "{words}: {}", got.text());
    }
    let got = post(&server, "/huggingface/hf-inference/models/a/mock-missing", &body(json!({})));
    assert_eq!(got.status, 404);
}

#[test]
fn a_loading_model_says_for_how_long_or_is_waited_for() {
    let faults = Faults { loading_for: Duration::from_millis(600), ..Faults::default() };
    let server = start(Settings { faults, ..Settings::default() });
    let body = json!({ "inputs": "What is 17 + 26?", "parameters": { "do_sample": false } });
    let got = post(&server, CLASSIC, &body);
    assert_eq!(
        (got.status, &got.json()["error"]),
        (503, &json!("Model gpt2 is currently loading"))
    );
    let estimated = got.json()["estimated_time"].as_f64().unwrap();
    assert!(estimated > 0.0 && estimated <= 0.6, "{estimated}");
    assert_eq!(get(&server, "/huggingface/v1/models").status, 200);
    let got = call(&server, "POST", CLASSIC, &[("x-wait-for-model", "true")], &body);
    assert_eq!((got.status, &got.json()[0]["generated_text"]), (200, &json!("43")));
}

fn spec(name: &str) -> Value {
    json!({
        "name": name,
        "type": "authenticated",
        "compute": {
            "accelerator": "gpu", "instanceSize": "x1", "instanceType": "nvidia-l4",
            "scaling": { "minReplica": 0, "maxReplica": 1, "scaleToZeroTimeout": 15 },
        },
        "model": {
            "framework": "pytorch", "repository": "HuggingFaceTB/SmolLM2-135M", "revision": "main",
            "task": "text-generation", "image": { "custom": { "url": "tgi:3.3" } },
            "secrets": { "HF_TOKEN": "hf_secret" },
        },
        "provider": { "vendor": "aws", "region": "us-east-1" },
    })
}

fn state(server: &Server, name: &str) -> String {
    let shown = get(server, &format!("{MANAGE}/{name}")).json();
    shown["status"]["state"].as_str().unwrap_or("none").to_owned()
}

fn wait_for(server: &Server, name: &str, wanted: &str) {
    let until = Instant::now() + Duration::from_secs(10);
    while state(server, name) != wanted {
        assert!(Instant::now() < until, "{name} is {}", state(server, name));
        sleep(Duration::from_millis(10));
    }
}

#[test]
fn an_endpoint_lives_from_its_creation_to_its_end() {
    let endpoint_start = Duration::from_millis(400);
    let server = start(Settings { endpoint_start, ..Settings::default() });
    let got = post(&server, MANAGE, &spec("piqa-eval"));
    let created = got.json();
    assert_eq!((got.status, &created["status"]["state"]), (202, &json!("pending")));
    assert!(!got.text().contains("hf_secret"), "secrets do not come back");
    assert_eq!(post(&server, MANAGE, &spec("piqa-eval")).status, 409);
    let plane = "/huggingface/endpoints/piqa-eval";
    assert_eq!(get(&server, &format!("{plane}/health")).status, 503);
    wait_for(&server, "piqa-eval", "initializing");
    wait_for(&server, "piqa-eval", "running");
    let shown = get(&server, &format!("{MANAGE}/piqa-eval")).json();
    assert_eq!(shown["status"]["url"], format!("http://mock{plane}"));
    assert_eq!(shown["status"]["readyReplica"], 1);
    assert_eq!(get(&server, MANAGE).json()["items"][0], shown);
    let body = json!({ "inputs": "What is 17 + 26?", "parameters": { "do_sample": false } });
    let generate = format!("{plane}/generate");
    assert_eq!(post(&server, &generate, &body).json()["generated_text"], "43");
    assert!(get(&server, &format!("{plane}/info")).json()["model_id"].is_string());

    let act = |action: &str| post(&server, &format!("{MANAGE}/piqa-eval/{action}"), &json!({}));
    let again = act("resume");
    assert!(again.status == 400 && again.text().contains("already running"));
    assert_eq!(act("scale-to-zero").json()["status"]["state"], "scaledToZero");
    assert_eq!(post(&server, &generate, &body).status, 503);
    assert_eq!(state(&server, "piqa-eval"), "initializing");
    let held = call(&server, "POST", &generate, &[("x-scale-up-timeout", "10")], &body);
    assert_eq!(held.json()["generated_text"], "43");
    assert_eq!(act("pause").json()["status"]["state"], "paused");
    assert_eq!(post(&server, &generate, &body).status, 400);
    assert_eq!(act("scale-to-zero").status, 400);
    assert_eq!(act("resume").json()["status"]["state"], "initializing");
    wait_for(&server, "piqa-eval", "running");
    let change = json!({ "compute": { "instanceSize": "x4" } });
    let changed = call(&server, "PUT", &format!("{MANAGE}/piqa-eval"), &[], &change).json();
    assert_eq!(changed["status"]["state"], "updating");
    assert_eq!(changed["compute"]["instanceSize"], "x4");
    assert_eq!(changed["compute"]["instanceType"], "nvidia-l4");
    let deleted = send(&server, "DELETE", &format!("{MANAGE}/piqa-eval"), &[], "").unwrap();
    assert_eq!(deleted.status, 202);
    assert_eq!(get(&server, &format!("{MANAGE}/piqa-eval")).status, 404);
    assert_eq!(get(&server, &format!("{plane}/health")).status, 404);
}

#[test]
fn an_endpoint_of_a_missing_model_fails() {
    let server = start(Settings { endpoint_start: Duration::ZERO, ..Settings::default() });
    let mut body = spec("broken-one");
    body["model"]["repository"] = json!("a/mock-missing");
    assert_eq!(post(&server, MANAGE, &body).json()["status"]["state"], "failed");
}

#[test]
fn an_endpoint_has_to_be_described_rightly() {
    let server = start(Settings::default());
    let changed = |pointer: &str, value: Value| {
        let mut body = spec("some-name");
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = body.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        if value.is_null() {
            parent.remove(name);
        } else {
            parent.insert(name.to_owned(), value);
        }
        body
    };
    for (pointer, value, words) in [
        ("/name", json!("No"), "name: expected 4 to 32"),
        ("/name", Value::Null, "missing field `name`"),
        ("/colour", json!(1), "colour: unknown field"),
        ("/type", json!("secret"), "type: unknown variant"),
        ("/type", Value::Null, "missing field `type`"),
        ("/compute/instanceSize", Value::Null, "missing field `compute.instanceSize`"),
        ("/compute/instance_size", json!("x1"), "compute.instance_size: unknown field"),
        ("/compute/scaling/minReplica", json!(2), "minReplica must not exceed maxReplica"),
        ("/model/framework", json!("jax"), "model.framework"),
        ("/model/image", json!({}), "exactly one kind of image"),
        ("/provider/vendor", json!("mainframe"), "provider.vendor"),
    ] {
        let got = post(&server, MANAGE, &changed(pointer, value));
        assert_eq!(got.status, 400, "{pointer}: {}", got.text());
        assert!(got.json()["error"].as_str().unwrap().contains(words), "{words}: {}", got.text());
    }
}
