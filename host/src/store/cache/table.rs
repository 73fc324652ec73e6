//! The cache's file: a redb database that several processes read and write at once.
//!
//! It is opened in redb's multi-writer mode: every process may have it open for as long as it runs, reads see the last
//! commit, and one process at a time writes. Two hosts with releases of redb that lock differently refuse each
//! other: then the later one goes without the cache.

use std::{collections::HashMap, fs, path::Path, sync::Arc};

use redb::{
    Builder, ConcurrencyMode, Database, ReadableDatabase, ReadableTable, TableDefinition,
    TableError, TransactionError,
};
use serde::{Deserialize, Serialize};

use super::{Put, entry, key::Label};

/// Memory for pages of the file: entries are read once.
const PAGES_BYTES: usize = 4 * 1024 * 1024;

/// An entry's key, and the entry as `entry` writes it.
pub(super) const ANSWERS: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("answers");
/// An entry's key; when it was kept (seconds since 1970), the number of its label, and its bytes.
pub(super) const ENTRIES: TableDefinition<'_, [u8; 32], (u64, u64, u64)> =
    TableDefinition::new("entries");
/// The number of a label, and what it stands for as JSON.
pub(super) const LABELS: TableDefinition<'_, u64, &str> = TableDefinition::new("labels");

/// What is known of a label.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Labelled {
    pub(super) label: Label,
    /// Entries found under it, over all runs.
    #[serde(default)]
    pub(super) hits: u64,
}

/// The file, open.
pub(super) struct Table {
    database: Database,
}

/// Why nothing was written.
pub(super) enum Unwritten {
    /// Another process writes; soon it will not.
    Busy,
    /// The file cannot be written.
    Broken(redb::Error),
}

impl<E: Into<redb::Error>> From<E> for Unwritten {
    fn from(error: E) -> Self {
        Self::Broken(error.into())
    }
}

impl Table {
    /// Opens the file, made if it is not there with the folders above it.
    ///
    /// # Errors
    /// [`redb::Error::DatabaseAlreadyOpen`] if it may be had a moment later; others that it cannot be used.
    pub(super) fn create(path: &Path) -> Result<Self, redb::Error> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(redb::Error::Io)?;
        }
        Ok(Self { database: builder().create(path)? })
    }

    /// Opens the file that is there.
    ///
    /// # Errors
    /// As for [`Table::create`].
    pub(super) fn open(path: &Path) -> Result<Self, redb::Error> {
        Ok(Self { database: builder().open(path)? })
    }

    pub(super) fn database(&mut self) -> &mut Database {
        &mut self.database
    }

    /// The entries of these keys, in their order.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn get(
        &self,
        keys: impl Iterator<Item = [u8; 32]>,
    ) -> Result<Vec<Option<Vec<u8>>>, redb::Error> {
        let answers = match self.database.begin_read()?.open_table(ANSWERS) {
            Ok(answers) => answers,
            // Nothing was ever kept.
            Err(TableError::TableDoesNotExist(_)) => return Ok(keys.map(|_| None).collect()),
            Err(error) => return Err(error.into()),
        };
        keys.map(|key| Ok(answers.get(key)?.map(|value| value.value().to_vec()))).collect()
    }

    /// Writes entries and adds hits, in one transaction. What another process has kept meanwhile stays, unless it is
    /// damaged. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// [`Unwritten::Busy`] while another process writes.
    pub(super) fn write<'a>(
        &self,
        puts: impl Iterator<Item = &'a Put>,
        hits: &HashMap<u64, u64>,
        now: u64,
    ) -> Result<(), Unwritten> {
        let transaction = match self.database.try_begin_write() {
            Ok(transaction) => transaction,
            Err(TransactionError::WouldBlock) => return Err(Unwritten::Busy),
            Err(error) => return Err(error.into()),
        };
        {
            let mut answers = transaction.open_table(ANSWERS)?;
            let mut entries = transaction.open_table(ENTRIES)?;
            let mut labels = transaction.open_table(LABELS)?;
            let mut seen: HashMap<u64, &Arc<Label>> = HashMap::new();
            for put in puts {
                let Put { key, label, value } = put;
                let is_there =
                    answers.get(key.0)?.is_some_and(|found| entry::is_sound(found.value()));
                if !is_there {
                    let id = label.id();
                    answers.insert(key.0, value.as_slice())?;
                    entries.insert(key.0, (now, id, value.len() as u64))?;
                    seen.insert(id, label);
                }
            }
            for id in seen.keys().chain(hits.keys().filter(|id| !seen.contains_key(*id))) {
                let known = labels.get(id)?.and_then(|json| labelled(json.value()));
                let new =
                    || seen.get(id).map(|label| Labelled { label: Label::clone(label), hits: 0 });
                let Some(mut labelled) = known.or_else(new) else { continue };
                labelled.hits = labelled.hits.saturating_add(hits.get(id).copied().unwrap_or(0));
                let json = serde_json::to_string(&labelled).unwrap_or_default();
                labels.insert(id, json.as_str())?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

/// What a row of [`LABELS`] says; none if it is of a later version.
pub(super) fn labelled(json: &str) -> Option<Labelled> {
    serde_json::from_str(json).ok()
}

fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_concurrency_mode(ConcurrencyMode::MultiWriter).set_cache_size(PAGES_BYTES);
    builder
}
