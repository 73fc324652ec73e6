//! What the tests of the mock use: a server on a free port, and a client that shares nothing with it.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
};

use serde_json::Value;

use super::{Server, Settings};

/// A reply, or what came of it.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body ended as it should: at its length, or with the last chunk.
    pub(crate) complete: bool,
    /// The chunks of a body without a length.
    pub(crate) chunks: Vec<Vec<u8>>,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    /// The JSON of each `data:` line; `[DONE]` as a text.
    pub(crate) fn events(&self) -> Vec<Value> {
        let data = self.text().lines().filter_map(|line| line.strip_prefix("data:"));
        data.map(|data| match data.trim() {
            "[DONE]" => Value::from("[DONE]"),
            data => serde_json::from_str(data).unwrap_or_else(|_| panic!("no JSON: {data}")),
        })
        .collect()
    }

    /// The JSON of each line.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

/// A mock with these settings.
pub(crate) fn start(settings: Settings) -> Server {
    Server::start(settings).expect("a server on a free port")
}

/// A GET.
pub(crate) fn get(server: &Server, path: &str) -> Got {
    send(server, "GET", path, &[], "").expect("a reply")
}

/// A POST of JSON.
pub(crate) fn post(server: &Server, path: &str, body: &Value) -> Got {
    post_text(server, path, &body.to_string())
}

/// A POST of what may be no JSON, but says that it is.
pub(crate) fn post_text(server: &Server, path: &str, body: &str) -> Got {
    send(server, "POST", path, &[("content-type", "application/json")], body).expect("a reply")
}

/// One request on a connection of its own.
///
/// # Errors
/// The connection closes before a whole head has come.
pub(crate) fn send(
    server: &Server,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<Got> {
    let mut stream = TcpStream::connect(server.address())?;
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: mock\r\nconnection: close\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += &format!("content-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes())?;
    let mut reply = Vec::new();
    // A connection that breaks leaves what has come.
    let _ = stream.read_to_end(&mut reply);
    parse(&reply).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

fn parse(reply: &[u8]) -> Option<Got> {
    let end = reply.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&reply[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let body = &reply[end + 4..];
    let mut got = Got { status, headers, body: body.to_vec(), complete: false, chunks: Vec::new() };
    match got.header("content-length").and_then(|length| length.parse::<usize>().ok()) {
        Some(length) => got.complete = body.len() == length,
        None => {
            (got.chunks, got.complete) = chunks(body);
            got.body = got.chunks.concat();
        }
    }
    Some(got)
}

fn chunks(mut body: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut chunks = Vec::new();
    loop {
        let Some(end) = body.windows(2).position(|window| window == b"\r\n") else {
            return (chunks, false);
        };
        let size = std::str::from_utf8(&body[..end]).ok();
        let Some(size) = size.and_then(|size| usize::from_str_radix(size, 16).ok()) else {
            return (chunks, false);
        };
        if size == 0 {
            return (chunks, true);
        }
        let Some(chunk) = body.get(end + 2..end + 2 + size) else {
            return (chunks, false);
        };
        chunks.push(chunk.to_vec());
        body = body.get(end + 4 + size..).unwrap_or_default();
    }
}
