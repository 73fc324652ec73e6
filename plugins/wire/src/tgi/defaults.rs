//! What a request leaves open, as a plugin's configuration says it. Knows no plugin's configuration.

/// Values where a request says nothing, and bounds of the server. Checked by the plugin that fills it.
#[derive(Clone, Debug, PartialEq)]
pub struct Defaults {
    /// Most tokens to generate, 1 or more. Unset, the server fills its window.
    pub max_new_tokens: Option<u32>,
    /// Sampling temperature; 0 is greedy.
    pub temperature: Option<f64>,
    /// Nucleus sampling; 1 is off.
    pub top_p: Option<f64>,
    /// Sampling among the likeliest tokens; 0 is off.
    pub top_k: Option<u32>,
    /// Typical decoding; 1 is off.
    pub typical_p: Option<f64>,
    /// Penalty on tokens that were already there; 1 is none.
    pub repetition_penalty: Option<f64>,
    /// Penalty on tokens by their frequency; 0 is none.
    pub frequency_penalty: Option<f64>,
    /// Log-probabilities with this many alternatives, where a request does not ask for them itself.
    pub top_n_tokens: Option<u32>,
    /// Keeps the last so many tokens of a prompt. Never applied to a scoring.
    pub truncate: Option<u32>,
    /// Marks the text.
    pub watermark: Option<bool>,
    /// A LoRA adapter that the server has loaded.
    pub adapter_id: Option<String>,
    /// What is sent as `return_full_text`; unset, nothing is.
    pub return_full_text: Option<bool>,
    /// Whether finish reasons and token counts are asked for.
    pub details: bool,
    /// Most stop texts that the server takes.
    pub max_stop_sequences: usize,
    /// Most alternatives a token that the server gives.
    pub max_top_n_tokens: u32,
}

impl Default for Defaults {
    /// Nothing said, details wanted, and the bounds that TGI starts with.
    fn default() -> Self {
        Self {
            max_new_tokens: None,
            temperature: None,
            top_p: None,
            top_k: None,
            typical_p: None,
            repetition_penalty: None,
            frequency_penalty: None,
            top_n_tokens: None,
            truncate: None,
            watermark: None,
            adapter_id: None,
            return_full_text: None,
            details: true,
            max_stop_sequences: 4,
            max_top_n_tokens: 5,
        }
    }
}
