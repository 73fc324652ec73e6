//! lm-evaluation-harness's `results_*.json` of one backend. What it tells of its own program, we have not: those
//! members are there and null, or say who wrote the file.

use serde_json::{Map, Value, json};

use crate::{
    report::{task_config::task_of, view::View},
    score::metric::{Aggregation, Metric},
    store::summary::{MetricEntry, TaskResult},
};

/// How many documents a task has at a backend. Repeats of a document are one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Documents {
    /// Those that are finished.
    pub finished: u64,
    /// Those of which some repeat has a score.
    pub scored: u64,
}

/// The file's content, but for what names the model. `documents` has an entry a result.
pub fn results(
    view: &View,
    documents: &[Documents],
    (backend, model, sanitized): (&str, &str, &str),
) -> Value {
    let manifest = &view.run.manifest;
    let own: Vec<&TaskResult> =
        view.results.iter().filter(|result| result.backend == backend).collect();
    let documents = |result: &TaskResult| -> Documents {
        let unit = view.unit(&result.task, &result.backend);
        unit.and_then(|unit| documents.get(unit)).copied().unwrap_or_default()
    };
    let by_task = |of: &dyn Fn(&TaskResult) -> Value| -> Value {
        own.iter().map(|result| (result.task.clone(), of(result))).collect::<Map<_, _>>().into()
    };
    let plugin = manifest
        .backends
        .iter()
        .find(|known| known.id == backend)
        .map_or("", |known| known.plugin.as_str());
    let (mut groups, mut subtasks) = groups(view, backend);
    for result in &own {
        subtasks.entry(result.task.clone()).or_insert_with(|| json!([]));
    }
    let mut content = json!({
        "results": by_task(&|result| metrics(view, result, documents(result))),
        "group_subtasks": subtasks,
        "configs": by_task(&|result| config(view, &result.task)),
        "versions": by_task(&|_| "N/A".into()),
        "n-shot": by_task(&|result| shots(task_of(manifest, &result.task))),
        "higher_is_better": by_task(&higher_is_better),
        "n-samples": by_task(&|result| {
            let Documents { finished, scored } = documents(result);
            json!({ "original": finished, "effective": scored })
        }),
        "config": {
            "model": plugin, "model_args": format!("model={model}"), "model_num_parameters": null,
            "batch_size": null, "batch_sizes": [], "device": null, "use_cache": null,
            "limit": manifest.config["max_samples"], "bootstrap_iters": 0, "gen_kwargs": null,
            "random_seed": manifest.config["seed"], "numpy_seed": null, "torch_seed": null,
            "fewshot_seed": null,
        },
        "git_hash": null,
        "date": seconds(&manifest.started),
        "pretty_env_info": format!("host {}", manifest.host_version),
        "transformers_version": "N/A",
        "lm_eval_version": format!("N/A (written by host {})", manifest.host_version),
        "upper_git_hash": null,
        "task_hashes": {},
        "model_source": plugin,
        "model_name": model,
        "model_name_sanitized": sanitized,
        "system_instruction": null, "system_instruction_sha": null,
        "fewshot_as_multiturn": false,
        "chat_template": null, "chat_template_sha": null,
        "total_evaluation_time_seconds": took(view),
    });
    if !groups.is_empty() {
        content["groups"] = Value::Object(std::mem::take(&mut groups));
    }
    content
}

/// The metrics of a task.
fn metrics(view: &View, result: &TaskResult, documents: Documents) -> Value {
    let mut metrics = Map::new();
    metrics.insert("alias".to_owned(), result.task.as_str().into());
    for shown in view.metrics(result) {
        set(&mut metrics, shown.name, shown.entry);
    }
    metrics.insert("sample_len".to_owned(), documents.scored.into());
    metrics.into()
}

fn set(metrics: &mut Map<String, Value>, name: &str, entry: &MetricEntry) {
    metrics.insert(format!("{name},none"), entry.value.into());
    let stderr = entry.stderr.map_or_else(|| "N/A".into(), Value::from);
    metrics.insert(format!("{name}_stderr,none"), stderr);
}

/// Averages over tasks in which each sample weighs the same, and the tasks of each.
fn groups(view: &View, backend: &str) -> (Map<String, Value>, Map<String, Value>) {
    let (mut groups, mut subtasks) = (Map::new(), Map::new());
    for group in view.groups.iter().filter(|group| group.backend == backend) {
        let entry =
            groups.entry(group.group.clone()).or_insert_with(|| json!({ "alias": group.group }));
        if let Some(metrics) = entry.as_object_mut() {
            set(metrics, &group.metric, &group.by_sample);
        }
        subtasks.insert(group.group.clone(), json!(group.tasks));
    }
    (groups, subtasks)
}

fn higher_is_better(result: &TaskResult) -> Value {
    let known = result.metrics.keys().filter_map(|name| Metric::from_name(name));
    let better = |metric: Metric| match metric.aggregation() {
        Aggregation::Mean { wrong, right } => right > wrong,
        Aggregation::PerUnit { .. } => false,
    };
    known
        .map(|metric| (metric.name().to_owned(), better(metric).into()))
        .collect::<Map<_, _>>()
        .into()
}

fn shots(task: &Value) -> Value {
    let few_shot = &task["few_shot"];
    match (&few_shot["n"], &few_shot["examples"]) {
        (Value::Null, Value::Array(examples)) => examples.len().into(),
        (Value::Null, _) => 0.into(),
        (shots, _) => shots.clone(),
    }
}

fn config(view: &View, id: &str) -> Value {
    let task = task_of(&view.run.manifest, id);
    let output_type = match task["kind"].as_str() {
        Some("multiple_choice") => "multiple_choice",
        Some("perplexity") => "loglikelihood_rolling",
        _ => "generate_until",
    };
    json!({
        "task": id, "output_type": output_type, "num_fewshot": shots(task),
        "repeats": task["repeats"], "generation_kwargs": generation(task),
        "metadata": { "host": task },
    })
}

/// Parameters of generation under the names that they have there.
pub fn generation(task: &Value) -> Value {
    let generate = &task["generate"];
    let mut named = Map::new();
    for (own, theirs) in [
        ("stop", "until"),
        ("max_tokens", "max_gen_toks"),
        ("temperature", "temperature"),
        ("top_p", "top_p"),
    ] {
        if !generate[own].is_null() {
            named.insert(theirs.to_owned(), generate[own].clone());
        }
    }
    named.into()
}

fn seconds(stamp: &str) -> Value {
    match stamp.parse::<jiff::Timestamp>() {
        Ok(time) => (time.as_millisecond() as f64 / 1e3).into(),
        Err(_) => Value::Null,
    }
}

/// How long the run took, as a text; null if it is not finished.
fn took(view: &View) -> Value {
    let (from, to) = (
        view.run.manifest.started.parse::<jiff::Timestamp>(),
        view.finished.as_deref().unwrap_or_default().parse::<jiff::Timestamp>(),
    );
    match (from, to) {
        (Ok(from), Ok(to)) => to.duration_since(from).as_secs_f64().to_string().into(),
        _ => Value::Null,
    }
}
