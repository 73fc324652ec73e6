//! The fake's routes and connections.

use std::{
    io,
    sync::{Arc, PoisonError, atomic::Ordering},
};

use http_body_util::BodyExt;
use hyper::{
    Method, Request, Response,
    body::{Bytes, Incoming},
    header::{AUTHORIZATION, CONTENT_TYPE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{net::TcpListener, task::JoinSet};

use super::{
    Fault, Seen, Shared, model,
    reply::{self, Cut, Frames, Generation, Refusal, TextToken},
    request::{self, Chat, Generate},
};

/// A reply, or none at all: then the connection breaks.
type Answer = Result<Response<Frames>, io::Error>;

/// Serves connections until it is aborted, and they with it.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        // A connection that is not sped up still works.
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request| serve(Arc::clone(&shared), request));
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(shared: Arc<Shared>, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    let (route, authorization) = (head.uri.path(), header(AUTHORIZATION));
    if shared.builder.record {
        let seen = Seen {
            route: route.to_owned(),
            body: body.clone(),
            authorization: authorization.map(str::to_owned),
        };
        shared.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
    }
    let guarded = matches!(route, "/generate" | "/generate_stream" | "/tokenize");
    if guarded && !admitted(&shared, authorization) {
        return Ok(Refusal::text(401, String::new()).into_response());
    }
    let content_type = header(CONTENT_TYPE).unwrap_or("");
    let answer = match (&head.method, route) {
        (&Method::POST, "/generate") => return generate(&shared, content_type, body, false).await,
        (&Method::POST, "/generate_stream") => {
            return generate(&shared, content_type, body, true).await;
        }
        (&Method::POST, "/tokenize") => tokenize(&shared, content_type, &body),
        (&Method::POST, "/chat_tokenize") => chat_tokenize(&shared, content_type, &body),
        (&Method::GET, "/info") => Ok(info(&shared)),
        (&Method::GET, "/health") if shared.healthy.load(Ordering::Relaxed) => Ok(reply::empty()),
        (&Method::GET, "/health") => Err(Refusal::json(503, "unhealthy", "healthcheck")),
        _ => Err(Refusal::text(404, String::new())),
    };
    Ok(answer.unwrap_or_else(Refusal::into_response))
}

/// TGI compares in lower case.
fn admitted(shared: &Shared, authorization: Option<&str>) -> bool {
    shared.builder.api_key.as_ref().is_none_or(|key| {
        let expected = format!("bearer {}", key.to_lowercase());
        authorization.is_some_and(|given| given.to_lowercase() == expected)
    })
}

fn tokenize(
    shared: &Shared,
    content_type: &str,
    body: &Bytes,
) -> Result<Response<Frames>, Refusal> {
    let request: Generate = request::read(content_type, body)?;
    let tokens = shared.builder.model.tokenize(&request.inputs);
    let tokens: Vec<TextToken<'_>> = tokens.into_iter().map(TextToken::from).collect();
    Ok(reply::json(&tokens))
}

fn chat_tokenize(
    shared: &Shared,
    content_type: &str,
    body: &Bytes,
) -> Result<Response<Frames>, Refusal> {
    let chat: Chat = request::read(content_type, body)?;
    let messages = chat.messages.iter().map(|m| (m.role.as_str(), m.content.as_str()));
    let text = shared.builder.model.template(messages);
    // The chat route adds nothing to what the template wrote.
    let tokens: Vec<TextToken<'_>> =
        model::pieces(&text).into_iter().map(TextToken::from).collect();
    Ok(reply::json(&json!({ "tokenize_response": tokens, "templated_text": text })))
}

fn info(shared: &Shared) -> Response<Frames> {
    let server = &shared.builder;
    reply::json(&json!({
        "model_id": server.model_id,
        "model_sha": null,
        "model_pipeline_tag": "text-generation",
        "max_concurrent_requests": server.max_concurrent_requests,
        "max_best_of": 2,
        "max_stop_sequences": server.max_stop_sequences,
        "max_input_tokens": server.max_input_tokens,
        "max_total_tokens": server.max_total_tokens,
        "validation_workers": 2,
        "max_client_batch_size": 4,
        "router": "text-generation-router",
        "version": "3.3.7",
        "sha": null,
        "docker_label": null,
    }))
}

/// Counts a generation for as long as it is under way.
struct UnderWay<'a>(&'a Shared);

impl<'a> UnderWay<'a> {
    fn enter(shared: &'a Shared) -> Result<Self, Refusal> {
        let now = shared.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        let entered = Self(shared);
        if now > shared.builder.max_concurrent_requests {
            return Err(overloaded(None));
        }
        shared.peak.fetch_max(now, Ordering::Relaxed);
        Ok(entered)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn generate(shared: &Shared, content_type: &str, body: Bytes, stream: bool) -> Answer {
    let number = shared.generations.fetch_add(1, Ordering::Relaxed) + 1;
    shared.arrived.send_modify(|count| *count += 1);
    let server = &shared.builder;
    let request: Generate = match request::read(content_type, &body) {
        Ok(request) => request,
        Err(refusal) => return Ok(refusal.into_response()),
    };
    let _under_way = match UnderWay::enter(shared) {
        Ok(entered) => entered,
        Err(refusal) => return Ok(refusal.into_response()),
    };
    let mut input = server.model.tokenize(&request.inputs);
    if let Some(most) = request.parameters.truncate {
        input.drain(..input.len().saturating_sub(most));
    }
    if let Err(refusal) = request.validate(server, input.len(), stream) {
        return Ok(refusal.into_response());
    }
    // The sender lives in `shared`, so the wait cannot fail.
    let _ = shared.held.subscribe().wait_for(|held| !held).await;
    if !server.latency.is_zero() {
        tokio::time::sleep(server.latency).await;
    }
    let cut = match (server.faults)(number, &request.inputs) {
        None => None,
        Some(fault) => match misbehave(fault, stream).await? {
            Misdeed::Reply(response) => return Ok(response),
            Misdeed::Cut(cut) => Some(cut),
        },
    };
    let says = (server.text)(&request.inputs);
    let generation = Generation::new(&request, input, &says);
    Ok(if stream { generation.stream(server, cut.as_ref()) } else { generation.whole(server) })
}

enum Misdeed {
    Reply(Response<Frames>),
    Cut(Cut),
}

async fn misbehave(fault: Fault, stream: bool) -> Result<Misdeed, io::Error> {
    let failed = || Refusal::json(424, "Request failed during generation: on demand", "generation");
    let refusal = match fault {
        Fault::Overloaded(seconds) => overloaded(seconds),
        Fault::Generation => failed(),
        Fault::Incomplete => Refusal::json(500, "Incomplete generation", "incomplete_generation"),
        Fault::Unhealthy => Refusal::json(503, "unhealthy", "healthcheck"),
        Fault::Page(status) => Refusal::page(status),
        Fault::Raw(status, body) => Refusal::text(status, body.to_owned()),
        Fault::ErrorEvent(after) if stream => {
            return Ok(Misdeed::Cut(Cut { after, error: true, breaks: false }));
        }
        Fault::ErrorEvent(_) => failed(),
        Fault::Truncated(after) if stream => {
            return Ok(Misdeed::Cut(Cut { after, error: false, breaks: false }));
        }
        Fault::Truncated(_) => return Ok(Misdeed::Reply(reply::empty())),
        Fault::Dropped(after) if stream => {
            return Ok(Misdeed::Cut(Cut { after, error: false, breaks: true }));
        }
        Fault::Dropped(_) => return Err(io::Error::other("the connection breaks on demand")),
        Fault::Silence => std::future::pending().await,
    };
    Ok(Misdeed::Reply(refusal.into_response()))
}

fn overloaded(seconds: Option<u64>) -> Refusal {
    Refusal::json(429, "Model is overloaded", "overloaded").after(seconds)
}
