//! Tasks: data sets, prompts, few-shot examples and answers. Pure but for reading the data files a
//! task names; knows nothing of backends, requests or how replies arrive.

pub mod answer;
pub mod boundary;
pub mod choices;
pub mod data;
pub mod error;
pub mod few_shot;
pub mod generation;
mod grading;
mod keys;
pub mod letter;
mod lines;
pub mod number;
mod plain;
mod plan;
pub mod prompt;
pub mod raw;
pub mod records;
pub mod render;
pub mod resolve;
pub mod sample;
mod seen;
mod sources;
pub mod stream;
pub mod template;
