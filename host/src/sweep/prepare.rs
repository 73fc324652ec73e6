//! The run file of each cell, written and checked. It says by itself where its paths begin and where its results go, so
//! that `host run` takes it as it stands. References to the environment stay references: no secret gets into a file.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{cell::Cell, matrix::Matrix, template::Template};
use crate::{
    config::{self, Overrides, Place, Problem, RunFile, Variables, node, toml_text},
    store::StoreError,
};

/// Name of a cell's run file in its folder.
pub const RUN_FILE: &str = "run.toml";

/// A cell whose run file is written.
#[derive(Debug)]
pub struct Prepared {
    /// The cell.
    pub cell: Cell,
    /// Its folder.
    pub folder: PathBuf,
    /// Its run file.
    pub file: PathBuf,
    /// What that means; or why it means nothing.
    pub loaded: Result<RunFile, String>,
}

/// Writes the run file of each cell into a folder below `out`, which is absolute, and reads it as `host run` will.
///
/// # Errors
/// A folder or a file cannot be written. What is wrong with a cell is in [`Prepared::loaded`].
pub fn prepare(
    template: &Template,
    matrix: &Matrix,
    cells: Vec<Cell>,
    out: &Path,
    overrides: &Overrides,
    variables: &Variables<'_>,
) -> Result<Vec<Prepared>, StoreError> {
    let one = |cell: Cell| {
        let folder = out.join(&cell.id);
        let file = folder.join(RUN_FILE);
        let loaded = match run_file(template, matrix, &cell, &folder) {
            Ok(text) => {
                write(&folder, &file, &text)?;
                config::load(&file, overrides, variables).map_err(|error| error.to_string())
            }
            Err(problem) => Err(problem.to_string()),
        };
        Ok(Prepared { cell, folder, file, loaded })
    };
    cells.into_iter().map(one).collect()
}

/// The text of a cell's run file.
fn run_file(
    template: &Template,
    matrix: &Matrix,
    cell: &Cell,
    folder: &Path,
) -> Result<String, Problem> {
    let text = template.render(&cell.context)?;
    // What is no TOML is told with its line when the file is read.
    let root = node::parse(&template.path, &text).ok();
    let has = |key: &str| root.as_ref().is_some_and(|root| root.get(key).is_some());
    for key in ["folder", "out"] {
        if has(key) {
            let place = Place::line(&template.path.as_path().into(), 1);
            let message = "is what a sweep gives to each cell; leave it out of the template";
            return Err(Problem::new(&place, key, message));
        }
    }
    // A template without a folder before its name is in the current one, which an empty path would not be.
    let whole = std::path::absolute(&template.path).unwrap_or_else(|_| template.path.clone());
    let template_folder = whole.parent().unwrap_or(Path::new("/"));
    // A path that holds a dollar is that path.
    let path = |path: &Path| toml_text(&path.to_string_lossy().replace('$', "$$"));
    let plain = |path: &Path| path.display().to_string().replace(char::is_control, " ");
    let mut head = format!(
        "# The cell `{}` of {} and {}.\n# Each sweep writes it anew: change those.\nfolder = {}\nout = {}\n",
        cell.id,
        plain(&template.path),
        plain(&matrix.path),
        path(template_folder),
        path(folder),
    );
    if !has("name") {
        head.push_str(&format!("name = {}\n", toml_text(&cell.id)));
    }
    Ok(format!("{head}\n{text}"))
}

/// Writes the file unless it is so already.
fn write(folder: &Path, file: &Path, text: &str) -> Result<(), StoreError> {
    let write = || {
        fs::create_dir_all(folder)?;
        if fs::read(file).is_ok_and(|there| there == text.as_bytes()) {
            return Ok(());
        }
        fs::write(file, text)
    };
    write().map_err(|source: io::Error| StoreError {
        path: file.to_owned(),
        action: "write this file",
        source,
    })
}
