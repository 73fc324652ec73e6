//! The result table as GitHub's Markdown, to be pasted into an issue or a pull request.

use std::fmt::Write as _;

use super::{table, view::View};

/// The table of these runs, and below it what a number alone would hide.
pub fn render(views: &[View]) -> String {
    let several = views.len() > 1;
    let mut text = String::new();
    let run = |cell: &str| if several { format!("{cell} | ") } else { String::new() };
    let _ = writeln!(
        text,
        "| task | backend | {}metric | value | 95 % interval | scored | unscored |",
        run("run")
    );
    let _ = writeln!(text, "|---|---|{}---|--:|---|--:|--:|", if several { "---|" } else { "" });
    for view in views {
        for result in &view.results {
            let names = format!(
                "| {} | {} | {}",
                cell(&result.task),
                cell(&result.backend),
                run(&cell(&view.run.manifest.id))
            );
            let counts = format!("{} | {} |", result.samples.scored, result.samples.unscored);
            let metrics = view.metrics(result);
            for shown in &metrics {
                let interval = shown.interval.map_or_else(
                    || "–".to_owned(),
                    |one| format!("{:.4} – {:.4}", one.low, one.high),
                );
                let (name, value) = (shown.name, shown.entry.value);
                let _ = writeln!(text, "{names}{name} | {value:.4} | {interval} | {counts}");
            }
            if metrics.is_empty() {
                let _ = writeln!(text, "{names}– | – | – | {counts}");
            }
        }
    }
    for view in views {
        let mut lines = table::remarks(&view.results, &view.groups);
        if view.state.is_none() {
            lines.insert(0, "this run is not finished; these are the samples so far".to_owned());
        }
        if !lines.is_empty() {
            if several {
                let _ = writeln!(text, "\n{}:", view.run.manifest.id);
            }
            text.push('\n');
            lines.iter().for_each(|line| {
                let _ = writeln!(text, "- {}", cell(line));
            });
        }
    }
    text
}

/// A text inside of a table: nothing in it ends the cell, and no markup of it counts.
fn cell(text: &str) -> String {
    let mut cell = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '*' | '`' | '<' | '[' | ']' | '\\' => {
                cell.push('\\');
                cell.push(c);
            }
            '\n' | '\r' => cell.push(' '),
            c => cell.push(c),
        }
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::view::tests::view;

    #[test]
    fn a_run_is_a_table_and_two_are_one_with_their_names() {
        let expected = "\
| task | backend | metric | value | 95 % interval | scored | unscored |
|---|---|---|--:|---|--:|--:|
| t\\|1 | b | acc | 0.8000 | 0.4902 – 0.9433 | 10 | 2 |
| t\\|1 | b | brier_score | 0.5000 | 0.3040 – 0.6960 | 10 | 2 |

- t\\|1 @ b: unscored: timeout 2
";
        assert_eq!(render(&[view("one")]), expected);
        let two = render(&[view("one"), view("two")]);
        assert!(two.contains("| t\\|1 | b | two | acc | 0.8000 |"), "{two}");
        assert!(two.contains("\none:\n\n- t\\|1 @ b"), "{two}");
    }
}
