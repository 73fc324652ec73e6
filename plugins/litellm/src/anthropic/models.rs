//! What Claude's generations take, by the model's name.
//!
//! Sources: the vendor's description (“models released after Claude Opus 4.6 do not support setting
//! temperature”, top_p and top_k alike); wire.md 4.3; `supports_assistant_prefill` in LiteLLM's model list, which is
//! false from 4.6 on; the API's own refusal of temperature and top_p together, seen from 4.1 on.

/// A generation: major and minor number.
type Generation = (u32, u32);

/// Whether the model takes temperature, top_p and top_k. A name that is not Claude's does.
pub fn takes_sampling(model: &str) -> bool {
    generation(model).is_none_or(|generation| generation <= (4, 6))
}

/// Whether the model continues a last message of the assistant.
pub(super) fn takes_prefix(model: &str) -> bool {
    generation(model).is_none_or(|generation| generation < (4, 6))
}

/// Whether the model refuses temperature and top_p together.
pub(super) fn takes_one_knob(model: &str) -> bool {
    generation(model).is_some_and(|generation| generation >= (4, 1))
}

/// The numbers after `claude-` or `claude-family-`: `claude-opus-4-7-20260416` is 4.7, `claude-3-5-haiku` 3.5. A name of
/// Claude's without a number (`claude-mythos-preview`) is taken for the newest; none for another's name.
fn generation(model: &str) -> Option<Generation> {
    let model = model.to_ascii_lowercase();
    let (_, name) = model.split_once("claude-")?;
    let mut parts = name.split(['-', '.', '@', ':', '_']);
    let number = |part: &str| part.parse::<u32>().ok().filter(|_| part.len() <= 2);
    let first = parts.next()?;
    let major = number(first)
        .or_else(|| parts.next().and_then(|part| number(part.trim_start_matches('v'))));
    let Some(major) = major else {
        return Some((u32::MAX, 0));
    };
    Some((major, parts.next().and_then(number).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_abilities_follow_from_its_generation() {
        for (model, sampling, prefix, one_knob) in [
            ("claude-2.1", true, true, false),
            ("claude-instant-v1", true, true, false),
            ("claude-3-5-sonnet-20241022", true, true, false),
            ("claude-3-haiku-20240307", true, true, false),
            ("claude-opus-4-20250514", true, true, false),
            ("claude-opus-4-1-20250805", true, true, true),
            ("claude-haiku-4-5", true, true, true),
            ("claude-sonnet-4-5-20250929", true, true, true),
            ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", true, true, true),
            ("claude-sonnet-4-6", true, false, true),
            ("claude-opus-4-6-20260205", true, false, true),
            ("claude-opus-4.7", false, false, true),
            ("claude-opus-4-7-20260416", false, false, true),
            ("claude-opus-4-8", false, false, true),
            ("claude-sonnet-5", false, false, true),
            ("claude-opus-5-5", false, false, true),
            ("claude-haiku-5-5", false, false, true),
            ("claude-fable-5-1", false, false, true),
            ("claude-mythos-preview", false, false, true),
            ("kimi-k2", true, true, false),
            ("mock-model", true, true, false),
        ] {
            assert_eq!(takes_sampling(model), sampling, "{model}");
            assert_eq!(takes_prefix(model), prefix, "{model}");
            assert_eq!(takes_one_knob(model), one_knob, "{model}");
        }
    }
}
