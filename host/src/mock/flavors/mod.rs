//! The vendors' wires: a file or a folder for each. They use what the mock has in common and know nothing of each
//! other, but for those that another one's server stands behind.

pub(crate) mod anthropic;
pub(crate) mod azure;
mod compatible;
mod cue;
pub(crate) mod gemini;
mod hosted;
pub(crate) mod huggingface;
pub(crate) mod moonshot;
pub(crate) mod ollama;
pub(crate) mod openai;
pub(crate) mod sglang;
mod speak;
mod text;
pub(crate) mod tgi;
pub(crate) mod vllm;
pub(crate) mod xai;
