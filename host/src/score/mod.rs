//! Scores: what a reply is worth, and what many are worth together. Pure; gets texts and numbers
//! and knows nothing of requests, files or the order in which samples finish.

pub mod aggregate;
pub mod exact_match;
pub mod generated;
pub mod group;
pub mod metric;
pub mod multiple_choice;
pub mod parts;
pub mod perplexity;
