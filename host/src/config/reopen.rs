//! A backend's table out of a run directory, as the run file that it came from meant it: what cleans up after a
//! run that was killed has no run file.

use std::path::Path;

use serde_json::{Value, json};

use super::check;
use super::error::{ConfigError, Place, Problem};
use super::load::RunFile;
use super::node::{Content, Node};
use super::resolve;
use super::schema;
use super::typed;
use crate::canonical;

impl RunFile {
    /// The table of the backend number `index` at its server number `server`, with everything filled in as its
    /// plugin's schema wants it: what [`reopen`] takes.
    pub fn backend_table(&self, index: usize, server: usize, config_schema: &Value) -> Value {
        let Some(mut table) = self.backend_at(index, server) else { return Value::Null };
        if let Content::Table(keys) = &mut table.content {
            // What serves it, and who stands in for it, is none of a clean-up's business.
            for key in ["fallback", "launch", "wait_ready"] {
                keys.remove(key);
            }
        }
        if let Some(config) = table.at_mut(&["config"]) {
            // What is wrong is told where the table is checked.
            typed::convert(config, config_schema, "", &mut Vec::new());
        }
        table.to_value()
    }
}

/// A run file of this one backend and no task. `source` names the file that the table was kept in, `folder` is
/// what its paths are relative to.
///
/// # Errors
/// The table does not fit a run file of this version.
pub fn reopen(table: &Value, source: &Path, folder: &Path) -> Result<RunFile, ConfigError> {
    let place = Place::line(&source.into(), 1);
    let root = Node::from_value(&json!({ "backend": [table] }), &place);
    let broken = |reason: String| vec![Problem::new(&place, "", reason)];
    let problems = check::check(&root, &schema::checked_schema(), "").unwrap_or_else(broken);
    ConfigError::unless_empty(problems)?;
    let config = resolve::resolve(&root, "release", folder, Vec::new())?;
    Ok(RunFile {
        config_blake3: canonical::digest(&config.decisive()),
        config,
        folder: folder.to_owned(),
        root,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_table_means_what_it_meant() {
        let table =
            json!({ "plugin": "huggingface", "id": "hf", "config": { "mode": "endpoint" } });
        let file = reopen(&table, Path::new("resources.jsonl"), Path::new("/runs")).unwrap();
        assert_eq!(file.config.backends[0].id, "hf");
        assert_eq!(file.backend_table(0, 0, &Value::Null), table);
        let error = reopen(&json!({ "plugin": 1 }), Path::new("resources.jsonl"), Path::new(""));
        assert!(error.unwrap_err().to_string().contains("resources.jsonl"));
    }
}
