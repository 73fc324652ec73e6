//! `--record` and `--replay`: the recording that a command makes, or that answers it.

use std::path::Path;

use super::done::Done;
use crate::{
    printer::Printer,
    run::error::exit,
    transport::{Cassette, Player, Recorder},
};

/// The recording that is made, or that answers.
pub(super) fn open(
    record: Option<&Path>,
    replay: Option<&Path>,
) -> anyhow::Result<Option<Cassette>> {
    Ok(match (record, replay) {
        (Some(path), _) => Some(Cassette::Record(Recorder::create(path)?)),
        (None, Some(path)) => Some(Cassette::Replay(Player::open(path)?)),
        (None, None) => None,
    })
}

/// What came of a recording, and the exit code with it: one that is not complete, or that did not fit the run, must
/// not look like success.
pub(super) fn played(cassette: &Cassette, done: Done, printer: &Printer) -> Done {
    match cassette {
        Cassette::Record(recorder) => match recorder.finish() {
            Ok(exchanges) => {
                printer.note(&format!("recorded: {exchanges} exchanges"));
                done
            }
            Err(error) => done.or_failed(printer, error.to_string(), exit::INTERNAL),
        },
        Cassette::Look(_) => done,
        Cassette::Replay(player) => match player.unknown() {
            unknown if unknown.requests == 0 => done,
            unknown => {
                let error = format!(
                    "{} requests are not in the recording; the first: {}",
                    unknown.requests,
                    unknown.first.unwrap_or_default()
                );
                done.or_failed(printer, error, exit::UNSCORED)
            }
        },
    }
}
