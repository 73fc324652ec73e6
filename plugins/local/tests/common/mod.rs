//! Where the tests that need a real model find it.

#![allow(dead_code, reason = "each test program uses its part of this module")]

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use local::engine::{Engine, EngineError, Prompt};
use local::score::{ScoredContinuation, Scoring};

/// The model, loaded once a test program; `None`, with the reason printed, when the file is not there.
pub(crate) fn engine() -> Option<Arc<Engine>> {
    static ENGINE: OnceLock<Option<Arc<Engine>>> = OnceLock::new();
    ENGINE.get_or_init(|| Some(Arc::new(Engine::load(&model_file()?).unwrap()))).clone()
}

/// `HOST_TEST_MODEL`, else where `host` keeps what it fetches (see `host/src/asset/cache.rs`).
pub(crate) fn model_file() -> Option<PathBuf> {
    let variable =
        |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let path = variable("HOST_TEST_MODEL").or_else(|| {
        let folder = variable("HOST_CACHE_DIR")
            .or_else(|| {
                let cache = variable("XDG_CACHE_HOME").filter(|path| path.is_absolute())?;
                Some(cache.join("host/assets"))
            })
            .or_else(|| Some(variable("HOME")?.join(".cache/host/assets")))?;
        Some(folder.join("SmolLM2-135M-Instruct.Q4_1.gguf"))
    })?;
    if path.exists() {
        return Some(path);
    }
    skipped(&format!(
        "no model file {}; run the demo once, which fetches it, or set HOST_TEST_MODEL",
        path.display()
    ));
    None
}

/// Says why a test is passed over, where cargo does not hide it, as it does what a test prints.
fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr().lock(), "skipped: {why}");
}

/// `HOST_TEST_PIQA`, else beside the checkout.
pub(crate) fn piqa_file() -> PathBuf {
    let beside =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/piqa/valid.jsonl");
    std::env::var_os("HOST_TEST_PIQA").map_or(beside, PathBuf::from)
}

/// PIQA's validation samples; `None`, with the reason printed, when the file is not there.
pub(crate) fn piqa() -> Option<Vec<serde_json::Value>> {
    let path = piqa_file();
    let Ok(text) = std::fs::read_to_string(&path) else {
        skipped(&format!(
            "no data set {}; put PIQA's validation split there, or set HOST_TEST_PIQA to it",
            path.display()
        ));
        return None;
    };
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// Scores to the end, in one go.
pub(crate) fn score(
    engine: &Arc<Engine>,
    prompt: Prompt<'_>,
    continuations: &[&str],
) -> Result<Vec<ScoredContinuation>, EngineError> {
    score_in_steps(engine, prompt, continuations, Duration::MAX)
}

/// Scores to the end, in steps of about `budget`.
pub(crate) fn score_in_steps(
    engine: &Arc<Engine>,
    prompt: Prompt<'_>,
    continuations: &[&str],
    budget: Duration,
) -> Result<Vec<ScoredContinuation>, EngineError> {
    let mut scoring = Scoring::new(engine, prompt, continuations)?;
    loop {
        if let Poll::Ready(scored) = scoring.step(budget)? {
            return Ok(scored);
        }
    }
}
