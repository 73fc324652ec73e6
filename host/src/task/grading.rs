//! What is reported of a task and how its replies are graded, checked.

use fancy_regex::Regex;

use super::answer::Extract;
use super::error::TaskProblem;
use super::generation::Generation;
use super::raw::{ExtractKind, Kind, RawExtract, RawTask};
use crate::score::exact_match::ExactMatch;
use crate::score::generated::Rules;
use crate::score::metric::Metric;

const GIVEN_WITH_REGEX: &str = "given with `extract.kind = \"regex\"`";

/// How replies are graded that were generated with these parameters.
pub(super) fn rules(
    raw: &RawTask,
    generation: &Generation,
    extract: Extract,
) -> Result<Rules, TaskProblem> {
    Ok(Rules {
        think_end: raw.generate.as_ref().and_then(|generate| generate.think_end.clone()),
        stop: generation.stop.clone(),
        extract,
        exact_match: exact_match(raw)?,
        on_refusal: raw.on_refusal,
        on_truncation: raw.on_truncation,
        on_no_answer: raw.on_no_answer,
    })
}

/// How the answer is found: where there are options, and of a fallback, by their labels unless the task says otherwise.
pub(super) fn extract(raw: &RawTask, is_fallback: bool) -> Result<Extract, TaskProblem> {
    let Some(RawExtract { kind, pattern, group, take }) = &raw.extract else {
        let has_options = is_fallback || raw.choices.is_some();
        return Ok(if has_options { Extract::Choice } else { Extract::Whole });
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
            let pattern = pattern
                .as_ref()
                .ok_or_else(|| TaskProblem::value("extract.pattern", GIVEN_WITH_REGEX))?;
            let pattern = regex("extract.pattern", pattern)?;
            let group = group.map(|group| group as usize);
            if group.is_some_and(|group| group >= pattern.captures_len()) {
                return Err(TaskProblem::value(
                    "extract.group",
                    "a group that `extract.pattern` has",
                ));
            }
            Extract::Regex { pattern, group, take: *take }
        }
    })
}

fn exact_match(raw: &RawTask) -> Result<ExactMatch, TaskProblem> {
    let typed = raw.exact_match.clone().unwrap_or_default();
    let patterns = typed
        .regexes_to_ignore
        .iter()
        .map(|pattern| regex("exact_match.regexes_to_ignore", pattern));
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
pub(super) fn metrics(
    raw: &RawTask,
    is_fallback: bool,
) -> Result<(Vec<Metric>, bool), TaskProblem> {
    use Metric::{
        Acc, AccBytes, AccMutualInfo, AccNorm, BitsPerByte, BrierScore, BytePerplexity, ExactMatch,
        WordPerplexity,
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
            return Err(TaskProblem::value(
                "metrics",
                "not empty; leave it out for the usual ones",
            ));
        }
        Some(names) => names
            .iter()
            .map(|name| {
                Metric::from_name(name).filter(|metric| possible.contains(metric)).ok_or_else(
                    || {
                        let possible = possible
                            .iter()
                            .map(|metric| metric.name())
                            .collect::<Vec<_>>()
                            .join(", ");
                        TaskProblem::UnknownMetric { name: name.clone(), kind: raw.kind, possible }
                    },
                )
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
