//! A run file out of a run directory, or a backend's table of one, as it was meant: who resumes a run, or cleans up
//! after it, need not have the file.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::check;
use super::error::{ConfigError, Place, Problem};
use super::load::RunFile;
use super::node::{Content, Node};
use super::overrides::Set;
use super::resolve;
use super::schema;
use super::typed;
use crate::canonical;

/// A run file as a run directory keeps it: tasks merged, everything filled in that the environment or the command
/// line gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Its tables.
    pub tree: Value,
    /// The folder that its paths are relative to.
    pub folder: PathBuf,
    /// The folder that the paths of each task are relative to.
    pub task_folders: Vec<PathBuf>,
}

impl RunFile {
    /// What [`reopen_run`] takes. `config_schema` gives the schema of a plugin's configuration by the plugin's id.
    pub fn keep<'a>(&self, config_schema: impl Fn(&str) -> Option<&'a Value>) -> Kept {
        let mut root = self.root.clone();
        let place = root.place.clone();
        if let Some(table) = root.as_table_mut() {
            // The one that was taken is in place; the others may refer to what is not set.
            table.remove("profiles");
            table.insert("name".to_owned(), Node::string(self.config.name.as_str(), &place));
        }
        let backends = root.at_mut(&["backend"]).map(Node::items_mut).unwrap_or_default();
        for backend in backends {
            let schema = backend.get_str("plugin").and_then(&config_schema);
            if let (Some(schema), Some(config)) = (schema, backend.at_mut(&["config"])) {
                // What is wrong is told where the table is checked.
                typed::convert(config, schema, "", &mut Vec::new());
            }
        }
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Kept {
            tree: root.to_value(),
            folder: absolute(&self.folder),
            task_folders: self.config.tasks.iter().map(|task| absolute(&task.base_dir)).collect(),
        }
    }

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
    let tree = json!({ "name": "release", "backend": [table] });
    from_tree(&tree, source, folder, Vec::new(), &[])
}

/// The run file that was kept. `source` names the file that keeps it.
///
/// # Errors
/// It does not fit a run file of this version.
pub fn reopen_run(kept: &Kept, source: &Path) -> Result<RunFile, ConfigError> {
    reopen_changed(kept, source, &[])
}

/// The same with values changed, as `--set` does.
///
/// # Errors
/// As for [`reopen_run`], or what is wrong with a change.
pub fn reopen_changed(kept: &Kept, source: &Path, sets: &[String]) -> Result<RunFile, ConfigError> {
    from_tree(&kept.tree, source, &kept.folder, kept.task_folders.clone(), sets)
}

fn from_tree(
    tree: &Value,
    source: &Path,
    folder: &Path,
    task_folders: Vec<PathBuf>,
    sets: &[String],
) -> Result<RunFile, ConfigError> {
    let place = Place::line(&source.into(), 1);
    let mut root = Node::from_value(tree, &place);
    let apply = |argument: &String| Set::parse(argument)?.apply(&mut root);
    let problems: Vec<Problem> = sets.iter().map(apply).filter_map(Result::err).collect();
    ConfigError::unless_empty(problems)?;
    let broken = |reason: String| vec![Problem::new(&place, "", reason)];
    let problems = check::check(&root, &schema::checked_schema(), "").unwrap_or_else(broken);
    ConfigError::unless_empty(problems)?;
    let config = resolve::resolve(&root, "run", folder, task_folders)?;
    Ok(RunFile {
        config_blake3: canonical::digest(&config.decisive()),
        config,
        folder: folder.to_owned(),
        root,
    })
}

#[cfg(test)]
mod tests {
    use super::super::load::tests::{GOOD, load_text};
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

    #[test]
    fn a_kept_run_file_means_what_it_meant_and_lies_where_it_lay() {
        let text = format!(
            "profile = \"fast\"\n{GOOD}\n[profiles.fast]\nrun.concurrency = 3\n[profiles.other]\nout = \"${{UNSET}}\"\n"
        );
        let (folder, loaded) = load_text(&text, &["backend.tgi.config.temperature=0.7"]);
        let file = loaded.unwrap();
        let kept = serde_json::to_string(&file.keep(|_| None)).unwrap();
        let again = reopen_run(&serde_json::from_str(&kept).unwrap(), Path::new("m.json")).unwrap();
        assert_eq!(again.config_blake3, file.config_blake3);
        assert_eq!(json!(again.config), json!(file.config));
        assert_eq!(again.config.run.concurrency.ceiling, 3);
        assert_eq!(again.config.tasks[0].base_dir, folder.path().join("tasks"));
        assert_eq!(again.folder, folder.path());
    }
}
