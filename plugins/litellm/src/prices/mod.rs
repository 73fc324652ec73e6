//! What requests cost, from tables of prices: our own small one, or LiteLLM's file.
//!
//! Pure; every figure is an estimate. Knows models by name alone, nothing of wires.

mod builtin;
mod litellm;
mod table;

pub use table::{Model, Prices, Window};
