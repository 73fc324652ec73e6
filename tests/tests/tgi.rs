//! The TGI plugin against its fake server: what one encodes the other accepts, and the numbers come out.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{collections::VecDeque, sync::Arc, time::Duration};

use host_tests::fake_tgi::{Builder, FakeTgi, Fault, model};
use http_body_util::{BodyExt, Full};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use plugin_api::{
    Answer, Completion, Error, ErrorKind, FinishReason, Generate, Likelihood, Loglikelihood,
    Message, Prompt, Request, Rolling,
    message::{
        Action, CallRef, Event, HeaderPart, HeaderValue, Http, OpenHead, ReplyHead, Str,
        TransportError,
    },
    testkit::{Driver, Pushed, failure, open_with},
};
use serde_json::json;
use tgi::Tgi;
use tokio::net::TcpStream;

/// The key that stands for whatever slot a header names.
const KEY: &str = "s3cret";

fn plugin(fake: &FakeTgi) -> Arc<Tgi> {
    let config = json!({ "base_url": fake.url() });
    let secrets = vec!["api_key".to_owned()];
    Arc::new(open_with(OpenHead { config, secrets, ..OpenHead::default() }).unwrap())
}

/// Runs a session to its end, one call after the other; the answer and the deltas.
async fn run(tgi: &Arc<Tgi>, request: Request<'_>) -> (Result<Answer, Error>, String) {
    let mut driver = Driver::new(Arc::clone(tgi));
    let mut queue: VecDeque<Pushed> = driver.start(&[request]).into();
    let mut deltas = String::new();
    while let Some(pushed) = queue.pop_front() {
        match pushed.action() {
            Action::Http(http) => queue.extend(exchange(&mut driver, &http, &pushed.body).await),
            Action::Delta(_) => deltas.push_str(std::str::from_utf8(&pushed.body).unwrap()),
            Action::Done(done) => {
                return (Ok(Answer::resolve(done.answer, &pushed.body).unwrap()), deltas);
            }
            Action::Fail(_) => return (Err(failure(&pushed).unwrap()), deltas),
            _ => {}
        }
    }
    panic!("the session ended without an answer");
}

/// Does one call as the host would, and gives its events.
async fn exchange(driver: &mut Driver<Tgi>, http: &Http<'_>, body: &[u8]) -> Vec<Pushed> {
    let broken = |_| {
        let message = Str::from("the connection broke");
        Event::TransportError(TransportError {
            call: http.call,
            kind: ErrorKind::Transport,
            message,
        })
    };
    let reply = match send(http, body).await {
        Ok(reply) => reply,
        Err(error) => return driver.event(&broken(error), b""),
    };
    let (head, mut body) = reply.into_parts();
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| (Str::from(name.as_str()), Str::from(value.to_str().unwrap())))
        .collect();
    let event = Event::Reply(ReplyHead { call: http.call, status: head.status.as_u16(), headers });
    if !http.stream {
        return match body.collect().await {
            Ok(body) => driver.event(&event, &body.to_bytes()),
            Err(error) => driver.event(&broken(error), b""),
        };
    }
    let mut pushed = driver.event(&event, b"");
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => {
                let chunk = frame.into_data().unwrap();
                pushed.extend(driver.event(&Event::Chunk(CallRef { call: http.call }), &chunk));
            }
            Err(error) => {
                pushed.extend(driver.event(&broken(error), b""));
                return pushed;
            }
        }
    }
    pushed.extend(driver.event(&Event::End(CallRef { call: http.call }), b""));
    pushed
}

async fn send(
    http: &Http<'_>,
    body: &[u8],
) -> Result<hyper::Response<hyper::body::Incoming>, hyper::Error> {
    let uri: hyper::Uri = http.url.parse().unwrap();
    let stream = TcpStream::connect(uri.authority().unwrap().as_str()).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request = hyper::Request::builder().method(&*http.method).uri(uri.path());
    for (name, value) in &http.headers {
        let value = match value {
            HeaderValue::Text(text) => text.to_string(),
            HeaderValue::Parts(parts) => parts
                .iter()
                .map(|part| match part {
                    HeaderPart::Text(text) => text,
                    HeaderPart::Secret(_) => KEY,
                })
                .collect(),
        };
        request = request.header(&**name, value);
    }
    let request = request.header("host", "fake").body(Full::new(Bytes::copy_from_slice(body)));
    sender.send_request(request.unwrap()).await
}

fn generate(prompt: Prompt<'_>) -> Generate<'_> {
    Generate {
        prompt,
        n: 1,
        max_tokens: Some(64),
        temperature: Some(0.0),
        top_p: Some(1.0),
        top_k: None,
        stop: vec!["\n\n".into()],
        seed: Some(1),
        logprobs: None,
        stream: false,
        extra: serde_json::Map::new(),
    }
}

fn completion(answer: Result<Answer, Error>) -> Completion {
    match answer {
        Ok(Answer::Completion(completion)) => completion,
        other => panic!("{other:?}"),
    }
}

fn likelihoods(answer: Result<Answer, Error>) -> Vec<Likelihood> {
    match answer {
        Ok(Answer::Likelihoods(likelihoods)) => likelihoods,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn whole_and_streamed_answers_are_the_same_and_end_before_the_stop_text() {
    let fake = FakeTgi::start().await.unwrap();
    let tgi = plugin(&fake);
    let request = generate(Prompt::Text("Q: x\nA:"));
    let whole = completion(run(&tgi, Request::Generate(request.clone())).await.0);
    let streamed = Generate { stream: true, logprobs: Some(2), ..request };
    let (streamed, deltas) = run(&tgi, Request::Generate(streamed)).await;
    let streamed = completion(streamed);
    for completion in [&whole, &streamed] {
        assert_eq!(completion.choices[0].text, " The answer is A.");
        assert_eq!(completion.choices[0].finish_reason, FinishReason::Stop);
        assert_eq!(completion.usage.prompt_tokens, Some(7));
        assert_eq!(completion.usage.completion_tokens, Some(7));
    }
    assert_eq!(deltas, " The answer is A.");
    let tokens = streamed.choices[0].logprobs.as_ref().unwrap();
    assert_eq!(tokens.iter().map(|token| &*token.token).collect::<String>(), deltas);
    assert!(tokens.iter().all(|token| token.top.len() == 2));
}

#[tokio::test]
async fn every_parameter_is_one_that_the_server_knows() {
    let fake = FakeTgi::start().await.unwrap();
    let extra = json!({
        "typical_p": 0.9, "repetition_penalty": 1.1, "frequency_penalty": 0.5, "truncate": 100,
        "watermark": true, "top_n_tokens": 2, "adapter_id": "lora",
        "grammar": { "type": "regex", "value": "a+" },
    });
    let request = Generate {
        n: 2,
        temperature: Some(0.7),
        top_p: Some(0.9),
        top_k: Some(40),
        stop: (0..6).map(|n| format!("<{n}>").into()).collect(),
        extra: extra.as_object().unwrap().clone(),
        ..generate(Prompt::Text("Q"))
    };
    let completion = completion(run(&plugin(&fake), Request::Generate(request)).await.0);
    assert_eq!(completion.choices.len(), 2);
    let seeds: Vec<_> =
        fake.requests().iter().map(|seen| seen.json()["parameters"]["seed"].clone()).collect();
    assert_eq!(seeds, [1, 2]);
}

#[tokio::test]
async fn continuations_get_the_scores_that_the_model_gives_them() {
    for (bos, context) in [(true, "Q: x\nA: "), (true, "Q: x\nA:"), (true, ""), (false, "Q: x\nA:")]
    {
        let builder = FakeTgi::builder();
        let builder = if bos { builder } else { builder.without_bos() };
        let fake = builder.start().await.unwrap();
        let continuations = vec!["yes", " no, never", "maybe so"];
        let request = Request::Loglikelihood(Loglikelihood {
            prompt: Prompt::Text(context),
            continuations: continuations.clone(),
            token_logprobs: true,
        });
        let found = likelihoods(run(&plugin(&fake), request).await.0);
        for (likelihood, continuation) in found.iter().zip(continuations) {
            let (logprob, tokens) = fake.model().score(context, continuation);
            assert_eq!(likelihood.logprob, Some(logprob), "{context:?} {continuation:?} {bos}");
            assert_eq!(likelihood.tokens as usize, tokens);
            assert!(!likelihood.boundary_merged);
        }
    }
}

#[tokio::test]
async fn a_word_that_goes_on_merges_the_boundary() {
    let fake = FakeTgi::start().await.unwrap();
    let request = Request::Loglikelihood(Loglikelihood {
        prompt: Prompt::Text("the cat"),
        continuations: vec!["nip smells"],
        token_logprobs: false,
    });
    let found = likelihoods(run(&plugin(&fake), request).await.0);
    assert!(found[0].boundary_merged);
    assert_eq!(found[0].tokens, 1);
}

#[tokio::test]
async fn chat_is_scored_behind_the_template_with_one_bos() {
    let messages = vec![Message::text("user", "Hi"), Message::text("assistant", "I say")];
    for builder in [FakeTgi::builder(), FakeTgi::builder().template_without_bos()] {
        let fake = builder.start().await.unwrap();
        let tgi = plugin(&fake);
        let text = "<|user|>\nHi\n<|assistant|>\nI say";
        let request = Request::Loglikelihood(Loglikelihood {
            prompt: Prompt::Messages(messages.clone()),
            continuations: vec![" yes"],
            token_logprobs: false,
        });
        let found = likelihoods(run(&tgi, request).await.0);
        assert_eq!(found[0].logprob, Some(fake.model().score(text, " yes").0));
        completion(
            run(&tgi, Request::Generate(generate(Prompt::Messages(messages.clone())))).await.0,
        );
        assert_eq!(fake.requests().last().unwrap().json()["inputs"], text);
    }
}

#[tokio::test]
async fn rolling_scores_all_but_the_first_token() {
    let fake = FakeTgi::start().await.unwrap();
    let text = "one two, three";
    let request = Request::Rolling(Rolling { text });
    let found = likelihoods(run(&plugin(&fake), request).await.0);
    let (logprob, tokens) = fake.model().score("", text);
    assert_eq!((found[0].logprob, found[0].tokens as usize), (Some(logprob), tokens));
}

#[tokio::test]
async fn every_failure_has_its_kind() {
    use ErrorKind::{InvalidRequest, Loading, Overloaded, RateLimited, Transport, UnexpectedReply};
    for (fault, whole, streamed) in [
        (Fault::Overloaded(Some(2)), RateLimited, RateLimited),
        (Fault::Generation, Overloaded, Overloaded),
        (Fault::Incomplete, Overloaded, Overloaded),
        (Fault::Unhealthy, Loading, Loading),
        (Fault::Page(200), UnexpectedReply, UnexpectedReply),
        (Fault::Page(502), Overloaded, Overloaded),
        (Fault::Raw(413, "length limit exceeded"), InvalidRequest, InvalidRequest),
        (Fault::ErrorEvent(3), Overloaded, Overloaded),
        (Fault::Truncated(3), UnexpectedReply, Transport),
        (Fault::Dropped(3), Transport, Transport),
    ] {
        let fake = FakeTgi::builder().fail_first(2, fault.clone()).start().await.unwrap();
        let tgi = plugin(&fake);
        for (stream, kind) in [(false, whole), (true, streamed)] {
            let request = Generate { stream, ..generate(Prompt::Text("Q")) };
            let error = run(&tgi, Request::Generate(request)).await.0.unwrap_err();
            assert_eq!(error.kind, kind, "{fault:?} {stream}: {error}");
            assert_eq!(error.retry_after_ms, matches!(fault, Fault::Overloaded(_)).then_some(2000));
        }
        completion(run(&tgi, Request::Generate(generate(Prompt::Text("Q")))).await.0);
    }
}

#[tokio::test]
async fn what_is_too_long_and_what_is_not_allowed_is_told_apart() {
    let cases: [(Builder, ErrorKind); 3] = [
        (FakeTgi::builder().window(4, 1000), ErrorKind::ContextLength),
        (FakeTgi::builder().window(1000, 60), ErrorKind::ContextLength),
        (FakeTgi::builder().api_key("another"), ErrorKind::Unauthorized),
    ];
    for (builder, kind) in cases {
        let fake = builder.start().await.unwrap();
        let request = Request::Generate(generate(Prompt::Text("one two three four")));
        assert_eq!(run(&plugin(&fake), request).await.0.unwrap_err().kind, kind);
    }
    let fake = FakeTgi::builder().api_key(KEY).without_prefill().start().await.unwrap();
    let request = Request::Rolling(Rolling { text: "one two" });
    let error = run(&plugin(&fake), request).await.0.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
}

#[tokio::test]
async fn the_server_is_described_and_its_health_told() {
    let fake = FakeTgi::builder().model_id("acme/m").window(100, 200).start().await.unwrap();
    let tgi = plugin(&fake);
    match run(&tgi, Request::Describe).await.0 {
        Ok(Answer::Description(found)) => {
            assert_eq!(found.model.as_deref(), Some("acme/m"));
            assert_eq!((found.context_tokens, found.bos.as_deref()), (Some(200), Some("bos")));
        }
        other => panic!("{other:?}"),
    }
    for ready in [true, false] {
        fake.set_healthy(ready);
        let answer = run(&tgi, Request::Health).await.0;
        assert!(matches!(answer, Ok(Answer::Health(health)) if health.ready == ready));
    }
    match run(&tgi, Request::Tokenize("a b")).await.0 {
        Ok(Answer::Tokens(ids)) => {
            let expected: Vec<_> = fake.model().tokenize("a b").iter().map(|p| p.id).collect();
            assert_eq!((ids[0], &ids), (model::BOS, &expected));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_blocking_fake_holds_requests_until_it_is_told() {
    let fake = FakeTgi::builder().text(|_| "B".into()).start_blocking().unwrap();
    fake.hold();
    let tgi = plugin(&fake);
    let worker = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let request = Request::Generate(generate(Prompt::Text("Q")));
        completion(runtime.block_on(run(&tgi, request)).0).choices[0].text.clone()
    });
    assert!(fake.wait_for(1, Duration::from_secs(30)));
    assert!(!worker.is_finished());
    fake.release();
    assert_eq!(worker.join().unwrap(), "B");
    assert_eq!((fake.generations(), fake.peak()), (1, 1));
}
