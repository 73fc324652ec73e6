//! Chat messages as text. `/generate` takes text only, so the server's own template is asked for through
//! `/chat_tokenize`, which makes generation and log-likelihood see the same prompt.
//!
//! A trailing message of the assistant is a prefix of the answer: it is held back and appended to the text
//! (versions of the server differ in what they make of it). Templates write the BOS text themselves while
//! `/generate` puts a BOS token before every text, so the template's is taken out. Pure.

use super::decode::Templated;

/// The template's text without those texts of special tokens at its beginning that the server adds to every
/// text (`leading`, their ids) itself.
///
/// None if it begins with such tokens, but the server does not say with which text: it has a slow tokenizer, and
/// the model will see them twice.
pub fn without_leading<'t>(templated: &'t Templated<'_>, leading: &[u32]) -> Option<&'t str> {
    let mut text = &*templated.templated_text;
    let tokens = &templated.tokenize_response;
    if tokens.iter().all(|token| token.text.is_empty()) {
        let doubled = !leading.is_empty()
            && tokens.iter().map(|t| t.id).take(leading.len()).eq(leading.iter().copied());
        return (!doubled).then_some(text);
    }
    let written = tokens.iter().filter(|token| !token.text.is_empty());
    for (token, id) in written.zip(leading) {
        match text.strip_prefix(&*token.text) {
            Some(rest) if token.id == *id => text = rest,
            _ => break,
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_own_bos_is_taken_out_if_the_server_adds_one() {
        for (json, leading, text) in [
            (
                r#"{"templated_text":"<s>[INST]","tokenize_response":[{"id":1,"text":"<s>"},{"id":5,"text":"[INST]"}]}"#,
                &[1][..],
                Some("[INST]"),
            ),
            // The server adds none: the template's is the only one.
            (
                r#"{"templated_text":"<s>[INST]","tokenize_response":[{"id":1,"text":"<s>"},{"id":5,"text":"[INST]"}]}"#,
                &[],
                Some("<s>[INST]"),
            ),
            // The template writes none.
            (
                r#"{"templated_text":"[INST]","tokenize_response":[{"id":5,"text":"[INST]"}]}"#,
                &[1],
                Some("[INST]"),
            ),
            // A version that adds it in this answer too.
            (
                r#"{"templated_text":"<s>A","tokenize_response":[{"id":1,"text":""},{"id":1,"text":"<s>"},{"id":7,"text":"A"}]}"#,
                &[1],
                Some("A"),
            ),
            // A slow tokenizer.
            (
                r#"{"templated_text":"<s>A","tokenize_response":[{"id":1,"text":""},{"id":7,"text":""}]}"#,
                &[1],
                None,
            ),
            (r#"{"templated_text":"A","tokenize_response":[{"id":7,"text":""}]}"#, &[1], Some("A")),
        ] {
            let templated: Templated<'_> = serde_json::from_str(json).unwrap();
            assert_eq!(without_leading(&templated, leading), text, "{json} {leading:?}");
        }
    }
}
