//! The engine as a plugin: requests in, bounded steps of arithmetic, answers out.
//!
//! Between two steps the host gets a turn, so that deadlines, cancellation and other sessions stay alive.

use std::{sync::Arc, task::Poll, time::Duration};

use plugin_api::{
    Backend, Changed, Choice, Completion, Description, Error, ErrorKind, Generate, Health, Host,
    Io, Likelihood, Loglikelihood, Message, Prompt, Result, Rolling, TokenLogprob, Usage,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    chat_template::ChatMessage,
    engine::{self, Engine, EngineError, RenderedPrompt},
    generate::{FinishReason, Generation, GenerationEvent, GenerationOptions},
    rolling::RollingScoring,
    sampler::Sampling,
    score::{ScoredContinuation, Scoring},
};

/// Work between two turns for the host; the contract allows 200 ms.
const BUDGET: Duration = Duration::from_millis(50);
/// Most tokens of a choice when the request does not say.
const DEFAULT_MAX_TOKENS: usize = 256;

/// Configuration of the `local` plugin. The model itself is the asset `model`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Config {
    /// The model's name in results; by default the name that the file gives itself.
    pub model: Option<String>,
}

/// A loaded model as a backend.
pub struct Local {
    engine: Arc<Engine>,
    model: String,
}

impl Backend for Local {
    type Config = Config;

    fn open(config: Config, host: Host) -> Result<Self> {
        let path = host.asset("model").ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidRequest,
                "the model is missing: name a GGUF file in [backend.asset.model] of the run file",
            )
        })?;
        let engine = Engine::load(path).map_err(|error| {
            Error::new(ErrorKind::InvalidRequest, format!("{}: {error}", path.display()))
        })?;
        let model = config.model.unwrap_or_else(|| engine.model_name().to_owned());
        Ok(Self { engine: Arc::new(engine), model })
    }

    async fn generate(&self, request: &Generate<'_>, io: &Io) -> Result<Completion> {
        let prompt = self.prompt(&request.prompt)?;
        let mut changed = Vec::new();
        let options = options(request, io, &mut changed)?;
        let mut generation =
            Generation::new(&self.engine, prompt.as_prompt(), options).map_err(failure)?;
        let empty = Choice {
            text: String::new(),
            reasoning: None,
            finish_reason: plugin_api::FinishReason::Stop,
            logprobs: request.logprobs.map(|_| Vec::new()),
        };
        let mut choices = vec![empty; request.n.max(1) as usize];
        loop {
            match generation.step(BUDGET).map_err(failure)? {
                GenerationEvent::Working => {}
                GenerationEvent::Piece { choice, text, token } => {
                    if request.stream && choice == 0 && !text.is_empty() {
                        io.delta(&text);
                    }
                    if let Some(choice) = choices.get_mut(choice) {
                        choice.text.push_str(&text);
                        if let Some(logprobs) = &mut choice.logprobs {
                            let token_text = self.engine.tokenizer().decode(&[token.token]);
                            logprobs.push(TokenLogprob {
                                token: token_text,
                                logprob: Some(token.log_prob),
                                top: Vec::new(),
                            });
                        }
                    }
                }
                GenerationEvent::ChoiceEnd { choice, text, finish_reason } => {
                    if request.stream && choice == 0 && !text.is_empty() {
                        io.delta(&text);
                    }
                    if let Some(choice) = choices.get_mut(choice) {
                        choice.text.push_str(&text);
                        choice.finish_reason = match finish_reason {
                            FinishReason::Stop => plugin_api::FinishReason::Stop,
                            FinishReason::Length => plugin_api::FinishReason::Length,
                        };
                    }
                }
                GenerationEvent::Done(used) => {
                    let usage = Usage {
                        prompt_tokens: Some(used.prompt_tokens as u64),
                        completion_tokens: Some(used.completion_tokens as u64),
                        ..Usage::default()
                    };
                    return Ok(Completion {
                        choices,
                        usage,
                        model: Some(self.model.clone()),
                        changed,
                    });
                }
            }
            io.again().await;
        }
    }

    async fn loglikelihood(&self, request: &Loglikelihood<'_>, io: &Io) -> Result<Vec<Likelihood>> {
        let prompt = self.prompt(&request.prompt)?;
        let mut scoring = Scoring::new(&self.engine, prompt.as_prompt(), &request.continuations)
            .map_err(failure)?;
        let (context_tokens, _) = scoring.token_counts();
        let scored = loop {
            if let Poll::Ready(scored) = scoring.step(BUDGET).map_err(failure)? {
                break scored;
            }
            io.again().await;
        };
        let likelihoods = scored.iter().enumerate().map(|(index, scored)| {
            // The context is computed once, so only the first continuation is charged for it.
            let context = if index == 0 { context_tokens } else { 0 };
            likelihood(scored, context, request.token_logprobs)
        });
        Ok(likelihoods.collect())
    }

    async fn loglikelihood_rolling(&self, request: &Rolling<'_>, io: &Io) -> Result<Likelihood> {
        let mut scoring = RollingScoring::new(&self.engine, request.text, None).map_err(failure)?;
        let tokens = loop {
            if let Poll::Ready(tokens) = scoring.step(BUDGET).map_err(failure)? {
                break tokens;
            }
            io.again().await;
        };
        Ok(Likelihood {
            logprob: finite(tokens.iter().map(|token| token.log_prob).sum()),
            tokens: count(tokens.len()),
            prompt_tokens: Some(tokens.len() as u64),
            ..Likelihood::default()
        })
    }

    async fn health(&self, _io: &Io) -> Result<Health> {
        Ok(Health { ready: true, detail: String::new() })
    }

    async fn describe(&self, _io: &Io) -> Result<Description> {
        let tokenizer = self.engine.tokenizer();
        let adds_bos =
            self.engine.encode("a", false).map_err(failure)?.first().copied() == tokenizer.bos();
        Ok(Description {
            model: Some(self.model.clone()),
            engine: Some("local".to_owned()),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            context_tokens: Some(self.engine.context_length_tokens() as u64),
            bos: Some(if adds_bos { "bos" } else { "none" }.to_owned()),
            ..Description::default()
        })
    }

    async fn tokenize(&self, text: &str, _io: &Io) -> Result<Vec<u32>> {
        self.engine.encode(text, false).map_err(failure)
    }

    async fn render(&self, messages: &[Message<'_>], _io: &Io) -> Result<String> {
        self.render_chat(messages)
    }
}

impl Local {
    fn prompt(&self, prompt: &Prompt<'_>) -> Result<RenderedPrompt> {
        match prompt {
            Prompt::Text(text) => {
                Ok(RenderedPrompt { text: (*text).to_owned(), is_verbatim: false })
            }
            Prompt::Messages(messages) => {
                Ok(RenderedPrompt { text: self.render_chat(messages)?, is_verbatim: true })
            }
        }
    }

    /// The conversation as the model sees it; a last message of the assistant is a prefix of its answer.
    fn render_chat(&self, messages: &[Message<'_>]) -> Result<String> {
        let (turns, prefix) = match messages.split_last() {
            Some((last, before)) if last.role == "assistant" => (before, Some(last)),
            _ => (messages, None),
        };
        let turns = turns.iter().map(chat_message).collect::<Result<Vec<_>>>()?;
        let mut text = self.engine.render(engine::Prompt::Messages(&turns)).map_err(failure)?.text;
        if let Some(prefix) = prefix {
            text.push_str(&chat_message(prefix)?.content);
        }
        Ok(text)
    }
}

fn chat_message(message: &Message<'_>) -> Result<ChatMessage> {
    let text = message.as_text().ok_or_else(|| Error::unsupported("images"))?;
    Ok(ChatMessage::new(message.role.clone(), text))
}

fn options(
    request: &Generate<'_>,
    io: &Io,
    changed: &mut Vec<Changed>,
) -> Result<GenerationOptions> {
    if let Some(parameter) = request.extra.keys().next() {
        let message = format!(
            "the `local` plugin has no parameter `{parameter}`; remove it from the task's vendor parameters"
        );
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    if request.logprobs.is_some_and(|alternatives| alternatives > 0) {
        changed.push(Changed {
            parameter: "logprobs".to_owned(),
            detail: "the chosen tokens only, without alternatives".to_owned(),
        });
    }
    Ok(GenerationOptions {
        max_tokens: request.max_tokens.map_or(DEFAULT_MAX_TOKENS, |tokens| tokens as usize),
        stops: request.stop.iter().map(|stop| stop.clone().into_owned()).collect(),
        sampling: Sampling {
            temperature: request.temperature.unwrap_or(0.0),
            top_k: request.top_k.unwrap_or(0) as usize,
            top_p: request.top_p.unwrap_or(1.0),
            // Without a seed each sample and repeat has a draw of its own that is the same in every run.
            seed: request.seed.unwrap_or_else(|| fnv1a(io.request_id().as_bytes())),
        },
        choices: request.n.max(1) as usize,
    })
}

/// FNV-1a, 64 bits: a stable hash of a short text.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn likelihood(
    scored: &ScoredContinuation,
    context_tokens: usize,
    token_logprobs: bool,
) -> Likelihood {
    Likelihood {
        logprob: finite(scored.log_likelihood),
        tokens: count(scored.tokens.len()),
        greedy: Some(scored.is_greedy),
        boundary_merged: scored.boundary_merged,
        token_logprobs: token_logprobs
            .then(|| scored.tokens.iter().map(|token| finite(token.log_prob)).collect()),
        prompt_tokens: Some((context_tokens + scored.tokens.len()) as u64),
    }
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

fn count(tokens: usize) -> u32 {
    u32::try_from(tokens).unwrap_or(u32::MAX)
}

fn failure(error: EngineError) -> Error {
    let kind = match &error {
        EngineError::ContextLength { .. } => ErrorKind::ContextLength,
        EngineError::NoChatTemplate => ErrorKind::Unsupported,
        EngineError::EmptyContinuation { .. }
        | EngineError::NoPrefixToken
        | EngineError::ChatTemplate(_)
        | EngineError::Parameter { .. }
        | EngineError::Tokenize(_) => ErrorKind::InvalidRequest,
        EngineError::Compute(_) => ErrorKind::Other,
    };
    Error::new(kind, error.to_string())
}

plugin_api::export_plugin!(Local);
