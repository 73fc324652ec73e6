//! The nearest known name to a mistyped one. One place, so that every "did you mean" agrees.

/// The name among `known` that `typed` was probably meant to be, if any is near enough.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |name: &str| name.to_lowercase().replace('-', "_");
    let typed = plain(typed);
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&typed, &plain(name)), name))
        .filter(|(similarity, _)| *similarity >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let known = ["concurrency", "max_retries", "store", "base_url"];
        let table = [
            ("concurency", Some("concurrency")),
            ("max-retries", Some("max_retries")),
            ("baseurl", Some("base_url")),
            ("colour", None),
        ];
        for (typed, expected) in table {
            assert_eq!(nearest(typed, known), expected, "{typed}");
        }
    }
}
