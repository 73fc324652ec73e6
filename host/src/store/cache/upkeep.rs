//! What a user does to the cache: looks at it, and makes it smaller. Other processes may go on using it meanwhile.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata, TableError};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    key::Label,
    table::{ANSWERS, ENTRIES, LABELS, Table, labelled},
};

/// How long another process may have the file to itself.
const PATIENCE: Duration = Duration::from_secs(5);
/// Entries are told apart by the hour when the oldest are looked for.
const HOUR_S: u64 = 3600;
/// A file holds more than its entries, so it may take a second look to get below a size.
const ROUNDS: usize = 4;

/// The cache could not be looked at or made smaller.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// The file cannot be used.
    #[error(
        "{}: cannot use the response cache: {source}; `host cache prune --all` removes it", path.display()
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<redb::Error>,
    },
    /// The file cannot be removed.
    #[error("{}: cannot remove the response cache: {source}", path.display())]
    Unremovable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// What is in the cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Stats {
    /// The file.
    pub path: PathBuf,
    /// Its size; 0 if there is none.
    pub file_bytes: u64,
    /// Entries, each the answers to one sample.
    pub entries: u64,
    /// What they take of the file.
    pub entry_bytes: u64,
    /// By backend, plugin and model, in that order.
    pub backends: Vec<LabelStats>,
}

/// What is in the cache of one backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LabelStats {
    /// Id of the backend.
    pub backend: String,
    /// Id of its plugin.
    pub plugin: String,
    /// The model, if it is known.
    pub model: Option<String>,
    /// Entries.
    pub entries: u64,
    /// Their bytes.
    pub entry_bytes: u64,
    /// Entries that were found by runs, over all time.
    pub hits: u64,
}

/// Which entries go.
#[derive(Clone, Copy, Debug, Default)]
pub struct Prune {
    /// Those that were kept before this time, in seconds since 1970.
    pub before_s: Option<u64>,
    /// The oldest, by the hour, until the file is no larger.
    pub max_bytes: Option<u64>,
}

/// What went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Pruned {
    /// Entries that went.
    pub removed: u64,
    /// Entries that are left.
    pub entries: u64,
    /// Size of the file before.
    pub file_bytes_before: u64,
    /// Size of the file now.
    pub file_bytes: u64,
}

/// What is in this file, or that there is none.
///
/// # Errors
/// It is no cache, or another process does not let go of it.
pub fn stats(path: &Path) -> Result<Stats, UpkeepError> {
    let mut stats = Stats { path: path.to_owned(), file_bytes: size(path), ..Stats::default() };
    if path.exists() {
        let read = open(path).and_then(|table| read(table, &mut stats));
        read.map_err(unusable(path))?;
    }
    Ok(stats)
}

/// Removes entries and gives the room back to the system, as far as other processes let it.
///
/// # Errors
/// As for [`stats`].
pub fn prune(path: &Path, prune: &Prune) -> Result<Pruned, UpkeepError> {
    let mut pruned =
        Pruned { file_bytes_before: size(path), file_bytes: size(path), ..Pruned::default() };
    if !path.exists() {
        return Ok(pruned);
    }
    let mut all = || {
        let mut table = open(path)?;
        if let Some(before) = prune.before_s {
            pruned.removed += remove_before(&mut table, before)?;
        }
        shrink(&mut table);
        for _ in 0..ROUNDS {
            let Some(most) = prune.max_bytes.filter(|most| size(path) > *most) else { break };
            let Some(before) = oldest_to_go(&mut table, most, size(path))? else { break };
            pruned.removed += remove_before(&mut table, before)?;
            shrink(&mut table);
        }
        let transaction = table.database().begin_read()?;
        pruned.entries = match transaction.open_table(ENTRIES) {
            Ok(entries) => entries.len()?,
            Err(TableError::TableDoesNotExist(_)) => 0,
            Err(error) => return Err(error.into()),
        };
        Ok::<_, redb::Error>(())
    };
    all().map_err(unusable(path))?;
    pruned.file_bytes = size(path);
    Ok(pruned)
}

/// Removes the file, whatever is in it. A run that has it open goes on with what nobody else can find any more.
///
/// # Errors
/// The system does not let it.
pub fn remove(path: &Path) -> Result<Pruned, UpkeepError> {
    let file_bytes_before = size(path);
    let removed = stats(path).map(|stats| stats.entries).unwrap_or_default();
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(UpkeepError::Unremovable { path: path.to_owned(), source })
        }
        _ => Ok(Pruned { removed, file_bytes_before, ..Pruned::default() }),
    }
}

fn unusable(path: &Path) -> impl Fn(redb::Error) -> UpkeepError {
    move |source| UpkeepError::Unusable { path: path.to_owned(), source: Box::new(source) }
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map(|metadata| metadata.len()).unwrap_or(0)
}

fn open(path: &Path) -> Result<Table, redb::Error> {
    let until = Instant::now() + PATIENCE;
    loop {
        match Table::open(path) {
            Err(redb::Error::DatabaseAlreadyOpen) if Instant::now() < until => {
                thread::sleep(Duration::from_millis(20));
            }
            opened => return opened,
        }
    }
}

fn read(mut table: Table, stats: &mut Stats) -> Result<(), redb::Error> {
    let transaction = table.database().begin_read()?;
    let (entries, labels) = match (transaction.open_table(ENTRIES), transaction.open_table(LABELS))
    {
        (Ok(entries), Ok(labels)) => (entries, labels),
        (Err(TableError::TableDoesNotExist(_)), _) => return Ok(()),
        (Err(error), _) | (_, Err(error)) => return Err(error.into()),
    };
    let mut by_label: HashMap<u64, (u64, u64)> = HashMap::new();
    for entry in entries.iter()? {
        let (_, label, bytes) = entry?.1.value();
        let sum = by_label.entry(label).or_default();
        *sum = (sum.0 + 1, sum.1 + bytes);
        stats.entries += 1;
        stats.entry_bytes += bytes;
    }
    for label in labels.iter()? {
        let (id, json) = label?;
        let Some(known) = labelled(json.value()) else { continue };
        let (entries, entry_bytes) = by_label.get(&id.value()).copied().unwrap_or_default();
        let Label { backend, plugin, model } = known.label;
        let hits = known.hits;
        stats.backends.push(LabelStats { backend, plugin, model, entries, entry_bytes, hits });
    }
    stats
        .backends
        .sort_by(|a, b| (&a.backend, &a.plugin, &a.model).cmp(&(&b.backend, &b.plugin, &b.model)));
    Ok(())
}

/// Removes what was kept before this time, and the labels that nothing is left of.
fn remove_before(table: &mut Table, before_s: u64) -> Result<u64, redb::Error> {
    let transaction = table.database().begin_write()?;
    let mut removed = 0;
    {
        let mut answers = transaction.open_table(ANSWERS)?;
        let mut entries = transaction.open_table(ENTRIES)?;
        let mut labels = transaction.open_table(LABELS)?;
        let mut left = std::collections::HashSet::new();
        let mut gone = Vec::new();
        entries.retain(|key, (stored_s, label, _)| {
            let stays = stored_s >= before_s;
            if stays {
                left.insert(label);
            } else {
                gone.push(key);
            }
            stays
        })?;
        for key in gone {
            answers.remove(key)?;
            removed += 1;
        }
        labels.retain(|id, _| left.contains(&id))?;
    }
    transaction.commit()?;
    Ok(removed)
}

/// The time before which entries have to go for the file to be no larger than `most`; none if nothing is left to go.
fn oldest_to_go(table: &mut Table, most: u64, now: u64) -> Result<Option<u64>, redb::Error> {
    let mut by_hour: BTreeMap<u64, u64> = BTreeMap::new();
    let mut total = 0;
    let transaction = table.database().begin_read()?;
    match transaction.open_table(ENTRIES) {
        Ok(entries) => {
            for entry in entries.iter()? {
                let (stored_s, _, bytes) = entry?.1.value();
                *by_hour.entry(stored_s / HOUR_S).or_default() += bytes;
                total += bytes;
            }
        }
        Err(TableError::TableDoesNotExist(_)) => {}
        Err(error) => return Err(error.into()),
    }
    // Whatever the file holds beside its entries shrinks with them.
    let too_much =
        u128::from(now.saturating_sub(most)) * u128::from(total) / u128::from(now.max(1));
    let mut going = 0_u128;
    for (hour, bytes) in by_hour {
        going += u128::from(bytes);
        if going >= too_much.max(1) {
            return Ok(Some((hour + 1) * HOUR_S));
        }
    }
    Ok(None)
}

/// Gives room back to the system. A run that reads at this moment keeps it from it, which the next time mends.
fn shrink(table: &mut Table) {
    let _ = table.database().compact();
}
