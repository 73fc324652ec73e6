//! The headers of every request. A secret is named by its slot; its value never comes here.

use std::collections::BTreeMap;

use plugin_api::{Host, HttpRequest, Result};

use crate::{
    extract::wrong,
    typed::{RawHeader, RawPart},
};

/// Headers that hold a credential and nothing else. As a text it would be written down with the run file.
const CREDENTIALS: [&str; 5] =
    ["authorization", "cookie", "x-api-key", "api-key", "x-goog-api-key"];

/// Headers as they are sent.
#[derive(Debug)]
pub struct Headers(Vec<Header>);

#[derive(Debug)]
struct Header {
    /// In lower case.
    name: String,
    /// All of the value, or what stands before the secret.
    text: String,
    /// The slot of the secret that ends the value.
    slot: Option<String>,
}

impl Headers {
    /// Checks the headers, and that there is a secret wherever one is needed.
    ///
    /// # Errors
    /// A name or a value is none for HTTP, a credential is written out, or a secret is missing.
    pub fn compile(raw: &BTreeMap<String, RawHeader>, host: &Host) -> Result<Self> {
        let mut headers: Vec<Header> = Vec::with_capacity(raw.len() + 1);
        for (name, value) in raw {
            let key = format!("headers.{name}");
            let name = header_name(&key, name)?;
            if headers.iter().any(|known| known.name == name) {
                return Err(wrong(&key, "is given twice: case does not matter in a header's name"));
            }
            headers.extend(header(&key, name, value, host)?);
        }
        if !headers.iter().any(|header| header.name == "content-type") {
            let (name, text) = ("content-type".to_owned(), "application/json".to_owned());
            headers.push(Header { name, text, slot: None });
        }
        Ok(Self(headers))
    }

    /// Adds them to a request.
    pub fn put<'a>(&'a self, request: HttpRequest<'a>) -> HttpRequest<'a> {
        self.0.iter().fold(request, |request, Header { name, text, slot }| match slot {
            Some(slot) => request.secret_header(name, text, slot),
            None => request.header(name, text.as_str()),
        })
    }

    /// Whether any of them holds a secret.
    pub fn have_secret(&self) -> bool {
        self.0.iter().any(|header| header.slot.is_some())
    }
}

/// One header; none if the secret that it is for is optional and not there.
fn header(key: &str, name: String, value: &RawHeader, host: &Host) -> Result<Option<Header>> {
    let parts = match value {
        RawHeader::Text(_) if CREDENTIALS.contains(&name.as_str()) => {
            let message = "a credential does not belong into a run file: declare a `[[backend.slot]]` and name it, \
                           [{ text = \"Bearer \" }, { secret = \"api_key\" }]; a value that is no secret is \
                           written as a list too: [{ text = \"…\" }]";
            return Err(wrong(key, message));
        }
        RawHeader::Text(text) => {
            return Ok(Some(Header { name, text: header_text(key, text)?.to_owned(), slot: None }));
        }
        RawHeader::Parts(parts) => parts,
    };
    let mut header = Header { name, text: String::new(), slot: None };
    for part in parts {
        if header.slot.is_some() {
            return Err(wrong(key, "a secret must be the last part of a header"));
        }
        match part {
            RawPart::Text(text) => header.text.push_str(header_text(key, text)?),
            RawPart::Secret(slot) if !host.has_secret(slot) => {
                let message = format!(
                    "there is no secret for the slot `{slot}`: declare it by [[backend.slot]] with the \
                     environment variables to look in, and set one of them; a header that can be \
                     done without names it as `optional_secret`"
                );
                return Err(wrong(key, message));
            }
            RawPart::OptionalSecret(slot) if !host.has_secret(slot) => return Ok(None),
            RawPart::Secret(slot) | RawPart::OptionalSecret(slot) => {
                header.slot = Some(slot.clone());
            }
        }
    }
    Ok(Some(header))
}

/// A name in lower case (RFC 9110, section 5.1: a token).
pub fn header_name(key: &str, name: &str) -> Result<String> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(is_token) {
        return Err(wrong(key, "is not a header name"));
    }
    Ok(name.to_ascii_lowercase())
}

fn header_text<'a>(key: &str, text: &'a str) -> Result<&'a str> {
    if text.chars().any(char::is_control) {
        return Err(wrong(key, "a header's value holds no line breaks or control characters"));
    }
    Ok(text)
}
