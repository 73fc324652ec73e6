//! `host cache stats` and `host cache prune`.

use std::{
    env,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    args::{CacheCommand, PruneArgs},
    done::Done,
};
use crate::{
    asset,
    printer::Printer,
    report::table,
    run::error::exit,
    store::cache::{self, Prune},
};

/// What is told of the cache, as programs are told.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum CacheRecord {
    /// What is in it.
    CacheStats(cache::Stats),
    /// What was removed.
    CachePruned(cache::Pruned),
}

/// Shows, or removes.
pub(super) fn main(command: &CacheCommand, printer: &Printer) -> Done {
    let done = match command {
        CacheCommand::Stats => stats(printer),
        CacheCommand::Prune(args) => prune(args, printer),
    };
    match done {
        Ok(()) => exit::DONE.into(),
        Err(error) => Done::failed(printer, &error, exit::USAGE),
    }
}

fn path() -> anyhow::Result<PathBuf> {
    let folder = asset::cache_dir(&|name| env::var_os(name));
    let folder = folder.context("there is no folder for caches; set HOST_CACHE_DIR or HOME")?;
    Ok(cache::file(&folder))
}

fn stats(printer: &Printer) -> anyhow::Result<()> {
    let stats = cache::stats(&path()?)?;
    printer.record(&CacheRecord::CacheStats(stats.clone()));
    if !stats.backends.is_empty() {
        let mut table = table::plain(printer.width());
        table.set_header(["backend", "plugin", "model", "entries", "size", "hits"]);
        for backend in &stats.backends {
            table.add_row([
                backend.backend.clone(),
                backend.plugin.clone(),
                backend.model.clone().unwrap_or_else(|| "–".to_owned()),
                backend.entries.to_string(),
                size(backend.entry_bytes),
                backend.hits.to_string(),
            ]);
        }
        printer.data(&format!("{table}\n"));
    }
    printer.data(&format!(
        "{} entries, {}: {}\n",
        stats.entries,
        size(stats.file_bytes),
        stats.path.display()
    ));
    Ok(())
}

fn prune(args: &PruneArgs, printer: &Printer) -> anyhow::Result<()> {
    let path = path()?;
    let pruned = if args.all {
        cache::remove(&path)?
    } else {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let before_s = args.older_than.map(|age| now.saturating_sub(age).as_secs());
        cache::prune(&path, &Prune { before_s, max_bytes: args.max_size })?
    };
    printer.record(&CacheRecord::CachePruned(pruned));
    printer.data(&format!(
        "{} entries removed, {} left; {} of {} freed\n",
        pruned.removed,
        pruned.entries,
        size(pruned.file_bytes_before.saturating_sub(pruned.file_bytes)),
        size(pruned.file_bytes_before)
    ));
    if let Some(most) = args.max_size.filter(|most| pruned.file_bytes > *most) {
        printer.warn(&format!(
            "the file is still larger than {}: a run that reads it keeps its room; prune again later",
            size(most)
        ));
    }
    Ok(())
}

/// A size for people.
pub(super) fn size(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "a size for people needs no more digits")]
    let of = |unit: u32| bytes as f64 / f64::from(unit);
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{:.1} KiB", of(1 << 10)),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", of(1 << 20)),
        _ => format!("{:.2} GiB", of(1 << 30)),
    }
}
