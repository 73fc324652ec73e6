//! The log-likelihood of a whole text, for perplexity.
//!
//! lm-eval's rolling windows: each token is scored exactly once; the first window is conditioned on the prefix
//! token, and every later one sees as many of the tokens before as fit.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::cache::Cache;
use crate::engine::{Engine, EngineError};
use crate::plan;
use crate::run::Run;
use crate::score::ScoredToken;

/// A text being scored. Ask [`Self::step`] until it is ready.
pub struct RollingScoring {
    engine: Arc<Engine>,
    cache: Cache,
    tokens: Vec<u32>,
    log_probs: Vec<f64>,
    windows: VecDeque<Window>,
    current: Option<Run>,
}

/// A part of the tokens, led by the prefix token where `start` is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    /// First token seen, counting the prefix token as number 0.
    start: usize,
    /// One past the last token.
    end: usize,
    /// How many of the last tokens are scored.
    scored: usize,
}

impl RollingScoring {
    /// Tokenises and plans; windows take `window_tokens` inputs, by default as many as the model has positions.
    ///
    /// # Errors
    /// When the model has no prefix token, or the window is empty or exceeds the model's context.
    pub fn new(
        engine: &Arc<Engine>,
        text: &str,
        window_tokens: Option<usize>,
    ) -> Result<Self, EngineError> {
        let window_tokens = window_tokens.unwrap_or(engine.context_length_tokens());
        engine.check_length(window_tokens)?;
        if window_tokens == 0 {
            return Err(EngineError::Parameter {
                parameter: "window_tokens",
                value: "0".to_owned(),
                expected: "at least 1",
            });
        }
        let prefix = engine.tokenizer().prefix_token().ok_or(EngineError::NoPrefixToken)?;
        let mut tokens = vec![prefix];
        tokens.extend(engine.encode(text, true)?);
        let windows = windows(tokens.len() - 1, window_tokens);
        Ok(Self {
            cache: Cache::new(&engine.weights().hyperparameters, window_tokens.min(tokens.len())),
            engine: Arc::clone(engine),
            tokens,
            log_probs: Vec::new(),
            windows: windows.into(),
            current: None,
        })
    }

    /// Works for about `budget`; ready with every token of the text, none for an empty one.
    ///
    /// # Errors
    /// When the arithmetic fails.
    pub fn step(&mut self, budget: Duration) -> Result<Poll<Vec<ScoredToken>>, EngineError> {
        let mut run = match self.current.take() {
            Some(run) => run,
            None => {
                let Some(window) = self.windows.pop_front() else {
                    return Ok(Poll::Ready(self.collect()));
                };
                self.cache.truncate(0);
                let seen = self.tokens.get(window.start..window.end).unwrap_or_default();
                Run::new(&plan::window(seen, window.scored))
            }
        };
        match run.step(self.engine.weights(), &mut self.cache, budget)? {
            Poll::Pending => self.current = Some(run),
            Poll::Ready(scores) => self.log_probs.extend(scores.iter().map(|score| score.log_prob)),
        }
        Ok(Poll::Pending)
    }

    fn collect(&self) -> Vec<ScoredToken> {
        let tokens = self.tokens.iter().skip(1);
        tokens
            .zip(&self.log_probs)
            .map(|(token, log_prob)| ScoredToken { token: *token, log_prob: *log_prob })
            .collect()
    }
}

/// Windows over `tokens` tokens with `inputs` inputs each (lm-eval's `get_rolling_token_windows`, `context_len` 1).
fn windows(tokens: usize, inputs: usize) -> Vec<Window> {
    let mut windows = Vec::new();
    let mut done = 0;
    while done < tokens {
        let scored = inputs.min(tokens - done);
        done += scored;
        // `done` is also the last token's number when the prefix token counts as number 0.
        windows.push(Window { start: done.saturating_sub(inputs), end: done + 1, scored });
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_is_scored_once_and_no_window_is_too_long() {
        for tokens in 0..40 {
            for inputs in 1..12 {
                let windows = windows(tokens, inputs);
                let mut next = 1;
                for window in &windows {
                    assert_eq!(window.end - window.scored, next);
                    assert!(window.end - window.start - 1 <= inputs);
                    assert!(window.start < next);
                    next = window.end;
                }
                assert_eq!(next, tokens + 1);
            }
        }
    }

    #[test]
    fn the_last_window_reaches_back() {
        let expected = [
            Window { start: 0, end: 5, scored: 4 },
            Window { start: 4, end: 9, scored: 4 },
            Window { start: 6, end: 11, scored: 2 },
        ];
        assert_eq!(windows(10, 4), expected);
    }
}
