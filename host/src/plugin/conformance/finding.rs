//! What a check comes to.

use schemars::JsonSchema;
use serde::Serialize;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As the contract says.
    Passed,
    /// Within the contract, and still not as it should be.
    Warned,
    /// The contract is broken.
    Failed,
    /// It could not be looked at.
    Skipped,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// Its name: lower-case words.
    pub check: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// What was found, and what was expected where that is something else.
    pub detail: String,
}

impl Finding {
    /// A check that ended well.
    pub fn passed(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Passed, detail: detail.into() }
    }

    /// One that found something to think about.
    pub fn warned(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warned, detail: detail.into() }
    }

    /// One that found the contract broken.
    pub fn failed(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Failed, detail: detail.into() }
    }

    /// One that could not be made.
    pub fn skipped(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Skipped, detail: detail.into() }
    }

    /// Passed if there are no faults, else failed with all of them, each once.
    pub(super) fn of(check: &'static str, faults: &[String], good: impl Into<String>) -> Self {
        if faults.is_empty() {
            return Self::passed(check, good);
        }
        Self::failed(check, joined(faults))
    }
}

/// Most faults of one check that are told.
const MOST: usize = 5;

/// Faults as one text.
pub(super) fn joined(faults: &[String]) -> String {
    let mut each: Vec<&str> = Vec::new();
    for fault in faults {
        if !each.contains(&fault.as_str()) {
            each.push(fault);
        }
    }
    let beyond = each.len().saturating_sub(MOST);
    each.truncate(MOST);
    let mut text = each.join("; ");
    if beyond > 0 {
        text.push_str(&format!("; and {beyond} more"));
    }
    text
}
