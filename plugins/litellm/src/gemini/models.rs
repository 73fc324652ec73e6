//! What Gemini's generations take, by the model's name.
//!
//! Source: wire.md 4.4 (`supports_sampling_params:false` for gemini-3.5-flash-lite and for 3.6, 3.7 and 3.8 flash);
//! later generations of the two lines are taken to be like their latest known one.

/// Whether the model takes temperature, topP and topK.
pub fn takes_sampling(model: &str) -> bool {
    let model = model.to_ascii_lowercase();
    let Some((version, line)) =
        model.rsplit('/').next().and_then(|name| name.strip_prefix("gemini-")?.split_once('-'))
    else {
        return true;
    };
    let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
    let (Ok(major), Ok(minor)) = (major.parse::<u32>(), minor.parse::<u32>()) else {
        return true;
    };
    let first_without = if line.starts_with("flash-lite") {
        (3, 5)
    } else if line.starts_with("flash") {
        (3, 6)
    } else {
        return true;
    };
    (major, minor) < first_without
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_flash_models_take_no_sampling_parameters() {
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
    }
}
