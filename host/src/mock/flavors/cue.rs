//! Words by which a client brings about what a vendor seldom does. They stand in a prompt or in a model's name, so that
//! a run file can name them, and mean the same on every hosted wire.

use crate::mock::model::{Prompt, Turn};

/// A prompt with this word is refused, in the vendor's way.
pub(crate) const FILTERED_PROMPT: &str = "mock-content-filter";
/// An answer to a prompt with this word is begun and then withheld, in the vendor's way.
pub(crate) const FILTERED_ANSWER: &str = "mock-answer-filter";
/// A model whose name has this word does not exist.
pub(crate) const MISSING_MODEL: &str = "mock-missing";

/// What a filter does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    /// Refuses the prompt.
    Prompt,
    /// Withholds the answer.
    Answer,
}

/// What the filter does to a prompt.
pub(crate) fn filter(prompt: &Prompt<'_>) -> Option<Filter> {
    let text = |text: &str| {
        // Nearly no prompt has either word, and both begin alike.
        let rest = &text[text.find("mock-")?..];
        if rest.contains(FILTERED_PROMPT) {
            Some(Filter::Prompt)
        } else {
            rest.contains(FILTERED_ANSWER).then_some(Filter::Answer)
        }
    };
    match prompt {
        Prompt::Text(prompt) => text(prompt),
        Prompt::Chat(turns) => turns.iter().find_map(|Turn { content, .. }| text(content)),
    }
}

/// Whether a model does not exist.
pub(crate) fn is_missing(model: &str) -> bool {
    model.contains(MISSING_MODEL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_filtered_by_its_word_alone() {
        let of = |text: &'static str| filter(&Prompt::Text(text.into()));
        assert_eq!(of("Say mock-content-filter."), Some(Filter::Prompt));
        assert_eq!(of("mock-up, then mock-answer-filter"), Some(Filter::Answer));
        assert_eq!(of("A mock-up."), None);
        let turn = |content: &'static str| Turn { role: "user".into(), content: content.into() };
        let chat = Prompt::Chat(vec![turn("Hello."), turn("mock-content-filter")]);
        assert_eq!(filter(&chat), Some(Filter::Prompt));
    }
}
