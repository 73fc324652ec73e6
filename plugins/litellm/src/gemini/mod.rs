//! Google's Gemini API, `generateContent` and its stream (wire.md 4.4; the vendor's discovery document, v1beta).
//!
//! Pure: requests to bodies, replies and events to answers.

mod body;
mod decode;
mod encode;
mod failure;
mod models;
mod stream;

pub use decode::decode;
pub use encode::{Options, Safety, encode};
pub use failure::failure;
pub use models::takes_sampling;
pub use stream::collector;
