//! What every flavor shares, over real connections: keys, faults, garbled replies, the upstream server.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    Capacity, Faults, Flavor, Reply, RetryAfterForm, Server, Settings, Upstream,
    testkit::{Got, get, post, send, start},
};

const BODY: &str = r#"{"inputs":"Tell me something.","parameters":{"do_sample":false}}"#;

fn ask(server: &Server, path: &str) -> Option<Got> {
    send(server, "POST", path, &[("content-type", "application/json")], BODY).ok()
}

fn faulty(faults: Faults) -> Server {
    start(Settings { faults, ..Settings::default() })
}

#[test]
fn one_flavor_needs_no_prefix() {
    let server = start(Settings { root: Flavor::Tgi, ..Settings::default() });
    assert_eq!(get(&server, "/info").json(), get(&server, "/tgi/info").json());
    assert!(server.url().starts_with("http://127.0.0.1:"));
}

#[test]
fn a_port_that_is_taken_is_told() {
    let first = start(Settings::default());
    let second = Server::start(Settings { listen: first.address(), ..Settings::default() });
    let error = second.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains(&first.address().to_string()) && error.contains("port 0"), "{error}");
}

#[test]
fn a_dropped_server_is_gone() {
    let server = start(Settings::default());
    let address = server.address();
    drop(server);
    assert!(TcpListener::bind(address).is_ok());
}

#[test]
fn some_requests_fail_and_their_repetition_does_not() {
    let server = faulty(Faults {
        fail_rate: "0.4".parse().unwrap(),
        retry_after: Some(Duration::from_secs(2)),
        ..Faults::default()
    });
    let mut failed = 0;
    for _ in 0..50 {
        let mut attempts = 0;
        loop {
            let got = ask(&server, "/tgi/generate").unwrap();
            if got.status == 200 {
                break;
            }
            assert!(matches!(got.status, 424 | 429), "{}", got.status);
            assert_eq!(got.header("retry-after"), Some("2"));
            failed += 1;
            attempts += 1;
            assert!(attempts < 6);
        }
    }
    assert!((20..50).contains(&failed), "{failed}");
    assert_eq!(get(&server, "/tgi/info").status, 200);
}

#[test]
fn some_connections_close_without_an_answer() {
    let server = faulty(Faults { drop_rate: "0.5".parse().unwrap(), ..Faults::default() });
    let answered = (0..40).filter(|_| ask(&server, "/tgi/generate").is_some()).count();
    assert!((15..25).contains(&answered), "{answered}");
}

#[test]
fn some_bodies_end_before_their_time() {
    let faults = Faults { truncate_stream_rate: "1".parse().unwrap(), ..Faults::default() };
    let server = faulty(faults);
    let clean = start(Settings::default());
    for path in ["/tgi/generate", "/tgi/generate_stream"] {
        let whole = ask(&clean, path).unwrap();
        let cut: Vec<Got> = (0..4).filter_map(|_| ask(&server, path)).collect();
        assert!(cut.iter().all(|got| got.body.len() < whole.body.len()), "{path}");
        // A whole body that is cut is always told to be longer.
        let streamed = path.ends_with("stream");
        assert_eq!(cut.iter().any(|got| got.complete), streamed, "{path}");
        assert!(cut.iter().any(|got| !got.complete), "{path}");
    }
}

/// A connection on which a request is asked and whose reply is the test's to read.
fn asking(server: &Server, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: mock\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// What came before nothing more did.
fn until_silence(mut stream: &TcpStream) -> Vec<u8> {
    let mut came = Vec::new();
    let mut buffer = [0; 4096];
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => panic!("the connection is closed"),
            Ok(read) => came.extend_from_slice(&buffer[..read]),
            Err(_) => return came,
        }
    }
}

/// A count of the mock's own.
fn stat(server: &Server, name: &str) -> u64 {
    get(server, "/mock/stats").json()[name].as_u64().unwrap()
}

/// Waits until a count is this one.
fn until(server: &Server, name: &str, expected: u64) {
    let started = Instant::now();
    while stat(server, name) != expected {
        assert!(started.elapsed() < Duration::from_secs(20), "{name}: {}", stat(server, name));
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn silence_lasts_until_the_client_gives_up() {
    let server = faulty(Faults { stall_rate: "1".parse().unwrap(), ..Faults::default() });
    let streams: Vec<TcpStream> = (0..3).map(|_| asking(&server, "/tgi/generate")).collect();
    until(&server, "in_flight", 3);
    let mut came: Vec<String> =
        streams.iter().map(|stream| String::from_utf8(until_silence(stream)).unwrap()).collect();
    came.sort();
    let body = |came: &str| came.split_once("\r\n\r\n").map(|(_, body)| body.len());
    assert_eq!((came[0].as_str(), body(&came[1])), ("", Some(0)), "{came:?}");
    assert!(body(&came[2]) > Some(0), "{came:?}");
    assert_eq!(stat(&server, "in_flight"), 3);
    drop(streams);
    until(&server, "in_flight", 0);
    assert_eq!(stat(&server, "answered"), 0);
}

#[test]
fn the_mix_is_counted_and_leaves_the_rest_alone() {
    let mix = "0.3".parse().unwrap();
    let server = faulty(Faults { mix, seed: 3, ..Faults::default() });
    for stream in (0..400).map(|_| asking(&server, "/tgi/generate")) {
        // A stalled request is given up when its connection goes.
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let _ = (&stream).read(&mut [0; 1]);
    }
    until(&server, "in_flight", 0);
    let stats = get(&server, "/mock/stats").json();
    assert_eq!(stats["requests"], 400);
    let faults = stats["faults"].as_object().unwrap();
    let failed: u64 = faults.values().map(|count| count.as_u64().unwrap()).sum();
    assert!((110..=130).contains(&failed), "{stats}");
    assert_eq!(stats["answered"].as_u64().unwrap() + failed, 400);
    assert_eq!(faults.len(), 8, "{stats}");
}

#[test]
fn a_connection_may_close_after_the_head() {
    let server = faulty(Faults { mix: "1".parse().unwrap(), ..Faults::default() });
    let cut = (0..40).filter_map(|_| {
        let mut stream = asking(&server, "/tgi/generate");
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut came = Vec::new();
        stream.read_to_end(&mut came).ok()?;
        let came = String::from_utf8(came).unwrap();
        came.starts_with("HTTP/1.1 200").then_some(came)
    });
    let head_only = cut.filter(|came| came.ends_with("\r\n\r\n")).count();
    assert!(head_only >= 1);
}

#[test]
fn a_server_that_is_full_refuses_what_is_beyond() {
    let server = start(Settings {
        faults: Faults { stall_rate: "1".parse().unwrap(), ..Faults::default() },
        capacity: Capacity { max_in_flight: Some(2), ..Capacity::default() },
        ..Settings::default()
    });
    let held: Vec<TcpStream> = (0..2).map(|_| asking(&server, "/tgi/generate")).collect();
    until(&server, "in_flight", 2);
    let mut statuses: Vec<u16> =
        (0..4).map(|_| ask(&server, "/tgi/generate").unwrap().status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [424, 424, 429, 429]);
    drop(held);
    until(&server, "in_flight", 0);
    let stats = get(&server, "/mock/stats").json();
    assert_eq!(
        (&stats["most_in_flight"], &stats["faults"]["over_capacity"]),
        (&3.into(), &4.into())
    );
}

#[test]
fn a_server_takes_no_more_than_its_rate_and_says_what_is_left() {
    let rpm = Settings {
        capacity: Capacity { rpm: Some(6), rpm_burst: Some(2), ..Capacity::default() },
        faults: Faults { retry_after_form: RetryAfterForm::Milliseconds, ..Faults::default() },
        ..Settings::default()
    };
    let chat = json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": "Hi" }] });
    let table = [
        ("/openai/v1/chat/completions", "x-ratelimit-remaining-requests"),
        ("/xai/v1/chat/completions", "x-ratelimit-remaining-requests"),
        ("/anthropic/v1/messages", "anthropic-ratelimit-requests-remaining"),
    ];
    for (path, remaining) in table {
        let server = start(rpm.clone());
        let headers = [("content-type", "application/json"), ("anthropic-version", "2023-06-01")];
        let asked: Vec<Got> = (0..3)
            .map(|_| {
                let mut body = chat.clone();
                if path.starts_with("/anthropic") {
                    body = json!({ "model": "claude-haiku-4-5", "max_tokens": 9, "messages": chat["messages"] });
                } else if path.starts_with("/xai") {
                    body["model"] = "grok-4".into();
                }
                send(&server, "POST", path, &headers, &body.to_string()).unwrap()
            })
            .collect();
        let said: Vec<(u16, Option<&str>)> =
            asked.iter().map(|got| (got.status, got.header(remaining))).collect();
        assert_eq!(said, [(200, Some("1")), (200, Some("0")), (429, Some("0"))], "{path}");
        let wait: u64 = asked[2].header("retry-after-ms").unwrap().parse().unwrap();
        assert!((5_000..=10_000).contains(&wait), "{wait}");
        assert_eq!(stat(&server, "most_in_a_second"), 3);
    }
}

#[test]
fn a_server_loads_for_a_while() {
    let loading_for = Duration::from_millis(300);
    let server = faulty(Faults { loading_for, ..Faults::default() });
    let started = Instant::now();
    assert_eq!(get(&server, "/tgi/health").status, 503);
    assert_eq!(ask(&server, "/tgi/generate").unwrap().status, 503);
    while started.elapsed() < loading_for + Duration::from_millis(20) {
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(ask(&server, "/tgi/generate").unwrap().status, 200);
}

#[test]
fn an_answer_takes_its_time() {
    let latency = Duration::from_millis(60);
    let server = faulty(Faults { latency, ..Faults::default() });
    let started = Instant::now();
    ask(&server, "/tgi/generate").unwrap();
    assert!(started.elapsed() >= latency);
}

#[test]
fn a_garbled_reply_is_no_answer() {
    for reply in Reply::ALL {
        let server = start(Settings { reply: Some(reply), ..Settings::default() });
        let got = ask(&server, "/tgi/generate").unwrap();
        assert_eq!(got.status, 200, "{reply}");
        assert!(got.complete, "{reply}");
        let text = got.text();
        let fits = match reply {
            Reply::Html => text.starts_with("<!DOCTYPE html>"),
            Reply::Empty => text.is_empty(),
            Reply::Truncated => text.starts_with("{\"gene") && !text.ends_with('}'),
            Reply::WrongTypes => got.json()["generated_text"] == 7,
            Reply::ErrorIn200 => got.json()["error"].is_string(),
            Reply::Huge => text.len() > 10 << 20,
            Reply::UnknownShape => got.json().get("generated_text").is_none(),
        };
        assert!(fits, "{reply}: {}", text.chars().take(80).collect::<String>());
        assert_eq!(get(&server, "/tgi/info").json()["model_id"], "mock/tgi");
    }
}

#[test]
fn a_body_comes_in_pieces() {
    let server = start(Settings { stream_chunk_bytes: Some(7), ..Settings::default() });
    let whole = ask(&start(Settings::default()), "/tgi/generate_stream").unwrap();
    let got = ask(&server, "/tgi/generate_stream").unwrap();
    assert_eq!(got.body, whole.body);
    assert!(got.chunks.len() > whole.chunks.len());
    assert!(got.chunks.iter().all(|chunk| chunk.len() <= 7));
}

/// A server that gives these replies, one a connection, and then the requests that it saw.
fn upstream(replies: Vec<(u16, String)>) -> (String, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let served = thread::spawn(move || {
        let mut seen = Vec::new();
        for (status, body) in replies {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            loop {
                let read = stream.read(&mut buffer).unwrap();
                request.extend_from_slice(&buffer[..read]);
                let text = String::from_utf8_lossy(&request).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if length.is_none_or(|length| body.len() >= length.parse().unwrap()) {
                    break;
                }
            }
            seen.push(String::from_utf8(request).unwrap());
            let length = body.len();
            let reply = format!(
                "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
            stream.write_all(reply.as_bytes()).unwrap();
        }
        seen
    });
    (url, served)
}

#[test]
fn a_real_server_answers_in_the_models_place() {
    let models = json!({ "data": [{ "id": "real" }] }).to_string();
    let said = json!({
        "choices": [{ "text": "It is so.", "finish_reason": "length" }],
        "usage": { "prompt_tokens": 11, "completion_tokens": 3 },
    });
    let replies = vec![(200, models), (200, said.to_string()), (500, "no room".to_owned())];
    let (url, served) = upstream(replies);
    let upstream = Some(Upstream { url, model: None, api_key: Some("k".to_owned()) });
    let server = start(Settings { upstream, ..Settings::default() });
    let body = json!({
        "inputs": "Tell me something.",
        "parameters": { "do_sample": false, "details": true, "max_new_tokens": 3, "stop": ["\n"] },
    });
    let reply = post(&server, "/tgi/generate", &body).json();
    assert_eq!(reply["generated_text"], "It is so.");
    assert_eq!(reply["details"]["finish_reason"], "length");
    assert_eq!(reply["details"]["generated_tokens"], 3);
    let failed = post(&server, "/tgi/generate", &body);
    assert_eq!(failed.status, 424);
    assert!(failed.text().contains("no room"), "{}", failed.text());

    let seen = served.join().unwrap();
    assert!(seen[0].starts_with("GET /v1/models "), "{}", seen[0]);
    assert!(seen[1].starts_with("POST /v1/completions "), "{}", seen[1]);
    assert!(seen[1].contains("authorization: Bearer k"));
    let sent = seen[1].split_once("\r\n\r\n").unwrap().1;
    let expected = json!({
        "model": "real", "prompt": "Tell me something.", "max_tokens": 3, "stop": ["\n"], "temperature": 0.0,
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(sent).unwrap(), expected);
}

#[test]
fn a_real_server_is_asked_as_the_wire_was() {
    let chat = |more: serde_json::Value| {
        let mut body =
            json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": "Hi" }] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let sampling = json!({
        "temperature": 0.5, "top_p": 0.9, "frequency_penalty": 0.25, "presence_penalty": -0.5, "seed": -7,
    });
    let sglang = |more| json!({ "text": "Hi", "sampling_params": more });
    let gemini = json!({
        "contents": [{ "role": "user", "parts": [{ "text": "Hi" }] }],
        "generationConfig": { "temperature": 0.5, "topP": 0.9, "frequencyPenalty": 0.25, "presencePenalty": -0.5, "seed": -7 },
    });
    let gemini_path = "/gemini/v1beta/models/gemini-2.0-flash:generateContent";
    let ollama = json!({ "model": "m", "prompt": "Hi", "stream": false, "options": sampling });
    let table = [
        ("/openai/v1/chat/completions", chat(json!({})), json!({})),
        ("/openai/v1/chat/completions", chat(sampling.clone()), sampling.clone()),
        (gemini_path, gemini, sampling.clone()),
        ("/ollama/api/generate", ollama, sampling),
        ("/sglang/generate", sglang(json!({ "temperature": 0 })), json!({ "temperature": 0.0 })),
        (
            "/sglang/generate",
            sglang(json!({ "presence_penalty": 1.5 })),
            json!({ "temperature": 1.0, "presence_penalty": 1.5 }),
        ),
        (
            "/tgi/generate",
            json!({ "inputs": "Hi", "parameters": { "frequency_penalty": 0.5, "seed": 3 } }),
            json!({ "temperature": 0.0, "frequency_penalty": 0.5, "seed": 3 }),
        ),
    ];
    let said = json!({ "choices": [{ "text": "Yes.", "finish_reason": "stop" }] }).to_string();
    let (url, served) = upstream(vec![(200, said); table.len()]);
    let upstream = Some(Upstream { url, model: Some("real".to_owned()), api_key: None });
    let server = start(Settings { upstream, ..Settings::default() });
    for (path, body, _) in &table {
        let got = post(&server, path, body);
        assert_eq!(got.status, 200, "{path}: {}", got.text());
    }
    for (seen, (path, _, expected)) in served.join().unwrap().iter().zip(&table) {
        let sent = seen.split_once("\r\n\r\n").unwrap().1;
        let mut sent: serde_json::Value = serde_json::from_str(sent).unwrap();
        let sampling = ["temperature", "top_p", "frequency_penalty", "presence_penalty", "seed"];
        sent.as_object_mut().unwrap().retain(|name, _| sampling.contains(&name.as_str()));
        assert_eq!(&sent, expected, "{path}");
    }
}
