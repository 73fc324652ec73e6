//! A small Llama-architecture model, computed in this process.
//!
//! It exists so that an evaluation can be run, and the whole of `host` be tested, with no server, no network and no
//! accelerator. Everything comes from one GGUF file: weights, tokenizer, chat template.
//!
//! Work is stepwise: [`score::Scoring`], [`rolling::RollingScoring`] and [`generate::Generation`] each do a bounded
//! amount a call, so that the caller can report progress, notice a cancellation and come back. How the work is cut
//! into calls never changes a figure.

mod attention;
pub mod backend;
mod boundary;
mod byte_level;
mod cache;
pub mod chat_template;
pub mod engine;
mod forward;
pub mod generate;
mod gguf;
mod hyperparameters;
mod matrix;
mod numeric;
mod plan;
mod pre_tokenizer;
mod projection;
pub mod rolling;
mod rotation;
mod rounded_rows;
mod run;
pub mod sampler;
pub mod score;
mod stop;
pub mod tokenizer;
mod utf8_stream;
mod vectorised;
mod weights;
