//! `host report`, and the report that a run leaves when it ends.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{
    args::{Format, ReportArgs},
    in_words, print_error,
};
use crate::{
    printer::Printer,
    report::{error::ReportError, html, view::View},
    run::error::exit,
    store::run_dir,
};

/// The last record under `--json`.
#[derive(Serialize)]
struct Done<'a> {
    event: &'static str,
    exit_code: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The files that were written.
    written: &'a [PathBuf],
}

/// Makes a report.
pub(super) fn main(args: &ReportArgs, printer: &Printer) -> u8 {
    let (exit_code, error, written) = match make(args, printer) {
        Ok(written) => (exit::DONE, None, written),
        Err(error) => {
            print_error(printer, &error);
            (exit::USAGE, Some(in_words(&error)), Vec::new())
        }
    };
    for path in &written {
        printer.data(&format!("{}\n", path.display()));
    }
    printer.record(&Done { event: "done", exit_code, error, written: &written });
    exit_code
}

fn make(args: &ReportArgs, _printer: &Printer) -> anyhow::Result<Vec<PathBuf>> {
    let views: Vec<View> =
        args.directories.iter().map(|path| View::open(path)).collect::<Result<_, _>>()?;
    let first = args.directories.first().map(PathBuf::as_path).unwrap_or(Path::new("."));
    match args.format {
        Format::Html => {
            let out = args.out.clone().unwrap_or_else(|| first.join(run_dir::REPORT));
            html::write::write_file(&views, &out)?;
            Ok(vec![out])
        }
        _ => anyhow::bail!("not yet"),
    }
}

/// Writes the report of a run that has ended. The results stand in its summary: where the report cannot be written, the
/// user is told, and nothing else follows from it.
pub(super) async fn at_end(directory: &Path, printer: &Printer) {
    let path = directory.join(run_dir::REPORT);
    let (from, to) = (directory.to_owned(), path.clone());
    let written = tokio::task::spawn_blocking(move || html::write::write_at_end(&from, &to)).await;
    let written: Result<(), String> = match written {
        Ok(written) => written.map_err(|error: ReportError| error.to_string()),
        Err(_) => Err("a part of the host failed".to_owned()),
    };
    match written {
        Ok(()) => printer.note(&format!("report: {}", path.display())),
        Err(error) => printer.warn(&format!("there is no report: {error}")),
    }
}
