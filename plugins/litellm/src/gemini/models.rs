//! What Gemini's generations take, by the model's name.
//!
//! Source: wire.md 4.4 (`supports_sampling_params:false` for gemini-3.5-flash-lite and for 3.6, 3.7 and 3.8 flash);
//! later generations of the two lines are taken to be like their latest known one.

/// Whether the model takes temperature, topP and topK.
pub fn takes_sampling(model: &str) -> bool {
    let Some((version, line)) = generation(model) else {
        return true;
    };
    let first_without = if line.starts_with("flash-lite") {
        (3, 5)
    } else if line.starts_with("flash") {
        (3, 6)
    } else {
        return true;
    };
    version < first_without
}

/// Whether thinking is measured by levels, as from version 3 on, rather than by a budget of tokens.
pub(super) fn thinks_by_level(model: &str) -> bool {
    generation(model).is_none_or(|(version, _)| version >= (3, 0))
}

/// Version and line: `gemini-2.5-flash-lite` is 2.5 and `flash-lite`. None for a name without a version.
fn generation(model: &str) -> Option<((u32, u32), &str)> {
    let name = model.rsplit('/').next()?.strip_prefix("gemini-")?;
    let (version, line) = name.split_once('-')?;
    let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
    Some(((major.parse().ok()?, minor.parse().ok()?), line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_abilities_follow_from_its_name() {
        for (model, sampling) in [
            ("gemini-2.5-flash", true),
            ("gemini-2.5-flash-lite", true),
            ("gemini-3-flash-preview", true),
            ("gemini-3.5-flash", true),
            ("gemini-3.1-flash-lite", true),
            ("gemini-3.5-flash-lite", false),
            ("gemini-3.6-flash", false),
            ("gemini-3.7-flash", false),
            ("models/gemini-3.8-flash", false),
            ("gemini-3.1-pro-preview", true),
            ("gemini-4-argon", true),
            ("gemini-flash-latest", true),
            ("gemma-3-27b-it", true),
            ("mock-model", true),
        ] {
            assert_eq!(takes_sampling(model), sampling, "{model}");
        }
        for (model, by_level) in [
            ("gemini-2.5-pro", false),
            ("gemini-3.1-pro-preview", true),
            ("gemini-flash-latest", true),
        ] {
            assert_eq!(thinks_by_level(model), by_level, "{model}");
        }
    }
}
