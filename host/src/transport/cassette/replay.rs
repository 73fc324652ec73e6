//! Answers from a recording. The file stays on the disk; in memory is where each exchange lies in it.

use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    io::{self, BufRead, BufReader},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use plugin_api::ErrorKind;

use super::{
    CassetteError,
    format::{Asked, Exchange, FORMAT, Line},
};
use crate::transport::{Body, Response, TransportError};

/// Requests without an answer that are looked at closely; of more it is enough to know how many.
const CLOSELY: u64 = 5;
/// Bytes that are shown from where two requests part.
const SHOWN: usize = 40;

/// A recording that answers.
#[derive(Debug)]
pub struct Player {
    path: PathBuf,
    blake3: String,
    file: File,
    /// The slots that had a secret, by backend.
    slots: HashMap<String, Vec<String>>,
    asked: Mutex<HashMap<[u8; 32], Takes>>,
    unknown: Mutex<Unknown>,
}

/// The answers to one request.
#[derive(Debug, Default)]
struct Takes {
    /// Where they lie, in the order in which they were asked for.
    takes: Vec<Place>,
    /// How often the request was asked.
    asked: usize,
}

/// Where an exchange lies in the file.
#[derive(Clone, Copy, Debug)]
struct Place {
    seq: u64,
    offset: u64,
    length: usize,
    line: usize,
}

/// What was asked and not recorded.
#[derive(Clone, Debug, Default)]
pub struct Unknown {
    /// How many requests.
    pub requests: u64,
    /// The first of them, and the recorded one that is nearest to it, with the text where they part.
    pub first: Option<String>,
}

impl Player {
    /// Opens a recording. A last line that was cut off, as a host that is killed leaves it, is ignored.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub fn open(path: &Path) -> Result<Arc<Self>, CassetteError> {
        let read = |source| CassetteError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(read)?;
        let mut hasher = blake3::Hasher::new();
        let mut player = Self {
            path: path.to_owned(),
            blake3: String::new(),
            file: file.try_clone().map_err(read)?,
            slots: HashMap::new(),
            asked: Mutex::default(),
            unknown: Mutex::default(),
        };
        let mut asked: HashMap<[u8; 32], Takes> = HashMap::new();
        let mut reader = BufReader::new(file);
        let (mut offset, mut bytes, mut number) = (0, Vec::new(), 0);
        loop {
            bytes.clear();
            let length = reader.read_until(b'\n', &mut bytes).map_err(read)?;
            if length == 0 {
                break;
            }
            number += 1;
            hasher.update(&bytes);
            let malformed = |reason: String| CassetteError::Malformed {
                path: path.to_owned(),
                line: number,
                reason,
            };
            let line: Line = match serde_json::from_slice(&bytes) {
                Ok(line) => line,
                Err(_) if number > 1 && bytes.last() != Some(&b'\n') => break,
                Err(error) => return Err(malformed(error.to_string())),
            };
            match line {
                Line::Recording(header) if header.format == FORMAT => {}
                Line::Recording(header) => {
                    return Err(malformed(format!("it has format {}", header.format)));
                }
                _ if number == 1 => return Err(malformed("it does not begin as one".to_owned())),
                Line::Backend(backend) => drop(player.slots.insert(backend.id, backend.slots)),
                Line::Exchange(exchange) => {
                    let place = Place { seq: exchange.seq, offset, length, line: number };
                    let digest = exchange.request.digest(&exchange.backend);
                    asked.entry(digest).or_default().takes.push(place);
                }
            }
            offset += length as u64;
        }
        if number == 0 {
            let reason = "it is empty".to_owned();
            return Err(CassetteError::Malformed { path: path.to_owned(), line: 1, reason });
        }
        for takes in asked.values_mut() {
            takes.takes.sort_by_key(|place| place.seq);
        }
        player.blake3 = hasher.finalize().to_hex().to_string();
        player.asked = Mutex::new(asked);
        Ok(Arc::new(player))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// BLAKE3 of its bytes, in hex.
    pub fn blake3(&self) -> &str {
        &self.blake3
    }

    /// What was asked so far and not recorded.
    pub fn unknown(&self) -> Unknown {
        lock(&self.unknown).clone()
    }

    /// The slots of a backend that had a secret; none if the backend was not recorded.
    pub(super) fn slots(&self, backend: &str) -> Option<&[String]> {
        self.slots.get(backend).map(Vec::as_slice)
    }

    /// What was recorded for this request: the first time the first answer, and so on, then the last one again and
    /// again, for a run may ask oftener than the recorded one (a retry falls to another of two equal samples).
    pub(super) fn answer(&self, backend: &str, asked: &Asked) -> Result<Response, TransportError> {
        let place = lock(&self.asked).get_mut(&asked.digest(backend)).and_then(|takes| {
            let place = takes.takes.get(takes.asked).or(takes.takes.last()).copied();
            takes.asked += 1;
            place
        });
        let Some(place) = place else { return Err(self.not_recorded(backend, asked)) };
        let exchange = self.read(place).map_err(|error| {
            let path = self.path.display();
            TransportError::new(
                ErrorKind::Other,
                format!("{path}: cannot read it any more: {error}"),
            )
        })?;
        response(exchange)
    }

    fn read(&self, place: Place) -> io::Result<Exchange> {
        let mut bytes = vec![0; place.length];
        self.file.read_exact_at(&mut bytes, place.offset)?;
        match serde_json::from_slice(&bytes)? {
            Line::Exchange(exchange) => Ok(*exchange),
            _ => Err(io::Error::other("it has changed")),
        }
    }

    /// The error of a request without an answer. No text of the request is in it: it goes into the journal, where a
    /// run may want none.
    fn not_recorded(&self, backend: &str, asked: &Asked) -> TransportError {
        let number = {
            let mut unknown = lock(&self.unknown);
            unknown.requests += 1;
            unknown.requests
        };
        let body = asked.body.as_bytes();
        let name = format!(
            "{} {}{} ({} bytes of body, blake3 {:.8})",
            asked.method,
            asked.base_url.as_deref().unwrap_or_default(),
            asked.url,
            body.len(),
            blake3::hash(body).to_hex()
        );
        let mut message = format!("the recording {} has no answer to {name}", self.path.display());
        if number > CLOSELY {
            return TransportError::new(ErrorKind::Other, message);
        }
        let mut details = String::new();
        match self.nearest(backend, asked) {
            Some(Near { line, same_url: true, at, text }) => {
                message.push_str(&format!(
                    "; nearest is line {line}, whose body differs from byte {at} on"
                ));
                details = format!("; there it says `{text}`, asked is `{}`", shown(body, at));
            }
            Some(Near { line, text, .. }) => {
                message.push_str(&format!("; nearest is line {line}, {text}"));
            }
            None => message.push_str(&format!("; it has no request of backend `{backend}` at all")),
        }
        if number == 1 {
            lock(&self.unknown).first = Some(format!("{message}{details}"));
        }
        TransportError::new(ErrorKind::Other, message)
    }

    /// The recorded request of this backend that has most in common with one that was not recorded.
    fn nearest(&self, backend: &str, asked: &Asked) -> Option<Near> {
        let body = asked.body.as_bytes();
        let mut places: Vec<Place> =
            lock(&self.asked).values().filter_map(|takes| takes.takes.first().copied()).collect();
        places.sort_by_key(|place| place.line);
        let mut best: Option<((bool, usize), Near)> = None;
        for place in places {
            let Ok(exchange) = self.read(place) else { continue };
            let request = &exchange.request;
            if exchange.backend != backend {
                continue;
            }
            let same_url = (&request.method, &request.url) == (&asked.method, &asked.url);
            let common = |a: &[u8], b: &[u8]| a.iter().zip(b).take_while(|(a, b)| a == b).count();
            let (at, text) = if same_url {
                let at = common(request.body.as_bytes(), body);
                (at, shown(request.body.as_bytes(), at))
            } else {
                let at = common(request.url.as_bytes(), asked.url.as_bytes());
                (at, format!("{} {}", request.method, request.url))
            };
            if best.as_ref().is_none_or(|(so_far, _)| (same_url, at) > *so_far) {
                best = Some(((same_url, at), Near { line: place.line, same_url, at, text }));
            }
        }
        best.map(|(_, near)| near)
    }
}

/// A recorded request that resembles another one.
struct Near {
    line: usize,
    same_url: bool,
    /// How far they are the same.
    at: usize,
    /// What it is, or says from there on.
    text: String,
}

/// A few bytes of a body before and after where it parts from another one.
fn shown(body: &[u8], at: usize) -> String {
    let start = at.saturating_sub(SHOWN / 2);
    let end = (at + SHOWN / 2).min(body.len());
    String::from_utf8_lossy(body.get(start..end).unwrap_or_default()).into_owned()
}

/// The exchange once more.
fn response(exchange: Exchange) -> Result<Response, TransportError> {
    let broken = exchange.error.map(|error| TransportError::new(error.kind, error.message));
    let Some(reply) = exchange.reply else {
        let nothing =
            || TransportError::new(ErrorKind::Other, "the recording has neither reply nor error");
        return Err(broken.unwrap_or_else(nothing));
    };
    let mut rest = reply.body.bytes().map(Bytes::from).ok_or_else(|| {
        TransportError::new(ErrorKind::Other, "a body of the recording is not base64")
    })?;
    let mut chunks = VecDeque::new();
    for length in reply.chunks {
        chunks.push_back(Ok(rest.split_to(length.min(rest.len()))));
    }
    if !rest.is_empty() {
        chunks.push_back(Ok(rest));
    }
    chunks.extend(broken.map(Err));
    Ok(Response {
        status: reply.status,
        headers: reply.headers,
        retry_after: reply.retry_after_ms.map(Duration::from_millis),
        body: Body::recorded(chunks),
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
