//! Exchanges that `host run --record FILE` wrote, as a server of a test.
//!
//! The file holds JSON lines of format 1: `recording` first, `backend` for each backend that was opened, and an
//! `exchange` for each request with what came of it. Secrets are not in it.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;

use super::{Scripted, Sent, Server, base64};
use crate::error::ErrorKind;

const FORMAT: u32 = 1;

/// A file of exchanges, made by `host run --record FILE`.
///
/// ```no_run
/// # mod echo { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/echo.rs")); }
/// # use echo::Echo;
/// use plugin_api::{Generate, Prompt, Request, json};
/// use plugin_api::testkit::{Recording, Stage};
///
/// let recording = Recording::read("tests/recordings/echo.jsonl").unwrap();
/// let stage = Stage::<Echo>::granted(json!({ "base_url": "http://test" }), &["api_key"]);
/// // The run's backend `echo`, at the address that the test configures.
/// let server = recording.backend("echo", "http://test");
/// let played = stage.ask(Request::Generate(Generate::new(Prompt::Text("Hello"))), server);
/// ```
#[derive(Clone, Debug)]
pub struct Recording {
    name: String,
    exchanges: Vec<Exchange>,
}

/// The server that one backend of a recorded run spoke to. A request is answered if it is, byte by byte, one that was
/// recorded (headers apart): the first time by its first answer and so on, then by the last one again.
///
/// ```no_run
/// use plugin_api::testkit::{Recorded, Recording};
///
/// let server: Recorded = Recording::read("tests/recordings/echo.jsonl")?.backend("echo", "http://test");
/// assert!(server.exchanges() > 0);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug)]
pub struct Recorded {
    name: String,
    base_url: String,
    answers: BTreeMap<Asking, Takes>,
}

/// Method, URL after the base, and body.
type Asking = (String, String, Vec<u8>);

/// The answers, and how many of them were given.
type Takes = (Vec<Scripted>, usize);

impl Recording {
    /// Reads a file. A last line that was cut off, as a host that is killed leaves it, is passed over.
    ///
    /// # Errors
    /// It cannot be read, or is no recording of format 1; with file and line.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, String> {
        let name = path.as_ref().display().to_string();
        let text = fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
        Self::parse(&name, &text)
    }

    fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut exchanges = Vec::new();
        for (number, line) in (1_usize..).zip(text.split_inclusive('\n')) {
            let wrong = |what: &str| format!("{name}: line {number}: {what}");
            match (number, serde_json::from_str::<Line>(line)) {
                (1, Ok(Line::Recording(header))) if header.format == FORMAT => {}
                (1, Ok(Line::Recording(header))) => {
                    return Err(wrong(&format!("expected format 1, found {}", header.format)));
                }
                (1, _) => return Err(wrong("not the beginning of a recording")),
                (_, Ok(Line::Exchange(exchange))) => exchanges.push(*exchange),
                (_, Ok(_)) => {}
                (_, Err(_)) if !line.ends_with('\n') => {}
                (_, Err(error)) => return Err(wrong(&error.to_string())),
            }
        }
        if text.is_empty() {
            return Err(format!("{name}: it is empty"));
        }
        exchanges.sort_by_key(|exchange| exchange.seq);
        Ok(Self { name: name.to_owned(), exchanges })
    }

    /// The server of the backend that the run file called `id`. `base_url` is the address that the test configures; it
    /// takes the place of the recorded one.
    pub fn backend(&self, id: &str, base_url: &str) -> Recorded {
        let mut answers: BTreeMap<Asking, Takes> = BTreeMap::new();
        for exchange in self.exchanges.iter().filter(|exchange| exchange.backend == id) {
            let asked = &exchange.request;
            let (url, body) = (asked.url.clone(), asked.body.bytes());
            let key = (asked.method.clone(), url, body);
            answers.entry(key).or_default().0.push(exchange.answer());
        }
        let base_url = base_url.trim_end_matches('/').to_owned();
        Recorded { name: format!("{} (backend {id})", self.name), base_url, answers }
    }
}

impl Recorded {
    /// How many different requests it knows.
    pub fn exchanges(&self) -> usize {
        self.answers.len()
    }
}

impl Server for Recorded {
    fn answer(&mut self, sent: &Sent) -> Option<Scripted> {
        let url = sent.url.strip_prefix(&self.base_url).unwrap_or(&sent.url).to_owned();
        let (takes, asked) =
            self.answers.get_mut(&(sent.method.clone(), url, sent.body.clone()))?;
        let take = takes.get(*asked).or(takes.last()).cloned();
        *asked += 1;
        take
    }

    fn expected(&self) -> String {
        let mut known: Vec<_> =
            self.answers.keys().map(|(method, url, _)| format!("{method} {url}")).collect();
        known.dedup();
        format!(
            "a request of {}, which are, each with its body: {}",
            self.name,
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        )
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Recording(Header),
    Backend(serde::de::IgnoredAny),
    Exchange(Box<Exchange>),
}

#[derive(Debug, Deserialize)]
struct Header {
    format: u32,
}

#[derive(Clone, Debug, Deserialize)]
struct Exchange {
    seq: u64,
    backend: String,
    request: Asked,
    #[serde(default)]
    reply: Option<Replied>,
    #[serde(default)]
    error: Option<Broken>,
}

#[derive(Clone, Debug, Deserialize)]
struct Asked {
    method: String,
    url: String,
    #[serde(default)]
    body: Content,
}

#[derive(Clone, Debug, Deserialize)]
struct Replied {
    status: u16,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: Content,
    #[serde(default)]
    chunks: Vec<usize>,
}

#[derive(Clone, Debug, Deserialize)]
struct Broken {
    kind: ErrorKind,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Content {
    Text(String),
    Base64(String),
}

impl Default for Content {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl Content {
    /// What is not base64 after all is taken as it stands.
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone().into_bytes(),
            Self::Base64(text) => base64::decode(text).unwrap_or_else(|| text.clone().into_bytes()),
        }
    }
}

impl Exchange {
    fn answer(&self) -> Scripted {
        let kind = self.error.as_ref().map(|error| error.kind);
        let Some(reply) = &self.reply else {
            return Scripted::unreachable(kind.unwrap_or(ErrorKind::Other));
        };
        let mut scripted = Scripted::new(reply.status, reply.body.bytes());
        scripted.headers.clone_from(&reply.headers);
        let mut end = 0;
        let ends = reply.chunks.iter().map(|bytes| {
            end += bytes;
            end
        });
        let scripted = scripted.cut_at(&ends.collect::<Vec<_>>());
        match kind {
            Some(kind) => scripted.breaking(kind),
            None => scripted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_recording_is_named_with_its_line() {
        let head = "{\"recording\":{\"format\":1}}\n";
        for (text, says) in [
            (String::new(), "f: it is empty"),
            ("hello\n".to_owned(), "f: line 1: not the beginning"),
            ("{\"recording\":{\"format\":2}}\n".to_owned(), "expected format 1, found 2"),
            (format!("{head}{{\n"), "f: line 2: "),
        ] {
            let error = Recording::parse("f", &text).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        // What a host that is killed leaves.
        assert!(Recording::parse("f", &format!("{head}{{\"exch")).is_ok());
    }
}
