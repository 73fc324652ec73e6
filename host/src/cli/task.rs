//! `host task list`.

use std::env;

use super::{
    args::{ConfigDirs, TaskCommand},
    print_error,
};
use crate::{
    config::{Catalog, DataState},
    printer::Printer,
    report::table,
    run::error::exit,
};

/// Lists.
pub(super) fn main(command: &TaskCommand, printer: &Printer) -> u8 {
    let TaskCommand::List { config } = command;
    match catalog(config) {
        Ok(catalog) => list(&catalog, printer),
        Err(error) => {
            print_error(printer, &error);
            exit::USAGE
        }
    }
}

/// The task definitions that this command line can name.
pub(super) fn catalog(dirs: &ConfigDirs) -> anyhow::Result<Catalog> {
    let variable = env::var_os("HOST_CONFIG_DIR");
    let executable = env::current_exe().ok();
    Ok(Catalog::new(&dirs.config_dirs, variable.as_deref(), executable.as_deref())?)
}

fn list(catalog: &Catalog, printer: &Printer) -> u8 {
    let (definitions, broken) = catalog.definitions(&|name| env::var(name).ok());
    for error in broken {
        printer.warn(&format!("not used: {error}"));
    }
    let mut table = table::plain(printer.width());
    table.set_header(["task", "kind", "data", "what it is", "file"]);
    for definition in &definitions {
        printer.record(definition);
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
    exit::DONE
}

/// Whether the data is there; if it is not, what would bring it.
fn in_words(data: &DataState) -> String {
    match (data.present, data.variables.as_slice()) {
        (true, _) => "there".to_owned(),
        (false, []) => format!("missing: {}", data.path.display()),
        (false, variables) => format!("missing: set {}", variables.join(", ")),
    }
}
