//! What the end-to-end tests share: fake servers that are stricter than the real ones.

pub mod fake_tgi;
