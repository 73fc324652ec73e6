//! The command line: one file a subcommand. Each parses, calls, and prints through the printer alone.

mod args;
mod cache;
mod cassette;
mod check;
mod collect;
mod compare;
mod ctl;
mod doctor;
mod done;
mod generate;
mod launch;
mod mock;
mod output;
mod plugin;
mod plugin_check;
mod plugin_lock;
mod plugin_new;
mod plugin_standing;
mod plugins_log;
mod release;
mod report;
mod resume;
mod run;
mod run_mock;
mod score;
mod show;
mod sweep;
mod task;

pub use args::Args;

use std::{env, ffi::OsStr};

use clap::Parser;
use schemars::JsonSchema;
use serde::Serialize;

use self::done::Done;
use crate::{
    plugin::host_table,
    printer::{Mode, Printer},
    run::error::exit,
};

/// A text that clap makes, as programs are told.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
enum TypedRecord {
    /// What `--help` or `--version` asks for.
    Help {
        /// It.
        text: String,
    },
}

/// Parses the process's arguments, does what they say, and gives the exit code.
pub fn main() -> u8 {
    if let Some(exit_code) = launch::worker() {
        return exit_code;
    }
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return not_parsed(&error),
    };
    let mode = match (args.json, args.quiet) {
        (true, _) => Mode::Json,
        (_, true) => Mode::Quiet,
        _ => Mode::Default,
    };
    let printer = Printer::new(mode);
    host_table::set_log(plugins_log::plugins_log(printer.clone()));
    let done = carry_out(args.command, &printer);
    printer.record(&done);
    // What was asked for did not get there, however well it went.
    if done.exit_code == exit::DONE && printer.has_lost() {
        return exit::INTERNAL;
    }
    done.exit_code
}

fn carry_out(command: args::Command, printer: &Printer) -> Done {
    match command {
        args::Command::Run(command) => run::main(&command, printer),
        args::Command::Resume(command) => resume::main(&command, printer),
        args::Command::Sweep(command) => sweep::main(&command, printer),
        args::Command::Collect(command) => collect::main(&command, printer),
        args::Command::Release(command) => release::main(&command, printer),
        args::Command::Report(command) => report::main(&command, printer),
        args::Command::Cache(command) => cache::main(&command, printer),
        args::Command::Compare(command) => compare::main(&command, printer),
        args::Command::Task(command) => task::main(&command, printer),
        args::Command::Plugin(command) => plugin::main(&command, printer),
        args::Command::Mock(command) => mock::main(&command, printer),
        args::Command::Ctl(command) => ctl::main(&command, printer),
        args::Command::Check(command) => check::main(&command, printer),
        args::Command::Score(command) => score::main(&command, printer),
        args::Command::Show(command) => show::main(&command, printer),
        args::Command::Doctor(command) => doctor::main(&command, printer),
        args::Command::Schema(command) => generate::schema(&command, printer),
        args::Command::Completions(command) => generate::completions(&command, printer),
        args::Command::Man(command) => generate::man(&command, printer),
        args::Command::Supervise { command } => launch::supervise(&command, printer).into(),
        args::Command::Become { supervisor, command } => {
            launch::become_server(supervisor, &command, printer).into()
        }
    }
}

/// What was typed is no command, or asks for help.
fn not_parsed(error: &clap::Error) -> u8 {
    let is_help = !error.use_stderr();
    let exit_code = if is_help { exit::DONE } else { exit::USAGE };
    let text = error.to_string();
    // Nothing was parsed, so that it is looked for as it was typed.
    if env::args_os().take_while(|typed| typed != "--").any(|typed| typed == OsStr::new("--json")) {
        let printer = Printer::new(Mode::Json);
        if is_help {
            printer.record(&TypedRecord::Help { text });
            printer.record(&Done::from(exit_code));
        } else {
            let text = text.trim_end().strip_prefix("error: ").unwrap_or(&text);
            printer.record(&Done::failed(&printer, &anyhow::anyhow!("{text}"), exit_code));
        }
    } else {
        // Clap knows which stream it belongs to.
        let _ = error.print();
    }
    exit_code
}

/// Everything that an error says of itself and its causes. Most name their cause themselves; none is said twice.
fn in_words(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| {
        if said.is_empty() {
            cause
        } else if said.contains(&cause) {
            said
        } else {
            format!("{said}: {cause}")
        }
    })
}

fn print_error(printer: &Printer, error: &anyhow::Error) {
    printer.error(&in_words(error));
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    #[test]
    fn a_cause_is_said_once() {
        let source = || std::io::Error::other("no space");
        let named =
            crate::store::StoreError { path: "a".into(), action: "write", source: source() };
        assert_eq!(super::in_words(&named.into()), "a: cannot write: no space");
        let bare = Err::<(), _>(anyhow!(source())).context("no run").unwrap_err();
        assert_eq!(super::in_words(&bare), "no run: no space");
    }
}
