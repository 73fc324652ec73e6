//! `host task list`.

use std::env;

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    args::{ConfigDirs, TaskCommand},
    done::Done,
};
use crate::{
    config::{Catalog, DataState, Definition},
    printer::Printer,
    report::table,
    run::error::exit,
};

/// What is told of tasks, as programs are told.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum TaskRecord {
    /// One that can be run by name.
    Task(Definition),
    /// A file that cannot be used.
    TaskRefused {
        /// Which, and why.
        refused: String,
    },
}

/// Lists.
pub(super) fn main(command: &TaskCommand, printer: &Printer) -> Done {
    let TaskCommand::List { config } = command;
    match catalog(config) {
        Ok(catalog) => list(&catalog, printer),
        Err(error) => Done::failed(printer, &error, exit::USAGE),
    }
}

/// The task definitions that this command line can name.
pub(super) fn catalog(dirs: &ConfigDirs) -> anyhow::Result<Catalog> {
    let variable = env::var_os("HOST_CONFIG_DIR");
    let executable = env::current_exe().ok();
    Ok(Catalog::new(&dirs.config_dirs, variable.as_deref(), executable.as_deref())?)
}

fn list(catalog: &Catalog, printer: &Printer) -> Done {
    let (definitions, broken) = catalog.definitions(&|name| env::var(name).ok());
    for error in broken {
        printer.record(&TaskRecord::TaskRefused { refused: error.to_string() });
        printer.warn(&format!("not used: {error}"));
    }
    let mut table = table::plain(printer.width());
    table.set_header(["task", "kind", "data", "what it is", "file"]);
    for definition in &definitions {
        printer.record(&TaskRecord::Task(definition.clone()));
        table.add_row([
            definition.id.clone(),
            definition.kind.clone(),
            in_words(&definition.data),
            definition.description.clone(),
            definition.file.display().to_string(),
        ]);
    }
    if definitions.is_empty() {
        printer.note(
            "no task definitions found; name their folder by --config-dir or HOST_CONFIG_DIR",
        );
    } else {
        printer.data(&format!("{table}\n"));
    }
    exit::DONE.into()
}

/// Whether the data is there; if it is not, what would bring it.
fn in_words(data: &DataState) -> String {
    match (data.present, data.variables.as_slice()) {
        (true, _) => "there".to_owned(),
        (false, []) => format!("missing: {}", data.path.display()),
        (false, variables) => format!("missing: set {}", variables.join(", ")),
    }
}
