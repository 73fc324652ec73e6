//! What else differs between two sides than their answers: whatever of it may explain a difference in scores.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::{
    config::{decisive_of, differences},
    store::{
        manifest::{BackendIdentity, DataIdentity},
        stored_run::StoredRun,
        summary::TaskResult,
    },
};

/// Where a side has nothing to name.
const NONE: &str = "none";

/// Something that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Difference {
    /// What kind of thing it is.
    pub kind: DifferenceKind,
    /// The task that it is about; none if it is about all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// What differs, in words.
    pub what: String,
    /// The baseline's value or digest.
    pub baseline: String,
    /// The candidate's value or digest.
    pub candidate: String,
}

/// What kind of thing differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// What the models were asked for samples that are compared.
    Prompts,
    /// Records of one id; such samples are not compared.
    Records,
    /// The contents of a data file.
    Data,
    /// Few-shot examples.
    FewShot,
    /// Anything else of a task.
    Task,
    /// The form that a task was asked in: log-likelihood or generation.
    Form,
    /// The model.
    Model,
    /// The engine that serves it.
    Engine,
    /// The backend's configuration.
    Backend,
    /// The plugin.
    Plugin,
    /// The host.
    Host,
    /// Who answered in the model's place: a recording, a mock or another backend.
    Answerer,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(task) = &self.task {
            write!(f, "task `{task}`: ")?;
        }
        write!(f, "{}: {} / {}", self.what, self.baseline, self.candidate)
    }
}

/// Gathers differences about one task, or about all.
pub(super) struct Found<'a> {
    task: Option<&'a str>,
    all: Vec<Difference>,
}

impl<'a> Found<'a> {
    pub(super) fn about(task: Option<&'a str>) -> Self {
        Self { task, all: Vec::new() }
    }

    pub(super) fn add(
        &mut self,
        kind: DifferenceKind,
        what: &str,
        baseline: &str,
        candidate: &str,
    ) {
        if baseline == candidate {
            return;
        }
        self.all.push(Difference {
            kind,
            task: self.task.map(str::to_owned),
            what: what.to_owned(),
            baseline: baseline.to_owned(),
            candidate: candidate.to_owned(),
        });
    }

    /// Adds the keys that differ between two JSON objects.
    fn add_keys(
        &mut self,
        a: &Value,
        b: &Value,
        kind: impl Fn(&str) -> DifferenceKind,
        prefix: &str,
    ) {
        for difference in differences(a, b) {
            let what = format!("{prefix}{}", difference.key);
            let (a, b) =
                difference.values.unwrap_or_else(|| ("in this order".into(), "in another".into()));
            self.add(kind(&difference.key), &what, &a, &b);
        }
    }

    pub(super) fn into_all(self) -> Vec<Difference> {
        self.all
    }
}

/// One side: a backend of a run.
#[derive(Clone, Copy)]
pub(super) struct Sided<'a> {
    pub(super) run: &'a StoredRun,
    pub(super) backend: &'a str,
}

impl<'a> Sided<'a> {
    fn result(self, task: &str) -> Option<&'a TaskResult> {
        let results = &self.run.summary.as_ref()?.results;
        results.iter().find(|result| result.task == task && result.backend == self.backend)
    }

    /// Whether the host's mock answered in a model's place.
    pub(super) fn is_mock(&self) -> bool {
        let results = self.run.summary.iter().flat_map(|summary| &summary.results);
        let mut own = results.filter(|result| result.backend == self.backend);
        self.identity().is_some_and(|backend| backend.mock) || own.any(|result| result.mock)
    }

    fn identity(&self) -> Option<&'a BackendIdentity> {
        self.run.manifest.backends.iter().find(|backend| backend.id == self.backend)
    }

    /// The backend's part of the configuration, without what decides no answer and what is named elsewhere.
    fn config(&self) -> Value {
        let config = decisive_of(self.run.manifest.config.clone());
        let mut own = member(&config, "backends", self.backend);
        if let Some(map) = own.as_object_mut() {
            // Where a server is tells nothing of what it serves; what it serves is in its description.
            for key in
                ["id", "base_url", "replicas", "launch", "slots", "assets", "model", "plugin"]
            {
                map.remove(key);
            }
        }
        own
    }

    /// The model: as the run file says, else as the backend describes itself.
    pub(super) fn model(&self) -> Option<String> {
        let typed = member(&self.run.manifest.config, "backends", self.backend);
        let described = || self.identity()?.description.model.clone();
        typed["model"].as_str().map(str::to_owned).or_else(described)
    }
}

/// The member of a list in a configuration that has an id; null if there is none.
fn member(config: &Value, list: &str, id: &str) -> Value {
    let members = config[list].as_array();
    members.and_then(|all| all.iter().find(|one| one["id"] == id)).cloned().unwrap_or_default()
}

/// What differs of a task: its definition, its data, the form it was asked in, and who stood in.
pub(super) fn of_task(task: &str, a: Sided<'_>, b: Sided<'_>) -> Vec<Difference> {
    let mut found = Found::about(Some(task));
    let typed = |side: Sided<'_>| {
        let member = member(&side.run.manifest.config, "tasks", task);
        let mut typed = member["task"].clone();
        // What files hold is told by their digests, wherever they lie.
        for (table, keys) in
            [("data", ["path", "labels"]), ("few_shot", ["source", "source_labels"])]
        {
            if let Some(table) = typed.get_mut(table).and_then(Value::as_object_mut) {
                keys.iter().for_each(|key| drop(table.remove(*key)));
            }
        }
        typed
    };
    let kind = |key: &str| {
        if key.starts_with("few_shot") { DifferenceKind::FewShot } else { DifferenceKind::Task }
    };
    found.add_keys(&typed(a), &typed(b), kind, "");
    let files = |side: Sided<'_>| -> Vec<DataIdentity> {
        side.run.manifest.data.iter().filter(|file| file.task == task).cloned().collect()
    };
    let (files_a, files_b) = (files(a), files(b));
    for at in 0..files_a.len().max(files_b.len()) {
        let digest = |files: &[DataIdentity]| {
            files.get(at).map_or(NONE.to_owned(), |file| format!("BLAKE3 {}", short(&file.blake3)))
        };
        let path = files_a.get(at).or(files_b.get(at)).map_or("", |file| &file.path);
        let what = format!("contents of the data file {path}");
        found.add(DifferenceKind::Data, &what, &digest(&files_a), &digest(&files_b));
    }
    if let (Some(a), Some(b)) = (a.result(task), b.result(task)) {
        let form = |is_fallback| if is_fallback { "generation" } else { "as the task says" };
        found.add(
            DifferenceKind::Form,
            "the form it was asked in",
            form(a.fallback),
            form(b.fallback),
        );
        let others = |result: &TaskResult| {
            let one = |(backend, count): (&String, &u64)| format!("{count} by `{backend}`");
            let all: Vec<String> = result.answered_by.iter().map(one).collect();
            if all.is_empty() { NONE.to_owned() } else { all.join(", ") }
        };
        let what = "samples that another backend answered";
        found.add(DifferenceKind::Answerer, what, &others(a), &others(b));
    }
    found.into_all()
}

/// What differs of the two backends and of what ran them. What a server does not say is no difference.
pub(super) fn of_backends(a: Sided<'_>, b: Sided<'_>) -> Vec<Difference> {
    let mut found = Found::about(None);
    let known = |value: Option<String>| value.unwrap_or_else(|| NONE.to_owned());
    found.add(DifferenceKind::Model, "model", &known(a.model()), &known(b.model()));
    if let (Some(own), Some(other)) = (a.identity(), b.identity()) {
        let said = [
            (
                DifferenceKind::Model,
                "model as the server names it",
                &own.description.model,
                &other.description.model,
            ),
            (DifferenceKind::Engine, "engine", &own.description.engine, &other.description.engine),
            (
                DifferenceKind::Engine,
                "version of the engine",
                &own.description.version,
                &other.description.version,
            ),
            (
                DifferenceKind::Engine,
                "what is put before a context",
                &own.description.bos,
                &other.description.bos,
            ),
        ];
        for (kind, what, own, other) in said {
            if let (Some(own), Some(other)) = (own, other) {
                found.add(kind, what, own, other);
            }
        }
        let tokens = |tokens: Option<u64>| tokens.map(|tokens| tokens.to_string());
        if let (Some(own), Some(other)) =
            (tokens(own.description.context_tokens), tokens(other.description.context_tokens))
        {
            found.add(DifferenceKind::Engine, "context size in tokens", &own, &other);
        }
        let names = own
            .assets
            .keys()
            .chain(other.assets.keys().filter(|name| !own.assets.contains_key(*name)));
        for name in names {
            let digest = |backend: &BackendIdentity| {
                backend
                    .assets
                    .get(name)
                    .map_or(NONE.to_owned(), |digest| format!("SHA-256 {}", short(digest)))
            };
            found.add(
                DifferenceKind::Model,
                &format!("file `{name}`"),
                &digest(own),
                &digest(other),
            );
        }
        let who = |backend: &BackendIdentity| {
            if backend.mock { "the host's mock" } else { "servers or files" }
        };
        found.add(DifferenceKind::Answerer, "who answered", who(own), who(other));
        let plugin = |side: Sided<'_>, id: &str| {
            let plugin = side.run.manifest.plugins.iter().find(|plugin| plugin.id == id);
            plugin.map_or_else(
                || id.to_owned(),
                |plugin| format!("{id} {} (SHA-256 {})", plugin.version, short(&plugin.sha256)),
            )
        };
        found.add(
            DifferenceKind::Plugin,
            "plugin",
            &plugin(a, &own.plugin),
            &plugin(b, &other.plugin),
        );
    }
    found.add_keys(&a.config(), &b.config(), |_| DifferenceKind::Backend, "backend: ");
    let recording = |side: Sided<'_>| {
        let recording = side.run.manifest.recording.as_ref();
        recording
            .map_or(NONE.to_owned(), |recording| format!("BLAKE3 {}", short(&recording.blake3)))
    };
    found.add(DifferenceKind::Answerer, "recording that answered", &recording(a), &recording(b));
    let hosts = (&a.run.manifest.host_version, &b.run.manifest.host_version);
    found.add(DifferenceKind::Host, "version of the host", hosts.0, hosts.1);
    let accepted = |side: Sided<'_>| {
        let resumed = side.run.manifest.resumed.iter();
        let all: Vec<&str> = resumed.flat_map(|one| &one.accepted).map(String::as_str).collect();
        if all.is_empty() { NONE.to_owned() } else { all.join("; ") }
    };
    found.add(
        DifferenceKind::Backend,
        "what changed while the run went on",
        &accepted(a),
        &accepted(b),
    );
    found.into_all()
}

/// The beginning of a digest: enough to tell it from others.
pub(super) fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// The tasks of a run and their backends, as its manifest has them.
pub(super) fn tasks_of(run: &StoredRun) -> Vec<(String, Vec<String>)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let tasks = run.manifest.config["tasks"].as_array().into_iter().flatten();
    let one = |task: &Value| {
        let backends = task["backends"].as_array().into_iter().flatten();
        Some((text(&task["id"])?, backends.filter_map(text).collect()))
    };
    tasks.filter_map(one).collect()
}

#[cfg(test)]
#[path = "difference_tests.rs"]
mod tests;
