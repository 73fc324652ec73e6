//! Samples as JUnit's XML, which continuous integration shows: a suite for each task and backend, a case for each
//! sample. A wrong answer is a failure; a sample without a score is an error, since nobody knows what it is worth.
//!
//! The elements are those of the schema that Jenkins publishes (`junit-10.xsd`).

use std::io::{self, Write};

use super::{
    answer::InWords,
    error::ReportError,
    overview::Overview,
    verdict::{VERDICTS, Verdict},
    view::View,
};
use crate::{
    score::metric::Metric,
    store::{SampleRecord, record::Status, stored_run::StoredSamples},
};

/// Writes the suites of a run.
///
/// # Errors
/// The run cannot be read, or the output takes nothing more.
pub fn write(view: &View, out: &mut dyn Write) -> Result<(), ReportError> {
    let samples = view.samples()?;
    // Of each sample its suite, so that each suite reads its own lines only.
    let mut suite_of: Vec<u16> = vec![u16::MAX; samples.len()];
    let overview = Overview::of(view, &samples, |unit, _, number| {
        if let (Some(place), Ok(unit)) = (suite_of.get_mut(number), u16::try_from(unit)) {
            *place = unit;
        }
    })?;
    let sums = overview.verdict_sums();
    let seconds: f64 = overview.total_ms.iter().sum::<f64>() / 1e3;
    writeln!(out, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    writeln!(
        out,
        r#"<testsuites name="{}" {}>"#,
        escape(&view.run.manifest.name),
        counts(&sums, seconds)
    )?;
    for (number, result) in view.results.iter().enumerate() {
        let own = overview.verdicts.get(number).copied().unwrap_or_default();
        let seconds = overview.total_ms.get(number).copied().unwrap_or_default() / 1e3;
        let (task, backend) = (escape(&result.task), escape(&result.backend));
        writeln!(
            out,
            r#"  <testsuite name="{task} @ {backend}" timestamp="{}" {}>"#,
            escape(&view.run.manifest.started),
            counts(&own, seconds)
        )?;
        let suite = Suite {
            number,
            class: format!("{task}.{backend}"),
            judged_by: View::judged_by(result),
        };
        cases(&samples, &suite_of, &suite, out)?;
        writeln!(out, "  </testsuite>")?;
    }
    writeln!(out, "</testsuites>")?;
    out.flush()?;
    Ok(())
}

fn counts(verdicts: &[u64; VERDICTS], seconds: f64) -> String {
    let of = |verdict: Verdict| verdicts.get(verdict.number()).copied().unwrap_or_default();
    format!(
        r#"tests="{}" failures="{}" errors="{}" time="{seconds:.3}""#,
        verdicts.iter().sum::<u64>(),
        of(Verdict::Wrong),
        of(Verdict::Unscored)
    )
}

/// A task at a backend.
struct Suite {
    /// Its number among the results.
    number: usize,
    /// What its cases name as their class.
    class: String,
    /// What says whether a sample is right.
    judged_by: Option<Metric>,
}

fn cases(
    samples: &StoredSamples,
    suite_of: &[u16],
    suite: &Suite,
    out: &mut dyn Write,
) -> Result<(), ReportError> {
    let mut buffer = Vec::new();
    for (number, own) in suite_of.iter().enumerate() {
        if usize::from(*own) != suite.number {
            continue;
        }
        let line = samples.line(number, &mut buffer)?;
        case(&samples.parse(line)?, suite, out)?;
    }
    Ok(())
}

fn case(record: &SampleRecord, suite: &Suite, out: &mut dyn Write) -> io::Result<()> {
    let class = &suite.class;
    let name = match record.sample.repeat {
        0 => escape(&record.sample.id),
        repeat => format!("{} repeat {repeat}", escape(&record.sample.id)),
    };
    let seconds = record.timing_ms.total / 1e3;
    let open = format!(r#"    <testcase classname="{class}" name="{name}" time="{seconds:.3}""#);
    let InWords { answer, target } = InWords::of(record, suite.judged_by).short();
    match (&record.status, Verdict::of(suite.judged_by, &record.status, record.scores.as_ref())) {
        (Status::Unscored(reason), _) => {
            let message = record.error.as_ref().map_or("", |error| error.message.as_str());
            writeln!(
                out,
                r#"{open}><error type="{}" message="{}"/></testcase>"#,
                escape(reason),
                escape(message)
            )
        }
        (_, Verdict::Wrong) => writeln!(
            out,
            r#"{open}><failure type="wrong" message="expected {}, found {}"/></testcase>"#,
            escape(&quoted(&target)),
            escape(&quoted(&answer))
        ),
        _ => writeln!(out, "{open}/>"),
    }
}

fn quoted(text: &str) -> String {
    if text.is_empty() { "nothing".to_owned() } else { format!("`{text}`") }
}

/// A text in an attribute. What XML cannot hold at all is replaced.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\r' => escaped.push_str("&#13;"),
            '\t' => escaped.push_str("&#9;"),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn written(status: Value, scores: Value, error: Value) -> String {
        let record: SampleRecord = serde_json::from_value(json!({
            "format": 1, "task": "t", "backend": "b",
            "sample": { "id": "s\u{1}<", "index": 0, "repeat": 2, "digest": "00" },
            "status": status, "scores": scores, "error": error,
            "question": { "full": {
                "document": {}, "prompt": { "text": "Q" },
                "form": { "generate": { "references": ["\"7\""], "choices": { "texts": [], "labels": [] } } },
            } },
            "response": { "completion": { "choices": [{
                "text": "eight", "answer": "8", "finish_reason": "stop",
            }] } },
            "usage": { "prompt": 1, "completion": 2 },
            "timing_ms": { "total": 1500.0, "attempt": 1.0 }, "attempts": 1,
        }))
        .unwrap();
        let mut out = Vec::new();
        let judged_by = Some(Metric::ExactMatch);
        let suite = Suite { number: 0, class: "t.b".to_owned(), judged_by };
        case(&record, &suite, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_case_says_what_was_expected_and_holds_only_what_xml_can() {
        let open = "    <testcase classname=\"t.b\" name=\"s\u{fffd}&lt; repeat 2\" time=\"1.500\"";
        let right = written(json!("scored"), json!({ "exact_match": 1.0 }), Value::Null);
        assert_eq!(right, format!("{open}/>\n"));
        let wrong = written(json!("scored"), json!({ "exact_match": 0.0 }), Value::Null);
        let said = "message=\"expected `&quot;7&quot;`, found `8`\"";
        assert_eq!(wrong, format!("{open}><failure type=\"wrong\" {said}/></testcase>\n"));
        let error = json!({ "kind": "timeout", "message": "a < b\n" });
        let unscored = written(json!({ "unscored": "timeout" }), Value::Null, error);
        let said = "<error type=\"timeout\" message=\"a &lt; b&#10;\"/>";
        assert_eq!(unscored, format!("{open}>{said}</testcase>\n"));
    }
}
