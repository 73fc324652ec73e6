//! Text Generation Inference's own routes: `/generate` and `/generate_stream`, `/tokenize`, `/chat_tokenize`, and
//! log-likelihood from the prompt's log-probabilities. Servers that others operate speak them too.
//!
//! [`encode`], [`decode`], [`failure`], [`stream`] and [`likelihood`] are pure; [`Server`] makes calls of them.

pub mod chat;
pub mod decode;
mod defaults;
pub mod encode;
pub mod failure;
pub mod likelihood;
mod server;
pub mod stream;

pub use defaults::Defaults;
pub use server::Server;
