//! What is often wrong in the texts of a task, though it makes sense to a machine.

use crate::task::{
    prompt::Prompt,
    resolve::Task,
    stream::{Next, Prepared},
};

/// Texts that stand for the beginning of a text in well-known vocabularies. A server puts its own there.
const BEGINNINGS: [&str; 6] =
    ["<s>", "<bos>", "<|begin_of_text|>", "<|endoftext|>", "<|startoftext|>", "[BOS]"];

/// What is to be said of a task without its data.
pub(super) fn of_task(task: &Task) -> Vec<String> {
    let stops = task.rules.as_ref().map(|rules| rules.stop.as_slice()).unwrap_or_default();
    stops.iter().filter_map(|stop| escaped(stop)).collect()
}

/// A stop in which a line end was escaped once too often: no model writes it.
fn escaped(stop: &str) -> Option<String> {
    let (found, meant) = [("\\n", "a line end"), ("\\t", "a tab"), ("\\r", "a carriage return")]
        .into_iter()
        .find(|(escape, _)| stop.contains(escape))?;
    Some(format!(
        "the stop text {stop:?} holds a backslash and a letter where {meant} is likely meant: in TOML \"{found}\" is \
         {meant}, and '{found}' or \"\\{found}\" is not"
    ))
}

/// What is to be said of a task's first prompt.
pub(super) fn of_prompt(task: &Task) -> Vec<String> {
    let Some(first) = first(task) else { return Vec::new() };
    let mut warnings = Vec::new();
    if let Prompt::Text(text) = &first.rendered.prompt {
        if let Some(beginning) = BEGINNINGS.iter().find(|beginning| text.starts_with(**beginning)) {
            warnings.push(format!(
                "its prompts begin with {beginning}: a server that puts that there by itself sees it twice, and scores \
                 change; leave it out unless the server adds none"
            ));
        }
        if text.is_empty() && task.generation.is_some() {
            warnings.push("its first prompt is empty".to_owned());
        }
    }
    warnings
}

/// The first sample of a task that can be asked.
pub(super) fn first(task: &Task) -> Option<Prepared> {
    task.samples().ok()?.find_map(|next| match next {
        Ok(Next::Ready(prepared)) => Some(*prepared),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_end_that_is_none_is_told() {
        for (stop, is_told) in [
            ("\n", false),
            ("\\n", true),
            ("\\n\\n", true),
            ("\t", false),
            ("\\t", true),
            ("\\", false),
        ] {
            assert_eq!(escaped(stop).is_some(), is_told, "{stop:?}");
        }
    }
}
