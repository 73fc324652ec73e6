//! Gemini over real connections (wire.md 4.4, 7.4).

use serde_json::{Value, json};

use crate::mock::{
    Server, Settings,
    testkit::{Got, get, post, send, start},
};

fn path(model: &str, action: &str) -> String {
    format!("/gemini/v1beta/models/{model}:{action}")
}

fn content(more: &Value) -> Value {
    let mut body =
        json!({ "contents": [{ "role": "user", "parts": [{ "text": "What is 17 + 26?" }] }] });
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    body
}

fn ask(server: &Server, model: &str, more: &Value) -> Got {
    post(server, &path(model, "generateContent"), &content(more))
}

#[test]
fn what_is_not_taken_is_refused_in_googles_words() {
    let server = start(Settings::default());
    let config = |config: Value| json!({ "generationConfig": config });
    let parts = |parts: Value| json!({ "contents": [{ "parts": parts }] });
    let thinking = |thinking: Value| config(json!({ "thinkingConfig": thinking }));
    let flash = "gemini-2.0-flash";
    let table = [
        (
            flash,
            config(
                json!({ "temperature": 0, "topP": 1, "topK": 1, "maxOutputTokens": 9, "seed": 3, "stopSequences": ["x"] }),
            ),
            "",
        ),
        (flash, json!({ "systemInstruction": { "parts": [{ "text": "Be brief." }] } }), ""),
        (
            flash,
            json!({ "safetySettings": [{ "category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF" }] }),
            "",
        ),
        (flash, json!({ "colour": 1 }), "Unknown name \"colour\": Cannot find field."),
        (
            flash,
            json!({ "generation_config": {} }),
            "Unknown name \"generation_config\": Cannot find field.",
        ),
        (
            flash,
            config(json!({ "top_p": 1 })),
            "Unknown name \"top_p\" at 'generation_config': Cannot find field.",
        ),
        (
            flash,
            thinking(json!({ "mood": 1 })),
            "Unknown name \"mood\" at 'generation_config.thinking_config'",
        ),
        (
            flash,
            config(json!({ "temperature": "warm" })),
            "Invalid value at 'generation_config.temperature' (TYPE_FLOAT)",
        ),
        (flash, config(json!({ "temperature": 3 })), "temperature must be in the range [0.0, 2.0]"),
        (flash, config(json!({ "topK": 0 })), "top_k must be positive"),
        (
            flash,
            config(json!({ "candidateCount": 9 })),
            "candidate_count must be in the range [1, 8]",
        ),
        (flash, config(json!({ "maxOutputTokens": 0 })), "max_output_tokens must be positive"),
        (
            flash,
            config(json!({ "stopSequences": ["a", "b", "c", "d", "e", "f"] })),
            "must not exceed 5 [currently 6]",
        ),
        (flash, config(json!({ "logprobs": 2 })), "only valid if response_logprobs is true"),
        (
            flash,
            config(json!({ "responseLogprobs": true, "logprobs": 21 })),
            "logprobs must be in the range",
        ),
        (flash, config(json!({ "responseMimeType": "text/html" })), "allowed mimetypes"),
        (flash, thinking(json!({ "includeThoughts": true })), "Thinking is not supported"),
        ("gemini-2.5-flash", thinking(json!({ "thinkingBudget": 0 })), ""),
        ("gemini-2.5-pro", thinking(json!({ "thinkingBudget": 0 })), "only works in thinking mode"),
        (
            "gemini-2.5-flash",
            thinking(json!({ "thinkingLevel": "LOW" })),
            "Thinking level is not supported",
        ),
        ("gemini-3-pro-preview", thinking(json!({ "thinkingLevel": "LOW" })), ""),
        ("gemini-3-pro-preview", thinking(json!({ "thinkingLevel": "SOME" })), "thinking_level"),
        (
            "gemini-3-pro-preview",
            thinking(json!({ "thinkingLevel": "LOW", "thinkingBudget": 5 })),
            "only set only one",
        ),
        ("gemini-3.6-flash", config(json!({ "temperature": 0 })), "not supported for this model"),
        (flash, json!({ "contents": [] }), "contents is not specified"),
        (
            flash,
            json!({ "contents": [{ "role": "assistant", "parts": [{ "text": "x" }] }] }),
            "valid role: user, model",
        ),
        (flash, parts(json!([])), "contents.parts must not be empty"),
        (flash, parts(json!([{}])), "required oneof field 'data'"),
        (
            flash,
            parts(
                json!([{ "text": "x", "inlineData": { "mimeType": "image/png", "data": "AA==" } }]),
            ),
            "already set",
        ),
        (
            flash,
            json!({ "safetySettings": [{ "category": "RUDE", "threshold": "OFF" }] }),
            "Invalid value at 'safety_settings[0].category'",
        ),
    ];
    for (model, more, words) in table {
        let got = ask(&server, model, &more);
        if words.is_empty() {
            assert_eq!(got.status, 200, "{more}: {}", got.text());
            continue;
        }
        let error = got.json()["error"].clone();
        assert_eq!((got.status, &error["code"]), (400, &json!(400)), "{more}");
        assert_eq!(error["status"], "INVALID_ARGUMENT");
        assert!(error["message"].as_str().unwrap().contains(words), "{words}: {error}");
    }
    let error = ask(&server, flash, &config(json!({ "top_p": 1 }))).json()["error"].clone();
    let violation = &error["details"][0]["fieldViolations"][0];
    assert_eq!(
        (&violation["field"], &violation["description"]),
        (&json!("generation_config"), &error["message"])
    );
    let got = ask(&server, "mock-missing", &json!({}));
    assert_eq!((got.status, &got.json()["error"]["status"]), (404, &json!("NOT_FOUND")));
    assert_eq!(get(&server, "/gemini/v1/models").status, 404);
}

#[test]
fn a_bad_key_is_a_bad_argument() {
    let server = start(Settings { api_key: Some("secret".to_owned()), ..Settings::default() });
    let with = |key: &str| {
        let headers = [("content-type", "application/json"), ("x-goog-api-key", key)];
        let path = path("gemini-2.0-flash", "generateContent");
        send(&server, "POST", &path, &headers, &content(&json!({})).to_string()).unwrap()
    };
    assert_eq!(with("secret").status, 200);
    let got = with("other");
    assert_eq!(got.status, 400);
    assert_eq!(got.json()["error"]["details"][0]["reason"], "API_KEY_INVALID");
    assert!(got.text().contains("API key not valid"));
}

#[test]
fn candidates_have_parts_reasons_and_log_probabilities() {
    let server = start(Settings::default());
    let config = json!({ "generationConfig": {
        "responseLogprobs": true, "logprobs": 2, "candidateCount": 2,
    } });
    let reply = ask(&server, "gemini-2.0-flash", &config).json();
    assert_eq!(reply["candidates"].as_array().unwrap().len(), 2);
    let first = &reply["candidates"][0];
    assert_eq!(first["content"], json!({ "parts": [{ "text": "43" }], "role": "model" }));
    assert_eq!(first["finishReason"], "STOP");
    let chosen = &first["logprobsResult"]["chosenCandidates"];
    assert_eq!((&chosen[0]["token"], chosen.as_array().unwrap().len()), (&json!("43"), 1));
    assert_eq!(first["avgLogprobs"], chosen[0]["logProbability"]);
    let top = &first["logprobsResult"]["topCandidates"][0]["candidates"];
    assert_eq!((&top[0], top.as_array().unwrap().len()), (&chosen[0], 2));
    let counted = post(&server, &path("gemini-2.0-flash", "countTokens"), &content(&json!({})));
    assert_eq!(counted.json()["totalTokens"], reply["usageMetadata"]["promptTokenCount"]);
}

#[test]
fn thinking_is_counted_and_shown_if_wanted() {
    let server = start(Settings::default());
    let config = |config: Value| json!({ "generationConfig": config });
    let reply = ask(&server, "gemini-2.5-flash", &json!({})).json();
    assert_eq!(reply["candidates"][0]["content"]["parts"], json!([{ "text": "43" }]));
    let usage = &reply["usageMetadata"];
    assert_eq!(
        (&usage["thoughtsTokenCount"], &usage["candidatesTokenCount"]),
        (&json!(32), &json!(2))
    );
    let shown = config(json!({ "thinkingConfig": { "includeThoughts": true } }));
    let parts =
        ask(&server, "gemini-2.5-flash", &shown).json()["candidates"][0]["content"]["parts"]
            .clone();
    assert_eq!((&parts[0]["thought"], &parts[1]["text"]), (&json!(true), &json!("43")));
    let spent = ask(&server, "gemini-2.5-flash", &config(json!({ "maxOutputTokens": 8 }))).json();
    let candidate = &spent["candidates"][0];
    assert_eq!(
        (candidate.get("content"), &candidate["finishReason"]),
        (None, &json!("MAX_TOKENS"))
    );
    assert_eq!(spent["usageMetadata"].get("candidatesTokenCount"), None);
}

#[test]
fn a_blocked_prompt_has_no_candidates_and_a_blocked_answer_no_content() {
    let server = start(Settings::default());
    let of = |word: &str| json!({ "contents": [{ "parts": [{ "text": word }] }] });
    let reply = ask(&server, "gemini-2.0-flash", &of("mock-content-filter")).json();
    assert_eq!(
        (reply.get("candidates"), &reply["promptFeedback"]["blockReason"]),
        (None, &json!("SAFETY"))
    );
    let reply = ask(&server, "gemini-2.0-flash", &of("mock-answer-filter")).json();
    let candidate = &reply["candidates"][0];
    assert_eq!((candidate.get("content"), &candidate["finishReason"]), (None, &json!("SAFETY")));
}

#[test]
fn a_stream_says_the_same_as_the_whole_reply() {
    let server = start(Settings::default());
    let more = json!({
        "contents": [{ "parts": [{ "text": "Tell me something." }] }],
        "generationConfig": { "thinkingConfig": { "includeThoughts": true }, "responseLogprobs": true },
    });
    let whole = ask(&server, "gemini-2.5-flash", &more).json();
    let stream = path("gemini-2.5-flash", "streamGenerateContent");
    let got = post(&server, &format!("{stream}?alt=sse"), &content(&more));
    assert!(got.text().contains("\r\n\r\n"));
    let events = got.events();
    assert!(events.len() > 3);
    let parts = events.iter().filter_map(|event| event["candidates"][0]["content"]["parts"].get(0));
    let (thought, said): (Vec<&Value>, Vec<&Value>) =
        parts.partition(|part| part["thought"] == json!(true));
    let joined = |parts: &[&Value]| -> String {
        parts.iter().filter_map(|part| part["text"].as_str()).collect()
    };
    let parts = &whole["candidates"][0]["content"]["parts"];
    assert_eq!(joined(&thought), parts[0]["text"].as_str().unwrap());
    assert_eq!(joined(&said), parts[1]["text"].as_str().unwrap());
    let last = events.last().unwrap();
    assert_eq!(last["candidates"][0]["finishReason"], "STOP");
    assert_eq!(last["usageMetadata"], whole["usageMetadata"]);
    let list = post(&server, &stream, &content(&more)).json();
    assert_eq!(list, Value::Array(events));
}

#[test]
fn models_are_listed() {
    let server = start(Settings::default());
    let list = get(&server, "/gemini/v1beta/models").json();
    assert_eq!(list["models"][0]["name"], "models/gemini-2.0-flash");
    let model = get(&server, "/gemini/v1beta/models/gemini-2.5-flash").json();
    assert_eq!((&model["inputTokenLimit"], &model["thinking"]), (&json!(1_048_576), &json!(true)));
}
