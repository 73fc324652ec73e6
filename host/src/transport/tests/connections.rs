//! What a server may do to a connection between two requests and in the middle of one.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    sync::mpsc,
};

use plugin_api::ErrorKind;

use super::{Client, Server, Settings, echo, reply, request, settings};

#[tokio::test]
async fn what_a_server_may_have_seen_is_not_sent_again() {
    // What the server says to the second request of its first connection, before it closes it.
    for begun in ["", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\n"] {
        let (seen, requests) = mpsc::channel();
        let server = Server::start(move |number, stream| {
            if number == 0 {
                request(stream).unwrap();
                reply(stream, "200 OK", b"");
            }
            while request(stream).is_some() {
                seen.send(()).unwrap();
                stream.write_all(begun.as_bytes()).unwrap();
                drop(stream.shutdown(Shutdown::Both));
            }
        });
        let client = Client::of(&server);
        client.ask("/", "").await.unwrap();
        let error = client.ask("/", "again").await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Transport, "{error}");
        assert_eq!(requests.try_iter().count(), 1, "{begun:?}: {error}");
    }
}

/// Waits until the other end's kernel knows that a stream is closed: on a busy machine that takes a moment, also here.
/// Its socket is open still, or gone already if the client was as quick.
fn wait_until_heard(stream: &TcpStream) {
    const ESTABLISHED: &str = "01";
    let end = |address: std::net::SocketAddr| format!(":{:04X}", address.port());
    let its = end(stream.peer_addr().unwrap());
    let own = end(stream.local_addr().unwrap());
    let is_open = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        matches!(fields[..], [_, local, remote, state, ..]
            if local.ends_with(&its) && remote.ends_with(&own) && state == ESTABLISHED)
    };
    while std::fs::read_to_string("/proc/self/net/tcp").unwrap().lines().any(is_open) {
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_request_goes_over_another_connection_if_the_kept_one_was_closed_before() {
    let (closed, is_closed) = mpsc::channel();
    let server = Server::start(move |_, stream| {
        request(stream).unwrap();
        reply(stream, "200 OK", b"first");
        drop(stream.shutdown(Shutdown::Both));
        wait_until_heard(stream);
        let _ = closed.send(());
    });
    let client = Client::of(&server);
    assert_eq!(client.ask("/", "a").await.unwrap(), "first");
    is_closed.recv().unwrap();
    // Whoever waits for one connection hears of what has happened on the others, too.
    let other = Server::start(echo);
    assert_eq!(Client::of(&other).ask("/", "c").await.unwrap(), "c");
    assert_eq!(client.ask("/", "b").await.unwrap(), "first");
    assert_eq!(server.connections(), 2);
}

/// Reads the head of a request alone.
fn head_alone(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// More than the kernel holds for one who does not read.
const LARGE: usize = 32 << 20;

#[tokio::test]
async fn a_server_may_answer_before_it_has_heard_everything() {
    let body = "x".repeat(LARGE);
    let (answered, is_answered) = mpsc::channel::<()>();
    let is_answered = std::sync::Mutex::new(is_answered);
    let server = Server::start(move |_, stream| {
        let head = head_alone(stream);
        if head.contains("/refused") {
            reply(stream, "413 Too large", b"too large");
            // It hears no more.
            let _ = is_answered.lock().unwrap().recv();
            return;
        }
        if head.contains("/all-said-first") {
            reply(stream, "200 OK", &vec![b'y'; LARGE]);
            drop(std::io::copy(stream, &mut std::io::sink()));
            return;
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n").unwrap();
        stream.read_exact(&mut vec![0; LARGE]).unwrap();
        stream.write_all(b"done").unwrap();
        // What was heard in full leaves a connection as good as it was.
        echo(0, stream);
    });
    let client = Client::of(&server);
    assert_eq!(client.ask("/heard", &body).await.unwrap(), "done");
    assert_eq!(client.ask("/", "again").await.unwrap(), "again");
    assert_eq!(server.connections(), 1);
    let client = Client::with(&server, Settings { max_reply_bytes: LARGE, ..settings() });
    assert_eq!(client.ask("/all-said-first", &body).await.unwrap().len(), LARGE);
    let refused = client.send("/refused", &body).await.unwrap();
    assert_eq!((refused.status, &*refused.body.whole().await.unwrap()), (413, &b"too large"[..]));
    drop(answered);
}

#[tokio::test]
async fn a_reply_up_to_the_end_of_the_connection_is_whole_only_if_the_request_was_heard() {
    let server = Server::start(|_, stream| {
        head_alone(stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf").unwrap();
    });
    let client = Client::of(&server);
    assert_eq!(client.ask("/", "").await.unwrap(), "half");
    let error = client.ask("/", &"x".repeat(LARGE)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Transport, "{error}");
}

#[tokio::test]
async fn a_connection_is_not_used_again_after_what_casts_doubt_on_it() {
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2";
    for replied in [
        format!("{ok}\r\nconnection: close\r\n\r\nok"),
        format!("{ok}\r\n\r\nokHTTP/1.1 408 Too slow\r\n\r\n"),
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok".to_owned(),
        format!("{ok}\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    ] {
        let said = replied.clone();
        let server = Server::start(move |_, stream| {
            while request(stream).is_some() {
                stream.write_all(said.as_bytes()).unwrap();
            }
        });
        let client = Client::of(&server);
        for _ in 0..2 {
            assert_eq!(client.ask("/", "x").await.unwrap(), "ok");
        }
        assert_eq!(server.connections(), 2, "{replied:?}");
    }
}

#[tokio::test]
async fn interim_replies_are_passed_over() {
    let server = Server::start(|_, stream| {
        while request(stream).is_some() {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
            reply(stream, "103 Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK", b"final");
        }
    });
    let client = Client::of(&server);
    for _ in 0..2 {
        assert_eq!(client.ask("/", "x").await.unwrap(), "final");
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn the_head_of_a_reply_is_bound_however_much_a_server_says() {
    let server = Server::start(|_, stream| {
        let said: &[u8] = match &*request(stream).unwrap().0 {
            head if head.contains("/interim") => b"HTTP/1.1 100 Continue\r\n\r\n",
            _ => b"0123456789abcdef",
        };
        if said[0] == b'0' {
            stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").unwrap();
        }
        while stream.write_all(&said.repeat(1000)).is_ok() {}
    });
    for path in ["/interim", "/header"] {
        let error = Client::of(&server).ask(path, "").await.unwrap_err();
        assert!(error.message.contains("larger than 65536 bytes"), "{path}: {error}");
    }
}

#[tokio::test]
async fn a_request_that_is_given_up_takes_its_connection_with_it() {
    let (begun, is_begun) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |_, stream| {
        while let Some((head, body)) = request(stream) {
            if head.contains("/late") {
                begun.send(()).unwrap();
                // It answers once the client has gone, or never.
                drop(stream.read(&mut [0]));
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
            let _ = stream.write_all(&body);
        }
    });
    let (client, mut is_begun) = (Client::of(&server), is_begun);
    assert_eq!(client.ask("/", "first").await.unwrap(), "first");
    tokio::select! {
        _ = client.ask("/late", "other") => panic!("an answer"),
        _ = is_begun.recv() => {}
    }
    assert_eq!(client.ask("/", "third").await.unwrap(), "third");
    assert_eq!(server.connections(), 2);
}
