//! A recording as it is made and as it answers, without a server.

use std::{collections::VecDeque, fs};

use bytes::Bytes;
use plugin_api::ErrorKind;

use super::*;
use crate::{secret::Lookup, transport::Body};

const KEY: &str = "sk-canary-0123456789";

/// The slot `key`, and what it holds.
fn secrets() -> (Arc<Redactor>, Secrets) {
    let slot: SecretSlot = serde_json::from_value(serde_json::json!({
        "slot": "key", "env": ["KEY"], "origins": [],
    }))
    .unwrap();
    let lookup = Lookup { variable: &|_| Some(KEY.to_owned()), home: None };
    let secrets = Secrets::resolve(&[slot], &lookup).unwrap();
    (Arc::new(Redactor::new(secrets.iter())), secrets)
}

fn asked(url: &str, body: &str) -> Asked {
    Asked {
        method: "POST".into(),
        base_url: Some("mock:tgi".into()),
        url: url.into(),
        headers: vec![("authorization".into(), "Bearer [redacted:key]".into())],
        body: Content::Text(body.into()),
    }
}

type Piece = Result<&'static str, ErrorKind>;

fn error(kind: ErrorKind) -> TransportError {
    TransportError { kind, message: format!("it is {kind}, says {KEY}"), stray: None }
}

fn pieces(pieces: &[Piece]) -> VecDeque<Result<Bytes, TransportError>> {
    pieces.iter().map(|piece| piece.map(Bytes::from).map_err(error)).collect()
}

/// Records an exchange whose reply comes in these pieces, of which `read` are read; then, if any are left, nobody
/// wants more.
async fn record(recorder: &Arc<Recorder>, request: Asked, body: &[Piece], read: usize) {
    let (redactor, secrets) = secrets();
    let mut tap = recorder.begin("b", request, true, &redactor, &secrets);
    let mut response = Response {
        status: 200,
        headers: vec![("x-echo".into(), KEY.into())],
        retry_after: Some(std::time::Duration::from_secs(2)),
        body: Body::recorded(pieces(body)),
    };
    tap.replied(&response);
    response.body.listen(tap);
    for _ in 0..read {
        let _ = response.body.chunk().await;
    }
}

/// What a recording says to a request: the pieces, and the error that ends them.
async fn heard(player: &Player, request: &Asked) -> (Vec<String>, Option<(ErrorKind, String)>) {
    let mut response = match player.answer("b", request) {
        Ok(response) => response,
        Err(error) => return (Vec::new(), Some((error.kind, error.message))),
    };
    let mut heard = Vec::new();
    loop {
        match response.body.chunk().await {
            Ok(Some(bytes)) => heard.push(String::from_utf8(bytes.to_vec()).unwrap()),
            Ok(None) => return (heard, None),
            Err(error) => return (heard, Some((error.kind, error.message))),
        }
    }
}

#[tokio::test]
async fn what_was_recorded_is_replayed_in_the_same_pieces_and_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.jsonl");
    let recorder = Recorder::create(&path).unwrap();
    let (_, secrets) = secrets();
    recorder.backend("b", secrets.present());
    let request = |body: &str| asked("/generate", body);
    record(&recorder, request("stream"), &[Ok("data: a\n"), Ok("\ndata: b")], 3).await;
    record(&recorder, request("broken"), &[Ok("data: a"), Err(ErrorKind::Transport)], 2).await;
    record(&recorder, request("left"), &[Ok("[DONE]"), Ok("more")], 1).await;
    let told = [Ok("{\"t\":\"is sk-can\"}"), Ok("{\"t\":\"ary-0123456789\"}")];
    record(&recorder, request("told"), &told, 3).await;
    assert_eq!(recorder.finish().unwrap(), 4);

    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains("canary") && !text.contains("012345"), "{text}");
    assert!(text.lines().all(|line| serde_json::from_str::<format::Line>(line).is_ok()));
    let player = Player::open(&path).unwrap();
    let pieces = |pieces: &[&str]| pieces.iter().map(|&piece| piece.to_owned()).collect::<Vec<_>>();
    let stream = heard(&player, &request("stream")).await;
    assert_eq!(stream, (pieces(&["data: a\n", "\ndata: b"]), None));
    let (broken, why) = heard(&player, &request("broken")).await;
    assert_eq!(broken, ["data: a"]);
    let why = why.unwrap();
    assert_eq!(why, (ErrorKind::Transport, "it is transport, says [redacted:key]".into()));
    let (left, why) = heard(&player, &request("left")).await;
    assert_eq!((left, why.unwrap().0), (pieces(&["[DONE]"]), ErrorKind::Timeout));
    let (told, why) = heard(&player, &request("told")).await;
    assert_eq!((told.concat().as_str(), why), ("{\"t\":\"is [redacted:key]\"}{\"t\":\"\"}", None));
    let response = player.answer("b", &request("stream")).unwrap();
    assert_eq!(response.headers, [("x-echo".to_owned(), "[redacted:key]".to_owned())]);
    assert_eq!(response.retry_after.map(|wait| wait.as_secs()), Some(2));
    assert_eq!(player.slots("b"), Some(&["key".to_owned()][..]));
    assert_eq!(player.slots("c"), None);
    assert_eq!(player.unknown().requests, 0);
}

#[tokio::test]
async fn the_nth_time_a_request_is_asked_it_gets_the_nth_answer_and_then_the_last_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.jsonl");
    let recorder = Recorder::create(&path).unwrap();
    let (redactor, secrets) = secrets();
    // The first is over last: what counts is when it was asked.
    let first = recorder.begin("b", asked("/a", "q"), false, &redactor, &secrets);
    record(&recorder, asked("/a", "q"), &[Ok("second")], 2).await;
    drop(first);
    record(&recorder, asked("/a", "q"), &[Ok("third")], 2).await;
    let player = Player::open(&path).unwrap();
    let mut all = Vec::new();
    for _ in 0..4 {
        let (said, why) = heard(&player, &asked("/a", "q")).await;
        all.push(why.map_or(said.concat(), |(kind, _)| kind.to_string()));
    }
    assert_eq!(all, ["timeout", "second", "third", "third"]);
}

#[tokio::test]
async fn a_request_that_was_not_recorded_names_itself_and_what_is_nearest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.jsonl");
    let recorder = Recorder::create(&path).unwrap();
    for (url, body) in [("/b", "{\"prompt\":\"two\"}"), ("/a", "{\"prompt\":\"one\"}"), ("/a", "x")]
    {
        record(&recorder, asked(url, body), &[Ok("yes")], 2).await;
    }
    let player = Player::open(&path).unwrap();
    let message = |request: Asked, backend: &str| player.answer(backend, &request).unwrap_err();
    let known = message(asked("/a", "{\"prompt\":\"ode\"}"), "b");
    assert_eq!(known.kind, ErrorKind::Other);
    for text in ["run.jsonl", "POST mock:tgi/a (16 bytes", "nearest is line 3", "from byte 12 on"] {
        assert!(known.message.contains(text), "no `{text}` in {}", known.message);
    }
    assert!(!known.message.contains("prompt"), "{}", known.message);
    let other = message(asked("/c", "{}"), "b");
    assert!(other.message.contains("POST /"), "{}", other.message);
    let nobody = message(asked("/a", "x"), "c");
    assert!(nobody.message.contains("no request of backend `c`"), "{}", nobody.message);
    let unknown = player.unknown();
    assert_eq!(unknown.requests, 3);
    // For the person at the terminal, in whose journal it is not.
    let first = unknown.first.unwrap();
    assert!(first.contains("`{\"prompt\":\"one\"}`, asked is `{\"prompt\":\"ode\"}`"), "{first}");
}

#[test]
fn a_recording_replaces_no_file_and_an_empty_one_leaves_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.jsonl");
    let recorder = Recorder::create(&path).unwrap();
    assert!(matches!(Recorder::create(&path), Err(CassetteError::Exists(_))));
    assert_eq!(recorder.finish().unwrap(), 0);
    assert!(!path.exists());
    let nowhere = folder.path().join("no/folder/run.jsonl");
    assert!(matches!(Recorder::create(&nowhere), Err(CassetteError::Write { .. })));
}

#[test]
fn what_is_no_recording_is_told_by_its_line_and_a_torn_end_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.jsonl");
    let header = "{\"recording\":{\"format\":1,\"host_version\":\"0\"}}\n";
    let backend = "{\"backend\":{\"id\":\"b\",\"slots\":[]}}\n";
    for (text, expected) in [
        (String::new(), Some((1, "it is empty"))),
        ("no json\n".to_owned(), Some((1, "expected"))),
        (backend.to_owned(), Some((1, "does not begin as one"))),
        (header.replace(":1,", ":9,"), Some((1, "format 9"))),
        (format!("{header}{backend}{{}}\n{backend}"), Some((3, "expected"))),
        (format!("{header}{backend}{{\"exchange\":{{\"se"), None),
        (header.to_owned(), None),
    ] {
        fs::write(&path, &text).unwrap();
        match (Player::open(&path), expected) {
            (Ok(_), None) => {}
            (Err(CassetteError::Malformed { line, reason, .. }), Some((expected, why))) => {
                assert_eq!(line, expected, "{text}");
                assert!(reason.contains(why), "{reason}");
            }
            (other, _) => panic!("{text}: {other:?}"),
        }
    }
    assert!(matches!(Player::open(&folder.path().join("no")), Err(CassetteError::Read { .. })));
}

#[test]
fn a_base_ends_where_a_path_begins() {
    for (url, base, expected) in [
        ("http://a:1/tgi/generate", "http://a:1/tgi", Some("/generate")),
        ("http://a:1/tgi", "http://a:1/tgi", Some("")),
        ("http://a:1/tgi?x=1", "http://a:1/tgi", Some("?x=1")),
        ("http://a:1/tgiant", "http://a:1/tgi", None),
        ("http://a:11/x", "http://a:1", None),
        ("http://b/x", "http://a", None),
    ] {
        assert_eq!(below(url, base), expected, "{url}");
    }
}
