//! The answers as an author gives them and as the host keeps them: texts owned.

use std::borrow::Cow;

use crate::{
    error::{Error, Result},
    message::{
        AnswerHead, BadSpan, Changed, ChoiceHead, CompletionHead, Description, FinishReason,
        Health, Likelihood, Span, Str, TokenLogprob, Usage,
    },
};

/// The answer to one item.
///
/// ```
/// use plugin_api::{Answer, Completion};
///
/// let mut body = Vec::new();
/// let head = Answer::Completion(Completion::new("Hi", "stop")).put(&mut body);
/// assert_eq!(body, b"Hi");
/// assert!(matches!(Answer::resolve(head, &body), Ok(Answer::Completion(_))));
/// ```
#[derive(Clone, Debug)]
pub enum Answer {
    /// To `generate`.
    Completion(Completion),
    /// To `loglikelihood`, one a continuation in order; to `loglikelihood_rolling`, just one.
    Likelihoods(Vec<Likelihood>),
    /// To `health`.
    Health(Health),
    /// To `describe`.
    Description(Description),
    /// To `tokenize`.
    Tokens(Vec<u32>),
    /// To `render`.
    Rendered(String),
    /// To `embed`.
    Vectors(Vec<Vec<f32>>),
    /// To `prepare` and `release`.
    Nothing,
}

/// What a model generated.
///
/// ```
/// use plugin_api::{Changed, Completion, FinishReason};
///
/// let mut completion = Completion::new("Hi", FinishReason::Stop).with_usage(Some(3), Some(1));
/// completion.model = Some("acme-7b".into());
/// let detail = "the API has no seed".to_owned();
/// completion.changed.push(Changed { parameter: "seed".into(), detail });
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Completion {
    /// The choices, as many as were asked for.
    pub choices: Vec<Choice>,
    /// Tokens used, as far as the server says.
    pub usage: Usage,
    /// The model's name as the server reports it.
    pub model: Option<String>,
    /// Parameters that were dropped or changed.
    pub changed: Vec<Changed>,
}

/// One choice.
///
/// ```
/// use plugin_api::{Choice, FinishReason};
///
/// let choice = Choice {
///     text: "4".into(),
///     reasoning: Some("2 + 2".into()),
///     finish_reason: FinishReason::Stop,
///     logprobs: None,
/// };
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The answer's text.
    pub text: String,
    /// Reasoning, kept apart from the answer.
    pub reasoning: Option<String>,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Log-probabilities of its tokens, if they were asked for.
    pub logprobs: Option<Vec<TokenLogprob>>,
}

impl Completion {
    /// A completion of one choice.
    pub fn new<'a>(text: impl Into<Cow<'a, str>>, finish_reason: impl Into<FinishReason>) -> Self {
        Self {
            choices: vec![Choice {
                text: text.into().into_owned(),
                reasoning: None,
                finish_reason: finish_reason.into(),
                logprobs: None,
            }],
            ..Self::default()
        }
    }

    /// Adds what the server counted.
    #[must_use]
    pub fn with_usage(
        mut self,
        prompt_tokens: Option<u64>,
        completion_tokens: Option<u64>,
    ) -> Self {
        self.usage.prompt_tokens = prompt_tokens;
        self.usage.completion_tokens = completion_tokens;
        self
    }
}

/// How far above 0 a log-probability may be: servers round.
const ROUNDING: f64 = 0.01;

impl Answer {
    /// The answer, unless it holds a likelihood that is none: of more than 1, or of no token.
    pub(crate) fn sound(self) -> Result<Self> {
        let Self::Likelihoods(likelihoods) = &self else {
            return Ok(self);
        };
        for one in likelihoods {
            let tokens = one.token_logprobs.iter().flatten().flatten().copied();
            let above = |logprob: &f64| *logprob > ROUNDING;
            if let Some(logprob) = one.logprob.into_iter().chain(tokens).find(above) {
                return Err(Error::unexpected(format!(
                    "the server gave {logprob} for a log-probability, which is never above 0"
                )));
            }
            if one.tokens == 0 {
                return Err(Error::unexpected("the server scored no token of a continuation"));
            }
        }
        Ok(self)
    }

    /// Writes the answer's texts into `body` and returns its head.
    pub fn put(self, body: &mut Vec<u8>) -> AnswerHead<'static> {
        match self {
            Self::Completion(completion) => {
                let choices = completion.choices.into_iter().map(|choice| ChoiceHead {
                    text: Span::put(body, choice.text.as_bytes()),
                    reasoning: choice.reasoning.map(|text| Span::put(body, text.as_bytes())),
                    finish_reason: choice.finish_reason,
                    logprobs: choice.logprobs,
                });
                AnswerHead::Completion(CompletionHead {
                    choices: choices.collect(),
                    usage: completion.usage,
                    model: completion.model.map(Str::from),
                    changed: completion.changed,
                })
            }
            Self::Likelihoods(likelihoods) => AnswerHead::Likelihoods(likelihoods),
            Self::Health(health) => AnswerHead::Health(health),
            Self::Description(description) => AnswerHead::Description(description),
            Self::Tokens(tokens) => AnswerHead::Tokens(tokens),
            Self::Rendered(text) => AnswerHead::Rendered(Span::put(body, text.as_bytes())),
            Self::Vectors(vectors) => AnswerHead::Vectors(
                vectors
                    .into_iter()
                    .map(|vector| vector.into_iter().map(|x| x.is_finite().then_some(x)).collect())
                    .collect(),
            ),
            Self::Nothing => AnswerHead::Nothing {},
        }
    }

    /// Resolves a head against the body it came with.
    ///
    /// # Errors
    /// A span leaves the body, or is not UTF-8.
    pub fn resolve(head: AnswerHead<'_>, body: &[u8]) -> std::result::Result<Self, BadSpan> {
        let text = |span: Span| span.text(body).map(str::to_owned);
        Ok(match head {
            AnswerHead::Completion(head) => Self::Completion(Completion {
                choices: head
                    .choices
                    .into_iter()
                    .map(|choice| {
                        Ok(Choice {
                            text: text(choice.text)?,
                            reasoning: choice.reasoning.map(text).transpose()?,
                            finish_reason: choice.finish_reason,
                            logprobs: choice.logprobs,
                        })
                    })
                    .collect::<std::result::Result<_, BadSpan>>()?,
                usage: head.usage,
                model: head.model.map(Str::into_owned),
                changed: head.changed,
            }),
            AnswerHead::Likelihoods(likelihoods) => Self::Likelihoods(likelihoods),
            AnswerHead::Health(health) => Self::Health(health),
            AnswerHead::Description(description) => Self::Description(description),
            AnswerHead::Tokens(tokens) => Self::Tokens(tokens),
            AnswerHead::Rendered(span) => Self::Rendered(text(span)?),
            AnswerHead::Vectors(vectors) => Self::Vectors(
                vectors
                    .into_iter()
                    .map(|vector| vector.into_iter().map(|x| x.unwrap_or(f32::NAN)).collect())
                    .collect(),
            ),
            AnswerHead::Nothing {} => Self::Nothing,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_likelihood_above_one_or_of_nothing_is_no_answer() {
        let of = |logprob, tokens, each: Option<f64>| Likelihood {
            logprob,
            tokens,
            token_logprobs: Some(vec![each]),
            ..Likelihood::default()
        };
        for (one, sound) in [
            (of(Some(-1.5), 1, None), true),
            (of(None, 1, Some(f64::NEG_INFINITY)), true),
            (of(Some(1e-6), 1, Some(1e-6)), true),
            (of(Some(1.5), 1, None), false),
            (of(Some(-1.5), 2, Some(1.5)), false),
            (of(Some(-1.5), 0, None), false),
        ] {
            let result = Answer::Likelihoods(vec![one.clone()]).sound();
            assert_eq!(result.is_ok(), sound, "{one:?}");
        }
    }
}
