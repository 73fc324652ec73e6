//! Events for programs: one JSON record a line on stdout, the first `launch`. The last, `done`, is the command's.

use crate::{
    printer::Printer,
    run::event::{Event, Reporter},
};

/// Prints events under `--json`.
pub struct Lines(pub Printer);

impl Reporter for Lines {
    fn on(&mut self, event: &Event) {
        if !matches!(event, Event::Done { .. }) {
            self.0.record(event);
        }
    }
}
