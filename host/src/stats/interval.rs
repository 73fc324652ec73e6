//! A range that a figure lies in, with 95 % confidence.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Two bounds, both included.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Interval {
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}
