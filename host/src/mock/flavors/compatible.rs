//! OpenAI-shaped chat and completions as TGI and SGLang offer them beside their own routes. What the two do
//! differently is told by values; what the hosted vendors do differently is no business of this folder.

mod logprobs;
mod reply;
mod request;

pub(super) use logprobs::{Logprobs, TextLogprobs, chat_logprobs, text_of};
pub(super) use reply::{CREATED, Matched, Served, Told, Usage};
pub(super) use request::{Message, OneOrMany, StreamOptions};
