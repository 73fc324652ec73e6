//! From a task as it was typed to a task that makes sense.
//!
//! Everything that can be checked before data is read is checked here: after it only records can be
//! wrong. Files are looked for, not read.

use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fancy_regex::Regex;
use serde::{Deserialize, Serialize};

use super::answer::Extract;
use super::data::DataSet;
use super::error::{TaskError, TaskProblem};
use super::few_shot::{FewShot, Pool};
use super::generation::Generation;
use super::prompt::Layout;
use super::raw::{
    DEFAULT_SEPARATOR, DataFormat, ExtractKind, Fallback, Kind, OnBadSample, PromptFormat, RawChoices, RawExtract,
    RawFewShot, RawTask,
};
use super::records::format_of;
use super::render::{
    CHOICES_FIELD, ChoiceLabels, ChoicePlan, ChoiceTexts, FALLBACK_USER, FormPlan, LABELS_FIELD, PREFIX, Plan, SYSTEM,
    TARGET, USER, choice_key,
};
use super::template::Templates;
use crate::score::exact_match::ExactMatch;
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
}

impl Task {
    /// Checks a task. Paths in it are relative to `base_dir`, the folder of the file that it stands in.
    ///
    /// # Errors
    /// [`TaskError`] names the task, the key and what was expected.
    pub fn resolve(raw: RawTask, base_dir: &Path) -> Result<Self, TaskError> {
        let typed = Arc::new(Typed { raw, base_dir: base_dir.to_owned() });
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
        named.then(|| Self::from_typed(&self.typed, true))
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
        build(typed, is_fallback).map_err(|problem| TaskError { task: typed.raw.id.clone(), problem })
    }
}

fn build(typed: &Arc<Typed>, is_fallback: bool) -> Result<Task, TaskProblem> {
    let Typed { raw, base_dir } = &**typed;
    if raw.id.is_empty() || raw.id.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(TaskProblem::value("id", "a name without spaces"));
    }
    check_keys(raw)?;
    let repeats = NonZeroU32::new(raw.repeats).ok_or_else(|| TaskProblem::value("repeats", "at least 1"))?;
    if raw.data.limit == Some(0) {
        return Err(TaskProblem::value("data.limit", "at least 1; leave it out for all records"));
    }
    let data = DataSet {
        path: existing("data.path", base_dir, &raw.data.path)?,
        format: data_format("data.path", &raw.data.path, raw.data.format)?,
        labels: raw.data.labels.as_ref().map(|path| existing("data.labels", base_dir, path)).transpose()?,
        id_field: raw.data.id_field.clone(),
    };
    let few_shot = raw.few_shot.as_ref().map(|few_shot| examples(few_shot, raw, base_dir, &data)).transpose()?;
    let extract = extract(raw, is_fallback)?;
    let (metrics, unconditional) = metrics(raw, is_fallback)?;
    let (ability, form) = match (raw.kind, &extract) {
        (Kind::Perplexity, _) => (Ability::LoglikelihoodRolling, FormPlan::Rolling),
        (Kind::MultipleChoice, _) if !is_fallback => {
            (Ability::Loglikelihood, FormPlan::MultipleChoice { unconditional })
        }
        (_, Extract::Choice) => (Ability::Generate, FormPlan::GenerateChoice { fallback: is_fallback }),
        (_, Extract::Number) => (Ability::Generate, FormPlan::GenerateNumber),
        _ => (Ability::Generate, FormPlan::GenerateText),
    };
    let layout = layout(raw);
    let (generation, rules) = if ability == Ability::Generate {
        let typed_generation = raw.generate.clone().unwrap_or_default();
        // A base model goes on with the next question after an empty line; a chat model may well
        // write one before its answer.
        let goes_on = layout.format == PromptFormat::Text && !is_fallback;
        let default_stop = if goes_on && !layout.separator.is_empty() { vec![layout.separator.clone()] } else { vec![] };
        let generation = Generation::new(&typed_generation, default_stop)?;
        let rules = Rules {
            think_end: typed_generation.think_end,
            stop: generation.stop.clone(),
            extract,
            exact_match: exact_match(raw)?,
            on_refusal: raw.on_refusal,
            on_truncation: raw.on_truncation,
            on_no_answer: raw.on_no_answer,
        };
        (Some(generation), Some(rules))
    } else {
        (None, None)
    };
    let choices = raw.choices.as_ref().map(choice_plan).transpose()?;
    let templates = templates(raw)?;
    if let Some(ChoicePlan { texts, labels }) = &choices {
        if let ChoiceTexts::Field(field) = texts {
            templates.check_expression(CHOICES_FIELD, field)?;
        }
        if let ChoiceLabels::Field(field) = labels {
            templates.check_expression(LABELS_FIELD, field)?;
        }
    }
    let plan = Plan {
        templates,
        layout,
        form,
        choices,
        target: raw.target.clone().unwrap_or_default(),
        target_is: raw.target_is,
        has_system: raw.prompt.system.is_some(),
        has_prefix: raw.prompt.generation_prefix.is_some(),
        has_fallback_user: raw.prompt.fallback_user.is_some(),
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

/// Refuses keys that are missing from a kind of task or have no meaning in it.
fn check_keys(raw: &RawTask) -> Result<(), TaskProblem> {
    let kind = raw.kind;
    let has_fallback = raw.fallback.is_some();
    let extracts_choice = raw.extract.as_ref().is_some_and(|extract| extract.kind == ExtractKind::Choice);
    let need = |key: &'static str, is_there: bool| {
        if is_there { Ok(()) } else { Err(TaskProblem::Missing { key, kind }) }
    };
    let refuse = |key: &'static str, is_there: bool, hint: &'static str| {
        if is_there { Err(TaskProblem::Contradiction { key, kind, hint }) } else { Ok(()) }
    };
    match kind {
        Kind::MultipleChoice => {
            need("choices", raw.choices.is_some())?;
            need("target", raw.target.is_some())?;
            let hint = "it is used only with `fallback = \"generate\"`";
            refuse("generate", raw.generate.is_some() && !has_fallback, hint)?;
            refuse("extract", raw.extract.is_some() && !has_fallback, hint)?;
            refuse("prompt.fallback_user", raw.prompt.fallback_user.is_some() && !has_fallback, hint)?;
            let other = raw.extract.is_some() && !extracts_choice;
            refuse("extract.kind", other, "the fallback reads the label of an option: `choice`")?;
            refuse("exact_match", raw.exact_match.is_some(), "labels are compared as they are")?;
        }
        Kind::Generate => {
            need("target", raw.target.is_some())?;
            if extracts_choice {
                need("choices", raw.choices.is_some())?;
                refuse("exact_match", raw.exact_match.is_some(), "labels are compared as they are")?;
            }
            refuse("fallback", has_fallback, "it generates already")?;
            refuse("prompt.fallback_user", raw.prompt.fallback_user.is_some(), "use `prompt.user`")?;
            refuse("mutual_information", raw.mutual_information, "it needs `kind = \"multiple_choice\"`")?;
        }
        Kind::Perplexity => {
            let hint = "a text is scored as it is; only `prompt.user` says what it is";
            refuse("choices", raw.choices.is_some(), hint)?;
            refuse("target", raw.target.is_some(), hint)?;
            refuse("few_shot", raw.few_shot.is_some(), hint)?;
            refuse("generate", raw.generate.is_some(), hint)?;
            refuse("extract", raw.extract.is_some(), hint)?;
            refuse("exact_match", raw.exact_match.is_some(), hint)?;
            refuse("fallback", has_fallback, hint)?;
            refuse("mutual_information", raw.mutual_information, hint)?;
            refuse("prompt.system", raw.prompt.system.is_some(), hint)?;
            refuse("prompt.fallback_user", raw.prompt.fallback_user.is_some(), hint)?;
            refuse("prompt.generation_prefix", raw.prompt.generation_prefix.is_some(), hint)?;
            refuse("prompt.target_delimiter", raw.prompt.target_delimiter.is_some(), hint)?;
            refuse("prompt.format", raw.prompt.format == PromptFormat::Chat, hint)?;
        }
    }
    let as_turns = raw.few_shot.as_ref().is_some_and(|few_shot| few_shot.as_turns == Some(true));
    let is_text = raw.prompt.format == PromptFormat::Text;
    refuse("few_shot.as_turns", as_turns && is_text, "turns need `prompt.format = \"chat\"`")
}

fn existing(key: &'static str, base_dir: &Path, path: &Path) -> Result<PathBuf, TaskProblem> {
    let path = base_dir.join(path);
    // Looked at before it is opened: opening a pipe would wait for its other end.
    let found = std::fs::metadata(&path).and_then(|metadata| match metadata.is_file() {
        true => std::fs::File::open(&path).map(drop),
        false => Err(std::io::Error::other("it is not a regular file")),
    });
    match found {
        Ok(()) => Ok(path),
        Err(source) => Err(TaskProblem::File { key, path, source }),
    }
}

fn data_format(key: &'static str, path: &Path, typed: Option<DataFormat>) -> Result<DataFormat, TaskProblem> {
    typed.or_else(|| format_of(path)).ok_or_else(|| TaskProblem::UnknownFormat { key, path: path.to_owned() })
}

fn examples(few_shot: &RawFewShot, raw: &RawTask, base_dir: &Path, data: &DataSet) -> Result<FewShot, TaskProblem> {
    let contradiction = |key, hint| TaskProblem::Contradiction { key, kind: raw.kind, hint };
    let skip_bad = raw.data.on_bad_sample == OnBadSample::Skip;
    let pool = match (&few_shot.examples, &few_shot.source) {
        (Some(_), Some(_)) => {
            return Err(contradiction("few_shot.source", "there are `few_shot.examples`; give one of them"));
        }
        (Some(examples), None) => Pool::Inline(examples.clone()),
        (None, Some(source)) => {
            let path = existing("few_shot.source", base_dir, source)?;
            let labels = few_shot.source_labels.as_ref();
            let labels = labels.map(|path| existing("few_shot.source_labels", base_dir, path)).transpose()?;
            let is_own = matches!((path.canonicalize(), data.path.canonicalize()), (Ok(a), Ok(b)) if a == b);
            if is_own {
                Pool::OwnData(data.clone(), skip_bad)
            } else {
                let format = data_format("few_shot.source", source, None)?;
                Pool::File(DataSet { path, format, labels, id_field: None })
            }
        }
        (None, None) => Pool::OwnData(data.clone(), skip_bad),
    };
    if few_shot.source_labels.is_some() && few_shot.source.is_none() {
        return Err(contradiction("few_shot.source_labels", "it belongs to `few_shot.source`"));
    }
    let n = match (few_shot.n, &pool) {
        (Some(0), _) => return Err(TaskProblem::value("few_shot.n", "at least 1; leave out `few_shot` for none")),
        (Some(n), Pool::Inline(examples)) if n as usize > examples.len() => {
            return Err(TaskProblem::value("few_shot.n", "at most the number of `few_shot.examples`"));
        }
        (Some(n), _) => n as usize,
        (None, Pool::Inline(examples)) if !examples.is_empty() => examples.len(),
        (None, _) => return Err(TaskProblem::value("few_shot.n", "given, as the number of examples to take")),
    };
    Ok(FewShot { n, sampler: few_shot.sampler, seed: few_shot.seed, pool })
}

fn extract(raw: &RawTask, is_fallback: bool) -> Result<Extract, TaskProblem> {
    let Some(RawExtract { kind, pattern, group, take }) = &raw.extract else {
        return Ok(if is_fallback { Extract::Choice } else { Extract::Whole });
    };
    if *kind != ExtractKind::Regex && (pattern.is_some() || group.is_some()) {
        let hint = "it is used only with `extract.kind = \"regex\"`";
        return Err(TaskProblem::Contradiction { key: "extract.pattern", kind: raw.kind, hint });
    }
    Ok(match kind {
        ExtractKind::Choice => Extract::Choice,
        ExtractKind::Number => Extract::Number,
        ExtractKind::None => Extract::Whole,
        ExtractKind::Regex => {
            let pattern = pattern.as_ref().ok_or(TaskProblem::Missing { key: "extract.pattern", kind: raw.kind })?;
            let pattern = regex("extract.pattern", pattern)?;
            let group = group.map(|group| group as usize);
            if group.is_some_and(|group| group >= pattern.captures_len()) {
                return Err(TaskProblem::value("extract.group", "a group that `extract.pattern` has"));
            }
            Extract::Regex { pattern, group, take: *take }
        }
    })
}

fn exact_match(raw: &RawTask) -> Result<ExactMatch, TaskProblem> {
    let typed = raw.exact_match.clone().unwrap_or_default();
    let patterns = typed.regexes_to_ignore.iter().map(|pattern| regex("exact_match.regexes_to_ignore", pattern));
    Ok(ExactMatch {
        regexes_to_ignore: patterns.collect::<Result<_, _>>()?,
        ignore_case: typed.ignore_case,
        ignore_punctuation: typed.ignore_punctuation,
        ignore_numbers: typed.ignore_numbers,
    })
}

fn regex(key: &'static str, pattern: &str) -> Result<Regex, TaskProblem> {
    Regex::new(pattern).map_err(|error| TaskProblem::Pattern {
        key,
        pattern: pattern.to_owned(),
        reason: error.to_string(),
    })
}

/// The metrics to report, and whether they need unconditional likelihoods.
fn metrics(raw: &RawTask, is_fallback: bool) -> Result<(Vec<Metric>, bool), TaskProblem> {
    use Metric::{
        Acc, AccBytes, AccMutualInfo, AccNorm, BitsPerByte, BrierScore, BytePerplexity, ExactMatch, WordPerplexity,
    };
    let (usual, possible): (&[Metric], &[Metric]) = match raw.kind {
        Kind::MultipleChoice => (
            &[Acc, AccNorm, AccBytes],
            &[Acc, AccNorm, AccBytes, AccMutualInfo, BrierScore, ExactMatch],
        ),
        Kind::Generate => (&[ExactMatch], &[ExactMatch]),
        Kind::Perplexity => {
            let all = &[WordPerplexity, BytePerplexity, BitsPerByte];
            (all, all)
        }
    };
    let mut chosen = match &raw.metrics {
        None => usual.to_vec(),
        Some(names) if names.is_empty() => {
            return Err(TaskProblem::value("metrics", "not empty; leave it out for the usual ones"));
        }
        Some(names) => names
            .iter()
            .map(|name| {
                Metric::from_name(name).filter(|metric| possible.contains(metric)).ok_or_else(|| {
                    let possible = possible.iter().map(|metric| metric.name()).collect::<Vec<_>>().join(", ");
                    TaskProblem::UnknownMetric { name: name.clone(), kind: raw.kind, possible }
                })
            })
            .collect::<Result<Vec<_>, _>>()?,
    };
    let mut known = std::collections::BTreeSet::new();
    chosen.retain(|metric| known.insert(*metric));
    if raw.mutual_information && !chosen.contains(&AccMutualInfo) {
        chosen.push(AccMutualInfo);
    }
    let unconditional = chosen.contains(&AccMutualInfo);
    // A reply has no likelihood: its label is right or not.
    Ok(if is_fallback { (vec![ExactMatch], false) } else { (chosen, unconditional) })
}

fn layout(raw: &RawTask) -> Layout {
    let few_shot = raw.few_shot.as_ref();
    let is_chat = raw.prompt.format == PromptFormat::Chat;
    Layout {
        format: raw.prompt.format,
        target_delimiter: raw.prompt.target_delimiter.clone(),
        separator: few_shot.map_or_else(|| DEFAULT_SEPARATOR.to_owned(), |few_shot| few_shot.separator.clone()),
        as_turns: is_chat && few_shot.and_then(|few_shot| few_shot.as_turns).unwrap_or(true),
    }
}

fn choice_plan(raw: &RawChoices) -> Result<ChoicePlan, TaskProblem> {
    let texts = match (&raw.texts, &raw.field) {
        (Some(texts), None) if texts.len() >= 2 => ChoiceTexts::Templates(texts.len()),
        (Some(_), None) => return Err(TaskProblem::value("choices.texts", "at least two templates")),
        (None, Some(field)) => ChoiceTexts::Field(field.clone()),
        _ => return Err(TaskProblem::value("choices", "given by either `texts` or `field`")),
    };
    let labels = match (&raw.labels, &raw.labels_field) {
        (None, None) => ChoiceLabels::Letters,
        (Some(labels), None) => ChoiceLabels::Fixed(labels.clone()),
        (None, Some(field)) => ChoiceLabels::Field(field.clone()),
        _ => return Err(TaskProblem::value("choices.labels", "given by either `labels` or `labels_field`")),
    };
    if let (ChoiceTexts::Templates(count), ChoiceLabels::Fixed(labels)) = (&texts, &labels)
        && *count != labels.len()
    {
        return Err(TaskProblem::value("choices.labels", "as many as `choices.texts`"));
    }
    Ok(ChoicePlan { texts, labels })
}

fn templates(raw: &RawTask) -> Result<Templates, TaskProblem> {
    let prompt = &raw.prompt;
    let mut sources = vec![(USER.to_owned(), prompt.user.as_str())];
    let optional = [
        (SYSTEM, &prompt.system),
        (FALLBACK_USER, &prompt.fallback_user),
        (PREFIX, &prompt.generation_prefix),
        (TARGET, &raw.target),
    ];
    for (key, source) in optional {
        sources.extend(source.as_deref().map(|source| (key.to_owned(), source)));
    }
    let texts = raw.choices.as_ref().and_then(|choices| choices.texts.as_ref());
    for (index, text) in texts.into_iter().flatten().enumerate() {
        sources.push((choice_key(index), text));
    }
    Ok(Templates::compile(sources.iter().map(|(key, source)| (key.as_str(), *source)))?)
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
        Task::resolve(raw, folder.path())
            .map_err(|error| error.to_string().replace(&format!("{}/", folder.path().display()), ""))
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_key() {
        let mc = "multiple_choice";
        let table: &[(&str, &[(&str, &str)], &str, &str)] = &[
            (mc, &[("\"t\"", "\"\"")], "", "`id` must be"),
            (mc, &[("d.jsonl", "no.jsonl")], "", "`data.path`: cannot read no.jsonl: No such file"),
            (mc, &[("d.jsonl", ".")], "", "`data.path`: cannot read"),
            (mc, &[("d.jsonl", "d.txt")], "", "`data.path`: the format of d.txt is not known"),
            (mc, &[("{{ q }}", "a\\n{{ q")], "", "template `prompt.user`, line 2"),
            (mc, &[("{{ b }}", "{% if %}")], "", "template `choices.texts[1]`, line 1"),
            (mc, &[("target =", "on_refusal = 'wrong' #")], "", "`target` is needed by `kind = \"multiple_choice\"`"),
            (mc, &[(", \"{{ b }}\"", "")], "", "`choices.texts` must be at least two"),
            (mc, &[("texts =", "field = 'x', texts =")], "", "`choices` must be given by either"),
            (mc, &[("texts =", "labels = ['A'], texts =")], "", "`choices.labels` must be as many"),
            (mc, &[], "generate = { n = 1 }", "`generate` has no meaning in this task"),
            (mc, &[], "fallback = 'generate'\nextract = { kind = 'number' }", "`extract.kind` has no meaning"),
            (mc, &[], "fallback = 'generate'\ngenerate = { n = 0 }", "`generate.n` must be at least 1"),
            (mc, &[], "metrics = ['f1']", "has no metric `f1`; it has acc, acc_norm"),
            (mc, &[], "metrics = []", "`metrics` must be not empty"),
            (mc, &[], "repeats = 0", "`repeats` must be at least 1"),
            (mc, &[("path =", "limit = 0, path =")], "", "`data.limit` must be"),
            (mc, &[], "few_shot = { n = 0 }", "`few_shot.n` must be"),
            (mc, &[], "few_shot = { sampler = 'random' }", "`few_shot.n` must be given"),
            (mc, &[], "few_shot = { n = 2, examples = [{ q = 1 }] }", "`few_shot.n` must be at most"),
            (mc, &[], "few_shot = { n = 1, source = 'no.jsonl' }", "`few_shot.source`: cannot read"),
            (mc, &[], "few_shot = { n = 1, as_turns = true }", "`few_shot.as_turns` has no meaning"),
            ("generate", &[], "extract = { kind = 'regex', pattern = '(' }", "`extract.pattern`: pattern `(`"),
            ("generate", &[], "extract = { kind = 'regex' }", "`extract.pattern` is needed"),
            ("generate", &[], "extract = { kind = 'regex', pattern = '(a)', group = 2 }", "`extract.group` must be"),
            ("generate", &[], "extract = { kind = 'number', pattern = 'x' }", "`extract.pattern` has no meaning"),
            ("generate", &[], "fallback = 'generate'", "`fallback` has no meaning"),
            ("generate", &[], "metrics = ['acc']", "has no metric `acc`"),
            ("perplexity", &[], "", "`choices` has no meaning"),
        ];
        for (kind, change, more, expected) in table {
            let error = resolve(kind, change, more).unwrap_err();
            assert!(error.starts_with("task `") && error.contains(expected), "{more} {change:?}: {error}");
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
        let definitions = schema["$defs"].as_object().unwrap().iter().map(|(name, part)| (name.as_str(), part));
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
