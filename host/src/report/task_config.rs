//! What the manifest's run file says of a task, for reports that name more than results do.

use std::num::NonZeroU32;

use serde_json::Value;

use crate::store::manifest::RunManifest;

/// What the run file says of a task; null if nothing.
pub fn task_of<'a>(manifest: &'a RunManifest, id: &str) -> &'a Value {
    let tasks = manifest.config["tasks"].as_array();
    let own = tasks.into_iter().flatten().find(|task| task["id"] == id);
    own.map_or(&Value::Null, |task| &task["task"])
}

/// How often a task asks each sample, as the run file says.
pub fn repeats(manifest: &RunManifest, task: &str) -> NonZeroU32 {
    task_of(manifest, task)["repeats"]
        .as_u64()
        .and_then(|repeats| u32::try_from(repeats).ok())
        .and_then(NonZeroU32::new)
        .unwrap_or(NonZeroU32::MIN)
}
