//! Makes the plan by which records are rendered: layout, options and compiled templates.

use super::error::TaskProblem;
use super::prompt::Layout;
use super::raw::{DEFAULT_SEPARATOR, PromptFormat, RawChoices, RawTask};
use super::render::{
    CHOICES_FIELD, ChoiceLabels, ChoicePlan, ChoiceTexts, FALLBACK_USER, FormPlan, LABELS_FIELD,
    PREFIX, Plan, SYSTEM, TARGET, USER, choice_key,
};
use super::template::Templates;

/// The plan of a task that asks in this form.
pub(super) fn plan(raw: &RawTask, form: FormPlan) -> Result<Plan, TaskProblem> {
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
    Ok(Plan {
        templates,
        layout: layout(raw),
        form,
        choices,
        target: raw.target.clone().unwrap_or_default(),
        target_is: raw.target_is,
        has_system: raw.prompt.system.is_some(),
        has_prefix: raw.prompt.generation_prefix.is_some(),
        has_fallback_user: raw.prompt.fallback_user.is_some(),
    })
}

fn layout(raw: &RawTask) -> Layout {
    let few_shot = raw.few_shot.as_ref();
    let is_chat = raw.prompt.format == PromptFormat::Chat;
    Layout {
        format: raw.prompt.format,
        target_delimiter: raw.prompt.target_delimiter.clone(),
        separator: few_shot
            .map_or_else(|| DEFAULT_SEPARATOR.to_owned(), |few_shot| few_shot.separator.clone()),
        as_turns: is_chat && few_shot.and_then(|few_shot| few_shot.as_turns).unwrap_or(true),
    }
}

fn choice_plan(raw: &RawChoices) -> Result<ChoicePlan, TaskProblem> {
    let texts = match (&raw.texts, &raw.field) {
        (Some(texts), None) if texts.len() >= 2 => ChoiceTexts::Templates(texts.len()),
        (Some(_), None) => {
            return Err(TaskProblem::value("choices.texts", "at least two templates"));
        }
        (None, Some(field)) => ChoiceTexts::Field(field.clone()),
        _ => {
            return Err(TaskProblem::value("choices", "given by either `texts` or `field`"));
        }
    };
    let labels = match (&raw.labels, &raw.labels_field) {
        (None, None) => ChoiceLabels::Letters,
        (Some(labels), None) => ChoiceLabels::Fixed(labels.clone()),
        (None, Some(field)) => ChoiceLabels::Field(field.clone()),
        _ => {
            return Err(TaskProblem::value(
                "choices.labels",
                "given by either `labels` or `labels_field`",
            ));
        }
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
