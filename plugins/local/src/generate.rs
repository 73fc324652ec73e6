//! Text generation, one bounded step at a time.
//!
//! The prompt is computed once; every choice continues from its rows. Choices come one after the other, choice `i`
//! seeded with `seed + i`.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::{Cache, Row};
use crate::engine::{Engine, EngineError, Prompt};
use crate::numeric;
use crate::plan::{self, Plan};
use crate::projection;
use crate::run::Run;
use crate::sampler::{Sampler, Sampling};
use crate::score::ScoredToken;
use crate::stop::{StopCheck, StopMatcher};
use crate::utf8_stream::Utf8Stream;

/// What to generate.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationOptions {
    /// Most tokens of one choice.
    pub max_tokens: usize,
    /// Texts that end a choice; they are not part of it.
    pub stops: Vec<String>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Number of choices.
    pub choices: usize,
}

/// Why a choice ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended its answer, or a stop string came.
    Stop,
    /// `max_tokens` were generated, or the model's context is full.
    Length,
}

/// What one step brought.
#[derive(Debug, Clone, PartialEq)]
pub enum GenerationEvent {
    /// Nothing to show yet.
    Working,
    /// A token was generated. Its text may be empty, because a character or a possible stop is incomplete.
    Piece {
        /// Which choice, from 0.
        choice: usize,
        /// Text that is now certain.
        text: String,
        /// The token, with its probability in the model's own distribution (temperature 1, nothing cut off).
        token: ScoredToken,
    },
    /// A choice ended.
    ChoiceEnd {
        /// Which choice, from 0.
        choice: usize,
        /// Text that had been held back.
        text: String,
        /// Why it ended.
        finish_reason: FinishReason,
    },
    /// All choices ended.
    Done(Usage),
}

/// Tokens that a generation took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, counted once.
    pub prompt_tokens: usize,
    /// Tokens generated over all choices, each choice's end token included.
    pub completion_tokens: usize,
}

/// A generation under way. Ask [`Self::step`] until it is done.
pub struct Generation {
    engine: Arc<Engine>,
    options: GenerationOptions,
    cache: Cache,
    run: Run,
    prompt_tokens: usize,
    completion_tokens: usize,
    /// Hidden state of the prompt's last row, where every choice starts; empty until it is computed.
    prompt_hidden: Vec<f32>,
    next_choice: usize,
    choice: Option<Choice>,
}

struct Choice {
    index: usize,
    sampler: Sampler,
    characters: Utf8Stream,
    stop: StopMatcher,
    generated: usize,
    /// Hidden state that the next token is drawn from; `None` while it is being computed.
    hidden: Option<Vec<f32>>,
    /// Set when the choice is over and only this is left to say.
    end: Option<(String, FinishReason)>,
}

impl Generation {
    /// Tokenises the prompt; computes nothing yet.
    ///
    /// # Errors
    /// When the prompt does not fit into the context or cannot be rendered, or a parameter is out of range.
    pub fn new(
        engine: &Arc<Engine>,
        prompt: Prompt<'_>,
        options: GenerationOptions,
    ) -> Result<Self, EngineError> {
        Sampler::new(options.sampling)?;
        let rendered = engine.render(prompt)?;
        let mut tokens = engine.encode(&rendered.text, rendered.is_verbatim)?;
        if tokens.is_empty() {
            tokens.push(engine.tokenizer().prefix_token().ok_or(EngineError::NoPrefixToken)?);
        }
        engine.check_length(tokens.len())?;
        let plan = Plan { rows: plan::linear(&tokens), ..Plan::default() };
        Ok(Self {
            cache: Cache::new(
                &engine.weights().hyperparameters,
                tokens.len() + options.max_tokens.min(256),
            ),
            engine: Arc::clone(engine),
            options,
            run: Run::new(&plan),
            prompt_tokens: tokens.len(),
            completion_tokens: 0,
            prompt_hidden: Vec::new(),
            next_choice: 0,
            choice: None,
        })
    }

    /// Works for about `budget`, and stops at every token.
    ///
    /// # Errors
    /// When the arithmetic fails.
    pub fn step(&mut self, budget: Duration) -> Result<GenerationEvent, EngineError> {
        let Some(mut choice) = self.choice.take() else {
            return self.start_choice(budget);
        };
        if let Some((text, finish_reason)) = choice.end.take() {
            return Ok(GenerationEvent::ChoiceEnd { choice: choice.index, text, finish_reason });
        }
        let Some(hidden) = choice.hidden.take() else {
            if self.run.step(self.engine.weights(), &mut self.cache, budget)?.is_ready() {
                choice.hidden = Some(self.run.last_hidden().to_vec());
            }
            self.choice = Some(choice);
            return Ok(GenerationEvent::Working);
        };
        let event = self.next_token(&mut choice, &hidden)?;
        self.choice = Some(choice);
        Ok(event)
    }

    /// Computes the prompt, and then begins one choice a call.
    fn start_choice(&mut self, budget: Duration) -> Result<GenerationEvent, EngineError> {
        if self.prompt_hidden.is_empty() {
            if self.run.step(self.engine.weights(), &mut self.cache, budget)?.is_ready() {
                self.prompt_hidden = self.run.last_hidden().to_vec();
            }
            return Ok(GenerationEvent::Working);
        }
        if self.next_choice >= self.options.choices {
            let usage = Usage {
                prompt_tokens: self.prompt_tokens,
                completion_tokens: self.completion_tokens,
            };
            return Ok(GenerationEvent::Done(usage));
        }
        let index = self.next_choice;
        self.next_choice += 1;
        self.cache.truncate(self.prompt_tokens);
        let sampling = Sampling {
            seed: self.options.sampling.seed.wrapping_add(index as u64),
            ..self.options.sampling
        };
        self.choice = Some(Choice {
            index,
            sampler: Sampler::new(sampling)?,
            characters: Utf8Stream::default(),
            stop: StopMatcher::new(&self.options.stops),
            generated: 0,
            hidden: Some(self.prompt_hidden.clone()),
            end: (self.options.max_tokens == 0).then(|| (String::new(), FinishReason::Length)),
        });
        Ok(GenerationEvent::Working)
    }

    fn next_token(
        &mut self,
        choice: &mut Choice,
        hidden: &[f32],
    ) -> Result<GenerationEvent, EngineError> {
        let logits = projection::logits(self.engine.weights(), hidden);
        let Some(token) = choice.sampler.choose(&logits) else {
            return Err(candle_core::Error::Msg("the model has no vocabulary".to_owned()).into());
        };
        let logit = logits.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY);
        let scored =
            ScoredToken { token, log_prob: f64::from(logit) - numeric::log_sum_exp(&logits) };
        choice.generated += 1;
        self.completion_tokens += 1;
        let text = if self.engine.tokenizer().ends_generation(token) {
            choice.end = Some((choice.release(), FinishReason::Stop));
            String::new()
        } else {
            let characters = choice.characters.push(self.engine.tokenizer().bytes(token));
            match choice.stop.push(&characters) {
                StopCheck::Stopped(text) => {
                    choice.end = Some((String::new(), FinishReason::Stop));
                    text
                }
                StopCheck::Continue(text) => {
                    self.prepare_next(choice, token);
                    text
                }
            }
        };
        Ok(GenerationEvent::Piece { choice: choice.index, text, token: scored })
    }

    /// Queues the row after which the next token comes, unless this was the last one.
    fn prepare_next(&mut self, choice: &mut Choice, token: u32) {
        let is_full = self.cache.len() >= self.engine.context_length_tokens();
        if choice.generated >= self.options.max_tokens || is_full {
            choice.end = Some((choice.release(), FinishReason::Length));
            return;
        }
        let row = Row { token, parent: self.cache.len().checked_sub(1) };
        self.run =
            Run::new(&Plan { rows: vec![row], first_row: self.cache.len(), ..Plan::default() });
    }
}

impl Choice {
    /// Text that was held back as the beginning of a character or of a stop; a stop it completes still counts.
    fn release(&mut self) -> String {
        let rest = self.characters.finish();
        match self.stop.push(&rest) {
            StopCheck::Stopped(text) => text,
            StopCheck::Continue(text) => text + &self.stop.finish(),
        }
    }
}
