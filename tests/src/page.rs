//! `report.html`, read without a browser: what it has packed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::Read as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::read::GzDecoder;
use serde_json::Value;

/// What is packed in elements that have this attribute, `data-index` or `data-details`, one after the other.
pub fn unpacked(page: &str, attribute: &str) -> String {
    let mut all = String::new();
    for part in page.split("<script type=\"text/plain\" ").skip(1) {
        let (attributes, rest) = part.split_once('>').unwrap();
        let (packed, _) = rest.split_once("</script>").unwrap();
        if attributes.starts_with(attribute) {
            let bytes = STANDARD.decode(packed).unwrap();
            GzDecoder::new(&bytes[..]).read_to_string(&mut all).unwrap();
        }
    }
    all
}

/// The rows of its list.
pub fn rows(page: &str) -> Vec<Value> {
    let rows = unpacked(page, "data-index");
    rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What its script is told: the names of its units, among others.
pub fn meta(page: &str) -> Value {
    let (_, rest) = page.split_once("id=\"meta\">").unwrap();
    let (json, _) = rest.split_once("</script>").unwrap();
    serde_json::from_str(json).unwrap()
}
