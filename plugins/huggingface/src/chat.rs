//! Chat completions: of the router, and of endpoints whose engine speaks them. The wire is [`wire::openai`]'s; here is
//! which parameters are sent, and how a reply comes, whole or in events.

use std::time::Duration;

use plugin_api::{
    Changed, Completion, Error, ErrorKind, Generate, HttpRequest, Io, Reply, Result, SseParser,
    join_all,
};
use wire::openai::{
    Chat, Collector, Dialect, Parameters, Prefill, Reading, completion, failure, limits,
};

use crate::{call::Caller, settings::ChatDefaults};

/// Most stop texts that the wire takes. wire.md 4.1.
const MAX_STOPS: usize = 4;
/// Most alternatives a token. wire.md 4.1.
const MAX_ALTERNATIVES: u32 = 20;
/// As much of a streamed reply as is kept until its first event, to tell what it is if none comes.
const KEPT_BYTES: usize = 4096;

/// A server of chat completions.
#[derive(Debug)]
pub struct ChatServer {
    caller: Caller,
    /// The route, absolute.
    url: String,
    model: String,
    defaults: ChatDefaults,
    dialect: Dialect,
    /// Whether what is not set is sent as "off": the server would fill it from the model's own generation
    /// configuration, which changes scores.
    explicit: bool,
}

/// A generation request translated, but for its prompt.
#[derive(Debug)]
struct Translated {
    parameters: Parameters,
    reading: Reading,
    changed: Vec<Changed>,
}

impl ChatServer {
    /// The server whose API is at `base`, version included.
    pub fn new(caller: Caller, base: &str, model: String, defaults: ChatDefaults) -> Self {
        Self {
            caller,
            url: format!("{base}/chat/completions"),
            model,
            defaults,
            dialect: Dialect { stream_usage: true, ..Dialect::default() },
            explicit: false,
        }
    }

    /// For vLLM, SGLang and llama.cpp, which know more of the wire than OpenAI's own part (wire.md 4.1).
    #[must_use]
    pub fn with_an_open_engine(mut self, prefill: Prefill) -> Self {
        self.dialect.prefill = prefill;
        self.explicit = true;
        self
    }

    /// The model's name as it is sent.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Generates.
    ///
    /// # Errors
    /// What [`failure`] makes of a reply; `unsupported` and `invalid_request` for a parameter that cannot be sent.
    pub async fn generate(&self, request: &Generate<'_>, io: &Io) -> Result<Completion> {
        let Translated { mut parameters, mut reading, mut changed } = self.translated(request)?;
        let wanted = request.n.max(1);
        let (calls, each) = if self.defaults.separate_choices { (wanted, 1) } else { (1, wanted) };
        reading.n = each;
        parameters.n = Some(each);
        let mut under_way = Vec::new();
        for number in 0..calls {
            parameters.seed =
                request.seed.map(|seed| seed.wrapping_add(u64::from(number)) & SEED_BITS);
            // Deltas are an item's, not a choice's: only the first call is streamed.
            let stream = request.stream && number == 0;
            let chat = Chat::new(&self.dialect, &self.model, &request.prompt, &parameters, stream)?;
            if number == 0 && chat.prefix_is_a_turn() {
                changed.push(change(
                    "prompt",
                    "its last message, the beginning of the answer, was sent as a turn of its own: this \
                     wire cannot say that it is to be continued"
                        .to_owned(),
                ));
            }
            let call = self.caller.dress(HttpRequest::post(self.url.as_str()));
            let call = wire::json::body(call, &chat)?;
            let reading = reading.clone();
            under_way.push(async move {
                if stream {
                    streamed(call, reading, io).await
                } else {
                    whole(call, &reading, io).await
                }
            });
        }
        let mut all = Completion::default();
        for answer in join_all(under_way).await {
            add(&mut all, answer?);
        }
        changed.append(&mut all.changed);
        Ok(Completion { changed, ..all })
    }

    fn translated(&self, request: &Generate<'_>) -> Result<Translated> {
        let defaults = &self.defaults;
        let mut changed = Vec::new();
        let mut parameters = Parameters {
            max_tokens: request.max_tokens.or(defaults.max_tokens),
            temperature: request.temperature.or(defaults.temperature),
            top_p: request.top_p.or(defaults.top_p),
            top_k: request.top_k.or(defaults.top_k).map(i64::from).filter(|k| *k > 0),
            min_p: defaults.min_p,
            presence_penalty: defaults.presence_penalty,
            frequency_penalty: defaults.frequency_penalty,
            repetition_penalty: defaults.repetition_penalty,
            logprobs: request.logprobs,
            reasoning_effort: defaults.reasoning_effort.clone(),
            ..Parameters::default()
        };
        parameters.add_extra(&defaults.extra_body)?;
        for (name, value) in &request.extra {
            parameters.set(name, value)?;
        }
        if parameters.temperature.is_some_and(|t| !t.is_finite() || t < 0.0) {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                "temperature: expected 0 (greedy) or more",
            ));
        }
        if request.seed.is_some_and(|seed| seed > SEED_BITS) {
            changed.push(change("seed", "its highest bit was dropped: the wire has 63".to_owned()));
        }
        if let Some(wanted) = parameters.logprobs.filter(|n| *n > MAX_ALTERNATIVES) {
            parameters.logprobs = Some(MAX_ALTERNATIVES);
            changed.push(change(
                "logprobs",
                format!("{MAX_ALTERNATIVES} alternatives a token instead of {wanted}: the wire has no more"),
            ));
        }
        if self.explicit {
            parameters.top_p.get_or_insert(1.0);
            parameters.top_k.get_or_insert(-1);
            parameters.min_p.get_or_insert(0.0);
            parameters.repetition_penalty.get_or_insert(1.0);
        }
        let stop = stops(request, &mut changed);
        parameters.stop = stop.iter().take(MAX_STOPS).cloned().collect();
        let reading = Reading { stop, think_tags: true, logprobs: parameters.logprobs, n: 1 };
        Ok(Translated { parameters, reading, changed })
    }
}

/// The bits of a seed that the wire has.
const SEED_BITS: u64 = i64::MAX as u64;

/// All stop texts that the answer is cut at.
fn stops(request: &Generate<'_>, changed: &mut Vec<Changed>) -> Vec<String> {
    let given = request.stop.iter().filter(|stop| !stop.is_empty());
    let stop: Vec<String> = given.map(|stop| stop.clone().into_owned()).collect();
    if stop.len() < request.stop.len() {
        changed.push(change(
            "stop",
            "empty stop texts dropped: they would end every answer".to_owned(),
        ));
    }
    if stop.len() > MAX_STOPS {
        changed.push(change(
            "stop",
            format!(
                "only the first {MAX_STOPS} of {} were sent, the wire takes no more; the answer is cut at \
                 all of them",
                stop.len()
            ),
        ));
    }
    stop
}

/// Adds the choices of one call, and what it cost, to those of the others.
fn add(all: &mut Completion, one: Completion) {
    all.usage.add(one.usage);
    all.choices.extend(one.choices);
    all.model = all.model.take().or(one.model);
    for change in one.changed {
        if !all.changed.contains(&change) {
            all.changed.push(change);
        }
    }
}

async fn whole(call: HttpRequest<'_>, reading: &Reading, io: &Io) -> Result<Completion> {
    let reply = io.send(call).await?;
    pass_limits_on(&reply, io);
    completion(&reply, reading)
}

async fn streamed(call: HttpRequest<'_>, reading: Reading, io: &Io) -> Result<Completion> {
    let mut stream = io.stream(call).await?;
    pass_limits_on(stream.head(), io);
    if !stream.head().is_success() {
        return Err(failure::of(&stream.collect().await?));
    }
    let mut events = SseParser::default();
    let mut collector = Collector::new(reading);
    // What came before the first event.
    let mut kept = Some(Vec::new());
    let mut whole = false;
    while !whole {
        let Some(chunk) = stream.chunk().await? else { break };
        if let Some(kept) = &mut kept {
            let room = KEPT_BYTES.saturating_sub(kept.len());
            kept.extend_from_slice(chunk.get(..room.min(chunk.len())).unwrap_or_default());
        }
        for event in events.push(&chunk) {
            kept = None;
            whole = collector.take(&event)?;
            if whole {
                break;
            }
        }
        let text = collector.delta();
        if !text.is_empty() {
            io.delta(&text);
        }
    }
    if whole {
        let completion = collector.finish()?;
        // A proxy may keep the stream open; the answer is whole without its end.
        stream.drain(io, Duration::from_millis(100)).await;
        return Ok(completion);
    }
    if let Some(event) = events.finish() {
        // An event that the end of the stream cut off is no event, but one without its blank line is.
        if collector.take(&event).is_ok() {
            kept = None;
        }
    }
    match kept.filter(|kept| !kept.trim_ascii().is_empty()) {
        Some(body) => Err(failure::in_body(&body).unwrap_or_else(|| {
            Error::unexpected("the reply to a streamed request holds no events").with_excerpt(&body)
        })),
        None => collector.finish(),
    }
}

fn pass_limits_on(reply: &Reply, io: &Io) {
    if let Some(limits) = limits::of(reply) {
        io.limits(limits);
    }
}

fn change(parameter: &str, detail: String) -> Changed {
    Changed { parameter: parameter.to_owned(), detail }
}
