//! Tasks: data sets, prompts, few-shot examples and answers. Pure but for reading the data files a
//! task names; knows nothing of backends, requests or how replies arrive.

pub mod boundary;
pub mod data;
pub mod raw;
pub mod records;
pub mod sample;
pub mod template;
