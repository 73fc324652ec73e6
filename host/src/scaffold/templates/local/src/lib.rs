//! A backend of the host that computes its answers in its own process: a model in the place of a server.
//!
//! `plugin.json` says that it is `blocking`, so the host runs it on threads of its own, as many as `max_concurrency`.
//! In return it gives the host a turn now and then ([`turn`]): deadlines and cancellation stay alive that way.

mod config;
mod model;
mod turn;

use plugin_api::{
    Backend, Changed, Completion, Error, ErrorKind, FinishReason, Generate, Health, Host, Io,
    Likelihood, Loglikelihood, Result, export_plugin,
};

pub use config::Config;
pub use model::Model;
use turn::Turns;

/// Most bytes of an answer if the request does not say.
const DEFAULT_MAX_TOKENS: u32 = 64;

/// The model that a `[[backend]]` of a run file names.
pub struct Local {
    model: Model,
}

impl Backend for Local {
    type Config = Config;

    fn open(config: Config, host: Host) -> Result<Self> {
        let wrong = |message: String| Error::new(ErrorKind::InvalidRequest, message);
        // The one file that a plugin may read is one that the run file grants it.
        let path = host.asset("text").ok_or_else(|| {
            wrong("name the text to learn from in [backend.asset.text] of the run file".to_owned())
        })?;
        let text =
            std::fs::read(path).map_err(|error| wrong(format!("{}: {error}", path.display())))?;
        config.check()?;
        Ok(Self {
            model: Model::learn(&text, config.smoothing),
        })
    }

    async fn generate(&self, request: &Generate<'_>, io: &Io) -> Result<Completion> {
        let prompt = request.prompt.as_text()?;
        let mut turns = Turns::new(io);
        let mut last = prompt.bytes().last();
        let mut answer = Vec::new();
        let mut finish_reason = FinishReason::Length;
        for _ in 0..request.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS) {
            let next = self.model.likeliest_after(last);
            answer.push(next);
            last = Some(next);
            if let Some(stop) = request.stop.iter().find(|s| answer.ends_with(s.as_bytes())) {
                answer.truncate(answer.len() - stop.len());
                finish_reason = FinishReason::Stop;
                break;
            }
            turns.worked(256).await?;
        }
        let tokens = answer.len() as u64;
        let text = String::from_utf8_lossy(&answer);
        let mut completion = Completion::new(text, finish_reason)
            .with_usage(Some(prompt.len() as u64), Some(tokens));
        // Every answer is the same: further ones are further copies.
        let one = completion.choices.clone();
        for _ in 1..request.n {
            completion.choices.extend(one.iter().cloned());
        }
        if request
            .temperature
            .is_some_and(|temperature| temperature > 0.0)
        {
            completion.changed.push(Changed {
                parameter: "temperature".to_owned(),
                detail: "always 0: this model is greedy".to_owned(),
            });
        }
        Ok(completion)
    }

    async fn loglikelihood(&self, request: &Loglikelihood<'_>, io: &Io) -> Result<Vec<Likelihood>> {
        let context = request.prompt.as_text()?;
        let mut turns = Turns::new(io);
        let mut likelihoods = Vec::new();
        for continuation in &request.continuations {
            let mut last = context.bytes().last();
            let (mut logprob, mut greedy) = (0.0, true);
            let mut each = Vec::new();
            for next in continuation.bytes() {
                let of_next = self.model.logprob(last, next);
                logprob += of_next;
                greedy &= self.model.likeliest_after(last) == next;
                if request.token_logprobs {
                    each.push(Some(of_next));
                }
                last = Some(next);
                turns.worked(256).await?;
            }
            likelihoods.push(Likelihood {
                logprob: Some(logprob),
                tokens: u32::try_from(continuation.len().max(1)).unwrap_or(u32::MAX),
                greedy: Some(greedy),
                token_logprobs: request.token_logprobs.then_some(each),
                ..Likelihood::default()
            });
        }
        Ok(likelihoods)
    }

    async fn health(&self, _io: &Io) -> Result<Health> {
        Ok(Health {
            ready: true,
            detail: String::new(),
        })
    }
}

export_plugin!(Local);
