//! Events for programs: one JSON record a line on stdout, the first `launch`, the last `done`.

use crate::{
    printer::Printer,
    run::event::{Event, Reporter},
};

/// Prints events under `--json`.
pub struct Lines(pub Printer);

impl Reporter for Lines {
    fn on(&mut self, event: &Event) {
        self.0.record(event);
    }
}
