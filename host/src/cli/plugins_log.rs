//! What plugins log, shown: each line once, since a backend is opened for each of its servers, and a plugin that is
//! checked a hundred times; and not without end.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use crate::{
    plugin::{host_table, line::one_line},
    printer::Printer,
};

/// Lines of one plugin that are shown.
const MOST_LINES: usize = 100;

/// What takes their lines: who logs, if that is known, the level, and the text.
pub(super) fn plugins_log(printer: Printer) -> impl Fn(Option<&str>, u32, &str) {
    // By plugin, so that one that talks much hides no other.
    let shown: Mutex<HashMap<String, HashSet<String>>> = Mutex::default();
    move |plugin, level, text| {
        if !host_table::is_shown(level) {
            return;
        }
        let line = one_line(&printer.without_secrets(text));
        let count = {
            let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
            let shown = shown.entry(plugin.unwrap_or_default().to_owned()).or_default();
            if shown.len() > MOST_LINES || !shown.insert(line.clone()) {
                return;
            }
            shown.len()
        };
        match level {
            _ if count > MOST_LINES => {
                let who = plugin.unwrap_or("a plugin in this process");
                printer.warn(&format!("{who} logs more than is shown here"));
            }
            0 | 1 => printer.error(&line),
            _ => printer.warn(&line),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::{
        plugin::line::MOST_BYTES,
        printer::{Mode, tests::Shared},
        secret::Secret,
    };

    #[test]
    fn a_plugin_that_logs_much_hides_no_other_and_ends() {
        let err = Shared::default();
        let printer = Printer::with_streams(
            Mode::Default,
            Box::new(io::sink()),
            Box::new(err.clone()),
            false,
        );
        printer.hide([("key", &Secret::new("sk-123456".into()))]);
        let log = plugins_log(printer);
        for line in 0..1000 {
            log(Some("much"), 2, &format!("much: {line}"));
        }
        log(Some("little"), 1, "little: a\nb");
        log(Some("little"), 1, "little: a\nb");
        log(Some("little"), 3, "little: of no interest");
        // A secret is none the less for being cut.
        log(None, 2, &format!("{}sk-123456", "x".repeat(MOST_BYTES - 4)));
        let shown = String::from_utf8(err.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), MOST_LINES + 3, "{shown}");
        assert_eq!(lines[MOST_LINES - 1], "warning: much: 99");
        assert_eq!(
            lines[MOST_LINES..MOST_LINES + 2],
            ["warning: much logs more than is shown here", "error: little: a b"]
        );
        assert!(!shown.contains("sk-") && shown.ends_with("xxxx[red\n"), "{shown}");
    }
}
