//! From a task as it was typed to a task that makes sense.
//!
//! Everything that can be checked before data is read is checked here: after it only records can be
//! wrong. Files are looked for, not read.

use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::answer::Extract;
use super::data::DataSet;
use super::error::{TaskError, TaskProblem};
use super::few_shot::{FewShot, Pool};
use super::generation::Generation;
use super::grading::{extract, metrics, rules};
use super::keys::check_keys;
use super::plan::plan;
use super::raw::{Fallback, Kind, OnBadSample, PromptFormat, RawTask, Record};
use super::render::{Form, FormPlan, Plan, RenderError};
use super::sources::{data_set, examples};
use crate::score::generated::Rules;
use crate::score::metric::Metric;

/// The name of a task, unique in a run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(pub String);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a backend must be able to do for a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ability {
    /// Log-likelihood of continuations.
    Loglikelihood,
    /// Log-likelihood of a whole text.
    LoglikelihoodRolling,
    /// Generation.
    Generate,
}

/// A task that makes sense.
#[derive(Debug, Clone)]
pub struct Task {
    /// Its name.
    pub id: TaskId,
    /// What a backend must be able to do.
    pub ability: Ability,
    /// Text or chat.
    pub format: PromptFormat,
    /// The metrics to report, in order.
    pub metrics: Vec<Metric>,
    /// Attempts at each sample.
    pub repeats: NonZeroU32,
    /// Parameters of generation; present when `ability` is [`Ability::Generate`].
    pub generation: Option<Generation>,
    /// How replies are graded; present when `ability` is [`Ability::Generate`].
    pub rules: Option<Rules>,
    /// Whether this is the generative form that a multiple-choice task fell back to.
    pub is_fallback: bool,
    /// Where the samples come from.
    pub data: DataSet,
    /// What to do with bad records.
    pub on_bad_sample: OnBadSample,
    /// Read only so many records.
    pub limit: Option<u64>,
    pub(super) few_shot: Option<FewShot>,
    pub(super) plan: Arc<Plan>,
    typed: Arc<Typed>,
}

/// What the task was made of, to make its other form.
#[derive(Debug)]
struct Typed {
    raw: RawTask,
    base_dir: PathBuf,
    files: Files,
}

/// Whether the files of a task must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Files {
    /// Its samples are to be read.
    Needed,
    /// Its samples were read at another time.
    Past,
}

impl Task {
    /// Checks a task. Paths in it are relative to `base_dir`, the folder of the file that it stands in.
    ///
    /// # Errors
    /// [`TaskError`] names the task, the key and what was expected.
    pub fn resolve(raw: RawTask, base_dir: &Path) -> Result<Self, TaskError> {
        Self::resolve_with(raw, base_dir, Files::Needed)
    }

    /// Checks a task that was asked before, and whose files may be gone: its samples cannot be read, but stored records
    /// made into what is right again ([`Task::form_of`]).
    ///
    /// # Errors
    /// As for [`Task::resolve`], but for files.
    pub fn resolve_past(raw: RawTask, base_dir: &Path) -> Result<Self, TaskError> {
        Self::resolve_with(raw, base_dir, Files::Past)
    }

    fn resolve_with(raw: RawTask, base_dir: &Path, files: Files) -> Result<Self, TaskError> {
        let typed = Arc::new(Typed { raw, base_dir: base_dir.to_owned(), files });
        let task = Self::from_typed(&typed, false)?;
        // Whether the fallback is needed is not known yet; whether it works should be.
        if typed.raw.fallback.is_some() {
            Self::from_typed(&typed, true)?;
        }
        Ok(task)
    }

    /// The generative form that the task names for backends without log-likelihood; none when it
    /// names none.
    ///
    /// # Errors
    /// [`TaskError`] when a file has vanished since the task was checked.
    pub fn fallback(&self) -> Option<Result<Self, TaskError>> {
        let named = !self.is_fallback && self.typed.raw.fallback == Some(Fallback::Generate);
        named.then(|| {
            // The limit may be the run's, which the typed task does not know.
            Self::from_typed(&self.typed, true).map(|task| Self { limit: self.limit, ..task })
        })
    }

    /// What is asked of a record after its prompt, and what is right.
    ///
    /// # Errors
    /// [`RenderError`] when the record cannot be made into a question.
    pub fn form_of(&self, record: &Record) -> Result<Form, RenderError> {
        Ok(self.plan.render(record, &[])?.form)
    }

    /// The files that samples and examples are read from.
    #[must_use]
    pub fn files(&self) -> Vec<&Path> {
        let mut files = self.data.files();
        if let Some(Pool::File(pool)) = self.few_shot.as_ref().map(|few_shot| &few_shot.pool) {
            files.extend(pool.files());
        }
        files
    }

    fn from_typed(typed: &Arc<Typed>, is_fallback: bool) -> Result<Self, TaskError> {
        build(typed, is_fallback)
            .map_err(|problem| TaskError { task: typed.raw.id.clone(), problem })
    }
}

fn build(typed: &Arc<Typed>, is_fallback: bool) -> Result<Task, TaskProblem> {
    let Typed { raw, base_dir, files } = &**typed;
    if raw.id.is_empty() || raw.id.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(TaskProblem::value("id", "a name without spaces"));
    }
    check_keys(raw)?;
    let repeats =
        NonZeroU32::new(raw.repeats).ok_or_else(|| TaskProblem::value("repeats", "at least 1"))?;
    if raw.data.limit == Some(0) {
        return Err(TaskProblem::value("data.limit", "at least 1; leave it out for all records"));
    }
    let data = data_set(raw, base_dir, *files)?;
    let few_shot = raw
        .few_shot
        .as_ref()
        .filter(|_| *files == Files::Needed)
        .map(|few_shot| examples(few_shot, raw, base_dir, &data))
        .transpose()?;
    let extract = extract(raw, is_fallback)?;
    let (metrics, unconditional) = metrics(raw, is_fallback)?;
    let (ability, form) = match (raw.kind, &extract) {
        (Kind::Perplexity, _) => (Ability::LoglikelihoodRolling, FormPlan::Rolling),
        (Kind::MultipleChoice, _) if !is_fallback => {
            (Ability::Loglikelihood, FormPlan::MultipleChoice { unconditional })
        }
        (_, Extract::Choice) => {
            (Ability::Generate, FormPlan::GenerateChoice { fallback: is_fallback })
        }
        (_, Extract::Number) => (Ability::Generate, FormPlan::GenerateNumber),
        (_, Extract::Regex { .. }) => (Ability::Generate, FormPlan::GenerateMatch),
        _ => (Ability::Generate, FormPlan::GenerateText),
    };
    let plan = plan(raw, form)?;
    let (generation, rules) = if ability == Ability::Generate {
        let mut generation = Generation::new(
            &raw.generate.clone().unwrap_or_default(),
            default_stop(&plan, is_fallback),
        )?;
        let rules = rules(raw, &generation, extract)?;
        // A thought may well hold a stop, and a server would end the reply there, before its answer.
        if rules.think_end.is_some() {
            generation.stop.clear();
        }
        (Some(generation), Some(rules))
    } else {
        (None, None)
    };
    Ok(Task {
        id: TaskId(raw.id.clone()),
        ability,
        format: raw.prompt.format,
        metrics,
        repeats,
        generation,
        rules,
        is_fallback,
        data,
        on_bad_sample: raw.data.on_bad_sample,
        limit: raw.data.limit,
        few_shot,
        plan: Arc::new(plan),
        typed: Arc::clone(typed),
    })
}

/// The stops of a task that names none. A base model goes on with the next question after an empty
/// line; a chat model, or one that was told to reply, may well write one before its answer.
fn default_stop(plan: &Plan, is_fallback: bool) -> Vec<String> {
    let goes_on = plan.layout.format == PromptFormat::Text && !is_fallback;
    let separator = &plan.layout.separator;
    if goes_on && !separator.is_empty() { vec![separator.clone()] } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        id = "t"
        kind = "KIND"
        target = "{{ label }}"
        prompt = { user = "{{ q }}" }
        choices = { texts = ["{{ a }}", "{{ b }}"] }
        data = { path = "d.jsonl" }
    "#;

    fn resolve(kind: &str, change: &[(&str, &str)], more: &str) -> Result<Task, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("d.jsonl"), "{}").unwrap();
        std::fs::write(folder.path().join("d.txt"), "{}").unwrap();
        let mut toml = GOOD.replace("KIND", kind) + more;
        for (from, to) in change {
            toml = toml.replace(from, to);
        }
        let raw: RawTask = toml::from_str(&toml).unwrap();
        Task::resolve(raw, folder.path()).map_err(|error| {
            error
                .to_string()
                .replace(&format!("{}/", folder.path().display()), "")
                .replace(&folder.path().display().to_string(), "FOLDER")
        })
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_key() {
        const MC: &str = "multiple_choice";
        /// Kind, replacements in the good task, lines after it, what the error says.
        type Row =
            (&'static str, &'static [(&'static str, &'static str)], &'static str, &'static str);
        let table: &[Row] = &[
            (MC, &[("\"t\"", "\"\"")], "", "`id` must be"),
            (
                MC,
                &[("d.jsonl", "no.jsonl")],
                "",
                "`data.path`: cannot read no.jsonl (no.jsonl is relative to FOLDER, the folder of the file \
                 that names it): No such file",
            ),
            (
                MC,
                &[("d.jsonl\"", "/no/d.jsonl\"")],
                "",
                "`data.path`: cannot read /no/d.jsonl: No such file",
            ),
            (MC, &[("d.jsonl", ".")], "", "`data.path`: cannot read"),
            (MC, &[("d.jsonl", "d.txt")], "", "`data.path`: the format of d.txt is not known"),
            (MC, &[("{{ q }}", "a\\n{{ q")], "", "template `prompt.user`, line 2"),
            (MC, &[("{{ b }}", "{% if %}")], "", "template `choices.texts[1]`, line 1"),
            (
                MC,
                &[("target =", "on_refusal = 'wrong' #")],
                "",
                "`target` is needed by `kind = \"multiple_choice\"`",
            ),
            (MC, &[(", \"{{ b }}\"", "")], "", "`choices.texts` must be at least two"),
            (MC, &[("texts =", "field = 'x', texts =")], "", "`choices` must be given by either"),
            (MC, &[("texts =", "labels = ['A'], texts =")], "", "`choices.labels` must be as many"),
            (MC, &[], "generate = { n = 1 }", "`generate` has no meaning in this task"),
            (
                MC,
                &[],
                "fallback = 'generate'\nextract = { kind = 'number' }",
                "`extract.kind` has no meaning",
            ),
            (
                MC,
                &[],
                "fallback = 'generate'\ngenerate = { n = 0 }",
                "`generate.n` must be at least 1",
            ),
            (MC, &[], "metrics = ['f1']", "has no metric `f1`; it has acc, acc_norm"),
            (MC, &[], "metrics = []", "`metrics` must be not empty"),
            (MC, &[], "repeats = 0", "`repeats` must be at least 1"),
            (MC, &[("path =", "limit = 0, path =")], "", "`data.limit` must be"),
            (MC, &[], "few_shot = { n = 0 }", "`few_shot.n` must be"),
            (MC, &[], "few_shot = { sampler = 'random' }", "`few_shot.n` must be given"),
            (
                MC,
                &[],
                "few_shot = { n = 2, examples = [{ q = 1 }] }",
                "`few_shot.n` must be at most",
            ),
            (
                MC,
                &[],
                "few_shot = { n = 1, source = 'no.jsonl' }",
                "`few_shot.source`: cannot read",
            ),
            (
                MC,
                &[],
                "few_shot = { n = 1, as_turns = true }",
                "`few_shot.as_turns` has no meaning",
            ),
            (
                "generate",
                &[],
                "extract = { kind = 'regex', pattern = '(' }",
                "`extract.pattern`: pattern `(`",
            ),
            (
                "generate",
                &[],
                "extract = { kind = 'regex' }",
                "`extract.pattern` must be given with",
            ),
            (
                "generate",
                &[],
                "extract = { kind = 'regex', pattern = '(a)', group = 2 }",
                "`extract.group` must be",
            ),
            (
                "generate",
                &[],
                "extract = { kind = 'number', pattern = 'x' }",
                "`extract.pattern` has no meaning",
            ),
            ("generate", &[], "fallback = 'generate'", "`fallback` has no meaning"),
            ("generate", &[], "metrics = ['acc']", "has no metric `acc`"),
            ("perplexity", &[], "", "`choices` has no meaning"),
        ];
        for (kind, change, more, expected) in table {
            let error = resolve(kind, change, more).unwrap_err();
            assert!(
                error.starts_with("task `") && error.contains(expected),
                "{more} {change:?}: {error}"
            );
        }
    }

    #[test]
    fn defaults_depend_on_kind_and_prompt() {
        let task = resolve("multiple_choice", &[], "").unwrap();
        assert_eq!(task.ability, Ability::Loglikelihood);
        assert_eq!(task.metrics, [Metric::Acc, Metric::AccNorm, Metric::AccBytes]);
        assert!(task.generation.is_none() && task.rules.is_none() && task.fallback().is_none());

        let task = resolve("generate", &[], "").unwrap();
        assert_eq!(task.ability, Ability::Generate);
        assert_eq!(task.generation.unwrap().stop, ["\n\n"]);
        let chat = resolve("generate", &[("{{ q }}\"", "{{ q }}\", format = 'chat'")], "").unwrap();
        assert!(chat.generation.unwrap().stop.is_empty());
    }

    #[test]
    fn a_server_is_sent_no_stops_that_a_thought_may_hold() {
        let table = [
            ("stop = ['X']", &["X"][..], &["X"][..]),
            ("stop = ['X'], think_end = '</think>'", &[], &["X"]),
            ("think_end = '</think>'", &[], &["\n\n"]),
        ];
        for (parameters, sent, cut) in table {
            let task = resolve("generate", &[], &format!("generate = {{ {parameters} }}")).unwrap();
            assert_eq!(task.generation.unwrap().stop, sent, "{parameters}");
            assert_eq!(task.rules.unwrap().stop, cut, "{parameters}");
        }
    }

    #[test]
    fn mutual_information_is_asked_for_by_its_metric_or_its_key() {
        for more in ["metrics = ['acc', 'acc_mutual_info']", "mutual_information = true"] {
            let task = resolve("multiple_choice", &[], more).unwrap();
            assert!(task.metrics.contains(&Metric::AccMutualInfo));
            assert_eq!(task.plan.form, FormPlan::MultipleChoice { unconditional: true });
        }
    }

    #[test]
    fn the_schema_describes_every_key() {
        let schema = serde_json::to_value(schemars::schema_for!(RawTask)).unwrap();
        let mut missing = Vec::new();
        let definitions =
            schema["$defs"].as_object().unwrap().iter().map(|(name, part)| (name.as_str(), part));
        for (name, part) in definitions.chain([("RawTask", &schema)]) {
            for (key, value) in part["properties"].as_object().into_iter().flatten() {
                if value.get("description").is_none() {
                    missing.push(format!("{name}.{key}"));
                }
            }
        }
        assert!(missing.is_empty(), "{missing:?}");
    }
}
