//! The mock's language model: a tokenizer, log-probabilities and answers, all pure functions of the text, so that the
//! same prompt gets the same answer whichever wire it comes by, in every process.
//!
//! Knows no wire.

mod answer;
mod generate;
mod likelihood;
mod token;

pub(crate) use generate::{Ask, End, Prompt, Said, Stops, Token, Turn, cut_to_budget, say};
pub(crate) use likelihood::Context;
pub(crate) use token::{BOS, EOS, Piece, Pieces, decode};
