//! Real things that tests use where they are there: a model, data sets. A test without them prints why and passes
//! itself over.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::skip::skipped;

/// SmolLM2-135M-Instruct: `HOST_TEST_MODEL`, else where `host` keeps what it fetches.
pub fn model() -> Option<PathBuf> {
    let path = variable("HOST_TEST_MODEL").or_else(|| {
        let folder = variable("HOST_CACHE_DIR")
            .or_else(|| {
                let cache = variable("XDG_CACHE_HOME").filter(|path| path.is_absolute())?;
                Some(cache.join("host/assets"))
            })
            .or_else(|| Some(variable("HOME")?.join(".cache/host/assets")))?;
        Some(folder.join("SmolLM2-135M-Instruct.Q4_1.gguf"))
    })?;
    found(path, "run the demo once, which fetches it, or set HOST_TEST_MODEL")
}

/// PIQA's validation split: `HOST_TEST_PIQA`, else beside the checkout; its labels lie in the same folder.
pub fn piqa() -> Option<PathBuf> {
    data("HOST_TEST_PIQA", "piqa/valid.jsonl")
}

fn data(name: &str, file: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(file);
    let path = variable(name).unwrap_or(beside);
    found(path, &format!("put the data set there, or set {name} to it"))
}

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn found(path: PathBuf, otherwise: &str) -> Option<PathBuf> {
    if path.exists() {
        return path.canonicalize().ok();
    }
    skipped(format!("no file {}; {otherwise}", path.display()));
    None
}
