//! `host plugin lock --remove`: takes entries out of the lock file.

use std::{collections::BTreeSet, path::Path};

use anyhow::bail;
use schemars::JsonSchema;
use serde::Serialize;

use super::write;
use crate::{cli::done::Done, config::nearest, plugin::lock::entry::LockFile, printer::Printer};

/// A plugin whose entry was taken out, as programs are told.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "event", rename = "plugin_unlocked")]
pub(crate) struct UnlockedRecord<'a> {
    /// Its id.
    id: &'a str,
}

/// Takes all of these out, or none.
pub(super) fn remove(
    ids: &[String],
    path: &Path,
    mut file: LockFile,
    printer: &Printer,
) -> anyhow::Result<Done> {
    // One that is named twice is taken out once.
    let ids: BTreeSet<&String> = ids.iter().collect();
    for &id in &ids {
        if file.plugins.remove(id).is_some() {
            continue;
        }
        let known: Vec<&str> = file.plugins.keys().map(String::as_str).collect();
        let hint = match (nearest(id, known.iter().copied()), known.as_slice()) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, []) => "it has none".to_owned(),
            (None, some) => format!("it has: {}", some.join(", ")),
        };
        bail!("{} has no entry of a plugin `{id}`; {hint}", path.display());
    }
    let done = write(path, &file, printer)?;
    for id in ids {
        printer.record(&UnlockedRecord { id });
        printer.data(&format!("{id}: no longer locked\n"));
    }
    Ok(done)
}
