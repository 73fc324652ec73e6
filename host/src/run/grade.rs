//! From a plugin's answers to a graded sample. Pure: no request, no clock, no file.

use plugin_api::{Answer, Changed, Choice, Completion, Error, ErrorKind, FinishReason, Likelihood};

use crate::{
    score::{
        exact_match::PatternError,
        generated::{Ending, Grade, Incident, Reply, Rules, combine},
        metric::Metric,
        multiple_choice::{self, OptionLikelihood},
        parts::Parts,
        perplexity,
    },
    store::record::{ChoiceRecord, Response},
    task::{
        answer::Answer as Found,
        render::{Form, Generate, MultipleChoice, Rendered},
        resolve::Task,
    },
};

/// What came of a sample that was answered.
#[derive(Clone, Debug)]
pub struct Graded {
    /// Its parts, or why it has none.
    pub outcome: Result<Parts, Unscored>,
    /// What is stored of the answer.
    pub response: Response,
    /// Parameters that the backend dropped or changed.
    pub changed: Vec<Changed>,
}

/// Why a sample that was answered has no score. What came is stored all the same.
#[derive(Clone, Debug)]
pub struct Unscored {
    /// The reason under which it is counted.
    pub reason: String,
    /// What is wrong with the answer, if it is the answer's shape.
    pub error: Option<Error>,
}

impl From<Error> for Unscored {
    fn from(error: Error) -> Self {
        Self { reason: error.kind.to_string(), error: Some(error) }
    }
}

/// Grades the answers to the requests of one sample, in their order.
///
/// # Errors
/// `unexpected_reply` or `protocol` when the answers are not of the shape that was asked for: such a sample is
/// unscored, never wrong.
pub fn grade(task: &Task, rendered: &Rendered, answers: Vec<Answer>) -> Result<Graded, Error> {
    let mut answers = answers.into_iter();
    let first = answers.next().ok_or_else(|| shape("an answer"))?;
    match (&rendered.form, first) {
        (Form::MultipleChoice(choice), Answer::Likelihoods(conditional)) => {
            let unconditional = match answers.next() {
                Some(Answer::Likelihoods(likelihoods)) => likelihoods,
                Some(_) => return Err(shape("log-likelihoods")),
                None => Vec::new(),
            };
            Ok(multiple_choice(choice, conditional, unconditional))
        }
        (Form::Rolling { text }, Answer::Likelihoods(likelihoods)) => {
            Ok(rolling(text, likelihoods))
        }
        (Form::Generate(form), Answer::Completion(completion)) => generated(task, form, completion),
        (Form::Generate(_), _) => Err(shape("a completion")),
        (_, _) => Err(shape("log-likelihoods")),
    }
}

/// A vendor that will not let a question through has refused, even if it says so by an error; the task
/// says what a refusal is worth. None if the failure is another one, or nothing was to be generated.
pub fn refused(task: &Task, rendered: &Rendered, error: &Error) -> Option<Result<Graded, Error>> {
    let Form::Generate(form) = &rendered.form else { return None };
    if error.kind != ErrorKind::ContentFilter {
        return None;
    }
    let mut completion = Completion::new("", "content_filter");
    let n = task.generation.as_ref().map_or(1, |generation| generation.n.get()) as usize;
    let choice = completion.choices.first()?.clone();
    completion.choices.resize(n, choice);
    Some(generated(task, form, completion))
}

fn shape(expected: &str) -> Error {
    Error::new(ErrorKind::Protocol, format!("the plugin gave another answer than {expected}"))
}

/// A likelihood that may enter a score.
fn checked(likelihood: &Likelihood, which: &str) -> Result<f64, Error> {
    if likelihood.tokens == 0 {
        return Err(Error::unexpected(format!(
            "{which} has no tokens of its own, so it has no log-likelihood"
        )));
    }
    likelihood
        .logprob
        .filter(|logprob| logprob.is_finite())
        .ok_or_else(|| Error::unexpected(format!("{which} has no finite log-likelihood")))
}

fn multiple_choice(
    choice: &MultipleChoice,
    conditional: Vec<Likelihood>,
    unconditional: Vec<Likelihood>,
) -> Graded {
    let outcome = choice_parts(choice, &conditional, &unconditional).map_err(Unscored::from);
    let response = Response::Likelihoods { conditional, unconditional };
    Graded { outcome, response, changed: Vec::new() }
}

/// Why a metric that was asked for cannot be had of a scored sample: it is never left out in silence.
pub fn lacks_metric(task: &Task, graded: &Graded) -> Option<Error> {
    let parts = graded.outcome.as_ref().ok()?;
    let absent = task.metrics.iter().find(|metric| !parts.allow(**metric))?;
    let possible = Metric::ALL.into_iter().filter(|metric| parts.allow(*metric));
    let possible: Vec<&str> = possible.map(Metric::name).collect();
    let why = match absent {
        Metric::AccMutualInfo => "the options were not asked about without a context, too",
        _ => "this backend does not tell which option is the greedy continuation",
    };
    let message = format!(
        "task `{}`: `metrics`: {absent} cannot be had here, because {why}; it can have {}",
        task.id,
        possible.join(", ")
    );
    Some(Error::new(ErrorKind::Unsupported, message))
}

fn choice_parts(
    choice: &MultipleChoice,
    conditional: &[Likelihood],
    unconditional: &[Likelihood],
) -> Result<Parts, Error> {
    let expected = choice.continuations.len();
    let expected_unconditional = if choice.unconditional { expected } else { 0 };
    for (found, expected) in
        [(conditional.len(), expected), (unconditional.len(), expected_unconditional)]
    {
        if found != expected {
            let message = format!("{found} log-likelihoods came for {expected} continuations");
            return Err(Error::unexpected(message));
        }
    }
    let options = conditional
        .iter()
        .enumerate()
        .map(|(index, likelihood)| {
            let which = format!("option {index} (from 0)");
            let without = unconditional.get(index);
            Ok(OptionLikelihood {
                loglikelihood: checked(likelihood, &which)?,
                greedy: likelihood.greedy,
                unconditional: without.map(|likelihood| checked(likelihood, &which)).transpose()?,
            })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    multiple_choice::score(&choice.choices.texts, &options, &choice.gold)
        .map_err(|error| Error::unexpected(error.to_string()))
}

fn rolling(text: &str, likelihoods: Vec<Likelihood>) -> Graded {
    let outcome = rolling_parts(text, &likelihoods).map_err(Unscored::from);
    let response = Response::Likelihoods { conditional: likelihoods, unconditional: Vec::new() };
    Graded { outcome, response, changed: Vec::new() }
}

fn rolling_parts(text: &str, likelihoods: &[Likelihood]) -> Result<Parts, Error> {
    let [likelihood] = likelihoods else {
        let message = format!("{} log-likelihoods came for one text", likelihoods.len());
        return Err(Error::unexpected(message));
    };
    let loglikelihood = checked(likelihood, "the text")?;
    perplexity::score(text, loglikelihood).map_err(|error| Error::unexpected(error.to_string()))
}

fn generated(task: &Task, form: &Generate, completion: Completion) -> Result<Graded, Error> {
    let rules = task.rules.as_ref().ok_or_else(|| shape("what the task grades"))?;
    let wanted = task.generation.as_ref().map_or(1, |generation| generation.n.get()) as usize;
    let found = completion.choices.len();
    let mut wrong = (found != wanted)
        .then(|| Error::unexpected(format!("{found} choices came where {wanted} were asked for")));
    let mut grades = Vec::with_capacity(found);
    let mut choices = Vec::with_capacity(found);
    for choice in completion.choices {
        let grade = grade_choice(rules, form, &choice).unwrap_or_else(|error| {
            wrong.get_or_insert_with(|| Error::new(ErrorKind::Other, error.to_string()));
            Grade { parts: None, answer: Found::None, incident: None }
        });
        choices.push(record(choice, &grade));
        grades.push(grade);
    }
    let outcome = match wrong {
        Some(error) => Err(Unscored::from(error)),
        None => combine(&grades).ok_or_else(|| Unscored { reason: reason(&grades), error: None }),
    };
    let response = Response::Completion { model: completion.model, choices };
    Ok(Graded { outcome, response, changed: completion.changed })
}

/// Grades one choice by itself.
///
/// # Errors
/// [`PatternError`] when a pattern of the task backtracks without end.
pub fn grade_choice(
    rules: &Rules,
    form: &Generate,
    choice: &Choice,
) -> Result<Grade, PatternError> {
    let reasoning = choice.reasoning.as_deref();
    let reply = Reply {
        text: &choice.text,
        ending: ending(&choice.finish_reason),
        has_reasoning: reasoning.is_some_and(|reasoning| !reasoning.is_empty()),
    };
    rules.grade(&reply, &form.references, &form.choices)
}

fn record(choice: Choice, grade: &Grade) -> ChoiceRecord {
    ChoiceRecord {
        text: choice.text,
        reasoning: choice.reasoning,
        finish_reason: choice.finish_reason.to_string(),
        answer: match &grade.answer {
            Found::Found(answer) => Some(answer.clone()),
            Found::None => None,
        },
        incident: grade.incident,
        logprobs: choice.logprobs,
    }
}

fn ending(finish_reason: &FinishReason) -> Ending {
    match finish_reason {
        FinishReason::Length => Ending::Truncated,
        FinishReason::ContentFilter => Ending::Refused,
        _ => Ending::Complete,
    }
}

/// Why the sample is unscored: the reason of its first choice that is.
fn reason(grades: &[Grade]) -> String {
    let unscored = grades.iter().filter(|grade| grade.parts.is_none());
    incident_name(unscored.filter_map(|grade| grade.incident).next()).to_owned()
}

/// Every reason for which a sample can be unscored.
pub fn reasons() -> Vec<&'static str> {
    use Incident::{NoAnswer, ReasoningBudget, Refusal, Truncation};
    let incidents = [Refusal, Truncation, NoAnswer, ReasoningBudget];
    let incidents = incidents.map(|incident| incident_name(Some(incident)));
    ErrorKind::ALL.iter().map(|kind| kind.as_str()).chain(incidents).collect()
}

/// An incident by the name under which it is counted.
pub fn incident_name(incident: Option<Incident>) -> &'static str {
    match incident {
        Some(Incident::Refusal) => "refusal",
        Some(Incident::Truncation) => "truncated",
        Some(Incident::NoAnswer) => "no_answer",
        Some(Incident::ReasoningBudget) => "reasoning_truncated",
        None => "other",
    }
}
