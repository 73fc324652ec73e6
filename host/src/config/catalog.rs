//! Task definitions by name: where they are looked for, which there are, and whether their data is there. What a
//! task means is the business of `task`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;
use thiserror::Error;

use super::env::{self, Variables};
use super::error::ConfigError;
use super::node::{self, Node};
use super::suggest::nearest;

/// The folder of definitions in a folder of run files.
const TASKS: &str = "tasks";

/// Folders that hold task definitions, in the order in which they are looked into.
#[derive(Clone, Debug)]
pub struct Catalog {
    folders: Vec<PathBuf>,
}

/// Why a task is not found.
#[derive(Debug, Error)]
pub enum CatalogError {
    /// A folder that was asked for has none.
    #[error("{} (from {from}) has no folder `tasks`; name the folder above it", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// `--config-dir` or `HOST_CONFIG_DIR`.
        from: &'static str,
    },
    /// No definition has this name.
    #[error("there is no task `{name}`; {hint}")]
    Unknown {
        /// The name.
        name: String,
        /// What there is instead.
        hint: String,
    },
}

/// A task definition, as a list shows it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Definition {
    /// Its id: what the file says, else its name.
    pub id: String,
    /// How its samples are put to a model; empty if the file does not say.
    pub kind: String,
    /// One line for a person.
    pub description: String,
    /// The file.
    pub file: PathBuf,
    /// Where its samples come from.
    pub data: DataState,
}

/// Whether a definition's data set is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DataState {
    /// The data file, as far as its name can be told.
    pub path: PathBuf,
    /// Whether it is there.
    pub present: bool,
    /// Environment variables that its name depends on.
    pub variables: Vec<String>,
}

impl Catalog {
    /// The catalog of the folders of `--config-dir`, of `HOST_CONFIG_DIR` (a list separated by `:`), of `./config`,
    /// and of those that belong to the executable: `../share/host` of an installed one, `../../config` of one in
    /// its build folder. Of the last three those that are there.
    ///
    /// # Errors
    /// A folder that the user named holds no definitions.
    pub fn new(
        flags: &[PathBuf],
        variable: Option<&OsStr>,
        executable: Option<&Path>,
    ) -> Result<Self, CatalogError> {
        let listed: Vec<PathBuf> = variable
            .map(|list| std::env::split_paths(list).filter(|path| path != Path::new("")).collect())
            .unwrap_or_default();
        let named = flags
            .iter()
            .map(|path| (path, "--config-dir"))
            .chain(listed.iter().map(|path| (path, "HOST_CONFIG_DIR")));
        let mut folders = Vec::new();
        for (path, from) in named {
            let folder = path.join(TASKS);
            if !folder.is_dir() {
                return Err(CatalogError::Folder { path: path.clone(), from });
            }
            folders.push(folder);
        }
        folders.extend(
            own_folders(executable).map(|path| path.join(TASKS)).filter(|path| path.is_dir()),
        );
        Ok(Self { folders })
    }

    /// Every definition, by name, and the files that cannot be read. Of several of one name the first folder's is
    /// the one.
    pub fn definitions(&self, variables: &Variables<'_>) -> (Vec<Definition>, Vec<ConfigError>) {
        let (mut found, mut broken) = (Vec::<Definition>::new(), Vec::new());
        for file in self.files() {
            match read(&file, variables) {
                Ok(definition) if found.iter().any(|known| known.id == definition.id) => {}
                Ok(definition) => found.push(definition),
                Err(error) => broken.push(error),
            }
        }
        found.sort_by(|a, b| a.id.cmp(&b.id));
        (found, broken)
    }

    /// The file of the task of this name. A name that ends in `.toml` is that file itself.
    ///
    /// # Errors
    /// There is none; with the nearest name.
    pub fn find(&self, name: &str) -> Result<PathBuf, CatalogError> {
        if Path::new(name).extension().is_some_and(|extension| extension == "toml") {
            return Ok(name.into());
        }
        let (definitions, _) = self.definitions(&|_| None);
        if let Some(definition) = definitions.iter().find(|definition| definition.id == name) {
            return Ok(definition.file.clone());
        }
        let ids = || definitions.iter().map(|definition| definition.id.as_str());
        let hint = match nearest(name, ids()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if definitions.is_empty() => {
                "no definitions were found at all: name their folder by --config-dir".to_owned()
            }
            None => format!("there are: {}", ids().collect::<Vec<_>>().join(", ")),
        };
        Err(CatalogError::Unknown { name: name.to_owned(), hint })
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for folder in &self.folders {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let mut own: Vec<PathBuf> = entries
                .map(|entry| entry.path())
                .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
                .collect();
            own.sort();
            files.append(&mut own);
        }
        files
    }
}

/// Folders that nobody has to name.
fn own_folders(executable: Option<&Path>) -> impl Iterator<Item = PathBuf> {
    // The name that was called may be a link to the place where the program lies.
    let executable = executable.and_then(|path| std::fs::canonicalize(path).ok());
    let beside = executable.and_then(|path| path.parent().map(Path::to_owned));
    let of_executable = beside.into_iter().flat_map(|beside| {
        [Path::new("../share/host"), Path::new("../../config")].map(|path| beside.join(path))
    });
    let of_executable = of_executable.filter_map(|path| std::fs::canonicalize(path).ok());
    std::iter::once(PathBuf::from("config")).chain(of_executable)
}

fn read(file: &Path, variables: &Variables<'_>) -> Result<Definition, ConfigError> {
    let mut node = node::read(file)?;
    let text = |node: &Node, key: &str| node.get_str(key).unwrap_or_default().to_owned();
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let id = node.get_str("id").map_or_else(|| stem.into_owned(), str::to_owned);
    let (kind, description) = (text(&node, "kind"), text(&node, "description"));
    let data = data_state(&mut node, file.parent().unwrap_or(Path::new("")), variables);
    Ok(Definition { id, kind, description, file: file.to_owned(), data })
}

fn data_state(node: &mut Node, folder: &Path, variables: &Variables<'_>) -> DataState {
    let Some(data) = node.at_mut(&["data", "path"]) else {
        return DataState { path: PathBuf::new(), present: false, variables: Vec::new() };
    };
    let typed = data.as_str().unwrap_or_default().to_owned();
    let names = env::references(&typed);
    let mut problems = Vec::new();
    env::expand_value(data, "data.path", variables, &mut problems);
    let path = folder.join(data.as_str().unwrap_or_default());
    let present = problems.is_empty() && path.is_file();
    DataState { path, present, variables: names }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(tasks: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(TASKS)).unwrap();
        for (name, text) in tasks {
            std::fs::write(dir.path().join(TASKS).join(name), text).unwrap();
        }
        dir
    }

    fn catalog(flags: &[&Path]) -> Catalog {
        let flags: Vec<_> = flags.iter().map(|path| (*path).to_owned()).collect();
        Catalog::new(&flags, None, None).unwrap()
    }

    #[test]
    fn the_first_folder_that_has_a_name_has_the_task() {
        let first = folder(&[("a.toml", "kind = \"generate\""), ("notes.txt", "= no TOML =")]);
        let second = folder(&[
            ("a.toml", "kind = \"perplexity\""),
            ("b-file.toml", "id = \"beta\"\ndescription = \"the second\""),
            ("broken.toml", "= no TOML ="),
        ]);
        let catalog = catalog(&[first.path(), second.path()]);
        let (found, broken) = catalog.definitions(&|_| None);
        let of = |id: &str| found.iter().find(|found| found.id == id).unwrap();
        assert_eq!(
            (of("a").kind.as_str(), of("a").file.starts_with(first.path())),
            ("generate", true)
        );
        assert_eq!(of("beta").description, "the second");
        assert!(broken.len() == 1 && broken[0].to_string().contains("broken.toml:1"), "{broken:?}");
        assert_eq!(catalog.find("beta").unwrap(), second.path().join("tasks/b-file.toml"));
        assert_eq!(catalog.find("x/y.toml").unwrap(), Path::new("x/y.toml"));
        let error = catalog.find("bata").unwrap_err().to_string();
        assert_eq!(error, "there is no task `bata`; did you mean `beta`?");
    }

    /// Each row: the path of a data set, and what is told of it: whether it is there, and its variables.
    #[test]
    fn a_definition_says_whether_its_data_is_there_and_on_what_that_depends() {
        let dir = folder(&[]);
        std::fs::write(dir.path().join("data.jsonl"), "").unwrap();
        let here = dir.path().display().to_string();
        let table = [
            ("../data.jsonl", true, &[][..]),
            ("../nothing.jsonl", false, &[]),
            ("${HERE}/data.jsonl", true, &["HERE"]),
            ("${NOWHERE}/data.jsonl", false, &["NOWHERE"]),
            ("${NOWHERE:-..}/data.jsonl", true, &["NOWHERE"]),
            ("$$${A:?say}${HERE}", false, &["A", "HERE"]),
        ];
        for (path, present, variables) in table {
            let text = format!("data.path = \"{path}\"");
            std::fs::write(dir.path().join("tasks/t.toml"), text).unwrap();
            let lookup = |name: &str| (name == "HERE").then(|| here.clone());
            let (found, _) = catalog(&[dir.path()]).definitions(&lookup);
            let data = &found.iter().find(|found| found.id == "t").unwrap().data;
            assert_eq!(
                (data.present, data.variables.as_slice()),
                (present, &*variables.iter().map(|&v| v.to_owned()).collect::<Vec<_>>()),
                "{path}"
            );
        }
    }

    #[test]
    fn a_folder_without_definitions_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let error = Catalog::new(&[dir.path().to_owned()], None, None).unwrap_err().to_string();
        assert!(error.contains("(from --config-dir) has no folder `tasks`"), "{error}");
        let error = Catalog::new(&[], Some(dir.path().as_os_str()), None).unwrap_err().to_string();
        assert!(error.contains("(from HOST_CONFIG_DIR)"), "{error}");
    }

    #[test]
    fn an_executable_brings_definitions_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        for (executable, tasks) in [
            ("usr/bin/host", "usr/share/host/tasks"),
            ("src/target/debug/host", "src/config/tasks"),
        ] {
            let executable = dir.path().join(executable);
            std::fs::create_dir_all(executable.parent().unwrap()).unwrap();
            std::fs::write(&executable, "").unwrap();
            let tasks = dir.path().join(tasks);
            std::fs::create_dir_all(&tasks).unwrap();
            std::fs::write(tasks.join("own-of-it.toml"), "").unwrap();
            let catalog = Catalog::new(&[], None, Some(&executable)).unwrap();
            assert!(catalog.find("own-of-it").is_ok(), "{}", executable.display());
        }
    }
}
