//! `host check`: looks run files over before anything is spent on them.

use std::{env, path::Path};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    args::CheckArgs,
    done::Done,
    in_words,
    run::{discover, surroundings},
    run_mock::RunMock,
};
use crate::{
    config::{self, ConfigError, Overrides},
    plugin::discover::Discovery,
    printer::Printer,
    report::{table, words::duration},
    run::{
        check::{Checked, Finding, Level, UnitForecast, check},
        error::exit,
    },
};

/// What is told of a run file, as programs are told.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum CheckRecord<'a> {
    /// Something that was found.
    Finding {
        /// The run file.
        file: &'a str,
        /// What.
        finding: &'a Finding,
    },
    /// What would be asked.
    Forecast {
        /// The run file.
        file: &'a str,
        /// How much.
        forecast: &'a UnitForecast,
    },
}

/// Looks every file over; the first file's exit code that is not 0 is the command's.
pub(super) fn main(args: &CheckArgs, printer: &Printer) -> Done {
    let discovery = match discover(&args.plugins, args.strict, printer) {
        Ok(discovery) => discovery,
        Err(done) => return done,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Done::failed(printer, &error.into(), exit::INTERNAL),
    };
    let mut done = Done::from(exit::DONE);
    for path in &args.files {
        let checked = runtime.block_on(look_over(path, args, &discovery, printer));
        show(path, &checked, printer);
        if let Some(exit_code) = checked.exit_code.filter(|_| done.exit_code == exit::DONE) {
            let error = Some(format!("{}: it cannot run", path.display()));
            done = Done { error, ..exit_code.into() };
        }
    }
    // What a plugin does still is not waited for.
    runtime.shutdown_background();
    done
}

async fn look_over(
    path: &Path,
    args: &CheckArgs,
    discovery: &Discovery,
    printer: &Printer,
) -> Checked {
    let variable = |name: &str| env::var(name).ok();
    let changes = Overrides {
        sets: args.sets.clone(),
        profile: args.profile.clone(),
        max_samples: args.max_samples,
        ..Overrides::default()
    };
    let file = match config::load(path, &changes, &variable) {
        Ok(file) => file,
        Err(error) => return broken(error),
    };
    let mock = RunMock::default();
    let around = surroundings(&variable, &mock, &args.trust.choice(), printer);
    check(&file, discovery, &around, !args.offline).await
}

/// What is wrong in a run file that cannot be read, each problem by itself.
fn broken(error: ConfigError) -> Checked {
    let problems = match &error {
        ConfigError::Invalid(problems) => problems.iter().map(ToString::to_string).collect(),
        ConfigError::Read { .. } => vec![in_words(&error.into())],
    };
    let finding = |message| Finding { level: Level::Error, about: "run file".to_owned(), message };
    Checked {
        findings: problems.into_iter().map(finding).collect(),
        exit_code: Some(exit::USAGE),
        ..Checked::default()
    }
}

fn show(path: &Path, checked: &Checked, printer: &Printer) {
    let file = &path.display().to_string();
    let mut text = format!("{file}\n");
    for finding in &checked.findings {
        printer.record(&CheckRecord::Finding { file, finding });
        let word = match finding.level {
            Level::Good => "ok     ",
            Level::Warning => "warning",
            Level::Error => "error  ",
        };
        // An error names by itself what it is about.
        let about = match finding.level {
            Level::Error => String::new(),
            _ => format!("{}: ", finding.about),
        };
        let message = finding.message.replace('\n', "\n           ");
        text.push_str(&format!("  {word}  {about}{message}\n"));
    }
    for forecast in &checked.units {
        printer.record(&CheckRecord::Forecast { file, forecast });
    }
    if !checked.units.is_empty() {
        text.push_str(&forecasts(&checked.units, printer.width()));
    }
    let (errors, warnings) = (checked.count(Level::Error), checked.count(Level::Warning));
    text.push_str(&match (errors, warnings) {
        (0, 0) => "  it can run\n".to_owned(),
        (0, warnings) => format!("  it can run; {warnings} warnings\n"),
        (errors, warnings) => format!("  it cannot run: {errors} errors, {warnings} warnings\n"),
    });
    printer.data(&text);
}

fn forecasts(units: &[UnitForecast], width: Option<u16>) -> String {
    const NAMES: [&str; 8] = [
        "task",
        "backend",
        "samples",
        "requests ≥",
        "tokens in ≈",
        "tokens out ≤",
        "US$ ≤",
        "time ≈",
    ];
    let rows = units.iter().map(|unit| {
        let amount = &unit.amount;
        [
            unit.task.clone(),
            unit.backend.clone(),
            amount.samples.to_string(),
            amount.requests.to_string(),
            amount.prompt_tokens().to_string(),
            amount.max_output_tokens.to_string(),
            unit.usd.map_or_else(|| "–".to_owned(), |usd| format!("{usd:.4}")),
            unit.seconds.map_or_else(|| "–".to_owned(), |seconds| duration(seconds * 1e3)),
        ]
    });
    let shown =
        table::fitted_rows(width, &NAMES, &[0, 0, 1, 3, 5, 4, 2, 2], &rows.collect::<Vec<_>>());
    let remark = if units.iter().any(|unit| unit.seconds.is_some()) {
        "  dollars and time: if every reply takes all its tokens, by what the probes cost and took\n"
    } else {
        ""
    };
    format!("{shown}\n{remark}")
}
