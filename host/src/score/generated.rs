//! Grades a generated reply.
//!
//! What the model did is graded as the task says and counted apart. What the infrastructure did is
//! never graded: a caller has no reply to give then.

use serde::{Deserialize, Serialize};

use super::exact_match::{ExactMatch, PatternError};
use super::metric::Metric;
use super::parts::{Parts, mark};
use crate::task::answer::{Answer, Cut, Extract, cut};
use crate::task::boundary::is_space;
use crate::task::choices::Choices;
use crate::task::raw::CountsAs;

/// How replies of a task are graded.
#[derive(Debug, Clone)]
pub struct Rules {
    /// What ends a model's thinking.
    pub think_end: Option<String>,
    /// Texts that end a reply.
    pub stop: Vec<String>,
    /// How the answer is found.
    pub extract: Extract,
    /// What is ignored when it is compared.
    pub exact_match: ExactMatch,
    /// What a refusal counts as.
    pub on_refusal: CountsAs,
    /// What a reply that was cut off counts as.
    pub on_truncation: CountsAs,
    /// What a reply without an answer counts as.
    pub on_no_answer: CountsAs,
}

/// How a reply ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// By itself or at a stop.
    Complete,
    /// At the token limit.
    Truncated,
    /// The model, or a filter before it, refused.
    Refused,
}

/// What a model sent back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The text, reasoning not included where the backend tells them apart.
    pub text: &'a str,
    /// How it ended.
    pub ending: Ending,
    /// Whether the backend sent reasoning apart from the text.
    pub has_reasoning: bool,
}

/// Something the model did that is counted apart, whatever it is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Incident {
    /// It refused.
    Refusal,
    /// Its reply was cut off.
    Truncation,
    /// Its reply holds no answer.
    NoAnswer,
    /// Its reasoning used up the token limit, so that no reply began.
    ReasoningBudget,
}

/// A graded reply.
#[derive(Debug, Clone, PartialEq)]
pub struct Grade {
    /// The parts; none when the reply is unscored, and then `incident` says why.
    pub parts: Option<Parts>,
    /// The answer that was found.
    pub answer: Answer,
    /// What is counted apart.
    pub incident: Option<Incident>,
}

impl Rules {
    /// Grades a reply against references. A label or a number that was found is compared with
    /// references of the same form.
    ///
    /// A reply that was cut off is graded by the answer in it, if it has one, unless such replies are
    /// to be unscored. One in which a stop is found was complete before the limit. A reply that is empty
    /// because reasoning used up the limit is never graded.
    ///
    /// # Errors
    /// [`PatternError`] when a pattern of the task backtracks without end.
    pub fn grade(
        &self,
        reply: &Reply<'_>,
        references: &[String],
        choices: &Choices,
    ) -> Result<Grade, PatternError> {
        if reply.ending == Ending::Refused {
            return Ok(without_answer(Incident::Refusal, self.on_refusal));
        }
        let reached_limit = reply.ending == Ending::Truncated;
        let Cut { reply: text, at_stop } = cut(reply.text, self.think_end.as_deref(), &self.stop);
        let truncated = reached_limit && !at_stop;
        let still_thinking = self.think_end.as_deref().is_some_and(|end| !reply.text.contains(end));
        let thought = reply.has_reasoning || self.think_end.is_some();
        let is_empty = text.trim_matches(is_space).is_empty();
        // A stop in a thought that never ended has completed nothing.
        let thought_to_the_limit = reached_limit && still_thinking && !reply.has_reasoning;
        if thought_to_the_limit || truncated && is_empty && thought {
            return Ok(without_answer(Incident::ReasoningBudget, CountsAs::Unscored));
        }
        if truncated && self.on_truncation == CountsAs::Unscored {
            return Ok(without_answer(Incident::Truncation, CountsAs::Unscored));
        }
        let answer = self.extract.answer(text, choices)?;
        let Answer::Found(found) = &answer else {
            return Ok(if truncated {
                without_answer(Incident::Truncation, self.on_truncation)
            } else {
                without_answer(Incident::NoAnswer, self.on_no_answer)
            });
        };
        let right = match self.extract {
            Extract::Choice => references.contains(found),
            _ => self.exact_match.matches(found, references)?,
        };
        Ok(Grade {
            parts: Some(worth(right)),
            answer,
            incident: truncated.then_some(Incident::Truncation),
        })
    }
}

fn worth(right: bool) -> Parts {
    let mut parts = Parts::default();
    parts.set(Metric::ExactMatch, mark(right));
    parts
}

fn without_answer(incident: Incident, counts_as: CountsAs) -> Grade {
    let parts = match counts_as {
        CountsAs::Wrong => Some(worth(false)),
        CountsAs::Unscored => None,
    };
    Grade { parts, answer: Answer::None, incident: Some(incident) }
}

/// The parts of an attempt whose request gave several replies: their mean; none when one of them is
/// unscored. A mean over the others would hide it: an attempt is either scored or unscored, and only
/// of an unscored one do the bounds beside a metric take account.
#[must_use]
pub fn combine(grades: &[Grade]) -> Option<Parts> {
    let parts: Vec<Parts> =
        grades.iter().map(|grade| grade.parts.clone()).collect::<Option<_>>()?;
    (!parts.is_empty()).then(|| Parts::mean(&parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(extract: Extract, counts_as: CountsAs) -> Rules {
        Rules {
            think_end: Some("</think>".into()),
            stop: vec!["\n\n".into()],
            extract,
            exact_match: ExactMatch::default(),
            on_refusal: counts_as,
            on_truncation: counts_as,
            on_no_answer: counts_as,
        }
    }

    #[test]
    fn what_the_model_did_is_graded_as_the_task_says() {
        use Ending::{Complete, Refused, Truncated};
        use Incident::{NoAnswer, ReasoningBudget, Refusal, Truncation};
        // text, ending, reasoning apart, score if incidents are wrong, score if unscored, incident
        let table = [
            ("hm</think> B", Complete, false, Some(1.0), Some(1.0), None),
            ("hm</think> A", Complete, false, Some(0.0), Some(0.0), None),
            ("I can't", Refused, false, Some(0.0), None, Some(Refusal)),
            ("hm</think> who knows", Complete, false, Some(0.0), None, Some(NoAnswer)),
            ("hm</think> B", Truncated, false, Some(1.0), None, Some(Truncation)),
            ("hm</think> we se", Truncated, false, Some(0.0), None, Some(Truncation)),
            ("hm, B? no", Truncated, false, None, None, Some(ReasoningBudget)),
            ("", Truncated, true, None, None, Some(ReasoningBudget)),
            ("B", Truncated, true, Some(1.0), None, Some(Truncation)),
            ("hm</think> B\n\nNext question", Truncated, false, Some(1.0), Some(1.0), None),
            ("hm</think> who knows\n\nB", Truncated, false, Some(0.0), None, Some(NoAnswer)),
            ("hm\n\nB? no", Truncated, false, None, None, Some(ReasoningBudget)),
            ("", Complete, true, Some(0.0), None, Some(NoAnswer)),
        ];
        let choices =
            Choices { texts: vec!["x1".into(), "y1".into()], labels: vec!["A".into(), "B".into()] };
        for (text, ending, has_reasoning, if_wrong, if_unscored, incident) in table {
            for (counts_as, expected) in
                [(CountsAs::Wrong, if_wrong), (CountsAs::Unscored, if_unscored)]
            {
                let reply = Reply { text, ending, has_reasoning };
                let grade = rules(Extract::Choice, counts_as)
                    .grade(&reply, &["B".into()], &choices)
                    .unwrap();
                let score = grade.parts.as_ref().and_then(|parts| parts.get(Metric::ExactMatch));
                assert_eq!(
                    (score, grade.incident),
                    (expected, incident),
                    "{text:?} {ending:?} {counts_as:?}"
                );
            }
        }
    }

    #[test]
    fn a_number_is_compared_in_its_one_form() {
        let reply =
            Reply { text: "</think>so $1,234.00.", ending: Ending::Complete, has_reasoning: false };
        let grade = rules(Extract::Number, CountsAs::Wrong).grade(
            &reply,
            &["1234".into()],
            &Choices::default(),
        );
        assert_eq!(grade.unwrap().parts.unwrap().get(Metric::ExactMatch), Some(1.0));
    }

    #[test]
    fn several_replies_count_with_their_mean_if_all_are_scored() {
        let right = Grade { parts: Some(worth(true)), answer: Answer::None, incident: None };
        let wrong = without_answer(Incident::NoAnswer, CountsAs::Wrong);
        let unscored = without_answer(Incident::Refusal, CountsAs::Unscored);
        let table: [(&[&Grade], Option<f64>); 5] = [
            (&[&right, &wrong], Some(0.5)),
            (&[&right, &right], Some(1.0)),
            (&[&right, &wrong, &unscored], None),
            (&[&unscored], None),
            (&[], None),
        ];
        for (grades, expected) in table {
            let grades: Vec<Grade> = grades.iter().map(|&grade| grade.clone()).collect();
            let mean = combine(&grades).and_then(|parts| parts.get(Metric::ExactMatch));
            assert_eq!(mean, expected, "{grades:?}");
        }
    }
}
