//! What the golden tests of the vendors' codecs share: cases out of files, requests out of cases, replies that are
//! no answers, and what every codec must hold ([`Codec`]).

#![allow(clippy::panic, reason = "a test fails by panicking")]

use litellm::call::{Collect, Encoded};
use plugin_api::{
    Changed, Choice, Completion, ErrorKind, Generate, Message, Part, Prompt, Reply, Result,
    SseEvent, SseParser,
};
use serde_json::{Value, json};

/// A golden file.
pub(crate) fn golden(name: &str) -> Value {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The cases of a golden file's list, each with a name and an origin.
pub(crate) fn cases<'v>(golden: &'v Value, list: &str) -> &'v [Value] {
    let cases = golden[list].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        assert!(case["name"].is_string() && case["origin"].is_string(), "{case}");
    }
    cases
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap()).collect()
}

/// Stop texts.
pub(crate) fn stops(value: &Value) -> Vec<String> {
    strings(value).into_iter().map(str::to_owned).collect()
}

/// A request: `prompt` or `messages`, whose content is a text or a list of `{"text"}` and `{"image", "bytes"}`.
pub(crate) fn request(of: &Value) -> Generate<'_> {
    let number = |key: &str| of[key].as_u64().map(|number| u32::try_from(number).unwrap());
    let prompt = match of["prompt"].as_str() {
        Some(text) => Prompt::Text(text),
        None => Prompt::Messages(of["messages"].as_array().unwrap().iter().map(message).collect()),
    };
    Generate {
        prompt,
        n: number("n").unwrap_or(1),
        max_tokens: number("max_tokens"),
        temperature: of["temperature"].as_f64(),
        top_p: of["top_p"].as_f64(),
        top_k: number("top_k"),
        stop: strings(&of["stop"]).into_iter().map(Into::into).collect(),
        seed: of["seed"].as_u64(),
        logprobs: number("logprobs"),
        stream: of["stream"].as_bool().unwrap_or(false),
        extra: of["extra"].as_object().cloned().unwrap_or_default(),
    }
}

fn message(of: &Value) -> Message<'_> {
    let content = match &of["content"] {
        Value::String(text) => vec![Part::Text(text)],
        parts => parts.as_array().unwrap().iter().map(part).collect(),
    };
    Message { role: of["role"].as_str().unwrap().into(), content }
}

fn part(of: &Value) -> Part<'_> {
    match of["text"].as_str() {
        Some(text) => Part::Text(text),
        None => Part::Image {
            media_type: of["image"].as_str().unwrap().into(),
            data: of["bytes"].as_str().unwrap().as_bytes(),
        },
    }
}

/// Compares a translated request with its case.
pub(crate) fn check_request(case: &Value, encoded: &Encoded) {
    let name = &case["name"];
    let body: Value = serde_json::from_slice(&encoded.body).unwrap();
    assert_eq!(body, case["body"], "{name}");
    assert_eq!(encoded.route, case["route"].as_str().unwrap(), "{name}");
    let headers: Value =
        encoded.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    assert_eq!(headers, case["headers"], "{name}");
    check_changed(case, &encoded.changed);
    if let Some(stop) = case.get("cut_at") {
        assert_eq!(&json!(encoded.stop), stop, "{name}");
    }
}

/// Each entry is a parameter's name, or its name and words that the record must hold.
fn check_changed(case: &Value, changed: &[Changed]) {
    let expected = case["changed"].as_array().unwrap();
    assert_eq!(changed.len(), expected.len(), "{}: {changed:?}", case["name"]);
    for (found, expected) in changed.iter().zip(expected) {
        let (parameter, words) =
            expected.as_str().unwrap().split_once(": ").unwrap_or((expected.as_str().unwrap(), ""));
        assert_eq!(found.parameter, parameter, "{}", case["name"]);
        assert!(found.detail.contains(words), "{}: {found:?}", case["name"]);
    }
}

/// Compares an answer with its case.
pub(crate) fn check_answer(case: &Value, completion: &Completion) {
    let choice = |choice: &Choice| {
        let mut shown = json!({ "text": choice.text, "finish_reason": choice.finish_reason });
        if let Some(reasoning) = &choice.reasoning {
            shown["reasoning"] = json!(reasoning);
        }
        if let Some(tokens) = &choice.logprobs {
            let token = |t: &plugin_api::TokenLogprob| json!([t.token, t.logprob, t.top.len()]);
            shown["tokens"] = tokens.iter().map(token).collect();
        }
        shown
    };
    let choices: Value = completion.choices.iter().map(choice).collect();
    assert_eq!(choices, case["choices"], "{}", case["name"]);
    assert_eq!(json!(completion.usage), case["usage"], "{}", case["name"]);
    assert_eq!(json!(completion.model), case["model"], "{}", case["name"]);
}

/// The reply of a case.
pub(crate) fn reply(case: &Value) -> Reply {
    let status = u16::try_from(case["status"].as_u64().unwrap_or(200)).unwrap();
    let body = match &case["reply"] {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    Reply::new(status, &[], body.as_bytes())
}

/// A stream as the glue drives a collector: events, deltas, and the answer with the text that was handed out.
pub(crate) fn collect(
    mut collector: Box<dyn Collect>,
    bytes: &[u8],
    chunk: usize,
) -> Result<(Completion, String)> {
    let mut parser = SseParser::default();
    let mut handed = String::new();
    'stream: for chunk in bytes.chunks(chunk) {
        for event in parser.push(chunk) {
            let complete = collector.take(&event)?;
            handed.push_str(&collector.delta());
            if complete {
                break 'stream;
            }
        }
    }
    let completion = collector.finish()?;
    handed.push_str(&collector.delta());
    Ok((completion, handed))
}

/// The bytes of a stream whose events are a case's.
pub(crate) fn stream(case: &Value) -> Vec<u8> {
    let event = |event: &Value| match event["type"].as_str() {
        Some(name) => format!("event: {name}\ndata: {event}\n\n"),
        None => format!("data: {event}\r\n\r\n"),
    };
    case["events"].as_array().unwrap().iter().map(event).collect::<String>().into_bytes()
}

/// The value with each of its scalars and containers replaced by a value of another type, one at a time.
pub(crate) fn mutations(value: &Value) -> Vec<Value> {
    let mut out =
        vec![json!(null), json!(-7), json!("text"), json!([1]), json!({ "a": 1 }), json!(true)];
    match value {
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                for mutation in mutations(item) {
                    let mut items = items.clone();
                    items[at] = mutation;
                    out.push(Value::Array(items));
                }
            }
        }
        Value::Object(object) => {
            for (key, item) in object {
                let mut without = object.clone();
                without.remove(key);
                out.push(Value::Object(without));
                for mutation in mutations(item) {
                    let mut object = object.clone();
                    object[key.as_str()] = mutation;
                    out.push(Value::Object(object));
                }
            }
        }
        _ => {}
    }
    out
}

/// Bodies that are no answer of any vendor.
pub(crate) const NO_ANSWERS: &[&str] = &[
    "",
    " ",
    "null",
    "[]",
    "{}",
    "0",
    "\"text\"",
    "<html><body>Sign in</body></html>",
    "{\"choices\":[{\"message\":{\"content\":\"hi\"}}]}",
    "{\"detail\":\"Not Found\"}",
    "\u{0}\u{1}",
];

/// One event.
pub(crate) fn event(data: &str) -> SseEvent {
    SseEvent { name: String::new(), data: data.to_owned() }
}

/// One vendor's codec. Its cases are in golden files named after it.
pub(crate) struct Codec {
    pub(crate) name: &'static str,
    /// By the configuration of a case.
    pub(crate) encode: fn(&Value, &Generate<'_>) -> Result<Encoded>,
    pub(crate) decode: fn(&Reply, &[String]) -> Result<Completion>,
    pub(crate) collector: fn(&[String]) -> Box<dyn Collect>,
    /// Whether one event of a stream may be an answer.
    pub(crate) one_event_may_be_all: bool,
}

impl Codec {
    fn golden(&self, what: &str) -> Value {
        golden(&format!("{}_{what}.json", self.name))
    }

    pub(crate) fn encodes_requests_as_the_api_takes_them(&self) {
        for case in cases(&self.golden("requests"), "cases") {
            let encoded = (self.encode)(&case["config"], &request(&case["request"]))
                .unwrap_or_else(|error| panic!("{}: {error}", case["name"]));
            check_request(case, &encoded);
        }
    }

    pub(crate) fn refuses_by_name_what_cannot_be_kept(&self) {
        for case in cases(&self.golden("requests"), "refused") {
            let error = (self.encode)(&case["config"], &request(&case["request"])).unwrap_err();
            assert_eq!(json!(error.kind), case["kind"], "{}: {error}", case["name"]);
            assert!(error.message.contains(case["names"].as_str().unwrap()), "{error}");
        }
    }

    pub(crate) fn reads_replies_as_completions(&self) {
        for case in cases(&self.golden("replies"), "cases") {
            let completion = (self.decode)(&reply(case), &stops(&case["stop"]))
                .unwrap_or_else(|error| panic!("{}: {error}", case["name"]));
            check_answer(case, &completion);
        }
    }

    pub(crate) fn fails_by_kind_what_is_no_answer(&self) {
        for case in cases(&self.golden("replies"), "failures") {
            let error = (self.decode)(&reply(case), &[]).unwrap_err();
            assert_eq!(json!(error.kind), case["kind"], "{}: {error}", case["name"]);
            assert!(error.excerpt.is_some(), "{}", case["name"]);
        }
    }

    pub(crate) fn collects_streams_wherever_they_are_cut_into_chunks(&self) {
        for case in cases(&self.golden("streams"), "cases") {
            let bytes = stream(case);
            for chunk in [1, 7, bytes.len()] {
                let stop = stops(&case["stop"]);
                let (completion, handed) = collect((self.collector)(&stop), &bytes, chunk).unwrap();
                check_answer(case, &completion);
                assert_eq!(handed, completion.choices[0].text, "{}", case["name"]);
            }
        }
    }

    pub(crate) fn takes_no_stream_that_breaks_off_for_an_answer(&self) {
        for case in cases(&self.golden("streams"), "cases") {
            let bytes = stream(case);
            let last = case["events"].as_array().unwrap().last().unwrap().to_string();
            for end in 0..bytes.len() - last.len() {
                let found = collect((self.collector)(&[]), &bytes[..end], end.max(1));
                assert!(found.is_err(), "{}: {end} bytes gave {found:?}", case["name"]);
            }
        }
    }

    pub(crate) fn grades_no_reply_that_is_none(&self) {
        let decode = |body: &str| (self.decode)(&Reply::new(200, &[], body.as_bytes()), &[]);
        for body in NO_ANSWERS {
            assert_eq!(decode(body).unwrap_err().kind, ErrorKind::UnexpectedReply, "{body}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(decode(&deep).is_err());
        for case in cases(&self.golden("replies"), "cases") {
            let body = case["reply"].to_string();
            for end in 0..body.len() {
                let cut = Reply::new(200, &[], &body.as_bytes()[..end]);
                let error = (self.decode)(&cut, &[]).unwrap_err();
                assert_eq!(error.kind, ErrorKind::UnexpectedReply, "{} cut at {end}", case["name"]);
            }
            for mutation in mutations(&case["reply"]) {
                if let Ok(completion) = decode(&mutation.to_string()) {
                    assert!(!completion.choices.is_empty(), "{mutation}");
                }
            }
        }
        for case in cases(&self.golden("streams"), "cases") {
            for event_of in case["events"].as_array().unwrap() {
                for mutation in mutations(event_of) {
                    let mut collector = (self.collector)(&[]);
                    drop(collector.take(&event(&mutation.to_string())));
                    match collector.finish() {
                        Ok(_) => assert!(self.one_event_may_be_all, "{mutation}"),
                        Err(error) => assert_eq!(error.kind, ErrorKind::Transport, "{mutation}"),
                    }
                }
            }
        }
    }
}
