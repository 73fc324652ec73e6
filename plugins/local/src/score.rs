//! Log-likelihoods of several continuations after one context.
//!
//! The semantics are lm-eval's `loglikelihood`; [`crate::boundary`] has the rule for where a continuation begins.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::boundary::{self, EncodedPair};
use crate::cache::Cache;
use crate::engine::{Engine, EngineError, Prompt};
use crate::plan::{self, Plan};
use crate::projection::TargetScore;
use crate::run::Run;

/// One token and its probability given all before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoredToken {
    /// Token id.
    pub token: u32,
    /// ln p.
    pub log_prob: f64,
}

/// What the model thinks of one continuation.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredContinuation {
    /// Σ ln p over the continuation's tokens.
    pub log_likelihood: f64,
    /// Whether every token is the most likely one.
    pub is_greedy: bool,
    /// Whether the tokenizer merged across the boundary, so that the ids scored are not the whole text's.
    pub boundary_merged: bool,
    /// The tokens; never empty.
    pub tokens: Vec<ScoredToken>,
}

/// Continuations being scored. Ask [`Self::step`] until it is ready.
pub struct Scoring {
    engine: Arc<Engine>,
    cache: Cache,
    pairs: Vec<EncodedPair>,
    scores: Vec<Vec<TargetScore>>,
    context_rows: usize,
    plans: VecDeque<Plan>,
    current: Option<(Plan, Run)>,
}

impl Scoring {
    /// Tokenises and plans; computes nothing yet.
    ///
    /// # Errors
    /// When a continuation comes to no tokens, does not fit into the context, or the prompt cannot be rendered.
    pub fn new(
        engine: &Arc<Engine>,
        prompt: Prompt<'_>,
        continuations: &[&str],
    ) -> Result<Self, EngineError> {
        let pairs = encode_pairs(engine, prompt, continuations)?;
        let mut plans = VecDeque::new();
        // The context is one and the same, unless an empty one was filled in from the continuations.
        let context = pairs.first().map(|pair| pair.context.clone()).unwrap_or_default();
        if !pairs.is_empty() {
            let tokens: Vec<&[u32]> =
                pairs.iter().map(|pair| pair.continuation.as_slice()).collect();
            plans.extend(plan::continuations(&context, &tokens));
        }
        let rows = plans.iter().map(|plan| plan.first_row + plan.rows.len()).max().unwrap_or(0);
        Ok(Self {
            cache: Cache::new(&engine.weights().hyperparameters, rows),
            engine: Arc::clone(engine),
            scores: vec![Vec::new(); pairs.len()],
            pairs,
            context_rows: context.len(),
            plans,
            current: None,
        })
    }

    /// Tokens of the context, and of all continuations together.
    pub fn token_counts(&self) -> (usize, usize) {
        (self.context_rows, self.pairs.iter().map(|pair| pair.continuation.len()).sum())
    }

    /// Works for about `budget`; ready with one result a continuation, in the order given.
    ///
    /// # Errors
    /// When the arithmetic fails.
    pub fn step(&mut self, budget: Duration) -> Result<Poll<Vec<ScoredContinuation>>, EngineError> {
        let (plan, mut run) = match self.current.take() {
            Some(current) => current,
            None => {
                let Some(plan) = self.plans.pop_front() else {
                    return Ok(Poll::Ready(self.collect()));
                };
                self.cache.truncate(self.context_rows);
                let run = Run::new(&plan);
                (plan, run)
            }
        };
        match run.step(self.engine.weights(), &mut self.cache, budget)? {
            Poll::Pending => self.current = Some((plan, run)),
            Poll::Ready(scores) => {
                for (owner, score) in plan.owners.iter().zip(scores) {
                    if let Some(list) = self.scores.get_mut(*owner) {
                        list.push(score);
                    }
                }
                if self.plans.is_empty() {
                    return Ok(Poll::Ready(self.collect()));
                }
            }
        }
        Ok(Poll::Pending)
    }

    fn collect(&self) -> Vec<ScoredContinuation> {
        self.pairs
            .iter()
            .zip(&self.scores)
            .map(|(pair, scores)| ScoredContinuation {
                log_likelihood: scores.iter().map(|score| score.log_prob).sum(),
                is_greedy: scores.iter().all(|score| score.is_greedy),
                boundary_merged: pair.boundary_merged,
                tokens: pair
                    .continuation
                    .iter()
                    .zip(scores)
                    .map(|(token, score)| ScoredToken { token: *token, log_prob: score.log_prob })
                    .collect(),
            })
            .collect()
    }
}

/// Applies the boundary rule and checks what every continuation must satisfy.
fn encode_pairs(
    engine: &Engine,
    prompt: Prompt<'_>,
    continuations: &[&str],
) -> Result<Vec<EncodedPair>, EngineError> {
    let prompt = engine.render(prompt)?;
    let (context, moved) = plugin_api::split_context(&prompt.text);
    let context_tokens = engine.encode(context, prompt.is_verbatim)?;
    let mut pairs = Vec::with_capacity(continuations.len());
    for (index, continuation) in continuations.iter().enumerate() {
        let whole =
            engine.encode(&format!("{context}{moved}{continuation}"), prompt.is_verbatim)?;
        let pair = boundary::split(context_tokens.clone(), &whole);
        if pair.continuation.is_empty() {
            return Err(EngineError::EmptyContinuation { index });
        }
        let pair = match engine.tokenizer().prefix_token() {
            Some(prefix) => boundary::with_prefix(pair, prefix),
            None if pair.context.is_empty() => return Err(EngineError::NoPrefixToken),
            None => pair,
        };
        engine.check_length(pair.context.len() + pair.continuation.len() - 1)?;
        pairs.push(pair);
    }
    Ok(pairs)
}
