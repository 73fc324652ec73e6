//! Takes secret values out of texts before they are written anywhere. The last line of defence: a
//! server may echo a key in an error, quoted, escaped or encoded.

use std::borrow::Cow;

use aho_corasick::packed;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use zeroize::Zeroizing;

use super::Secret;

/// Values shorter than this are placeholders of local servers (`x`, `no`); replacing them would only
/// make every text unreadable.
pub(super) const SHORTEST_SECRET: usize = 4;
/// Bytes by which a secret is looked for together with all others.
const BEGINNING: usize = 8;

/// What may stand unencoded in a URL's query.
const PERCENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Replaces every known secret by `[redacted:slot]`.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Needle and replacement, longest needle first.
    needles: Vec<(Zeroizing<String>, String)>,
    /// Finds the beginnings of all of them at once, many bytes at a time: nearly every text holds none.
    beginnings: Option<packed::Searcher>,
}

impl Redactor {
    /// A redactor of these slots and values, each in all the forms it is likely to be seen in: raw,
    /// percent-encoded, JSON-escaped, base64 (also as a part of a longer base64 text).
    pub fn new<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a Secret)>) -> Self {
        let mut redactor = Self::default();
        redactor.add(secrets);
        redactor
    }

    /// Adds more secrets.
    pub fn add<'a>(&mut self, secrets: impl IntoIterator<Item = (&'a str, &'a Secret)>) {
        for (slot, secret) in secrets {
            if secret.expose().len() < SHORTEST_SECRET {
                continue;
            }
            for form in forms(secret.expose()) {
                self.needles.push((form, format!("[redacted:{slot}]")));
            }
        }
        self.needles.sort_by_key(|(needle, _)| std::cmp::Reverse(needle.len()));
        self.needles.dedup();
        self.look_for_beginnings();
    }

    fn look_for_beginnings(&mut self) {
        // No more of a secret, since what is copied here is not wiped.
        let beginning = |needle: &'_ str| needle.bytes().take(BEGINNING).collect::<Vec<u8>>();
        let mut all: Vec<_> = self.needles.iter().map(|(needle, _)| beginning(needle)).collect();
        all.sort_unstable();
        all.dedup();
        // None if there are too many, or the processor has no such instructions: then all are looked for one by one.
        self.beginnings = packed::Searcher::new(all);
    }

    /// Whether it knows no secret, and so changes nothing.
    pub fn is_empty(&self) -> bool {
        self.needles.is_empty()
    }

    /// `text` without secrets.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut clean = Cow::Borrowed(text);
        if self.is_empty() || self.beginnings.as_ref().is_some_and(|any| any.find(text).is_none()) {
            return clean;
        }
        for (needle, replacement) in &self.needles {
            if memmem::find(clean.as_bytes(), needle.as_bytes()).is_some() {
                clean = Cow::Owned(clean.replace(needle.as_str(), replacement));
            }
        }
        clean
    }
}

impl Redactor {
    /// What is looked for and what stands in its place, for another process that writes for this one.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.needles.iter().map(|(needle, replacement)| (needle.as_str(), replacement.as_str()))
    }

    /// A redactor from another's [`Redactor::pairs`], in their order.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let needles = pairs.into_iter().map(|(needle, to)| (Zeroizing::new(needle), to)).collect();
        let mut redactor = Self { needles, beginnings: None };
        redactor.look_for_beginnings();
        redactor
    }

    /// Bytes of the longest text that is looked for.
    pub fn longest(&self) -> usize {
        self.needles.first().map_or(0, |(needle, _)| needle.len())
    }

    /// A JSON text without secrets in its strings. Numbers, names and structure stay as they are, so what
    /// was JSON still is: a short secret may look like a part of a number or of a name.
    pub fn redact_json<'a>(&self, json: &'a str) -> Cow<'a, str> {
        if matches!(self.redact(json), Cow::Borrowed(_)) {
            return Cow::Borrowed(json);
        }
        match serde_json::from_str::<Value>(json) {
            Ok(mut value) => {
                self.redact_value(&mut value);
                Cow::Owned(value.to_string())
            }
            Err(_) => self.redact(json),
        }
    }

    /// Takes secrets out of every string in a value.
    pub fn redact_value(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Cow::Owned(clean) = self.redact(text) {
                    *text = clean;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.redact_value(item)),
            Value::Object(object) => object.values_mut().for_each(|item| self.redact_value(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redactor({} forms)", self.needles.len())
    }
}

fn forms(secret: &str) -> Vec<Zeroizing<String>> {
    let percent = utf8_percent_encode(secret, PERCENT).to_string();
    let mut forms =
        vec![secret.to_owned(), lower_hex(&percent), percent.replace("%20", "+"), percent];
    if let Ok(quoted) = serde_json::to_string(secret) {
        let escaped = quoted.trim_matches('"');
        forms.push(escaped.replace('/', "\\/"));
        forms.push(escaped.to_owned());
        // An error that quotes a JSON text inside JSON.
        forms.push(escaped.replace('\\', "\\\\").replace('"', "\\\""));
    }
    for offset in 0..3 {
        forms.extend(base64_core(secret, offset));
    }
    forms.sort();
    forms.dedup();
    forms.into_iter().map(Zeroizing::new).collect()
}

/// The characters of a base64 text that depend on `secret` alone when it begins at byte `offset` (mod
/// 3) of what was encoded, as in `Basic base64("user:secret")`. Both alphabets; nothing if too short to tell.
fn base64_core(secret: &str, offset: usize) -> Vec<String> {
    let mut bytes = Zeroizing::new(vec![0; offset]);
    bytes.extend_from_slice(secret.as_bytes());
    let first = (offset * 8).div_ceil(6);
    let whole = bytes.len() * 8 / 6;
    [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)]
        .into_iter()
        // The last character of a secret that ends the text holds bits of the secret only.
        .flat_map(|text| {
            let inner = text.get(first..whole).map(str::to_owned);
            let to_end = text.get(first..).map(str::to_owned);
            [to_end, inner]
        })
        .flatten()
        .filter(|core| core.len() >= SHORTEST_SECRET)
        .collect()
}

fn lower_hex(percent: &str) -> String {
    let mut lower = String::with_capacity(percent.len());
    let mut hex = 0;
    for character in percent.chars() {
        lower.push(if hex > 0 { character.to_ascii_lowercase() } else { character });
        hex = if character == '%' { 2 } else { hex - i32::from(hex > 0) };
    }
    lower
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn a_secret_is_found_in_every_form() {
        let secret = Secret::new("sk-a/b+\"ü=Z9".into());
        let redactor = Redactor::new([("key", &secret)]);
        let forms = [
            "sk-a/b+\"ü=Z9",
            "sk-a%2Fb%2B%22%C3%BC%3DZ9",
            "sk-a%2fb%2b%22%c3%bc%3dZ9",
            r#"sk-a/b+\"ü=Z9"#,
            r#"sk-a\/b+\"ü=Z9"#,
            r#"sk-a/b+\\\"ü=Z9"#,
        ];
        for form in forms {
            assert_eq!(redactor.redact(&format!("<{form}>")), "<[redacted:key]>", "{form}");
        }
    }

    #[test]
    fn base64_is_found_alone_and_inside_a_longer_text() {
        let value = "sk-0123456789abcdef";
        let redactor = Redactor::new([("key", &Secret::new(value.into()))]);
        assert_eq!(redactor.redact(&STANDARD_NO_PAD.encode(value)), "[redacted:key]");
        for user in ["", "u:", "me:", "you:"] {
            for tail in ["", "!", "!!"] {
                let text = STANDARD.encode(format!("{user}{value}{tail}"));
                let clean = redactor.redact(&text).into_owned();
                assert!(
                    clean.contains("[redacted:key]") && clean.len() < 30,
                    "{user} {tail} {clean}"
                );
            }
        }
    }

    #[test]
    fn a_longer_secret_is_replaced_before_one_that_it_contains() {
        let (short, long) = (Secret::new("abcd".into()), Secret::new("abcdefgh".into()));
        let redactor = Redactor::new([("short", &short), ("long", &long)]);
        assert_eq!(redactor.redact("abcd abcdefgh"), "[redacted:short] [redacted:long]");
    }

    #[test]
    fn any_of_many_is_found_wherever_it_stands() {
        for many in [1, 3, 200] {
            let secrets: Vec<(String, Secret)> = (0..many)
                .map(|n| {
                    (format!("slot{n}"), Secret::new(format!("{:08x}-{n}", n * 7_654_321 + 9)))
                })
                .collect();
            let redactor = Redactor::new(secrets.iter().map(|(slot, secret)| (&**slot, secret)));
            let pairs = redactor.pairs().map(|(needle, to)| (needle.to_owned(), to.to_owned()));
            let again = Redactor::from_pairs(pairs.collect::<Vec<_>>());
            for (slot, secret) in &secrets {
                for (before, after) in [(0, 0), (1, 0), (0, 1), (500, 0), (500, 500)] {
                    let text = |middle: &str| {
                        format!("{}{middle}{}", " ".repeat(before), " ".repeat(after))
                    };
                    let (dirty, clean) =
                        (text(secret.expose()), text(&format!("[redacted:{slot}]")));
                    assert_eq!(redactor.redact(&dirty), clean, "{many} {dirty}");
                    assert_eq!(again.redact(&dirty), clean, "{many} {dirty}");
                }
            }
            assert!(matches!(redactor.redact(&"nothing here ".repeat(99)), Cow::Borrowed(_)));
        }
    }

    #[test]
    fn placeholders_are_left_alone() {
        let redactor = Redactor::new([("key", &Secret::new("no".into()))]);
        assert!(matches!(redactor.redact("no, not now"), Cow::Borrowed(_)));
    }
}
