//! Which keys a kind of task needs, and which have no meaning in it.
//!
//! A key without meaning is refused rather than ignored: who typed it believes that it does
//! something. Values are not looked at here.

use super::error::TaskProblem;
use super::raw::{ExtractKind, Kind, PromptFormat, RawTask};

/// Refuses keys that are missing from a kind of task or have no meaning in it.
pub(super) fn check_keys(raw: &RawTask) -> Result<(), TaskProblem> {
    let kind = raw.kind;
    let has_fallback = raw.fallback.is_some();
    let extracts_choice =
        raw.extract.as_ref().is_some_and(|extract| extract.kind == ExtractKind::Choice);
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
            refuse(
                "prompt.fallback_user",
                raw.prompt.fallback_user.is_some() && !has_fallback,
                hint,
            )?;
            let other = raw.extract.is_some() && !extracts_choice;
            refuse("extract.kind", other, "the fallback reads the label of an option: `choice`")?;
            refuse("exact_match", raw.exact_match.is_some(), "labels are compared as they are")?;
        }
        Kind::Generate => {
            need("target", raw.target.is_some())?;
            if extracts_choice {
                need("choices", raw.choices.is_some())?;
                refuse(
                    "exact_match",
                    raw.exact_match.is_some(),
                    "labels are compared as they are",
                )?;
            }
            refuse("fallback", has_fallback, "it generates already")?;
            refuse(
                "prompt.fallback_user",
                raw.prompt.fallback_user.is_some(),
                "use `prompt.user`",
            )?;
            refuse(
                "mutual_information",
                raw.mutual_information,
                "it needs `kind = \"multiple_choice\"`",
            )?;
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
