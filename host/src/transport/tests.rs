//! What the transport promises, on plain http, against a server that does as each test says.

mod connections;

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use plugin_api::{ErrorKind, abi::Buf, manifest::Declared};
use url::Url;

use super::{Access, Response, Settings, Targets, Transport, TransportError};
use crate::{
    plugin::action::{HttpCall, HttpHead, Value},
    secret::{Grants, Origin, Redactor, Secrets},
};

/// A server: each connection is given to `serve`, with its number.
struct Server {
    url: String,
    connections: Arc<AtomicUsize>,
}

impl Server {
    fn start(serve: impl Fn(usize, &mut TcpStream) + Send + Sync + 'static) -> Self {
        Self::listen("127.0.0.1:0", serve).unwrap()
    }

    fn listen(
        address: &str,
        serve: impl Fn(usize, &mut TcpStream) + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let url = format!("http://{}", listener.local_addr()?);
        let (serve, connections) = (Arc::new(serve), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let number = count.fetch_add(1, Ordering::SeqCst);
                let serve = Arc::clone(&serve);
                thread::spawn(move || serve(number, &mut stream.unwrap()));
            }
        });
        Ok(Self { url, connections })
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Reads one request: its head and its body. None once the client has closed the connection.
fn request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = head {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length = length.map_or(0, |length| length.parse().unwrap());
            if bytes.len() >= end + 4 + length {
                return Some((head, bytes[end + 4..].to_vec()));
            }
        }
        match stream.read(&mut piece).unwrap_or(0) {
            0 => return None,
            read => bytes.extend_from_slice(&piece[..read]),
        }
    }
}

fn reply(stream: &mut TcpStream, head: &str, body: &[u8]) {
    let length = body.len();
    let head = format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
}

/// Answers every request with its own body.
fn echo(_: usize, stream: &mut TcpStream) {
    while let Some((_, body)) = request(stream) {
        reply(stream, "200 OK", &body);
    }
}

fn access(url: &str) -> Access {
    let base = Origin::of(&Url::parse(url).unwrap()).unwrap();
    Access {
        grants: Grants::new(&Declared::default(), Some(base), &[], &[]).unwrap(),
        secrets: Secrets::default(),
        redactor: Arc::new(Redactor::new(std::iter::empty())),
        reply_headers: ["x-asked", "content-encoding"]
            .map(reqwest::header::HeaderName::from_static)
            .into(),
        targets: Targets::default(),
        strays: Arc::default(),
        tape: None,
    }
}

fn settings() -> Settings {
    Settings { max_reply_bytes: 1 << 20, ..Settings::default() }
}

fn post(url: String, body: &str) -> HttpCall {
    let head = HttpHead {
        call: 1,
        method: "POST".into(),
        url,
        headers: vec![("content-type".into(), Value::Text("text/plain".into()))],
        stream: false,
        timeout_ms: 0,
        reply_headers: Vec::new(),
    };
    HttpCall { head: head.into(), body: Buf::from(body.as_bytes().to_vec()) }
}

/// A client of one server.
struct Client {
    transport: Transport,
    access: Access,
    url: String,
}

impl Client {
    fn of(server: &Server) -> Self {
        Self::with(server, settings())
    }

    fn with(server: &Server, settings: Settings) -> Self {
        let transport = Transport::new(settings);
        Self { transport, access: access(&server.url), url: server.url.clone() }
    }

    async fn send(&self, path: &str, body: &str) -> Result<Response, TransportError> {
        let call = post(format!("{}{path}", self.url), body);
        self.transport.send(call, &self.access).await
    }

    async fn ask(&self, path: &str, body: &str) -> Result<String, TransportError> {
        let whole = self.send(path, body).await?.body.whole().await?;
        Ok(String::from_utf8(whole.to_vec()).unwrap())
    }
}

#[tokio::test]
async fn a_connection_is_used_again_and_no_more_of_them_are_opened_than_are_needed_at_once() {
    let server = Server::start(echo);
    let client = Client::of(&server);
    for number in 0..20 {
        let body = format!("{number}{}", "x".repeat(number * 10_000));
        assert_eq!(client.ask("/", &body).await.unwrap(), body);
    }
    assert_eq!(server.connections(), 1);
    let asked = (0..8).map(|_| client.ask("/", "at once"));
    for answer in futures_util::future::join_all(asked).await {
        assert_eq!(answer.unwrap(), "at once");
    }
    assert!(server.connections() <= 8, "{}", server.connections());
}

#[tokio::test]
async fn a_server_of_this_machine_is_found_by_name_and_by_either_kind_of_address() {
    let mut server = Server::start(echo);
    server.url = server.url.replace("127.0.0.1", "localhost");
    assert_eq!(Client::of(&server).ask("/a", "named").await.unwrap(), "named");
    // Not every machine has one.
    if let Ok(server) = Server::listen("[::1]:0", echo) {
        assert_eq!(Client::of(&server).ask("/a", "six").await.unwrap(), "six");
    }
}

#[tokio::test]
async fn a_request_says_who_asks_for_what_and_where() {
    let server = Server::start(|_, stream| {
        while let Some((head, _)) = request(stream) {
            reply(stream, "200 OK", head.to_lowercase().as_bytes());
        }
    });
    let said = Client::of(&server).ask("/a/b?c=%20d#e", "x").await.unwrap();
    let host = server.url.strip_prefix("http://").unwrap();
    for line in [
        "post /a/b?c=%20d http/1.1",
        &format!("host: {host}"),
        "content-type: text/plain",
        "content-length: 1",
        "accept-encoding: gzip",
        "accept: */*",
        concat!("user-agent: host/", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(said.lines().any(|said| said == line), "{line}: {said}");
    }
}

#[tokio::test]
async fn a_failure_says_of_what_kind_it_is() {
    let silent = Server::start(|_, stream| while request(stream).is_some() {});
    let cut = Server::start(|_, stream| {
        request(stream).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").unwrap();
    });
    let stuck = Server::start(|_, stream| {
        request(stream).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").unwrap();
        request(stream);
    });
    let nonsense = Server::start(|_, stream| {
        request(stream).unwrap();
        stream.write_all(b"no HTTP at all\r\n\r\n").unwrap();
    });
    let large = Server::start(|_, stream| {
        request(stream).unwrap();
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        drop(stream.write_all(head.as_bytes()));
        while stream.write_all(&[&b"4000\r\n"[..], &[b'x'; 0x4000], b"\r\n"].concat()).is_ok() {}
    });
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        Server { url, connections: Arc::default() }
    };
    let short = Duration::from_millis(50);
    let attempt = Settings { attempt_timeout: short, ..settings() };
    let idle = Settings { idle_timeout: short, ..settings() };
    for (server, settings, kind, words) in [
        (&silent, attempt, ErrorKind::Timeout, "no reply within 50ms"),
        (&stuck, attempt, ErrorKind::Timeout, "the reply was not complete in time"),
        (&stuck, idle, ErrorKind::Timeout, "nothing came for 50ms"),
        (&cut, self::settings(), ErrorKind::Transport, "before the reply was complete"),
        (
            &nonsense,
            self::settings(),
            ErrorKind::Transport,
            "not what HTTP/1.1 allows: invalid HTTP version",
        ),
        (&large, self::settings(), ErrorKind::UnexpectedReply, "larger than 1048576 bytes"),
        (&nobody, self::settings(), ErrorKind::Transport, "Connection refused"),
    ] {
        let error = Client::with(server, settings).ask("/", "x").await.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(words), "{words}: {error}");
    }
}

#[tokio::test]
async fn a_time_that_was_long_does_not_lengthen_the_next_which_is_short() {
    let server = Server::start(|_, stream| {
        while let Some((head, _)) = request(stream) {
            if head.contains("/answered") {
                reply(stream, "200 OK", b"");
            }
        }
    });
    let client = Client::of(&server);
    client.ask("/answered", "").await.unwrap();
    let mut call = post(format!("{}/silent", server.url), "");
    Arc::make_mut(&mut call.head).timeout_ms = 20;
    let error = client.transport.send(call, &client.access).await.unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Timeout, "no reply within 20ms"));
}

#[tokio::test]
async fn a_streamed_body_comes_as_it_is_sent_and_no_faster_than_it_is_read() {
    let (step, steps) = mpsc::channel();
    let steps = std::sync::Mutex::new(steps);
    let server = Server::start(move |_, stream| {
        while request(stream).is_some() {
            let head = b"HTTP/1.1 200 OK\r\nx-asked: yes\r\nx-other: no\r\ntransfer-encoding: chunked\r\n\r\n";
            stream.write_all(head).unwrap();
            for word in ["one", "two"] {
                steps.lock().unwrap().recv().unwrap();
                stream.write_all(format!("3\r\n{word}\r\n").as_bytes()).unwrap();
            }
            stream.write_all(b"0\r\n\r\n").unwrap();
        }
    });
    let client = Client::of(&server);
    for _ in 0..2 {
        let response = client.send("/", "x").await.unwrap();
        assert_eq!(response.headers, [("x-asked".to_owned(), "yes".to_owned())]);
        let mut body = response.body;
        for word in ["one", "two"] {
            step.send(()).unwrap();
            assert_eq!(body.chunk().await.unwrap().unwrap(), word.as_bytes());
        }
        assert_eq!(body.chunk().await.unwrap(), None);
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn what_nobody_reads_is_not_sent_and_a_reply_that_is_let_go_closes_its_connection() {
    let (wrote, written) = mpsc::channel();
    let server = Server::start(move |_, stream| {
        request(stream).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let mut sent = 0_usize;
        while stream.write_all(&[b'x'; 1 << 16]).is_ok() {
            sent += 1 << 16;
        }
        wrote.send(sent).unwrap();
    });
    let settings = Settings { max_reply_bytes: usize::MAX, ..settings() };
    let client = Client::with(&server, settings);
    let mut body = client.send("/", "x").await.unwrap().body;
    let mut read = 0;
    for _ in 0..10 {
        read += body.chunk().await.unwrap().unwrap().len();
    }
    drop(body);
    let sent = tokio::task::spawn_blocking(move || written.recv().unwrap()).await.unwrap();
    assert!(sent < read + (32 << 20), "{read} bytes were read and {sent} sent");
}

#[tokio::test]
async fn a_redirect_within_the_server_is_followed_as_its_status_says() {
    let server = Server::start(|_, stream| {
        while let Some((head, body)) = request(stream) {
            let mut line = head.split(' ');
            let (method, path) = (line.next().unwrap(), line.next().unwrap());
            match path.strip_prefix("/from/") {
                Some("loop") => reply(stream, "307 Loop\r\nlocation: /from/loop", b""),
                Some("away") => reply(stream, "307 Away\r\nlocation: http://127.0.0.1:1/b", b""),
                Some(status) => {
                    reply(stream, &format!("{status} Moved\r\nlocation: ../to?x"), b"moved");
                }
                None => {
                    let body = String::from_utf8(body).unwrap();
                    reply(stream, "200 OK", format!("{method} {path} {body}").as_bytes());
                }
            }
        }
    });
    let client = Client::of(&server);
    for (status, expected) in [
        ("301", "GET /to?x "),
        ("302", "GET /to?x "),
        ("303", "GET /to?x "),
        ("307", "POST /to?x body"),
        ("308", "POST /to?x body"),
    ] {
        assert_eq!(client.ask(&format!("/from/{status}"), "body").await.unwrap(), expected);
    }
    let error = client.ask("/from/loop", "body").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::UnexpectedReply, "{error}");
    let error = client.ask("/from/away", "body").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::ForbiddenOrigin, "{error}");
}

#[tokio::test]
async fn a_compressed_reply_is_read_as_what_it_says() {
    let text = "an answer of some length ".repeat(5_000);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    let compressed = encoder.finish().unwrap();
    let server = Server::start(move |_, stream| {
        while let Some((head, _)) = request(stream) {
            let length =
                if head.contains("/cut") { compressed.len() / 2 } else { compressed.len() };
            reply(stream, "200 OK\r\ncontent-encoding: gzip", &compressed[..length]);
        }
    });
    let client = Client::of(&server);
    assert_eq!(client.ask("/", "x").await.unwrap(), text);
    assert!(client.send("/", "x").await.unwrap().headers.is_empty());
    let error = client.ask("/cut", "x").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Transport, "{error}");
    let bounded = Settings { max_reply_bytes: text.len() - 1, ..settings() };
    let error = Client::with(&server, bounded).ask("/", "x").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::UnexpectedReply, "{error}");
}
