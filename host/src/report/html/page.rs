//! The two templates of the page: what stands before the samples' data, and what follows it.

use std::collections::BTreeMap;

use askama::Template;

use super::{
    charts::Figure,
    comparison::Compared,
    results::{self, Group, Reason, Usage},
};
use crate::{
    report::{
        table,
        view::View,
        words::{count, dollars, duration, moment},
    },
    store::summary::{MetricEntry, TaskResult},
};

/// Everything up to the data.
#[derive(Debug, Template)]
#[template(path = "page.html")]
pub struct Page {
    /// What the page is of.
    pub title: String,
    /// Version of the host that made it.
    pub host_version: &'static str,
    /// One entry a run.
    pub runs: Vec<RunHead>,
    /// The result table.
    pub groups: Vec<Group>,
    /// What the comparison of two runs comes to.
    pub comparison: Option<Compared>,
    /// Averages over tasks.
    pub averages: Vec<Average>,
    /// What a number alone would hide.
    pub remarks: Vec<String>,
    /// Why samples are unscored.
    pub reasons: Vec<Reason>,
    /// What every unit took.
    pub usages: Vec<Usage>,
    /// Whether the page has samples.
    pub samples: Samples,
}

/// What the page has of samples.
#[derive(Debug)]
pub enum Samples {
    /// A list, and this to say of it; empty for nothing.
    Listed(String),
    /// None, for this reason.
    Absent(String),
}

/// A run.
#[derive(Debug)]
pub struct RunHead {
    /// Its letter; empty if it is the only one.
    pub letter: &'static str,
    /// Name from the run file.
    pub name: String,
    /// Id.
    pub id: String,
    /// How it ended.
    pub state: &'static str,
    /// Whether all is well.
    pub is_complete: bool,
    /// When it began.
    pub started: String,
    /// How long it took, or that nobody knows.
    pub took: String,
    /// Finished samples.
    pub samples: String,
    /// Those without a score.
    pub unscored: String,
    /// All tokens.
    pub tokens: String,
    /// What they cost; empty if nobody knows.
    pub cost: String,
    /// Its charts.
    pub figures: Vec<Figure>,
    /// Why there is no chart over time; empty if there is.
    pub chart_note: String,
    /// What ran: a name and what it is.
    pub facts: Vec<(String, String)>,
    /// The run file as meant, as JSON.
    pub config: String,
}

/// An average over tasks.
#[derive(Debug)]
pub struct Average {
    /// Letter of the run; empty if there is only one.
    pub run: &'static str,
    /// Name of the group.
    pub group: String,
    /// The backend.
    pub backend: String,
    /// The metric.
    pub metric: String,
    /// Each sample weighs the same.
    pub by_sample: String,
    /// Each task weighs the same.
    pub by_task: String,
}

/// Everything after the data.
#[derive(Debug, Template)]
#[template(path = "end.html")]
pub struct End {
    /// What the script must know, as JSON that may stand in a script element.
    pub meta: String,
}

impl Page {
    /// The page of these runs, without charts and comparison.
    pub fn new(views: &[View], groups: Vec<Group>, samples: Samples) -> Self {
        let mut names: Vec<&str> =
            views.iter().map(|view| view.run.manifest.name.as_str()).collect();
        names.dedup();
        let runs = views.iter().enumerate();
        let runs =
            runs.map(|(number, view)| RunHead::new(view, results::letter(views.len(), number)));
        let mut remarks = Vec::new();
        for (number, view) in views.iter().enumerate() {
            let letter = results::letter(views.len(), number);
            // Reasons and averages have tables of their own.
            let told: Vec<TaskResult> = view.results.iter().map(without_reasons).collect();
            let own = table::remarks(&told, &[]);
            remarks.extend(own.into_iter().map(|remark| match letter {
                "" => remark,
                letter => format!("{letter}: {remark}"),
            }));
        }
        Self {
            title: names.join(" and "),
            host_version: env!("CARGO_PKG_VERSION"),
            runs: runs.collect(),
            groups,
            comparison: None,
            averages: averages(views),
            remarks,
            reasons: results::reasons(views),
            usages: results::usages(views),
            samples,
        }
    }
}

fn without_reasons(result: &TaskResult) -> TaskResult {
    TaskResult { unscored_reasons: BTreeMap::new(), ..result.clone() }
}

impl RunHead {
    fn new(view: &View, letter: &'static str) -> Self {
        let manifest = &view.run.manifest;
        let (tokens, cost) = results::totals(view);
        let sum = |of: fn(&crate::store::summary::Counts) -> u64| -> u64 {
            view.results.iter().map(|result| of(&result.samples)).sum()
        };
        let took = view.finished.as_deref().and_then(|finished| {
            let (from, to) = (manifest.started.parse(), finished.parse());
            let (from, to): (jiff::Timestamp, jiff::Timestamp) = (from.ok()?, to.ok()?);
            Some(to.duration_since(from).as_millis() as f64)
        });
        Self {
            letter,
            name: manifest.name.clone(),
            id: manifest.id.clone(),
            state: view.state_name(),
            is_complete: view.state == Some(crate::store::summary::State::Complete),
            started: moment(&manifest.started),
            took: match (took, manifest.resumed.len()) {
                (None, _) => "unknown".to_owned(),
                (Some(ms), 0) => duration(ms),
                (Some(ms), 1) => format!("{}, taken up again once", duration(ms)),
                (Some(ms), times) => format!("{}, taken up again {times} times", duration(ms)),
            },
            samples: count(sum(|counts| counts.total)),
            unscored: count(sum(|counts| counts.unscored)),
            tokens: count(tokens),
            cost: cost.map(dollars).unwrap_or_default(),
            figures: Vec::new(),
            chart_note: String::new(),
            facts: facts(view),
            config: serde_json::to_string_pretty(&manifest.config).unwrap_or_default(),
        }
    }
}

/// What produced the run, exactly.
fn facts(view: &View) -> Vec<(String, String)> {
    let manifest = &view.run.manifest;
    let mut facts = vec![
        ("host".to_owned(), manifest.host_version.clone()),
        ("configuration".to_owned(), format!("BLAKE3 {}", manifest.config_blake3)),
    ];
    for backend in &manifest.backends {
        let told = &backend.description;
        let context = told.context_tokens.map(|tokens| format!("context of {tokens} tokens"));
        let parts = [
            told.model.as_ref().map(|model| format!("model {model}")),
            told.engine.as_ref().map(|engine| format!("engine {engine}")),
            told.version.clone(),
            context,
            told.prices.as_ref().map(|prices| format!("prices {prices}")),
            backend.mock.then(|| "the host's own mock".to_owned()),
        ];
        let told: Vec<String> = parts.into_iter().flatten().collect();
        let told = if told.is_empty() { String::new() } else { format!(": {}", told.join(", ")) };
        facts.push((format!("backend {}", backend.id), format!("plugin {}{told}", backend.plugin)));
        for (name, sha256) in &backend.assets {
            facts.push((format!("file {name}"), format!("SHA-256 {sha256}")));
        }
    }
    for plugin in &manifest.plugins {
        facts.push((
            format!("plugin {}", plugin.id),
            format!("{} ({}), SHA-256 {}", plugin.version, plugin.isolation, plugin.sha256),
        ));
    }
    for data in &manifest.data {
        facts.push((
            format!("data of {}", data.task),
            format!("{}, BLAKE3 {}", data.path, data.blake3),
        ));
    }
    if let Some(recording) = &manifest.recording {
        let text = format!("{}, BLAKE3 {}; no server was asked", recording.path, recording.blake3);
        facts.push(("recording".to_owned(), text));
    }
    for resumed in &manifest.resumed {
        let accepted = match resumed.accepted.as_slice() {
            [] => String::new(),
            accepted => format!("; accepted: {}", accepted.join("; ")),
        };
        let text = format!("{} by host {}{accepted}", moment(&resumed.at), resumed.host_version);
        facts.push(("taken up again".to_owned(), text));
    }
    facts
}

fn averages(views: &[View]) -> Vec<Average> {
    let entry = |entry: &MetricEntry| match entry.stderr {
        Some(stderr) => format!("{:.4} ± {stderr:.4}", entry.value),
        None => format!("{:.4}", entry.value),
    };
    let numbered = views.iter().enumerate();
    let all = numbered.flat_map(|(number, view)| {
        let run = results::letter(views.len(), number);
        view.groups.iter().map(move |group| (run, group))
    });
    all.map(|(run, group)| Average {
        run,
        group: group.group.clone(),
        backend: group.backend.clone(),
        metric: group.metric.clone(),
        by_sample: entry(&group.by_sample),
        by_task: entry(&group.by_task),
    })
    .collect()
}
