//! Typed -> meant. The tree fits the schema when it comes here; what is left is what a schema cannot
//! say: durations, URLs, digests, unique ids, and names that must exist.

mod backend;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};

use super::check::join;
use super::error::{ConfigError, Problem};
use super::nearest;
use super::node::Node;
use super::raw::{RawBudget, RawEngine, RawRun};
use super::resolved::{
    Budget, Concurrency, Engine, GroupConfig, MaxUnscored, RunConfig, SyncPolicy, TaskConfig,
};
use super::task::{self, RUN_KEYS};
use crate::score::metric::Metric;
use crate::task::raw::RawTask;

/// Retries of a request by default. Where 30 of 100 requests fail by chance, whatever it is that fails them, as many as
/// 16 attempts in a row fail once in 200 million times, so that no sample of a large run is lost to it; and their waits
/// last for two and a half minutes on average, so that a server may be away for as long.
const MAX_RETRIES: u32 = 15;

/// Problems so far, and the tree that they are located in.
struct Resolver<'a> {
    root: &'a Node,
    run_dir: &'a Path,
    problems: Vec<Problem>,
}

/// What the tree means. `stem` names the run if the file does not; `base_dirs` has one folder a task.
pub(crate) fn resolve(
    root: &Node,
    stem: &str,
    run_dir: &Path,
    base_dirs: Vec<PathBuf>,
) -> Result<RunConfig, ConfigError> {
    let mut resolver = Resolver { root, run_dir, problems: Vec::new() };
    let config = resolver.run(stem, base_dirs);
    match config {
        Some(config) if resolver.problems.is_empty() => Ok(config),
        _ => Err(ConfigError::Invalid(resolver.problems)),
    }
}

impl Resolver<'_> {
    fn run(&mut self, stem: &str, base_dirs: Vec<PathBuf>) -> Option<RunConfig> {
        let mut value = self.root.to_value();
        if let Some(map) = value.as_object_mut() {
            map.remove("task");
            map.remove("profiles");
        }
        let mut raw: RawRun = self.read(value, &[])?;
        let engine = self.engine(&raw.run);
        let backends: Vec<_> = (0..)
            .zip(std::mem::take(&mut raw.backend))
            .map(|(index, raw)| self.backend(index, raw, engine.concurrency))
            .collect();
        let known: Vec<_> = backends.iter().map(|backend| backend.id.clone()).collect();
        self.unique("backend", &known);
        self.fallbacks(&backends);

        let nodes = self.root.get("task").map(Node::items).unwrap_or_default();
        let tasks: Vec<_> = (0..)
            .zip(nodes)
            .zip(base_dirs)
            .filter_map(|((index, node), dir)| self.task(index, node, dir, &known, &raw))
            .collect();
        let ids: Vec<_> = tasks.iter().map(|task| task.id.clone()).collect();
        self.unique("task", &ids);

        let groups: Vec<_> = raw
            .group
            .into_iter()
            .map(|raw| GroupConfig { id: raw.id, tasks: raw.tasks, metric: raw.metric })
            .collect();
        self.groups(&groups, &ids);
        Some(RunConfig {
            name: raw.name.unwrap_or_else(|| stem.to_owned()),
            profile: raw.profile,
            out: raw.out.unwrap_or_else(|| "runs".into()),
            max_samples: raw.max_samples,
            run: engine,
            backends,
            tasks,
            groups,
        })
    }

    fn engine(&mut self, raw: &RawEngine) -> Engine {
        let mut duration = |key: &str, text: &Option<String>, default: Duration| {
            self.duration(&["run", key], text.as_deref(), default, key == "loading_timeout")
        };
        let (attempt_timeout, idle_timeout) = (
            duration("attempt_timeout", &raw.attempt_timeout, Duration::from_secs(120)),
            duration("idle_timeout", &raw.idle_timeout, Duration::from_secs(60)),
        );
        let (connect_timeout, sample_timeout) = (
            duration("connect_timeout", &raw.connect_timeout, Duration::from_secs(10)),
            duration("sample_timeout", &raw.sample_timeout, Duration::from_secs(15 * 60)),
        );
        let loading_timeout =
            duration("loading_timeout", &raw.loading_timeout, Duration::from_secs(10 * 60));
        let max_unscored = match &raw.max_unscored {
            None => MaxUnscored::Count(0),
            Some(number) => match (number.as_u64(), number.as_f64()) {
                (Some(count), _) => MaxUnscored::Count(count),
                (None, Some(share)) if (0.0..=1.0).contains(&share) => MaxUnscored::Share(share),
                _ => {
                    self.wrong::<()>(
                        &["run", "max_unscored"],
                        "expected a count (5) or a share from 0.0 to 1.0 (0.01)",
                    );
                    MaxUnscored::Count(0)
                }
            },
        };
        Engine {
            concurrency: self.concurrency(
                &["run"],
                raw.concurrency.as_ref(),
                [raw.min_concurrency, raw.max_concurrency],
                Concurrency { auto: false, floor: 1, ceiling: 32 },
            ),
            max_retries: raw.max_retries.unwrap_or(MAX_RETRIES),
            attempt_timeout,
            idle_timeout,
            connect_timeout,
            sample_timeout,
            loading_timeout,
            max_unscored,
            store: raw.store,
            sync: self.sync(raw.sync.as_deref()),
            hedge: raw.hedge,
            cache: raw.cache,
            report: raw.report.unwrap_or(true),
            budget: self.budget(&raw.budget),
        }
    }

    /// A duration as people write it. Only where `may_be_zero` may it be nothing.
    fn duration(
        &mut self,
        at: &[&str],
        text: Option<&str>,
        default: Duration,
        may_be_zero: bool,
    ) -> Duration {
        match text.map(humantime::parse_duration) {
            None => default,
            Some(Ok(duration)) if may_be_zero || !duration.is_zero() => duration,
            Some(_) => {
                let longer = if may_be_zero { "" } else { " longer than nothing" };
                self.wrong::<()>(
                    at,
                    &format!("expected a duration{longer}, such as \"120s\", \"2m\" or \"500ms\""),
                );
                default
            }
        }
    }

    fn sync(&mut self, text: Option<&str>) -> SyncPolicy {
        let default = SyncPolicy::Within(Duration::from_millis(100));
        match (text, text.map(humantime::parse_duration)) {
            (Some("every"), _) => SyncPolicy::Every,
            (Some("end"), _) => SyncPolicy::End,
            (Some(_), Some(Ok(within))) if !within.is_zero() => SyncPolicy::Within(within),
            (None, _) => default,
            (Some(text), _) => {
                let message = format!(
                    "expected `every`, `end`, or a duration such as \"100ms\", found {text:?}"
                );
                self.wrong::<()>(&["run", "sync"], &message);
                default
            }
        }
    }

    fn budget(&mut self, raw: &RawBudget) -> Budget {
        let at = |key| ["run", "budget", key];
        let max_wall = raw.max_wall.as_deref();
        Budget {
            max_usd: raw.max_usd.as_ref().and_then(Number::as_f64),
            max_tokens: raw.max_tokens,
            max_wall: max_wall
                .map(|text| self.duration(&at("max_wall"), Some(text), Duration::MAX, false)),
            max_error_rate: raw.max_error_rate.as_ref().and_then(Number::as_f64),
            min_samples: raw.min_samples.unwrap_or(50),
        }
    }

    /// Requests in flight; what is not said is as in `default`. `bounds` are the fewest and the most.
    fn task(
        &mut self,
        index: usize,
        node: &Node,
        base_dir: PathBuf,
        known: &[String],
        run: &RawRun,
    ) -> Option<TaskConfig> {
        let name = node.name().map_or_else(|| index.to_string(), str::to_owned);
        let backends = task::backends(node, &join("task", &name), known, &mut self.problems);
        let mut value = node.to_value();
        let map = value.as_object_mut()?;
        let own_cap = map.get("max_samples").and_then(Value::as_u64);
        for key in RUN_KEYS {
            map.remove(key);
        }
        if let Some(seed) = run.seed {
            default_seed(map, seed);
        }
        let position = index.to_string();
        let task: RawTask = self.read(value, &["task", &position])?;
        let Some(id) = node.get_str("id").map(str::to_owned) else {
            return self.wrong(&["task", &position, "id"], "is required and missing");
        };
        let max_samples = match (own_cap, run.max_samples) {
            (Some(own), Some(run)) => Some(own.min(run)),
            (own, run) => own.or(run),
        };
        Some(TaskConfig { id, max_samples, backends, task, base_dir })
    }

    fn groups(&mut self, groups: &[GroupConfig], tasks: &[String]) {
        let mut ids = tasks.to_vec();
        for (index, group) in groups.iter().enumerate() {
            let position = index.to_string();
            if ids.contains(&group.id) {
                self.wrong::<()>(
                    &["group", &position, "id"],
                    &format!("`{}` names another group or a task too", group.id),
                );
            }
            ids.push(group.id.clone());
            if group.tasks.is_empty() {
                self.wrong::<()>(&["group", &position, "tasks"], "expected at least one task");
            }
            for (number, task) in group.tasks.iter().enumerate() {
                let at = ["group", &position, "tasks", &number.to_string()];
                if !tasks.contains(task) {
                    let near = nearest(task, tasks.iter().map(String::as_str));
                    self.wrong_name(&at, &format!("there is no task `{task}`"), near);
                } else if group.tasks[..number].contains(task) {
                    self.wrong::<()>(&at, &format!("the task `{task}` is named twice"));
                }
            }
            let unknown = |name: &&str| Metric::from_name(name).is_none();
            if let Some(metric) = group.metric.as_deref().filter(unknown) {
                let at = ["group", &position, "metric"];
                let near = nearest(metric, Metric::ALL.into_iter().map(Metric::name));
                self.wrong_name(&at, &format!("there is no metric `{metric}`"), near);
            }
        }
    }

    fn unique(&mut self, what: &str, ids: &[String]) {
        let mut seen = BTreeSet::new();
        for (index, id) in ids.iter().enumerate() {
            if !seen.insert(id) {
                self.wrong::<()>(
                    &[what, &index.to_string()],
                    &format!("there are two called `{id}`; give one of them another `id`"),
                );
            }
        }
    }

    /// A value as its typed type. The schema was checked, so this fails only where the two disagree.
    fn read<T: DeserializeOwned>(&mut self, value: Value, at: &[&str]) -> Option<T> {
        match serde_path_to_error::deserialize(value) {
            Ok(read) => Some(read),
            Err(error) => {
                let mut path = at.to_vec();
                let segments: Vec<_> = error.path().iter().map(ToString::to_string).collect();
                path.extend(
                    segments
                        .iter()
                        .map(|segment| segment.trim_matches(['[', ']']))
                        .filter(|segment| *segment != "."),
                );
                self.wrong(&path, &error.inner().to_string())
            }
        }
    }

    /// A name that does not exist, with the nearest that does.
    fn wrong_name(&mut self, path: &[&str], message: &str, near: Option<&str>) {
        self.wrong::<()>(path, message);
        if let (Some(problem), Some(near)) = (self.problems.last_mut(), near) {
            problem.hint = Some(format!("did you mean `{near}`?"));
        }
    }

    fn wrong<T>(&mut self, path: &[&str], message: &str) -> Option<T> {
        let path: Vec<_> = path.iter().map(|&segment| segment.to_owned()).collect();
        let (place, key) = self.root.locate(&path);
        self.problems.push(Problem::new(&place, key, message));
        None
    }
}

/// Gives a task the run's seed wherever it draws and has none of its own.
fn default_seed(task: &mut Map<String, Value>, seed: u64) {
    let generates = task.get("kind").is_some_and(|kind| kind == "generate")
        || task.get("fallback").is_some_and(|fallback| !fallback.is_null());
    if generates {
        task.entry("generate").or_insert_with(|| Value::Object(Map::new()));
    }
    for key in ["few_shot", "generate"] {
        if let Some(table) = task.get_mut(key).and_then(Value::as_object_mut) {
            table.entry("seed").or_insert_with(|| seed.into());
        }
    }
}
