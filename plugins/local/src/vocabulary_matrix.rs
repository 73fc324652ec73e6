//! The matrix with a row for each token: the embedding, and the output projection.
//!
//! It is kept transposed and cut into panels of columns. A panel's product with a hundred rows of hidden states
//! stays in the cache while its maximum and its sum of exponentials are taken, where whole rows of logits would go
//! through main memory twice. Tied models share one matrix for both uses.

use candle_core::{Result, Tensor};

use crate::weights::with_f32;

/// Tokens in a panel; a panel's logits for 128 rows are 1 MiB.
const PANEL_TOKENS: usize = 2048;

/// A `[vocabulary, width]` matrix as panels of shape `[width, at most 2048]`.
pub struct VocabularyMatrix {
    panels: Vec<Tensor>,
}

impl VocabularyMatrix {
    /// Cuts up a matrix of shape `[vocabulary, width]`.
    ///
    /// # Errors
    /// When it is no matrix.
    pub fn new(matrix: &Tensor) -> Result<Self> {
        let (tokens, _) = matrix.dims2()?;
        let panels = (0..tokens)
            .step_by(PANEL_TOKENS)
            .map(|start| {
                matrix
                    .narrow(0, start, PANEL_TOKENS.min(tokens - start))?
                    .t()?
                    .contiguous()
            })
            .collect::<Result<_>>()?;
        Ok(Self { panels })
    }

    /// The panels; panel `i` begins at token `i * panel_tokens()`.
    pub fn panels(&self) -> &[Tensor] {
        &self.panels
    }

    /// Tokens in every panel but the last.
    pub fn panel_tokens(&self) -> usize {
        PANEL_TOKENS
    }

    /// Appends a token's row to `out`.
    ///
    /// # Errors
    /// When the token is outside the vocabulary.
    pub fn row(&self, token: u32, out: &mut Vec<f32>) -> Result<()> {
        let token = token as usize;
        let column = token % PANEL_TOKENS;
        let panel = self.panels.get(token / PANEL_TOKENS).ok_or_else(|| {
            candle_core::Error::Msg(format!("token {token} is outside the vocabulary"))
        })?;
        let (_, columns) = panel.dims2()?;
        if column >= columns {
            candle_core::bail!("token {token} is outside the vocabulary");
        }
        with_f32(panel, |values| {
            out.extend(values.iter().skip(column).step_by(columns))
        })
    }
}
