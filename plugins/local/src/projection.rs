//! Hidden states to log-probabilities of chosen tokens.
//!
//! The vocabulary is walked part by part; each row keeps its running maximum, sum of exponentials and the logits
//! asked for. Whole rows of logits are never stored.

use crate::numeric;
use crate::rounded_rows::RoundedRows;
use crate::weights::Weights;

/// Tokens in a part; a part's logits for 128 rows are 1 MiB.
const PART_TOKENS: usize = 2048;

/// A token whose probability is asked for, after a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    /// Which row's distribution.
    pub row: usize,
    /// Token id.
    pub token: u32,
}

/// What the model thinks of a target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TargetScore {
    /// ln p of the token, in double precision from single-precision logits.
    pub log_prob: f64,
    /// Whether no token is more likely; on a tie the lowest id counts.
    pub is_greedy: bool,
}

/// A projection under way.
pub(crate) struct Projection {
    /// `[rows, width]`
    hidden: RoundedRows,
    /// Each with the number that its caller knows it by.
    targets: Vec<(usize, Target)>,
    target_logits: Vec<f32>,
    rows: Vec<RowState>,
    next_token: usize,
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
    pub(crate) fn new(weights: &Weights, hidden: &[f32], targets: Vec<(usize, Target)>) -> Self {
        let hidden = weights.output().round(hidden);
        let row = RowState { top: f32::NEG_INFINITY, top_token: 0, sum: 0.0 };
        Self {
            target_logits: vec![f32::NAN; targets.len()],
            targets,
            rows: vec![row; hidden.rows()],
            hidden,
            next_token: 0,
        }
    }

    /// Computes one more part; false when there was none left.
    pub(crate) fn advance(&mut self, weights: &Weights) -> bool {
        let (matrix, first_token) = (weights.output(), self.next_token);
        let columns = PART_TOKENS.min(matrix.outputs() - first_token);
        if columns == 0 {
            return false;
        }
        let mut logits = matrix.multiply_some(&self.hidden, first_token, columns);
        for ((_, target), logit) in self.targets.iter().zip(&mut self.target_logits) {
            if let Some(column) = (target.token as usize).checked_sub(first_token)
                && column < columns
                && let Some(found) = logits.get(target.row * columns + column)
            {
                *logit = *found;
            }
        }
        for (state, logits) in self.rows.iter_mut().zip(logits.chunks_exact_mut(columns)) {
            state.include(first_token, logits);
        }
        self.next_token += columns;
        true
    }

    /// The scores with the targets' numbers. Call it when `advance` returned false.
    pub(crate) fn finish(self) -> Vec<(usize, TargetScore)> {
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
    /// Takes the logits of further tokens, and overwrites them.
    fn include(&mut self, first_token: usize, logits: &mut [f32]) {
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
pub(crate) fn logits(weights: &Weights, hidden: &[f32]) -> Vec<f32> {
    weights.output().product(hidden)
}
