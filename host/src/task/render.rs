//! From a record to what is asked of a model.
//!
//! Pure: gets the record and its examples, knows nothing of files or of which examples to take.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::boundary::is_space;
use super::choices::{ChoiceError, Choices, list_of_texts};
use super::number::last_number;
use super::prompt::{Layout, Prompt, Turn};
use super::raw::{Record, TargetIs};
use super::template::{Context, TemplateError, Templates, sole_expression};

pub(super) const SYSTEM: &str = "prompt.system";
pub(super) const USER: &str = "prompt.user";
pub(super) const FALLBACK_USER: &str = "prompt.fallback_user";
pub(super) const PREFIX: &str = "prompt.generation_prefix";
pub(super) const TARGET: &str = "target";
pub(super) const CHOICES_FIELD: &str = "choices.field";
pub(super) const LABELS_FIELD: &str = "choices.labels_field";

/// The key of the template of an option.
pub(super) fn choice_key(index: usize) -> String {
    format!("choices.texts[{index}]")
}

/// Why a record cannot be made into a question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// A template fails on it.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Its options or its label make no sense.
    #[error(transparent)]
    Choice(#[from] ChoiceError),
    /// It has no target to compare with.
    #[error("`target` must give a text, a number or a list of them, here is {0}")]
    NoTarget(String),
    /// Its target was a whole number of more digits than a number in a record keeps.
    #[error(
        "`target` is a number that is too long to be read exactly (as {0}); write it in quotes in the data file"
    )]
    InexactTarget(String),
    /// A number is extracted and its target is none.
    #[error("wrong label: a number is extracted, but `target` has none: {0}")]
    NotANumber(String),
    /// There is nothing to predict.
    #[error("the text is empty")]
    EmptyText,
    /// One of its few-shot examples cannot be made into a question.
    #[error("few-shot example: {0}")]
    Example(Box<RenderError>),
}

/// What is asked of a model for one sample, and what is right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rendered {
    /// The prompt; an empty text for a rolling log-likelihood.
    pub prompt: Prompt,
    /// What is asked after the prompt.
    pub form: Form,
}

/// What is asked after a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// The log-likelihood of each option.
    MultipleChoice(MultipleChoice),
    /// A reply.
    Generate(Generate),
    /// The log-likelihood of a text.
    Rolling {
        /// The text, not empty.
        text: String,
    },
}

/// Options whose log-likelihoods are asked for; all lists are of one length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MultipleChoice {
    /// Delimiter and option, to be scored after the prompt.
    pub continuations: Vec<String>,
    /// The options and their labels.
    pub choices: Choices,
    /// Indices of the right options, ascending, at least one.
    pub gold: Vec<usize>,
    /// Whether each continuation is to be scored after an empty context too.
    pub unconditional: bool,
}

/// What a reply is compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Generate {
    /// Right answers, at least one: labels where a choice is extracted, numbers in their one form
    /// where a number is.
    pub references: Vec<String>,
    /// The options, where the sample has any.
    pub choices: Choices,
}

/// Where the options of a sample come from.
#[derive(Debug, Clone)]
pub(super) struct ChoicePlan {
    pub(super) texts: ChoiceTexts,
    pub(super) labels: ChoiceLabels,
}

#[derive(Debug, Clone)]
pub(super) enum ChoiceTexts {
    Templates(usize),
    Field(String),
}

#[derive(Debug, Clone)]
pub(super) enum ChoiceLabels {
    Letters,
    Fixed(Vec<String>),
    Field(String),
}

/// What kind of question is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FormPlan {
    MultipleChoice { unconditional: bool },
    GenerateChoice { fallback: bool },
    GenerateNumber,
    GenerateMatch,
    GenerateText,
    Rolling,
}

/// How the records of a task become questions.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) templates: Templates,
    pub(super) layout: Layout,
    pub(super) form: FormPlan,
    pub(super) choices: Option<ChoicePlan>,
    pub(super) target: String,
    pub(super) target_is: TargetIs,
    pub(super) has_system: bool,
    pub(super) has_prefix: bool,
    pub(super) has_fallback_user: bool,
}

/// A record made into a question, with what is right.
struct Question {
    turn: Turn,
    choices: Choices,
    gold: Vec<usize>,
    references: Vec<String>,
}

impl Plan {
    /// What is asked for a record after solved examples.
    pub(super) fn render(
        &self,
        record: &Record,
        examples: &[&Record],
    ) -> Result<Rendered, RenderError> {
        let context = Context::new(record);
        if self.form == FormPlan::Rolling {
            let text = self.templates.render(USER, &context)?;
            if text.is_empty() {
                return Err(RenderError::EmptyText);
            }
            return Ok(Rendered {
                prompt: Prompt::Text(String::new()),
                form: Form::Rolling { text },
            });
        }
        let system =
            if self.has_system { self.templates.render(SYSTEM, &context)? } else { String::new() };
        let examples = examples
            .iter()
            .map(|example| {
                self.example(example).map_err(|error| RenderError::Example(Box::new(error)))
            })
            .collect::<Result<Vec<Turn>, _>>()?;
        let Question { turn, choices, gold, references } = self.question(context)?;
        let form = match self.form {
            FormPlan::MultipleChoice { unconditional } => {
                let delimiter = self.layout.continuation_delimiter(&turn.generation_prefix);
                let continuations =
                    choices.texts.iter().map(|text| format!("{delimiter}{text}")).collect();
                Form::MultipleChoice(MultipleChoice { continuations, choices, gold, unconditional })
            }
            FormPlan::GenerateNumber => {
                let number = |text: String| last_number(&text).ok_or(RenderError::NotANumber(text));
                let references = references.into_iter().map(number).collect::<Result<_, _>>()?;
                Form::Generate(Generate { references, choices })
            }
            // What a pattern finds has no spaces around it either.
            FormPlan::GenerateMatch => {
                let bare = |text: String| match text.trim_matches(is_space) {
                    "" => Err(RenderError::NoTarget(format!("{text:?}"))),
                    bare => Ok(bare.to_owned()),
                };
                let references = references.into_iter().map(bare).collect::<Result<_, _>>()?;
                Form::Generate(Generate { references, choices })
            }
            _ => Form::Generate(Generate { references, choices }),
        };
        let prompt = self.layout.assemble(system, &examples, turn);
        Ok(Rendered { prompt, form })
    }

    /// Whether a record can be a solved example.
    pub(super) fn is_example(&self, record: &Record) -> bool {
        self.example(record).is_ok()
    }

    fn example(&self, record: &Record) -> Result<Turn, RenderError> {
        let Question { mut turn, choices, gold, references } =
            self.question(Context::new(record))?;
        let first = gold.first().map(|index| choices.texts[*index].clone());
        turn.answer = match self.form {
            FormPlan::MultipleChoice { .. } => first.unwrap_or_default(),
            _ => references.into_iter().next().unwrap_or_default(),
        };
        Ok(turn)
    }

    fn question(&self, mut context: Context<'_>) -> Result<Question, RenderError> {
        let choices = self.choices(&context)?;
        if !choices.texts.is_empty() {
            let list = choices.labels.iter().zip(&choices.texts).map(|(label, text)| {
                minijinja::Value::from_pairs([("label", label.as_str()), ("text", text.as_str())])
            });
            context.add("choice_list", list.collect());
            context.add("choice_lines", choices.lines().into());
        }
        let question = match self.form {
            FormPlan::GenerateChoice { fallback: true } if self.has_fallback_user => {
                self.templates.render(FALLBACK_USER, &context)?
            }
            FormPlan::GenerateChoice { fallback: true } => {
                ask_for_label(&self.templates.render(USER, &context)?, &choices)
            }
            _ => self.templates.render(USER, &context)?,
        };
        let generation_prefix =
            if self.has_prefix { self.templates.render(PREFIX, &context)? } else { String::new() };
        let target = match sole_expression(&self.target) {
            Some(expression) => self.templates.evaluate(TARGET, expression, &context)?,
            None => Value::String(self.templates.render(TARGET, &context)?),
        };
        let (gold, references) = match self.form {
            FormPlan::MultipleChoice { .. } | FormPlan::GenerateChoice { .. } => {
                let gold = choices.gold(&target, self.target_is)?;
                let labels = gold.iter().map(|index| choices.labels[*index].clone()).collect();
                (gold, labels)
            }
            _ => {
                let named = self.of_options(&choices, &target)?;
                (Vec::new(), named.map_or_else(|| references(&target), Ok)?)
            }
        };
        let turn = Turn { question, generation_prefix, answer: String::new() };
        Ok(Question { turn, choices, gold, references })
    }

    /// What a reply may equal that is not read for a label, where the target names an option: its label and its text, as
    /// numbers its text alone if that has one. None where it names none.
    fn of_options(
        &self,
        choices: &Choices,
        target: &Value,
    ) -> Result<Option<Vec<String>>, RenderError> {
        if choices.texts.is_empty() {
            return Ok(None);
        }
        let gold = match choices.gold(target, self.target_is) {
            Ok(gold) => gold,
            Err(ChoiceError::WrongLabel { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let of = |all: &[String]| gold.iter().map(|index| all[*index].clone()).collect::<Vec<_>>();
        let (mut named, mut texts) = (of(&choices.labels), of(&choices.texts));
        if self.form == FormPlan::GenerateNumber
            && texts.iter().all(|text| last_number(text).is_some())
        {
            named.clear();
        }
        // A text that is another option's label would make that one right, too.
        texts.retain(|text| !choices.labels.contains(text) || named.is_empty());
        named.append(&mut texts);
        Ok(Some(named))
    }

    fn choices(&self, context: &Context<'_>) -> Result<Choices, RenderError> {
        let Some(plan) = &self.choices else {
            return Ok(Choices::default());
        };
        let texts = match &plan.texts {
            ChoiceTexts::Templates(count) => (0..*count)
                .map(|index| self.templates.render(&choice_key(index), context))
                .collect::<Result<Vec<_>, _>>()?,
            ChoiceTexts::Field(field) => list_of_texts(
                CHOICES_FIELD,
                &self.templates.evaluate(CHOICES_FIELD, field, context)?,
            )?,
        };
        let labels = match &plan.labels {
            ChoiceLabels::Letters => None,
            ChoiceLabels::Fixed(labels) => Some(labels.clone()),
            ChoiceLabels::Field(field) => {
                let value = self.templates.evaluate(LABELS_FIELD, field, context)?;
                Some(list_of_texts(LABELS_FIELD, &value)?)
            }
        };
        Ok(Choices::new(texts, labels)?)
    }
}

/// The generative form of a question with options, where the task does not word it.
fn ask_for_label(question: &str, choices: &Choices) -> String {
    let labels = choices.labels.join(", ");
    format!(
        "{question}\n\nOptions:\n{}\n\nReply with only the label of the right option ({labels}).",
        choices.lines()
    )
}

/// Whether a number may have been a whole one with further digits: it is beyond the integers, and takes all the digits
/// that a double has.
fn is_cut_off(number: &serde_json::Number) -> bool {
    const EXACT_INTEGERS: f64 = 9_007_199_254_740_992.0;
    let is_large =
        number.is_f64() && number.as_f64().is_some_and(|value| value.abs() > EXACT_INTEGERS);
    let text = number.to_string();
    let mantissa = text.split('e').next().unwrap_or_default();
    is_large && mantissa.bytes().filter(u8::is_ascii_digit).count() > 15
}

/// The texts that a reply may equal. Booleans are written as templates write them.
fn references(target: &Value) -> Result<Vec<String>, RenderError> {
    let text = |value: &Value| match value {
        Value::String(text) if !text.is_empty() => Ok(text.clone()),
        Value::Number(number) if is_cut_off(number) => {
            Err(RenderError::InexactTarget(number.to_string()))
        }
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(true) => Ok("True".to_owned()),
        Value::Bool(false) => Ok("False".to_owned()),
        other => Err(RenderError::NoTarget(other.to_string())),
    };
    match target {
        Value::Array(items) if items.is_empty() => Err(RenderError::NoTarget("[]".to_owned())),
        Value::Array(items) => items.iter().map(text).collect(),
        one => Ok(vec![text(one)?]),
    }
}
