//! The SGLang flavor over real connections (wire.md 3, 7.4).

use serde_json::{Value, json};

use crate::mock::{
    Faults, Reply, Settings,
    testkit::{get, post, post_text, send, start},
};

fn greedy(input: Value) -> Value {
    let mut body = json!({ "sampling_params": { "temperature": 0, "max_new_tokens": 40 } });
    for (name, value) in input.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

fn text(text: &str) -> Value {
    greedy(json!({ "text": text }))
}

#[test]
fn text_and_its_ids_have_the_same_answer() {
    let server = start(Settings::default());
    let question = "Question: what is 17 + 26?\nAnswer:";
    let tokens = post(&server, "/sglang/tokenize", &json!({ "prompt": question })).json();
    assert_eq!(
        tokens["tokens"].as_array().unwrap().len(),
        tokens["count"].as_u64().unwrap() as usize
    );
    assert_eq!(tokens["tokens"][0], 1);
    let by_text = post(&server, "/sglang/generate", &text(question)).json();
    let ids = greedy(json!({ "input_ids": tokens["tokens"] }));
    assert_eq!(post(&server, "/sglang/generate", &ids).json(), by_text);
    assert_eq!(by_text["text"], "43");
    let meta = &by_text["meta_info"];
    assert_eq!(meta["finish_reason"], json!({ "type": "stop", "matched": 2 }));
    assert_eq!(meta["prompt_tokens"], tokens["count"]);
    assert_eq!((&meta["completion_tokens"], meta.get("input_token_logprobs")), (&json!(2), None));

    let back = post(&server, "/sglang/detokenize", &json!({ "tokens": tokens["tokens"] })).json();
    assert_eq!(back["text"], question);
    let messages = json!({ "messages": [{ "role": "user", "content": question }] });
    let chat = post(&server, "/sglang/v1/tokenize", &messages).json();
    let ids = greedy(json!({ "input_ids": chat["tokens"] }));
    assert_eq!(post(&server, "/sglang/generate", &ids).json()["text"], "43");
}

#[test]
fn the_stop_text_is_trimmed_but_its_tokens_stay() {
    let server = start(Settings::default());
    let question = "What is 17 + 26?\n####";
    let mut body = text(question);
    body["sampling_params"]["stop"] = json!(" =");
    let reply = post(&server, "/sglang/generate", &body).json();
    assert_eq!(reply["text"], "17 + 26");
    assert_eq!(reply["meta_info"]["finish_reason"], json!({ "type": "stop", "matched": " =" }));
    assert_eq!(reply["output_ids"].as_array().unwrap().len(), 6);
    body["sampling_params"]["no_stop_trim"] = json!(true);
    assert_eq!(post(&server, "/sglang/generate", &body).json()["text"], "17 + 26 =");
    let id = reply["output_ids"][2].clone();
    body["sampling_params"] = json!({ "temperature": 0, "stop_token_ids": [id] });
    let reply = post(&server, "/sglang/generate", &body).json();
    assert_eq!(
        (&reply["text"], &reply["meta_info"]["finish_reason"]["matched"]),
        (&json!("17 "), &id)
    );
    body["sampling_params"] = json!({ "temperature": 0, "max_new_tokens": 2 });
    let reply = post(&server, "/sglang/generate", &body).json();
    assert_eq!(reply["meta_info"]["finish_reason"], json!({ "type": "length", "length": 2 }));
}

#[test]
fn the_first_log_probability_is_null_wherever_it_starts() {
    let server = start(Settings::default());
    let ids = json!([1, 65, 66, 67, 68]);
    let scored = |start: i64| {
        let body = json!({
            "input_ids": ids, "sampling_params": { "temperature": 0, "max_new_tokens": 1 },
            "return_logprob": true, "logprob_start_len": start, "top_logprobs_num": 2,
        });
        post(&server, "/sglang/generate", &body).json()["meta_info"].clone()
    };
    let all = scored(0);
    let from = scored(2);
    let list = |meta: &Value, name: &str| meta[name].as_array().unwrap().clone();
    assert_eq!(list(&all, "input_token_logprobs").len(), 5);
    assert_eq!(list(&all, "input_token_logprobs")[0], json!([null, 1, null]));
    assert_eq!(list(&from, "input_token_logprobs")[0], json!([null, 66, null]));
    assert_eq!(list(&from, "input_token_logprobs")[1..], list(&all, "input_token_logprobs")[3..]);
    assert_eq!(list(&from, "input_top_logprobs")[0], Value::Null);
    assert_eq!(list(&from, "input_top_logprobs")[1].as_array().unwrap().len(), 2);
    assert_eq!(list(&from, "output_token_logprobs").len(), 1);
    assert_eq!(from["output_token_logprobs_length"], 1);
    assert_eq!(list(&scored(-1), "input_token_logprobs").len(), 0);
}

#[test]
fn a_prompt_is_as_likely_here_as_on_tgi() {
    let server = start(Settings::default());
    let question = "The grass is green";
    let body = json!({
        "text": question, "sampling_params": { "max_new_tokens": 1 }, "return_logprob": true,
        "logprob_start_len": 0,
    });
    let meta = post(&server, "/sglang/generate", &body).json()["meta_info"].clone();
    let here: Vec<Value> = meta["input_token_logprobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry[0].clone())
        .collect();
    let parameters = json!({ "decoder_input_details": true, "max_new_tokens": 1 });
    let body = json!({ "inputs": question, "parameters": parameters });
    let prefill = post(&server, "/tgi/generate", &body).json()["details"]["prefill"].clone();
    let there: Vec<Value> =
        prefill.as_array().unwrap().iter().map(|token| token["logprob"].clone()).collect();
    // BOS, and the first token after it, which has a condition on both.
    assert_eq!(here, there);
}

#[test]
fn a_batch_is_a_list_in_order() {
    let server = start(Settings::default());
    let one = post(&server, "/sglang/generate", &text("What is 1 + 2?")).json();
    let batch = greedy(json!({ "text": ["What is 1 + 2?", "What is 3 + 4?"] }));
    let list = post(&server, "/sglang/generate", &batch).json();
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!(list[0], one);
    let mut several = batch.clone();
    several["sampling_params"] = json!({ "temperature": 1.0, "n": 2, "sampling_seed": 3 });
    let list = post(&server, "/sglang/generate", &several).json();
    assert_eq!(list.as_array().unwrap().len(), 4);
    assert_eq!(list[0]["meta_info"]["prompt_tokens"], list[1]["meta_info"]["prompt_tokens"]);
    let single = greedy(json!({ "text": ["What is 1 + 2?"] }));
    assert!(post(&server, "/sglang/generate", &single).json().is_array());
}

#[test]
fn a_stream_grows_or_holds_what_is_new() {
    let server = start(Settings::default());
    let mut body = text("Tell me something.");
    let whole = post(&server, "/sglang/generate", &body).json();
    body["stream"] = json!(true);
    body["return_logprob"] = json!(true);
    let events = post(&server, "/sglang/generate", &body).events();
    let (done, frames) = events.split_last().unwrap();
    assert_eq!(done, "[DONE]");
    let text = |frame: &Value| frame["text"].as_str().unwrap().to_owned();
    assert!(frames.windows(2).all(|pair| text(&pair[1]).starts_with(&text(&pair[0]))));
    let last = frames.last().unwrap();
    assert_eq!(last["text"], whole["text"]);
    assert_eq!(frames[0]["meta_info"]["finish_reason"], Value::Null);
    assert_eq!(last["meta_info"]["finish_reason"], whole["meta_info"]["finish_reason"]);
    assert_eq!(last["output_ids"], whole["output_ids"]);

    let incremental = start(Settings { sglang_incremental: true, ..Settings::default() });
    let events = post(&incremental, "/sglang/generate", &body).events();
    let frames = &events[..events.len() - 1];
    let joined: String = frames.iter().map(text).collect();
    assert_eq!(joined, whole["text"].as_str().unwrap());
    body["text"] = json!(["One", "Two"]);
    let events = post(&server, "/sglang/generate", &body).events();
    assert_eq!(events[0]["index"], 0);
    assert_eq!(events[events.len() - 2]["index"], 1);
}

#[test]
fn refusals_have_four_shapes() {
    let faults = Faults { fail_rate: "1".parse().unwrap(), ..Faults::default() };
    let server = start(Settings::default());
    let refused = |body: Value| {
        let got = post(&server, "/sglang/generate", &body);
        assert_eq!(got.status, 400, "{}", got.text());
        got.json()
    };
    let unknown = refused(json!({ "text": "Q", "sampling_params": { "max_tokens": 1 } }));
    assert!(unknown["error"].as_str().unwrap().starts_with("unknown field `max_tokens`, expected"));
    let value = refused(json!({ "text": "Q", "sampling_params": { "top_k": 0 } }));
    assert!(value["error"]["message"].as_str().unwrap().starts_with("top_k must be"));
    let long = refused(json!({ "text": "Q", "sampling_params": { "max_new_tokens": 40000 } }));
    assert!(long["error"]["message"].as_str().unwrap().contains("maximum context length"));
    for wrong in [
        json!({ "text": 3 }),
        json!({ "text": "Q", "temperature": 0 }),
        json!({ "input_ids": [1], "return_logprob": true, "logprob_start_len": 2 }),
    ] {
        let refusal = refused(wrong);
        assert_eq!((&refusal["object"], &refusal["code"]), (&json!("error"), &json!(400)));
        assert_eq!(refusal["type"], "Bad Request");
    }
    refused(json!({ "text": "Q", "input_ids": [1] }));
    refused(json!({}));
    assert_eq!(post_text(&server, "/sglang/generate", "{").status, 400);
    let plain = send(&server, "POST", "/sglang/v1/completions", &[], "{}").unwrap();
    assert_eq!(plain.status, 400);
    assert_eq!(get(&server, "/sglang/nothing").status, 404);

    let failing = start(Settings { faults, ..Settings::default() });
    let statuses = [0, 1].map(|_| post(&failing, "/sglang/generate", &text("Q")));
    for got in &statuses {
        assert_eq!(
            (got.json()["code"].as_u64(), &got.json()["type"]),
            (Some(u64::from(got.status)), &json!(got.status.to_string()),)
        );
    }
    assert_eq!([statuses[0].status, statuses[1].status], [503, 429]);

    let guarded = start(Settings { api_key: Some("k".to_owned()), ..Settings::default() });
    let got = post(&guarded, "/sglang/generate", &text("Q"));
    assert_eq!((got.status, got.json()), (401, json!({ "error": "Unauthorized" })));
    assert_eq!(get(&guarded, "/sglang/health").status, 200);
}

#[test]
fn an_abort_may_come_under_a_good_status() {
    let server = start(Settings { reply: Some(Reply::ErrorIn200), ..Settings::default() });
    let got = post(&server, "/sglang/generate", &text("Q"));
    assert_eq!(
        (got.status, &got.json()["meta_info"]["finish_reason"]["type"]),
        (200, &json!("abort"))
    );
    let mut body = text("Tell me something.");
    body["stream"] = json!(true);
    let events = post(&server, "/sglang/generate", &body).events();
    assert_eq!(events.last().unwrap()["error"]["code"], 503);
}

#[test]
fn an_echoed_completion_is_scored() {
    let server = start(Settings::default());
    let body = json!({
        "model": "m", "prompt": "The grass is", "max_tokens": 1, "temperature": 0, "logprobs": 1,
        "echo": true,
    });
    let choice = post(&server, "/sglang/v1/completions", &body).json()["choices"][0].clone();
    assert!(choice["text"].as_str().unwrap().starts_with("The grass is"));
    let lists = &choice["logprobs"];
    let length = |name: &str| lists[name].as_array().unwrap().len();
    let tokens = post(&server, "/sglang/tokenize", &json!({ "prompt": "The grass is" })).json();
    assert_eq!(length("tokens") as u64, tokens["count"].as_u64().unwrap() + 1);
    assert_eq!(length("top_logprobs"), length("token_logprobs"));
    assert_eq!((&lists["token_logprobs"][0], &lists["text_offset"][0]), (&Value::Null, &json!(-1)));
    let mut none = body.clone();
    none["logprobs"] = json!(0);
    let choice = post(&server, "/sglang/v1/completions", &none).json()["choices"][0].clone();
    assert_eq!(choice["logprobs"]["tokens"].as_array().unwrap().len(), 1);
    let mut ids = body;
    ids["prompt"] = tokens["tokens"].clone();
    let by_ids = post(&server, "/sglang/v1/completions", &ids).json()["choices"][0].clone();
    assert_eq!(&by_ids["logprobs"], lists);
}

#[test]
fn a_chat_is_answered_as_its_text_would_be() {
    let server = start(Settings::default());
    let said = post(&server, "/sglang/generate", &text("Tell me something.")).json();
    let body = json!({
        "model": "m", "messages": [{ "role": "user", "content": "Tell me something." }], "temperature": 0,
        "logprobs": true, "top_logprobs": 2,
    });
    let reply = post(&server, "/sglang/v1/chat/completions", &body).json();
    let choice = &reply["choices"][0];
    assert_eq!(choice["message"]["content"], said["text"]);
    assert_eq!((&choice["finish_reason"], &choice["matched_stop"]), (&json!("stop"), &json!(2)));
    assert!(choice["logprobs"]["content"][0]["bytes"].is_array());
    let mut streamed = body.clone();
    streamed["stream"] = json!(true);
    let events = post(&server, "/sglang/v1/chat/completions", &streamed).events();
    let deltas = events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str());
    assert_eq!(deltas.collect::<String>(), said["text"].as_str().unwrap());
    let sampled = json!({ "messages": body["messages"], "n": 2 });
    let reply = post(&server, "/sglang/v1/chat/completions", &sampled).json();
    assert_ne!(reply["choices"][0]["message"], reply["choices"][1]["message"]);
    assert_eq!(get(&server, "/sglang/model_info").json()["is_generation"], true);
    assert_eq!(get(&server, "/sglang/v1/models").json()["data"][0]["owned_by"], "sglang");
}
