//! The OpenAI shape as the hosted vendors have it, and vLLM: `/chat/completions`, `/completions` and what stands beside
//! them. What is common is here, what one vendor does otherwise is told by its [`Dialect`].

mod answer;
mod completions;
mod dialect;
mod echo;
mod message;
mod misfit;
mod models;
mod prompt;
mod refusal;
mod reply;
mod request;
mod rules;
#[cfg(test)]
mod tests;
mod tokenize;
mod values;

pub(crate) use answer::chat;
pub(crate) use completions::completions;
pub(crate) use dialect::{Dialect, trouble};
pub(crate) use models::models;
pub(crate) use refusal::Refusal;
pub(crate) use reply::tell_allowance;
pub(crate) use tokenize::{detokenize, tokenize};

use message::Message;
use prompt::Tokens;
use refusal::Failure;
use request::ChatRequest;
