//! Every shipped plugin's decoding, through whole sessions: replies that a server could never mean must end in an answer
//! or a typed failure.
//!
//! An input is a letter for the case (a configuration and a request), a letter for the status and the pieces in which
//! bodies come, and the replies, one after the other with the byte 0x1e between them; the last is given to all further requests.

use std::sync::Arc;

use plugin_api::{
    Backend, Generate, Loglikelihood, Message, Prompt, Request, Rolling,
    testkit::{Played, Scripted, Sent, Stage, granted, open_with},
};
use serde_json::{Value, json};

use crate::Target;

/// Statuses that plugins tell apart.
const STATUSES: [u16; 4] = [200, 400, 429, 503];

/// Each of these configurations with each of these requests.
fn target<B: Backend + Send + Sync + 'static>(
    configs: Vec<Value>,
    requests: Vec<Request<'static>>,
) -> Target {
    let open = |config: Value| match open_with::<B>(granted(config, &[])) {
        Ok(backend) => Arc::new(backend),
        Err(error) => panic!("the backend does not open: {error}"),
    };
    // Opened once: some read large tables.
    let backends: Vec<Arc<B>> = configs.into_iter().map(open).collect();
    Box::new(move |bytes| {
        let [case, form, replies @ ..] = bytes else { return };
        let case = usize::from(case.wrapping_sub(b'a'));
        let Some(backend) = backends.get(case % backends.len()) else { return };
        let Some(request) = requests.get(case / backends.len() % requests.len()) else { return };
        let form = usize::from(form.wrapping_sub(b'a'));
        let status = STATUSES[form % STATUSES.len()];
        let cut = 1 + form / STATUSES.len();
        // Streams are the same however they are cut. A backend may remember what a server said, so that only the
        // whole of two sessions is comparable where nothing was asked before.
        let first = played(backend, request, status, replies, None);
        let second = played(backend, request, status, replies, Some(cut));
        if first.requests.len() == 1 && second.requests.len() == 1 {
            assert_eq!(outcome(&first), outcome(&second), "cut every {cut} bytes");
        }
    })
}

/// Answers, and what streamed; a failure's words may tell where it happened.
fn outcome(played: &Played) -> String {
    let answers = played.answers.values().map(|answer| answer.as_ref().map_err(|error| error.kind));
    format!("{:?}", answers.collect::<Vec<_>>())
}

fn played<B: Backend>(
    backend: &Arc<B>,
    request: &Request<'_>,
    status: u16,
    replies: &[u8],
    cut: Option<usize>,
) -> Played {
    let mut replies = replies.split(|byte| *byte == 0x1e);
    let mut last: &[u8] = b"";
    let server = |_: &Sent| {
        last = replies.next().unwrap_or(last);
        let reply = Scripted::new(status, last);
        match cut {
            Some(bytes) => reply.cut_every(bytes),
            None => reply,
        }
    };
    match Stage::new(Arc::clone(backend)).play(std::slice::from_ref(request), server) {
        Ok(played) => played,
        Err(fault) => panic!("{fault}"),
    }
}

fn generate(stream: bool, chat: bool, logprobs: Option<u32>) -> Request<'static> {
    let prompt = match chat {
        true => Prompt::Messages(vec![Message::text("user", "Q")]),
        false => Prompt::Text("Q"),
    };
    Request::Generate(Generate {
        stream,
        logprobs,
        max_tokens: Some(8),
        temperature: Some(0.0),
        stop: vec!["END".into()],
        ..Generate::new(prompt)
    })
}

fn score() -> Request<'static> {
    Request::Loglikelihood(Loglikelihood {
        prompt: Prompt::Text("Q: x\nA:"),
        continuations: vec![" yes", " no"],
        token_logprobs: true,
    })
}

fn generations() -> Vec<Request<'static>> {
    vec![generate(false, true, Some(1)), generate(true, true, Some(1)), Request::Describe]
}

/// What a server that shows its model's log-probabilities is asked.
fn local() -> Vec<Request<'static>> {
    vec![
        generate(false, false, Some(1)),
        generate(true, false, Some(1)),
        Request::Describe,
        generate(false, true, None),
        score(),
        Request::Rolling(Rolling { text: "Q: x" }),
        Request::Tokenize("a b"),
        Request::Health,
    ]
}

/// The backends that the example run files describe.
pub(crate) fn custom() -> Target {
    let openai = described(include_str!("../../../config/piqa_custom.toml"));
    let ollama = described(include_str!("../../../config/ollama.toml"));
    target::<custom::Custom>(openai.chain(ollama).collect(), generations())
}

/// The configuration of each described backend of a run file, as the host would pass it on.
fn described(run_file: &str) -> impl Iterator<Item = Value> {
    let run: Value = toml::from_str(run_file).expect("a run file");
    let backends = run["backend"].as_array().cloned().unwrap_or_default();
    backends.into_iter().filter(|backend| backend["plugin"] == "custom").map(|backend| {
        let mut config = backend["config"].clone();
        config["base_url"] = json!("http://server");
        config["model"] = json!("m");
        config
    })
}

pub(crate) fn huggingface() -> Target {
    let mode =
        |engine: &str| json!({ "mode": "endpoint", "base_url": "https://x", "engine": engine });
    let configs = vec![
        json!({ "model": "acme/m:novita" }),
        json!({ "mode": "serverless", "model": "acme/m" }),
        mode("tgi"),
        mode("openai"),
    ];
    target::<huggingface::HuggingFace>(configs, generations())
}

pub(crate) fn litellm() -> Target {
    let vendor = |model: &str| json!({ "model": model, "base_url": "http://127.0.0.1:9" });
    let mut requests = generations();
    requests.push(score());
    let models = ["openai/gpt-4o-mini", "anthropic/claude-haiku-4-5", "gemini/gemini-2.5-flash"];
    target::<litellm::Litellm>(models.map(vendor).to_vec(), requests)
}

pub(crate) fn sglang() -> Target {
    target::<sglang::Sglang>(vec![json!({ "base_url": "http://server" })], local())
}

pub(crate) fn tgi() -> Target {
    target::<tgi::Tgi>(vec![json!({ "base_url": "http://server" })], local())
}
