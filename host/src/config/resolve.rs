//! Typed -> meant. The tree fits the schema when it comes here; what is left is what a schema cannot
//! say: durations, URLs, digests, unique ids, and names that must exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plugin_api::manifest::SecretSlot;
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};
use url::Url;

use super::check::join;
use super::error::{ConfigError, Problem};
use super::nearest;
use super::node::Node;
use super::raw::{
    RawAsset, RawBackend, RawBudget, RawConcurrency, RawEngine, RawReplica, RawRun, RawSlot,
    RawSource,
};
use super::resolved::{
    BackendConfig, BaseUrl, Budget, Concurrency, Engine, GroupConfig, MOCK, MOST_IN_FLIGHT,
    MaxUnscored, ReplicaConfig, RunConfig, SyncPolicy, TaskConfig,
};
use super::task::{self, RUN_KEYS};
use crate::asset::{Asset, Sha256, Source};
use crate::score::metric::Metric;
use crate::secret::{Origin, OriginPattern};
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
    fn concurrency(
        &mut self,
        at: &[&str],
        raw: Option<&RawConcurrency>,
        bounds: [Option<u32>; 2],
        default: Concurrency,
    ) -> Concurrency {
        let [floor, ceiling] = bounds;
        let fixed = |number: u32| (1..=MOST_IN_FLIGHT).contains(&number).then_some(number);
        let read = match raw {
            None => None,
            Some(RawConcurrency::Number(number)) => fixed(*number).map(Some),
            Some(RawConcurrency::Text(text)) if text == "auto" => Some(None),
            Some(RawConcurrency::Text(text)) => text.parse().ok().and_then(fixed).map(Some),
        };
        if raw.is_some() && read.is_none() {
            self.wrong::<()>(
                &[at, &["concurrency"]].concat(),
                &format!("expected a number of requests from 1 to {MOST_IN_FLIGHT}, or \"auto\""),
            );
        }
        let auto = read.map_or(default.auto, |fixed| fixed.is_none());
        let most = match read.flatten() {
            Some(number) => number,
            None if auto && !default.auto => 256,
            None => default.ceiling,
        };
        let ceiling = if auto { ceiling.unwrap_or(most) } else { most }.min(MOST_IN_FLIGHT);
        let floor = floor.unwrap_or(default.floor.min(ceiling));
        if floor > ceiling {
            self.wrong::<()>(
                &[at, &["min_concurrency"]].concat(),
                &format!("expected at most {ceiling}, the most requests in flight, found {floor}"),
            );
        }
        Concurrency { auto, floor: floor.min(ceiling), ceiling }
    }

    fn replica(&mut self, at: &[&str], raw: RawReplica) -> Option<ReplicaConfig> {
        let RawReplica { base_url: text, weight, launch } = raw;
        let base_url = base_url(&text)
            .map_err(|message| self.wrong::<()>(&[at, &["base_url"]].concat(), &message))
            .ok()?;
        Some(ReplicaConfig { base_url, weight: weight.unwrap_or(1), launch })
    }

    fn fallbacks(&mut self, backends: &[BackendConfig]) {
        let known: Vec<&str> = backends.iter().map(|backend| backend.id.as_str()).collect();
        for (index, backend) in backends.iter().enumerate() {
            for (number, other) in backend.fallback.iter().enumerate() {
                let at = ["backend", &index.to_string(), "fallback", &number.to_string()];
                if *other == backend.id {
                    self.wrong::<()>(&at, "a backend cannot stand in for itself");
                } else if !known.contains(&other.as_str()) {
                    let near = nearest(other, known.iter().copied());
                    self.wrong_name(&at, &format!("there is no backend `{other}`"), near);
                }
            }
        }
    }

    fn backend(&mut self, index: usize, raw: RawBackend, default: Concurrency) -> BackendConfig {
        let position = index.to_string();
        let at = ["backend", position.as_str()];
        let base_url = raw.base_url.and_then(|text| match base_url(&text) {
            Ok(base_url) => Some(base_url),
            Err(message) => self.wrong(&[&at[..], &["base_url"]].concat(), &message),
        });
        let origins = (0..).zip(&raw.origins).filter_map(|(number, text): (usize, _)| {
            match text.parse::<OriginPattern>() {
                Ok(origin) => Some(origin),
                Err(error) => self.wrong(
                    &[&at[..], &["origins", &number.to_string()]].concat(),
                    &error.to_string(),
                ),
            }
        });
        let origins = origins.collect();
        let assets = raw.asset.into_iter().filter_map(|(name, raw)| {
            let asset = self.asset(&[&at[..], &["asset", &name]].concat(), raw)?;
            Some((name, asset))
        });
        let assets = assets.collect();
        let slots = (0..)
            .zip(raw.slot)
            .map(|(number, raw): (usize, _)| {
                self.slot(&[&at[..], &["slot", &number.to_string()]].concat(), raw)
            })
            .collect();
        let replicas: Vec<_> = (0_usize..)
            .zip(raw.replica)
            .filter_map(|(number, raw)| {
                self.replica(&[&at[..], &["replica", &number.to_string()]].concat(), raw)
            })
            .collect();
        if !replicas.is_empty() && base_url.is_some() {
            self.wrong::<()>(
                &[&at[..], &["base_url"]].concat(),
                "is given beside [[backend.replica]]; name it in a replica of its own",
            );
        }
        let launches = !raw.launch.is_empty() || replicas.iter().any(|one| !one.launch.is_empty());
        if !replicas.is_empty() && !raw.launch.is_empty() {
            self.wrong::<()>(
                &[&at[..], &["launch"]].concat(),
                "is given beside [[backend.replica]]; each replica has a `launch` of its own",
            );
        }
        let wait_ready = self.duration(
            &[&at[..], &["wait_ready"]].concat(),
            raw.wait_ready.as_deref(),
            if launches { Duration::from_secs(120) } else { Duration::ZERO },
            true,
        );
        let concurrency = self.concurrency(
            &at,
            raw.concurrency.as_ref(),
            [raw.min_concurrency, raw.max_concurrency],
            default,
        );
        if base_url.is_none() && replicas.is_empty() && !raw.secrets.is_empty() {
            self.wrong::<()>(
                &[&at[..], &["secrets"]].concat(),
                "lets secrets go to the origin of `base_url`, but there is no `base_url`",
            );
        }
        BackendConfig {
            id: raw.id.unwrap_or_else(|| raw.plugin.clone()),
            plugin: raw.plugin,
            model: raw.model,
            base_url,
            origins,
            secrets: raw.secrets,
            stream: raw.stream,
            concurrency,
            rpm: raw.rpm,
            tpm: raw.tpm,
            replicas,
            route: raw.route,
            eject_after: raw.eject_after.unwrap_or(5),
            wait_ready,
            launch: raw.launch,
            fallback: raw.fallback,
            isolation: raw.isolation,
            allow_unchecked_layout: raw.allow_unchecked_layout,
            config: raw.config,
            slots,
            assets,
        }
    }

    fn slot(&mut self, at: &[&str], raw: RawSlot) -> SecretSlot {
        for text in &raw.origins {
            if let Err(error) = text.parse::<OriginPattern>() {
                self.wrong::<()>(&[at, &["origins"]].concat(), &error.to_string());
            }
        }
        let RawSlot { slot, env, files, optional, origins } = raw;
        SecretSlot { slot, env, files, optional, origins }
    }

    fn asset(&mut self, at: &[&str], raw: RawAsset) -> Option<Asset> {
        let sha256 = match raw.sha256.as_deref().map(str::parse::<Sha256>).transpose() {
            Ok(sha256) => sha256,
            Err(error) => return self.wrong(&[at, &["sha256"]].concat(), &error.to_string()),
        };
        let first = raw.sources.first().map(|source| match source {
            RawSource { path: Some(path), .. } => path.as_path(),
            RawSource { member, .. } => Path::new(member.as_deref().unwrap_or_default()),
        });
        let own =
            || first.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        let name = raw.name.or_else(own).unwrap_or_default();
        if name.is_empty() || Path::new(&name).file_name().is_none_or(|file| file != name.as_str())
        {
            return self
                .wrong(&[at, &["name"]].concat(), "expected the name of a file, without a folder");
        }
        let mut sources = Vec::new();
        for (number, source) in (0_usize..).zip(raw.sources) {
            sources.push(match source {
                RawSource { path: Some(path), wheel: None, version: None, member: None } => {
                    Source::Path(self.run_dir.join(path))
                }
                RawSource {
                    path: None,
                    wheel: Some(name),
                    version: Some(version),
                    member: Some(member),
                } => Source::Wheel { name, version, member },
                _ => {
                    return self.wrong(
                        &[at, &["sources", &number.to_string()]].concat(),
                        "expected either `path`, or all of `wheel`, `version` and `member`",
                    );
                }
            });
        }
        let is_wheel = |source: &Source| matches!(source, Source::Wheel { .. });
        if sha256.is_none() && sources.iter().any(is_wheel) {
            return self.wrong(
                &[at, &["sha256"]].concat(),
                "is required and missing; only a local `path` is taken as it is",
            );
        }
        Some(Asset { name, sha256, sources })
    }

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

/// A server's URL, or the name of a wire that the mock speaks; which ones there are is not known here.
fn base_url(text: &str) -> Result<BaseUrl, String> {
    if let Some(flavor) = text.strip_prefix(MOCK) {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        return if !flavor.is_empty() && flavor.chars().all(plain) {
            Ok(BaseUrl::Mock(flavor.to_owned()))
        } else {
            Err("expected the name of a wire after `mock:`, as in \"mock:tgi\"".to_owned())
        };
    }
    let url = Url::parse(text)
        .map_err(|error| format!("expected a URL such as http://127.0.0.1:8080: {error}"))?;
    Origin::of(&url).map_err(|error| error.to_string())?;
    Ok(BaseUrl::Server(url))
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
