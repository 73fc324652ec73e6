//! Results as CSV: a row for each run, task, backend and metric, every number as it is.

use std::io;

use csv::Writer;

use super::view::View;

/// The columns.
const HEADER: [&str; 23] = [
    "run",
    "task",
    "backend",
    "model",
    "metric",
    "value",
    "stderr",
    "low",
    "high",
    "interval",
    "if_unscored_wrong",
    "if_unscored_right",
    "samples",
    "scored",
    "unscored",
    "prompt_tokens",
    "completion_tokens",
    "cost_usd",
    "p50_ms",
    "p90_ms",
    "p99_ms",
    "samples_per_second",
    "state",
];

/// The table of these runs. A result without metrics has a row with none.
///
/// # Errors
/// None that a text in memory has.
pub fn render(views: &[View]) -> io::Result<String> {
    let mut writer = Writer::from_writer(Vec::new());
    writer.write_record(HEADER).map_err(io::Error::other)?;
    for view in views {
        for result in &view.results {
            let metrics = view.metrics(result);
            let shown = metrics.iter().map(Some).chain(metrics.is_empty().then_some(None));
            for metric in shown {
                let entry = metric.map(|metric| metric.entry);
                let interval = metric.and_then(|metric| metric.interval);
                let latency = &result.latency_ms;
                let row = [
                    view.run.manifest.id.clone(),
                    result.task.clone(),
                    result.backend.clone(),
                    result.model.clone().unwrap_or_default(),
                    metric.map_or("", |metric| metric.name).to_owned(),
                    number(entry.map(|entry| entry.value)),
                    number(entry.and_then(|entry| entry.stderr)),
                    number(interval.map(|interval| interval.low)),
                    number(interval.map(|interval| interval.high)),
                    interval.map_or("", |interval| interval.method.name()).to_owned(),
                    number(entry.and_then(|entry| entry.if_unscored_wrong)),
                    number(entry.and_then(|entry| entry.if_unscored_right)),
                    result.samples.total.to_string(),
                    result.samples.scored.to_string(),
                    result.samples.unscored.to_string(),
                    result.tokens.prompt.to_string(),
                    result.tokens.completion.to_string(),
                    number(result.cost.as_ref().map(|cost| cost.usd)),
                    latency.p50.to_string(),
                    latency.p90.to_string(),
                    latency.p99.to_string(),
                    result.samples_per_second.to_string(),
                    view.state_name().to_owned(),
                ];
                writer.write_record(row).map_err(io::Error::other)?;
            }
        }
    }
    let bytes = writer.into_inner().map_err(|error| error.into_error())?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

fn number(value: Option<f64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::view::tests::view;

    #[test]
    fn every_metric_is_a_row_with_all_its_numbers() {
        let text = render(&[view("one")]).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], HEADER.join(","));
        assert!(lines[1].starts_with("one,t|1,b,,acc,0.8,0.13333333333333333,0.49"), "{text}");
        assert!(lines[1].ends_with(",wilson,0.6,0.9,12,10,2,3,4,,5,6,7,1.5,complete"), "{text}");
        assert_eq!((lines.len(), lines[2].split(',').count()), (3, HEADER.len()));
    }
}
