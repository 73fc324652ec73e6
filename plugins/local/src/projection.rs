//! Hidden states to log-probabilities of chosen tokens.
//!
//! The vocabulary is walked panel by panel; each row keeps its running maximum, sum of exponentials and the logits
//! asked for. Whole rows of logits are never stored.

use candle_core::{Device, Result, Tensor};

use crate::numeric;
use crate::weights::{Weights, with_f32};

/// A token whose probability is asked for, after a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Which row's distribution.
    pub row: usize,
    /// Token id.
    pub token: u32,
}

/// What the model thinks of a target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TargetScore {
    /// ln p of the token, in double precision from single-precision logits.
    pub log_prob: f64,
    /// Whether no token is more likely; on a tie the lowest id counts.
    pub is_greedy: bool,
}

/// A projection under way.
pub struct Projection {
    /// `[rows, width]`
    hidden: Tensor,
    /// Each with the number that its caller knows it by.
    targets: Vec<(usize, Target)>,
    target_logits: Vec<f32>,
    rows: Vec<RowState>,
    next_panel: usize,
}

#[derive(Clone)]
struct RowState {
    top: f32,
    top_token: usize,
    /// Σ e^(logit - top) so far.
    sum: f64,
}

impl Projection {
    /// Takes hidden states, `[rows, width]`, and what is asked about them, numbered by the caller.
    ///
    /// # Errors
    /// When the hidden states are no whole rows.
    pub fn new(weights: &Weights, hidden: Vec<f32>, targets: Vec<(usize, Target)>) -> Result<Self> {
        let width = weights.hyperparameters.embedding_width;
        let rows = hidden.len() / width;
        Ok(Self {
            hidden: Tensor::from_vec(hidden, (rows, width), &Device::Cpu)?,
            target_logits: vec![f32::NAN; targets.len()],
            targets,
            rows: vec![
                RowState {
                    top: f32::NEG_INFINITY,
                    top_token: 0,
                    sum: 0.0
                };
                rows
            ],
            next_panel: 0,
        })
    }

    /// Computes one more panel; false when there was none left.
    ///
    /// # Errors
    /// When the matrix product fails.
    pub fn advance(&mut self, weights: &Weights) -> Result<bool> {
        let matrix = weights.output();
        let Some(panel) = matrix.panels().get(self.next_panel) else {
            return Ok(false);
        };
        let first_token = self.next_panel * matrix.panel_tokens();
        let logits = self.hidden.matmul(panel)?;
        let (_, columns) = logits.dims2()?;
        with_f32(&logits, |logits| {
            for (state, logits) in self.rows.iter_mut().zip(logits.chunks_exact(columns)) {
                state.include(first_token, logits);
            }
            for ((_, target), logit) in self.targets.iter().zip(&mut self.target_logits) {
                if let Some(column) = (target.token as usize).checked_sub(first_token)
                    && column < columns
                    && let Some(found) = logits.get(target.row * columns + column)
                {
                    *logit = *found;
                }
            }
        })?;
        self.next_panel += 1;
        Ok(true)
    }

    /// The scores with the targets' numbers. Call it when `advance` returned false.
    pub fn finish(self) -> Vec<(usize, TargetScore)> {
        self.targets
            .iter()
            .zip(&self.target_logits)
            .filter_map(|((index, target), logit)| {
                let state = self.rows.get(target.row)?;
                let score = TargetScore {
                    log_prob: f64::from(*logit) - f64::from(state.top) - state.sum.ln(),
                    is_greedy: state.top_token == target.token as usize,
                };
                Some((*index, score))
            })
            .collect()
    }
}

impl RowState {
    fn include(&mut self, first_token: usize, logits: &[f32]) {
        let top = numeric::max(logits);
        if top > self.top {
            self.sum *= f64::from(self.top - top).exp();
            self.top = top;
            self.top_token = first_token + numeric::argmax(logits).unwrap_or(0);
        }
        self.sum += numeric::sum_exp(logits, self.top);
    }
}

/// All logits of one hidden state, `[vocabulary]`.
///
/// # Errors
/// When the matrix product fails.
pub fn logits(weights: &Weights, hidden: &[f32]) -> Result<Vec<f32>> {
    let hidden = Tensor::from_slice(hidden, (1, hidden.len()), &Device::Cpu)?;
    let mut all = Vec::new();
    for panel in weights.output().panels() {
        with_f32(&hidden.matmul(panel)?, |logits| {
            all.extend_from_slice(logits)
        })?;
    }
    Ok(all)
}
