//! Data inside of the page: compressed, and in letters that cannot end the element they stand in.

use std::io::{self, Write};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, write::GzEncoder};
use serde::Serialize;

/// Writes an element whose content is gzip in base64, which the page's script reads; `attributes` are its own and
/// hold no text of others.
///
/// # Errors
/// The page cannot be written.
pub fn block(page: &mut dyn Write, attributes: &str, bytes: &[u8]) -> io::Result<()> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes)?;
    let packed = STANDARD.encode(encoder.finish()?);
    writeln!(page, "<script type=\"text/plain\" {attributes}>{packed}</script>")
}

/// JSON that may stand in a script element: no text in it ends the element or begins a comment.
pub fn json<T: Serialize>(value: &T) -> String {
    let text = serde_json::to_string(value).unwrap_or_default();
    text.replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn nothing_in_a_text_ends_its_element() {
        let text = "</script><!-- <script> -->";
        let written = json(&text);
        assert!(!written.contains('<'), "{written}");
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
        let mut page = Vec::new();
        block(&mut page, "data-index=\"0\"", text.as_bytes()).unwrap();
        let page = String::from_utf8(page).unwrap();
        let inner = page
            .strip_prefix("<script type=\"text/plain\" data-index=\"0\">")
            .and_then(|rest| rest.strip_suffix("</script>\n"))
            .unwrap();
        assert!(!inner.contains('<'));
        let packed = STANDARD.decode(inner).unwrap();
        let mut read = String::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut read).unwrap();
        assert_eq!(read, text);
    }
}
