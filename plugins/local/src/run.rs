//! Carries a plan out, a bounded amount of time a call.
//!
//! Rows go through the model in passes of at most [`PASS_ROWS`]; the cut depends on the plan alone and never on the
//! clock, so that a figure never depends on how busy the machine is.

use std::collections::VecDeque;
use std::task::Poll;
use std::time::{Duration, Instant};

use candle_core::Result;

use crate::cache::{Cache, Row};
use crate::forward::ForwardPass;
use crate::plan::Plan;
use crate::projection::{Projection, Target, TargetScore};
use crate::weights::Weights;

/// Most rows in one pass. Bounds the memory of a pass to a few MB; more rows multiply no faster.
pub(crate) const PASS_ROWS: usize = 128;

/// A plan being carried out.
pub(crate) struct Run {
    rows: VecDeque<Row>,
    targets: Vec<Target>,
    scores: Vec<TargetScore>,
    stage: Stage,
    last_hidden: Vec<f32>,
}

enum Stage {
    Idle,
    Forward(Box<ForwardPass>),
    Project(Box<Projection>),
}

impl Run {
    /// Takes a plan, to be carried out on the cache that it was made for.
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            rows: plan.rows.iter().copied().collect(),
            targets: plan.targets.clone(),
            scores: vec![TargetScore { log_prob: f64::NAN, is_greedy: false }; plan.targets.len()],
            stage: Stage::Idle,
            last_hidden: Vec::new(),
        }
    }

    /// Works until done or until `budget` is spent, by one block or one part of the vocabulary at least.
    ///
    /// `Ready` holds the scores in the order of the plan's targets.
    ///
    /// # Errors
    /// When the arithmetic fails, after which the run and its cache are of no further use.
    pub(crate) fn step(
        &mut self,
        weights: &Weights,
        cache: &mut Cache,
        budget: Duration,
    ) -> Result<Poll<Vec<TargetScore>>> {
        let started = Instant::now();
        loop {
            if !self.advance(weights, cache)? {
                return Ok(Poll::Ready(std::mem::take(&mut self.scores)));
            }
            if started.elapsed() >= budget {
                return Ok(Poll::Pending);
            }
        }
    }

    /// The hidden state of the last row, once the run is done.
    pub(crate) fn last_hidden(&self) -> &[f32] {
        &self.last_hidden
    }

    fn advance(&mut self, weights: &Weights, cache: &mut Cache) -> Result<bool> {
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Idle => {
                if self.rows.is_empty() {
                    return Ok(false);
                }
                let rows: Vec<Row> = self.rows.drain(..PASS_ROWS.min(self.rows.len())).collect();
                self.stage = Stage::Forward(Box::new(ForwardPass::begin(weights, cache, &rows)?));
            }
            Stage::Forward(mut pass) => {
                if pass.advance(weights, cache) {
                    self.stage = Stage::Forward(pass);
                } else {
                    let first = pass.first_row();
                    self.collect(weights, first, &pass.finish(weights));
                }
            }
            Stage::Project(mut projection) => {
                if projection.advance(weights) {
                    self.stage = Stage::Project(projection);
                } else {
                    for (index, score) in projection.finish() {
                        if let Some(slot) = self.scores.get_mut(index) {
                            *slot = score;
                        }
                    }
                }
            }
        }
        Ok(true)
    }

    /// Projects the rows of a finished pass that targets ask about.
    fn collect(&mut self, weights: &Weights, first_row: usize, hidden: &[f32]) {
        let width = weights.hyperparameters.embedding_width;
        let rows: Vec<&[f32]> = hidden.chunks_exact(width).collect();
        if let Some(last) = rows.last() {
            self.last_hidden = last.to_vec();
        }
        let mut asked: Vec<usize> = self
            .targets
            .iter()
            .filter_map(|target| target.row.checked_sub(first_row))
            .filter(|row| *row < rows.len())
            .collect();
        asked.sort_unstable();
        asked.dedup();
        if asked.is_empty() {
            return;
        }
        let targets = self
            .targets
            .iter()
            .enumerate()
            .filter_map(|(index, target)| {
                let row = asked.binary_search(&target.row.checked_sub(first_row)?).ok()?;
                Some((index, Target { row, token: target.token }))
            })
            .collect();
        let hidden: Vec<f32> = asked
            .iter()
            .filter_map(|row| rows.get(*row))
            .flat_map(|row| row.iter().copied())
            .collect();
        self.stage = Stage::Project(Box::new(Projection::new(weights, &hidden, targets)));
    }
}
