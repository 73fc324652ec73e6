//! Anthropic's Messages API (wire.md 4.3; the vendor's OpenAPI description).
//!
//! Pure: requests to bodies, replies and events to answers. One choice a call; the API has no `n`.

mod body;
mod decode;
mod encode;
mod failure;
mod models;
mod stream;

pub use decode::decode;
pub use encode::{Options, encode, headers};
pub use failure::failure;
pub use models::takes_sampling;
pub use stream::collector;
