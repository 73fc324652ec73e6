//! The test kit sees what it promises to see: each fault by its name and step, and none where there is none.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, and so does the backend under test"
)]

use std::{
    future::{pending, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Poll, Waker},
    thread,
    time::Duration,
};

use plugin_api::{
    Answers, Backend, Completion, Error, ErrorKind, Generate, Held, Host, HttpRequest, Io, Level,
    Limits, Prompt, Request, Result, join_all, json,
    message::HeaderPart,
    testkit::{
        Driver, Fault, Recording, Script, Scripted, Sent, Server, Stage, drop_at_every_step,
        garbage, no_panic, open, push_raw,
    },
};

/// A backend that does as the prompt says, well or badly.
#[derive(Default)]
struct Puppet {
    spoiled: AtomicBool,
    waker: Arc<Mutex<Option<Waker>>>,
}

/// Panics when it is dropped.
struct Explosive;

impl Drop for Explosive {
    fn drop(&mut self) {
        panic!("dropped")
    }
}

impl Puppet {
    async fn ask(&self, io: &Io, path: &str) -> Result<Completion> {
        let reply = io.send(HttpRequest::get(format!("http://test{path}"))).await?;
        if !reply.is_success() {
            return Err(reply.error());
        }
        let answer: plugin_api::serde_json::Value = reply.json()?;
        let text = answer["text"].as_str().ok_or_else(|| Error::unexpected("no text"))?;
        Ok(Completion::new(text, "stop"))
    }

    async fn streamed(&self, io: &Io) -> Result<Completion> {
        let mut stream = io.stream(HttpRequest::post("http://test/stream")).await?;
        let mut text = Vec::new();
        while let Some(chunk) = stream.chunk().await? {
            text.extend_from_slice(&chunk);
        }
        let text = String::from_utf8_lossy(&text);
        io.delta(&text);
        Ok(Completion::new(text, "stop"))
    }
}

impl Backend for Puppet {
    type Config = ();

    fn open((): (), host: Host) -> Result<Self> {
        host.log(Level::Info, "nobody listens");
        Ok(Self::default())
    }

    async fn generate(&self, request: &Generate<'_>, io: &Io) -> Result<Completion> {
        let done = |text: &str| Ok(Completion::new(text.to_owned(), "stop"));
        match request.prompt.as_text()? {
            "ask" => self.ask(io, "/ask").await,
            "stream" => self.streamed(io).await,
            "both" => {
                let all = join_all([self.ask(io, "/a"), self.ask(io, "/b")]).await;
                let texts: Result<Vec<_>> = all.into_iter().collect();
                done(&texts?.iter().map(|one| one.choices[0].text.as_str()).collect::<String>())
            }
            "wait" => {
                io.wait(Duration::from_secs(90)).await;
                io.limits(Limits { requests_remaining: Some(3), ..Limits::default() });
                done("waited")
            }
            "impatient" => {
                let call = HttpRequest::get("http://test/ask").timeout(Duration::from_secs(5));
                io.send(call).await?;
                done("never")
            }
            "give up" => {
                drop(io.send(HttpRequest::get("http://test/ask")));
                done("given up")
            }
            "thread" => {
                let mut started = false;
                poll_fn(|context| {
                    if std::mem::replace(&mut started, true) {
                        return Poll::Ready(());
                    }
                    let waker = context.waker().clone();
                    drop(thread::spawn(move || waker.wake()));
                    Poll::Pending
                })
                .await;
                done("woken")
            }
            "turns" => {
                for _ in 0..20 {
                    io.again().await;
                }
                done("computed")
            }
            "panic" => panic!("on purpose"),
            "panic later" => {
                self.ask(io, "/ask").await?;
                panic!("later")
            }
            "explode" => {
                let _explosive = Explosive;
                self.ask(io, "/ask").await
            }
            "stuck" => {
                self.ask(io, "/ask").await?;
                pending().await
            }
            "spin" => loop {
                io.again().await;
            },
            "endless" => loop {
                self.ask(io, "/ask").await?;
            },
            "forget" => {
                poll_fn(|context| {
                    *self.waker.lock().unwrap_or_else(PoisonError::into_inner) =
                        Some(context.waker().clone());
                    Poll::<()>::Pending
                })
                .await;
                done("never")
            }
            "twice" => {
                push_raw(io, r#"{"fail":{"item":0,"kind":"other","message":"x"}}"#, "");
                done("twice")
            }
            "dance" => {
                push_raw(io, r#"{"dance":{}}"#, "");
                pending().await
            }
            "reuse" => {
                let call = r#"{"wait":{"call":"7","ms":1}}"#;
                push_raw(io, call, "");
                push_raw(io, call, "");
                pending().await
            }
            "linger" => {
                // Leaves its waker to a thread that uses it when the session is over.
                let waker = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
                let late = Late(waker);
                let result = self.ask(io, "/ask").await;
                drop(late);
                result
            }
            "spoil" => {
                // Leaves the backend changed if it is dropped on the way.
                let text =
                    if self.spoiled.swap(true, Ordering::SeqCst) { "spoiled" } else { "good" };
                self.ask(io, "/ask").await?;
                self.spoiled.store(false, Ordering::SeqCst);
                done(text)
            }
            "invent" => {
                let reply = io.send(HttpRequest::get("http://test/ask")).await?;
                let answer: plugin_api::serde_json::Value =
                    plugin_api::serde_json::from_slice(reply.body()).unwrap_or_default();
                done(answer["text"].as_str().unwrap_or_default())
            }
            "fragile" => {
                let reply = io.send(HttpRequest::get("http://test/ask")).await?;
                let answer: plugin_api::serde_json::Value = reply.json()?;
                done(answer["text"].as_str().unwrap())
            }
            other => Err(Error::unsupported(other)),
        }
    }

    async fn prepare(&self, held: &[Held], io: &Io) -> Result<()> {
        for held in held {
            io.free(&held.name).await?;
        }
        io.hold("machine", &json!({ "id": 7 })).await
    }

    async fn generate_batch(
        &self,
        requests: &[Generate<'_>],
        _io: &Io,
        answers: &Answers<'_, Completion>,
    ) {
        for (request, item) in requests.iter().zip(0..) {
            answers.put(item, request.prompt.as_text().map(|text| Completion::new(text, "stop")));
        }
    }
}

/// Wakes when it is dropped, a moment later.
struct Late(Waker);

impl Drop for Late {
    fn drop(&mut self) {
        let waker = self.0.clone();
        let thread = thread::spawn(move || waker.wake());
        // So that the test need not wait for it.
        drop(thread.join());
    }
}

fn stage() -> Stage<Puppet> {
    Stage::open(json!(null))
}

fn say(text: &str) -> Request<'_> {
    Request::Generate(Generate::new(Prompt::Text(text)))
}

fn hello() -> Scripted {
    Scripted::json(&json!({ "text": "hello" }))
}

fn fault(prompt: &str) -> Fault {
    let stage = stage().patience(Duration::from_millis(20)).steps(50).turns(10);
    stage.play(&[say(prompt)], hello()).unwrap_err()
}

/// What a check of the kit panics with.
fn complaint(check: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(check)).expect_err("the check must fail");
    panic.downcast_ref::<String>().unwrap().clone()
}

#[test]
fn each_fault_is_told_with_its_step() {
    assert!(
        matches!(fault("panic"), Fault::Panicked { step: 1, message } if message.contains("on purpose"))
    );
    assert!(matches!(fault("panic later"), Fault::Panicked { step: 2, .. }));
    assert!(
        matches!(fault("dance"), Fault::Protocol { step: 1, message } if message.contains("dance"))
    );
    assert!(
        matches!(fault("reuse"), Fault::Protocol { step: 1, message } if message.contains("call 7"))
    );
    assert_eq!(fault("stuck"), Fault::Stuck { step: 2 });
    assert_eq!(fault("forget"), Fault::LostWake { step: 1 });
    assert_eq!(fault("spin"), Fault::BusyWake { step: 11, turns: 11 });
    assert_eq!(fault("endless"), Fault::Endless { steps: 50 });
    assert_eq!(fault("twice"), Fault::Twice { step: 1, item: 0 });
}

#[test]
fn what_a_backend_may_do_is_no_fault() {
    let text = |prompt: &str| {
        let played = stage().ask(say(prompt), hello());
        played.completion().choices[0].text.clone()
    };
    assert_eq!(text("ask"), "hello");
    assert_eq!(text("both"), "hellohello");
    assert_eq!(text("thread"), "woken");
    assert_eq!(text("turns"), "computed");
    let played = stage().ask(say("give up"), hello());
    assert_eq!(played.cancelled, [1]);
    let played = stage().batch(&[say("a"), say("b")], hello());
    assert!(played.answers.values().all(|answer| answer.is_ok()) && played.answers.len() == 2);
}

#[test]
fn time_is_the_tests_own() {
    let played = stage().ask(say("wait"), hello());
    assert_eq!(played.waits, [Duration::from_secs(90)]);
    assert_eq!((played.elapsed, played.limits.len()), (Duration::from_secs(90), 1));

    let late = hello().after(Duration::from_secs(6));
    let played = stage().ask(say("impatient"), late);
    assert_eq!((played.error().kind, played.elapsed), (ErrorKind::Timeout, Duration::from_secs(5)));

    let played = stage().deadline(Duration::from_secs(60)).ask(say("wait"), hello());
    assert!(played.timed_out && played.answers.is_empty());
    assert_eq!(played.elapsed, Duration::from_secs(60));
}

#[test]
fn a_streamed_reply_comes_in_its_pieces_and_ends_as_it_is_told_to() {
    let reply = || Scripted::new(200, "abcdef").cut_every(4);
    let played = stage().ask(say("stream"), reply());
    assert_eq!((played.streamed(), played.steps), ("abcdef", 5));
    let played = stage().ask(say("stream"), reply().breaking(ErrorKind::Timeout));
    assert_eq!(played.error().kind, ErrorKind::Timeout);
    let played = stage().ask(say("stream"), Scripted::unreachable(ErrorKind::Transport));
    assert_eq!((played.error().kind, played.steps), (ErrorKind::Transport, 2));
}

#[test]
fn replies_that_come_together_come_in_the_order_of_the_seed() {
    let order = |seed| {
        let mut texts = ["a", "b"].into_iter();
        let server = |_: &Sent| Scripted::json(&json!({ "text": texts.next() }));
        stage().shuffled(seed).ask(say("both"), server).completion().choices[0].text.clone()
    };
    // Whichever comes first, each call gets its own.
    assert!((0..8).all(|seed| order(seed) == "ab"));
}

#[test]
fn a_script_is_kept_in_order_and_what_it_does_not_expect_is_a_fault() {
    let script = || Script::new([("/a", hello()), ("/b", hello())]);
    assert_eq!(stage().ask(say("both"), script()).paths(), ["/a", "/b"]);
    let fault = stage().play(&[say("ask")], script()).unwrap_err();
    let Fault::Unexpected { request, expected, .. } = fault else { panic!("{fault}") };
    assert_eq!((request.as_str(), expected.as_str()), ("GET http://test/ask", "a request of /a"));
    let mut half = script();
    stage().ask(say("ask"), |_: &Sent| half.answer(&sent("/a")));
    assert_eq!(half.left(), 1);
}

fn sent(path: &str) -> Sent {
    Sent {
        call: 1,
        method: "POST".into(),
        url: format!("http://test{path}"),
        headers: vec![
            ("x-a".into(), vec![HeaderPart::Text("b".into())]),
            ("x-key".into(), vec![HeaderPart::Secret("key".into())]),
        ],
        body: br#"{"a":[{"b":1}],"c":"{key}"}"#.to_vec(),
        stream: false,
        timeout: Duration::ZERO,
        reply_headers: Vec::new(),
    }
}

#[test]
fn assertions_on_a_request_say_what_they_found() {
    let sent = sent("/x");
    assert_eq!(sent.header("x-key").as_deref(), Some("<key>"));
    sent.assert_fields(&["a.b", "c"]);
    let says = complaint(|| sent.assert_fields(&["a", "c"]));
    assert!(says.starts_with("POST http://test/x: ") && says.contains("`a.b`"), "{says}");
    let says = complaint(|| sent.assert_secrets(&[]));
    assert!(says.contains(r#"found [("x-key", "key")]"#), "{says}");
    let says = complaint(|| sent.assert_secret("authorization", "key"));
    assert!(says.contains("expected the secrets"), "{says}");
    // The right header, and a body that hopes for it too.
    let says = complaint(|| sent.assert_secret("x-key", "key"));
    assert!(says.contains("`{key}` stands in a text"), "{says}");
}

#[test]
fn what_is_held_is_told_after_the_session() {
    let before = Held { name: "old".into(), note: json!(1) };
    let played = stage().ask(Request::Prepare(vec![before]), hello());
    assert_eq!(played.held, [Held { name: "machine".into(), note: json!({ "id": 7 }) }]);
}

#[test]
fn a_session_is_ended_at_each_of_its_steps() {
    assert_eq!(drop_at_every_step(stage, &[say("both")], hello), 4);
    let each = |prompt: &'static str| {
        complaint(move || assert_eq!(drop_at_every_step(stage, &[say(prompt)], hello), 0))
    };
    let says = each("explode");
    assert!(says.contains("panicked") && says.contains("dropped"), "{says}");
    let says = each("spoil");
    assert!(says.contains("ended after 1 events") && says.contains("spoiled"), "{says}");
    let says = each("linger");
    assert!(says.contains("woken later"), "{says}");
}

#[test]
fn an_end_by_hand_tells_of_a_destructor_that_panics() {
    let puppet: Puppet = open(json!(null)).unwrap();
    let mut driver = Driver::new(Arc::new(puppet));
    driver.start(&[say("explode")]);
    assert!(driver.end().unwrap_err().contains("dropped"));
}

#[test]
fn garbage_is_told_from_answers() {
    let tried = garbage(stage, &[say("ask")], hello);
    assert_eq!(tried.exchanges, 1);
    assert!(tried.cases > 200 && tried.failed > tried.cases / 2, "{tried:?}");
    let each = |prompt: &'static str| {
        complaint(move || assert_eq!(garbage(stage, &[say(prompt)], hello).cases, 0))
    };
    let says = each("invent");
    assert!(says.contains("an answer that the server did not give"), "{says}");
    let says = each("fragile");
    assert!(says.contains("GET http://test/ask") && says.contains("panicked"), "{says}");
    let says = each("unheard of");
    assert!(says.contains("before any reply is broken"), "{says}");
}

#[test]
fn no_panic_names_the_seed() {
    no_panic(0..200, stage, hello);
    struct Brittle;
    impl Backend for Brittle {
        type Config = ();
        fn open((): (), _: Host) -> Result<Self> {
            Ok(Self)
        }
        async fn generate(&self, request: &Generate<'_>, _: &Io) -> Result<Completion> {
            let text = request.prompt.as_text()?;
            Ok(Completion::new(text[..1].to_owned(), "stop"))
        }
    }
    let says = complaint(|| no_panic(0..500, || Stage::<Brittle>::open(json!(null)), hello));
    assert!(says.starts_with("seed ") && says.contains("panicked"), "{says}");
}

#[test]
fn a_recording_of_the_host_answers_what_was_recorded_and_nothing_else() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/recordings/plugins.jsonl");
    let recording = Recording::read(path).unwrap();
    let mut server = recording.backend("tgi", "http://elsewhere/");
    assert!(server.exchanges() >= 3);
    let asked = |method: &str, url: &str, body: &str| Sent {
        method: method.into(),
        url: url.into(),
        body: body.into(),
        ..sent("/")
    };
    let known = asked("POST", "http://elsewhere/tokenize", r#"{"inputs":"a"}"#);
    assert!(server.answer(&known).is_some() && server.answer(&known).is_some());
    for (method, url, body) in [
        ("POST", "http://elsewhere/tokenize", r#"{"inputs":"c"}"#),
        ("GET", "http://elsewhere/tokenize", r#"{"inputs":"a"}"#),
        ("POST", "http://other/tokenize", r#"{"inputs":"a"}"#),
    ] {
        assert!(server.answer(&asked(method, url, body)).is_none(), "{method} {url}");
    }
    assert!(
        server.expected().contains("GET /info, POST /generate_stream, POST /tokenize"),
        "{}",
        server.expected()
    );
    assert_eq!(recording.backend("nobody", "http://x").exchanges(), 0);
    assert!(Recording::read("/nowhere.jsonl").unwrap_err().starts_with("/nowhere.jsonl: "));
}
