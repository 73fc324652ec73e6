//! Results and samples as lm-evaluation-harness writes them, for the tools that read those.

pub mod export;
pub mod python;
pub mod results;
pub mod samples;
