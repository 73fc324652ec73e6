//! `host report`, and the report that a run leaves when it ends.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use super::{
    args::{Format, ReportArgs},
    done::Done,
};
use crate::{
    printer::{Mode, Printer},
    report::{
        comparison::compare::{Only, check_names},
        csv,
        error::ReportError,
        file, html, json, junit, lm_eval, markdown,
        view::View,
    },
    run::error::exit,
    store::run_dir,
};

/// What names stdout as the place of a report.
const STDOUT: &str = "-";
/// The way out where a run directory may be read and not written.
const ELSEWHERE: &str = "there is no report; name another place for it by --out";

/// Makes a report.
pub(super) fn main(args: &ReportArgs, printer: &Printer) -> Done {
    match make(args, printer) {
        Ok(written) => {
            for path in &written {
                printer.data(&format!("{}\n", path.display()));
            }
            Done { written, ..exit::DONE.into() }
        }
        Err(error) => Done::failed(printer, &error, exit::USAGE),
    }
}

/// Makes it; the files that were written.
fn make(args: &ReportArgs, printer: &Printer) -> anyhow::Result<Vec<PathBuf>> {
    let [first, rest @ ..] = args.directories.as_slice() else { bail!("name a run directory") };
    if !rest.is_empty() && matches!(args.format, Format::Junit | Format::LmEval) {
        bail!("this format is of one run; name one run directory, or take html, md, csv or json");
    }
    if args.out.as_deref() == Some(Path::new(STDOUT))
        && matches!(args.format, Format::Html | Format::LmEval)
    {
        bail!("--out -: this format is not for stdout; name a file, or for lm-eval a folder");
    }
    let to_file = wanted_file(args);
    if to_file.is_none()
        && printer.mode() == Mode::Json
        && matches!(args.format, Format::Md | Format::Csv | Format::Junit)
    {
        bail!("under --json stdout has JSON records only; name a file by --out");
    }
    let mut views: Vec<View> =
        args.directories.iter().map(|path| View::open(path)).collect::<Result<_, _>>()?;
    let (tasks, backends) = (args.tasks.clone(), args.backends.clone());
    let only = Only { tasks, backends, metrics: Vec::new() };
    check_names(&views.iter().map(|view| &view.run).collect::<Vec<_>>(), &only)?;
    views.iter_mut().for_each(|view| view.keep(&only));
    for view in &views {
        if view.state.is_none() {
            printer.note(&format!(
                "{}: this run is not finished; the report is of its samples so far",
                view.run.directory.display()
            ));
        }
    }
    match args.format {
        Format::Html => {
            let out = args.out.clone().unwrap_or_else(|| first.join(run_dir::REPORT));
            html::write::write_file(&views, &only, &out).context(ELSEWHERE)?;
            Ok(vec![out])
        }
        Format::Md => {
            text(args, printer, |out| Ok(out.write_all(markdown::render(&views).as_bytes())?))
        }
        Format::Csv => {
            text(args, printer, |out| Ok(out.write_all(csv::render(&views)?.as_bytes())?))
        }
        Format::Junit => {
            text(args, printer, |out| views.iter().try_for_each(|view| junit::write(view, out)))
        }
        Format::Json if to_file.is_none() && printer.mode() == Mode::Json => {
            printer.record(&json::ReportRecord::Report(json::report(&views)));
            Ok(Vec::new())
        }
        Format::Json => text(args, printer, |out| {
            serde_json::to_writer_pretty(&mut *out, &json::report(&views))
                .map_err(io::Error::from)?;
            Ok(out.write_all(b"\n")?)
        }),
        Format::LmEval => {
            let out = args.out.clone().unwrap_or_else(|| first.join("lm-eval"));
            let mut files = Vec::new();
            for view in &views {
                let exported = lm_eval::export::export(view, &out).context(ELSEWHERE)?;
                if exported.left_out > 0 {
                    printer.warn(&format!(
                        "{} documents are unscored, which lm-evaluation-harness has no word for; they are in none of \
                         these files, and `n-samples` says how many are",
                        exported.left_out
                    ));
                }
                files.extend(exported.files);
            }
            Ok(files)
        }
    }
}

/// The file that a text is wanted in; none for stdout.
fn wanted_file(args: &ReportArgs) -> Option<&Path> {
    args.out.as_deref().filter(|path| *path != Path::new(STDOUT))
}

/// Writes a text to where it is wanted; the file, if it is one.
fn text(
    args: &ReportArgs,
    printer: &Printer,
    write: impl FnOnce(&mut dyn Write) -> Result<(), ReportError>,
) -> anyhow::Result<Vec<PathBuf>> {
    if let Some(path) = wanted_file(args) {
        file::write(path, write)?;
        return Ok(vec![path.to_owned()]);
    }
    let mut out = Data { printer, waiting: Vec::new() };
    write(&mut out)?;
    out.flush()?;
    Ok(Vec::new())
}

/// Stdout, in pieces that are not too small.
struct Data<'a> {
    printer: &'a Printer,
    waiting: Vec<u8>,
}

impl Write for Data<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        // Lines are whole, so that a secret is not cut in two before it is taken out.
        if self.waiting.len() > 64 * 1024
            && let Some(end) = self.waiting.iter().rposition(|byte| *byte == b'\n')
        {
            let rest = self.waiting.split_off(end + 1);
            let lines = std::mem::replace(&mut self.waiting, rest);
            self.print(&lines);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let rest = std::mem::take(&mut self.waiting);
        self.print(&rest);
        Ok(())
    }
}

impl Data<'_> {
    fn print(&self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.printer.data(&String::from_utf8_lossy(bytes));
        }
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
