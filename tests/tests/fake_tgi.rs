//! The fake TGI server itself: what it refuses, in the server's own words, and how fast it is.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking")]

use host_tests::fake_tgi::FakeTgi;
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

type Sender = SendRequest<Full<Bytes>>;

async fn connect(fake: &FakeTgi) -> Sender {
    let stream = TcpStream::connect(fake.url().strip_prefix("http://").unwrap()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn post(sender: &mut Sender, route: &str, kind: &str, body: &'static str) -> (u16, Bytes) {
    let request = hyper::Request::post(route)
        .header("host", "fake")
        .header("content-type", kind)
        .body(Full::new(Bytes::from_static(body.as_bytes())))
        .unwrap();
    let reply = sender.send_request(request).await.unwrap();
    let status = reply.status().as_u16();
    (status, reply.into_body().collect().await.unwrap().to_bytes())
}

const JSON: &str = "application/json";

#[tokio::test]
async fn it_refuses_in_the_servers_own_words() {
    let fake = FakeTgi::builder().api_key("key").start().await.unwrap();
    let (status, body) = post(&mut connect(&fake).await, "/generate", JSON, "{}").await;
    assert_eq!((status, body.len()), (401, 0));

    let fake = FakeTgi::builder().window(6, 1000).start().await.unwrap();
    let mut sender = connect(&fake).await;
    for (kind, body, status, says) in [
        (JSON, r#"{"inputs":"#, 400, "Failed to parse the request body as JSON"),
        ("text/plain", "{}", 415, "Expected request with"),
        (JSON, r#"{"inputs":1}"#, 422, "Failed to deserialize the JSON body"),
        (JSON, r#"{"inputs":"a","parameters":{"seed":-1}}"#, 422, "Failed to deserialize"),
        (JSON, r#"{"inputs":"a","parameters":{"stop_sequences":[]}}"#, 422, "unknown field"),
        (JSON, r#"{"inputs":"a","stream":true}"#, 422, "unknown field"),
        (JSON, r#"{"inputs":""}"#, 422, "`inputs` cannot be empty"),
        (JSON, r#"{"inputs":"a b c d e f g"}"#, 422, "must have less than 6 tokens. Given: 8"),
        (JSON, r#"{"inputs":"a","parameters":{"top_p":1.0}}"#, 422, "`top_p` must be"),
        (JSON, r#"{"inputs":"a","parameters":{"temperature":0}}"#, 422, "`temperature` must be"),
        (JSON, r#"{"inputs":"a","parameters":{"max_new_tokens":0}}"#, 422, "`max_new_tokens` must"),
        (JSON, r#"{"inputs":"a","parameters":{"max_new_tokens":999}}"#, 422, "must be <= 1000"),
        (JSON, r#"{"inputs":"a","parameters":{"top_n_tokens":6}}"#, 422, "`top_n_tokens` must"),
        (JSON, r#"{"inputs":"a","parameters":{"best_of":2}}"#, 422, "you must use sampling"),
        (JSON, r#"{"inputs":"a","parameters":{"stop":["1","2","3","4","5"]}}"#, 422, "up to 4"),
    ] {
        let found = post(&mut sender, "/generate", kind, body).await;
        let text = std::str::from_utf8(&found.1).unwrap();
        assert_eq!(found.0, status, "{body}: {text}");
        assert!(text.contains(says), "{body}: {text}");
    }
    let body = r#"{"inputs":"a","parameters":{"decoder_input_details":true}}"#;
    let (status, _) = post(&mut sender, "/generate_stream", JSON, body).await;
    assert_eq!(status, 422);
}

#[tokio::test]
async fn an_answer_holds_its_stop_text_and_ends_as_it_should() {
    let fake = FakeTgi::builder().text(|_| " A b|c".into()).start().await.unwrap();
    let mut sender = connect(&fake).await;
    for (body, text, reason, tokens) in [
        (
            r#"{"inputs":"a","parameters":{"details":true,"stop":["|"]}}"#,
            " A b|",
            "stop_sequence",
            3,
        ),
        (r#"{"inputs":"a","parameters":{"details":true}}"#, " A b|c", "eos_token", 5),
        (
            r#"{"inputs":"a","parameters":{"details":true,"max_new_tokens":3,"stop":["|"]}}"#,
            " A b|",
            "length",
            3,
        ),
    ] {
        let (_, body) = post(&mut sender, "/generate", JSON, body).await;
        let reply: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(reply["generated_text"], text);
        assert_eq!(reply["details"]["finish_reason"], reason);
        assert_eq!(reply["details"]["generated_tokens"], tokens);
    }
}
