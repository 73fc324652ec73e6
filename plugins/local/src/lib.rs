//! A small Llama-architecture model, computed in this process.
//!
//! It exists so that an evaluation can be run, and the whole of `host` be tested, with no server, no network and no
//! accelerator. Everything comes from one GGUF file: weights, tokenizer, chat template.
//!
//! Work is stepwise: [`score::Scoring`], [`rolling::RollingScoring`] and [`generate::Generation`] each do a bounded
//! amount a call, so that the caller can report progress, notice a cancellation and come back. How the work is cut
//! into calls never changes a figure.

pub mod attention;
pub mod backend;
pub mod boundary;
pub mod byte_level;
pub mod cache;
pub mod chat_template;
pub mod engine;
pub mod forward;
pub mod generate;
pub mod gguf;
pub mod hyperparameters;
pub mod matrix;
pub mod numeric;
pub mod plan;
pub mod pre_tokenizer;
pub mod projection;
pub mod rolling;
pub mod rotation;
pub mod rounded_rows;
pub mod run;
pub mod sampler;
pub mod score;
pub mod stop;
pub mod tokenizer;
pub mod utf8_stream;
pub mod weights;
