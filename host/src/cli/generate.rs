//! `host schema`, `host completions` and `host man`: texts that follow from the program itself, so that they cannot
//! say anything else than it does.

use std::{fs, path::Path};

use anyhow::{Context, bail};
use clap::{Command, CommandFactory};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{
    Args,
    args::{CompletionsArgs, ManArgs, SchemaArgs},
    done::Done,
    output::output_schema,
};
use crate::{
    config::{published_schema, task_schema},
    printer::{Mode, Printer},
    run::error::exit,
};

fn done(result: anyhow::Result<()>, printer: &Printer) -> Done {
    match result {
        Ok(()) => exit::DONE.into(),
        Err(error) => Done::failed(printer, &error, exit::USAGE),
    }
}

/// Prints the JSON Schema of run files, of task files, or of what is printed under `--json`.
pub(super) fn schema(args: &SchemaArgs, printer: &Printer) -> Done {
    done(print_schema(args, printer), printer)
}

fn print_schema(args: &SchemaArgs, printer: &Printer) -> anyhow::Result<()> {
    let (of, schema) = if args.output {
        (SchemaOf::Output, output_schema())
    } else if args.task {
        (SchemaOf::TaskFile, task_schema())
    } else {
        let discovery = super::plugin::find(&args.plugins)?;
        for refused in &discovery.refused {
            printer.warn(&format!("not used: {}: {}", refused.path.display(), refused.reason));
        }
        let manifests = discovery.plugins.iter().map(|found| &found.inspection.manifest);
        let mut schemas: Vec<(&str, &Value)> = manifests
            .map(|manifest| (manifest.plugin.id.as_str(), &manifest.config_schema))
            .collect();
        schemas.sort_by_key(|(id, _)| *id);
        (SchemaOf::RunFile, published_schema(schemas))
    };
    let text = serde_json::to_string_pretty(&schema)?;
    printer.record(&Made::Schema { of, schema });
    printer.data(&format!("{text}\n"));
    Ok(())
}

/// A text that was made, as programs are told.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Made<'a> {
    /// A JSON Schema.
    Schema {
        /// Of what.
        of: SchemaOf,
        /// It.
        schema: Value,
    },
    /// A script that makes a shell complete what is typed.
    Completions {
        /// The shell.
        shell: String,
        /// It.
        script: &'a str,
    },
    /// A manual page.
    ManPage {
        /// Its file name.
        name: String,
        /// Its text, for `man`.
        roff: &'a str,
    },
    /// Manual pages that were written.
    ManPages {
        /// Their files.
        files: Vec<String>,
    },
}

/// What a schema is of.
#[derive(Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SchemaOf {
    /// Run files.
    RunFile,
    /// Task files.
    TaskFile,
    /// Lines of stdout under `--json`.
    Output,
}

/// Prints the script that makes a shell complete what is typed after `host`.
pub(super) fn completions(args: &CompletionsArgs, printer: &Printer) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut shown(), "host", &mut script);
    let script = String::from_utf8_lossy(&script);
    printer.record(&Made::Completions { shell: args.shell.to_string(), script: &script });
    printer.data(&script);
    exit::DONE.into()
}

/// Prints a manual page, or writes all of them.
pub(super) fn man(args: &ManArgs, printer: &Printer) -> Done {
    let made = match &args.out {
        Some(folder) => write_pages(folder, printer),
        None => print_page(&args.command, printer),
    };
    done(made, printer)
}

fn print_page(path: &[String], printer: &Printer) -> anyhow::Result<()> {
    let mut command = built();
    for name in path {
        let Some(below) = command.find_subcommand(name).filter(|below| !below.is_hide_set()) else {
            let known = visible(&command).map(|below| below.get_name().to_owned());
            let known: Vec<String> = known.collect();
            bail!("there is no command `{}`; there are: {}", path.join(" "), known.join(", "));
        };
        command = below.clone();
    }
    let name = page_name(&command);
    let roff = page(command)?;
    printer.record(&Made::ManPage { name, roff: &roff });
    if printer.mode() != Mode::Json {
        printer.data(&roff);
    }
    Ok(())
}

fn write_pages(folder: &Path, printer: &Printer) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut files = Vec::new();
    let mut open = vec![built()];
    while let Some(command) = open.pop() {
        open.extend(visible(&command).cloned());
        let path = folder.join(page_name(&command));
        fs::write(&path, page(command)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        files.push(path.display().to_string());
    }
    files.sort();
    printer.data(&files.iter().map(|file| format!("{file}\n")).collect::<String>());
    printer.record(&Made::ManPages { files });
    Ok(())
}

/// The command line as a person may type it: what the host starts itself by is not part of that.
fn shown() -> Command {
    let all = Args::command();
    let commands = visible(&all).cloned().collect::<Vec<_>>();
    let about = all.get_about().cloned().unwrap_or_default();
    let long_about = all.get_long_about().cloned().unwrap_or_default();
    Command::new("host")
        .version(env!("CARGO_PKG_VERSION"))
        .about(about)
        .long_about(long_about)
        .args(all.get_arguments().cloned())
        .subcommands(commands)
}

/// The same with every command's full name in place.
fn built() -> Command {
    let mut command = shown().disable_help_subcommand(true);
    command.build();
    command
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|below| !below.is_hide_set())
}

fn page_name(command: &Command) -> String {
    format!("{}.1", command.get_display_name().unwrap_or_else(|| command.get_name()))
}

fn page(command: Command) -> anyhow::Result<String> {
    let title = command.get_display_name().unwrap_or_else(|| command.get_name()).to_uppercase();
    let mut roff = Vec::new();
    clap_mangen::Man::new(command).title(title).render(&mut roff)?;
    Ok(String::from_utf8(roff)?)
}
