//! Many vendors in one plugin, named provider/model as LiteLLM users write it.

mod answer;
pub mod anthropic;
pub mod call;
mod conversation;
pub mod gemini;
mod parameters;
