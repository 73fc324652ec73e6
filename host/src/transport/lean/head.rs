//! The heads of a request and of its reply (RFC 9112, 2 to 4).

use std::{io::Write, mem::MaybeUninit, ops::Range};

use bytes::Bytes;
use hyper::{
    HeaderMap, Method, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING},
};
use zeroize::Zeroizing;

use super::framing::Framing;

/// Most headers of a reply.
const MOST_HEADERS: usize = 100;

/// The head of a request but for its length and its end, which follow: where the request is sent again and again, it is
/// written once. It holds secrets.
pub(super) fn write(method: &Method, target: &str, headers: &HeaderMap) -> Zeroizing<Vec<u8>> {
    let fields =
        || headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    let length = fields().map(|(name, value)| name.len() + value.len() + 4).sum::<usize>();
    let line = [method.as_str(), " ", target, " HTTP/1.1\r\n"];
    let length = length + line.iter().map(|part| part.len()).sum::<usize>();
    // A buffer that grows leaves its secrets behind where it was.
    let mut head = Zeroizing::new(Vec::with_capacity(length));
    for part in line {
        head.extend_from_slice(part.as_bytes());
    }
    for (name, value) in fields() {
        for part in [name, b": ", value, b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head
}

/// What follows the head of a request: the length of its body, if it can have one, and an empty line.
pub(super) struct End {
    text: [u8; 48],
    length: usize,
}

impl End {
    pub(super) fn of(method: &Method, body: &[u8]) -> Self {
        let (mut text, is_bodiless) = ([0; 48], matches!(*method, Method::GET | Method::HEAD));
        let room = text.len();
        let mut rest = &mut text[..];
        // A length has at most 20 digits.
        let _ = if body.is_empty() && is_bodiless {
            write!(rest, "\r\n")
        } else {
            write!(rest, "content-length: {}\r\n\r\n", body.len())
        };
        let length = room - rest.len();
        Self { text, length }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.text[..self.length]
    }
}

/// The head of a reply.
pub(crate) struct Head {
    /// Its status.
    pub(crate) status: StatusCode,
    /// What it was read from.
    bytes: Bytes,
    /// Where names and values lie in it.
    fields: Vec<(Range<usize>, Range<usize>)>,
    pub(super) framing: Framing,
    /// Whether the server lets the connection be used again after the body.
    pub(super) is_kept: bool,
}

impl Head {
    /// Reads the head of the final reply to a request; those of interim replies are passed over, and so is `arrived` up
    /// to where the body begins. None if more must arrive.
    ///
    /// # Errors
    /// It is no reply, or does not tell where its body ends.
    pub(super) fn read(arrived: &mut Bytes, method: &Method) -> Result<Option<Self>, String> {
        loop {
            let Some((length, head)) = Self::parse(arrived, method)? else { return Ok(None) };
            let _ = arrived.split_to(length);
            match head.status {
                StatusCode::SWITCHING_PROTOCOLS => {
                    return Err("a change to a protocol that nobody asked for".to_owned());
                }
                status if status.is_informational() => {}
                _ => return Ok(Some(head)),
            }
        }
    }

    fn parse(bytes: &Bytes, method: &Method) -> Result<Option<(usize, Self)>, String> {
        let mut fields = [const { MaybeUninit::uninit() }; MOST_HEADERS];
        let mut reply = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut reply,
            bytes,
            &mut fields,
        );
        let length = match parsed.map_err(|error| error.to_string())? {
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial => return Ok(None),
        };
        let status = StatusCode::from_u16(reply.code.unwrap_or_default());
        let status = status.map_err(|error| error.to_string())?;
        let is_newer = reply.version == Some(1);
        let start = bytes.as_ptr().addr();
        let range = |part: &[u8]| {
            let at = part.as_ptr().addr() - start;
            at..at + part.len()
        };
        let fields = reply.headers.iter();
        let fields = fields.map(|field| (range(field.name.as_bytes()), range(field.value)));
        let mut head = Self {
            status,
            bytes: bytes.slice(..length),
            fields: fields.collect(),
            framing: Framing::UntilClosed,
            is_kept: false,
        };
        head.framing = head.framing(method, is_newer)?;
        head.is_kept = head.lets_keep(is_newer);
        Ok(Some((length, head)))
    }

    /// Where the body ends (RFC 9112, 6.3).
    fn framing(&self, method: &Method, is_newer: bool) -> Result<Framing, String> {
        let is_bodiless = self.status.is_informational()
            || matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || *method == Method::HEAD;
        if is_bodiless {
            return Ok(Framing::Length(0));
        }
        let mut codings = self.all(TRANSFER_ENCODING.as_str()).peekable();
        if codings.peek().is_some() {
            // No other coding was asked for, and an old server knows none.
            return match (codings.next(), codings.next()) {
                (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") && is_newer => {
                    Ok(Framing::CHUNKED)
                }
                _ => Err("a transfer coding other than `chunked`".to_owned()),
            };
        }
        let mut framing = Framing::UntilClosed;
        for text in self.all(CONTENT_LENGTH.as_str()) {
            let length = digits(text).ok_or("a length that is no number of bytes")?;
            match framing {
                Framing::Length(other) if other != length => {
                    return Err("two lengths".to_owned());
                }
                _ => framing = Framing::Length(length),
            }
        }
        Ok(framing)
    }

    /// Whether another request may follow on the connection (RFC 9112, 9.3).
    fn lets_keep(&self, is_newer: bool) -> bool {
        let says = |word: &[u8]| {
            self.all(CONNECTION.as_str()).any(|option| option.eq_ignore_ascii_case(word))
        };
        let is_ambiguous =
            self.framing == Framing::CHUNKED && self.get(CONTENT_LENGTH.as_str()).is_some();
        let is_willing = if is_newer { !says(b"close") } else { says(b"keep-alive") };
        is_willing && self.framing != Framing::UntilClosed && !is_ambiguous
    }

    /// The members of all lists under a name in lower case.
    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let is_named = |known: &[u8]| known.eq_ignore_ascii_case(name.as_bytes());
        let lists = self.fields().filter(move |(known, _)| is_named(known));
        lists.flat_map(|(_, list)| list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii))
    }

    /// The first value under a name in lower case.
    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        let is_named = |known: &[u8]| known.eq_ignore_ascii_case(name.as_bytes());
        self.fields().find(|(known, _)| is_named(known)).map(|(_, value)| value)
    }

    /// Takes all values of a name away.
    pub(super) fn remove(&mut self, name: &str) {
        let Self { bytes, fields, .. } = self;
        fields.retain(|(known, _)| !bytes[known.clone()].eq_ignore_ascii_case(name.as_bytes()));
    }

    /// Names, in whatever case the server wrote them, and values.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        let fields = self.fields.iter();
        fields.map(|(name, value)| (&self.bytes[name.clone()], &self.bytes[value.clone()]))
    }
}

fn digits(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| is_number)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use hyper::header::{HOST, HeaderValue};

    use super::*;

    fn read(text: &str) -> Result<Option<(Head, Bytes)>, String> {
        let mut arrived = Bytes::copy_from_slice(text.as_bytes());
        Ok(Head::read(&mut arrived, &Method::POST)?.map(|head| (head, arrived)))
    }

    #[test]
    fn a_request_is_written_as_the_wire_has_it() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("localhost:1"));
        headers.append("x-a", HeaderValue::from_static("b"));
        headers.append("x-a", HeaderValue::from_bytes(b"\xe9").unwrap());
        let head = write(&Method::POST, "/a?b", &headers);
        assert_eq!(**head, *b"POST /a?b HTTP/1.1\r\nhost: localhost:1\r\nx-a: b\r\nx-a: \xe9\r\n");
        for (method, body, end) in [
            (Method::POST, "abc", "content-length: 3\r\n\r\n"),
            (Method::POST, "", "content-length: 0\r\n\r\n"),
            (Method::DELETE, "", "content-length: 0\r\n\r\n"),
            (Method::GET, "", "\r\n"),
            (Method::GET, "abc", "content-length: 3\r\n\r\n"),
        ] {
            assert_eq!(End::of(&method, body.as_bytes()).as_bytes(), end.as_bytes());
        }
    }

    #[test]
    fn a_reply_tells_its_headers_where_its_body_ends_and_whether_another_may_follow() {
        let (length, chunked) = (Framing::Length, Framing::CHUNKED);
        for (text, framing, is_kept) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", length(5), true),
            ("HTTP/1.1 200\r\nContent-Length: 5\r\ncontent-length: 5, 5\r\n\r\n", length(5), true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", chunked, true),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n",
                Framing::CHUNKED,
                false,
            ),
            ("HTTP/1.1 200 OK\r\n\r\n", Framing::UntilClosed, false),
            ("HTTP/1.1 204 No\r\ncontent-length: 5\r\n\r\n", length(0), true),
            ("HTTP/1.1 304 No\r\n\r\n", length(0), true),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: x, Close\r\n\r\n",
                length(5),
                false,
            ),
            ("HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\n", length(5), false),
            (
                "HTTP/1.0 200 OK\r\ncontent-length: 5\r\nconnection: Keep-Alive\r\n\r\n",
                length(5),
                true,
            ),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\na: b\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
                length(5),
                true,
            ),
        ] {
            for end in 0..text.len() {
                assert!(read(&text[..end]).unwrap().is_none(), "{text:?} to {end}");
            }
            let (head, rest) = read(&format!("{text}body")).unwrap().unwrap();
            assert_eq!((&head.framing, head.is_kept, &*rest), (&framing, is_kept, &b"body"[..]));
        }
        let text = "HTTP/1.1 429 Slow down\r\nRetry-After:  7 \r\nx-a: \r\nX-A: \u{e9}\r\n\r\n";
        let (mut head, _) = read(text).unwrap().unwrap();
        assert_eq!(head.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(head.get("retry-after"), Some(&b"7"[..]));
        let fields = [("Retry-After", "7"), ("x-a", ""), ("X-A", "\u{e9}")]
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        assert_eq!(head.fields().collect::<Vec<_>>(), fields);
        head.remove("x-a");
        assert_eq!(head.fields().collect::<Vec<_>>(), fields[..1]);
        let mut arrived = Bytes::from_static(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
        let head = Head::read(&mut arrived, &Method::HEAD).unwrap().unwrap();
        assert_eq!(head.framing, Framing::Length(0));
    }

    #[test]
    fn what_is_no_reply_or_has_no_certain_end_is_refused() {
        for text in [
            "no HTTP at all\r\n\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1 2x0 OK\r\n\r\n",
            "HTTP/1.1 099 Low\r\n\r\n",
            "HTTP/1.1 101 Switching\r\nupgrade: websocket\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\n",
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx-a: b\r\n  folded\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx a: b\r\n\r\n",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
        let many = "x-a: b\r\n".repeat(MOST_HEADERS + 1);
        assert!(read(&format!("HTTP/1.1 200 OK\r\n{many}\r\n")).is_err());
    }
}
