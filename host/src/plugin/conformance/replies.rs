//! What a server might say: whole replies, broken ones, and those that no documentation has.

use bytes::Bytes;
use plugin_api::ErrorKind;

/// What comes of a request.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// A reply.
    Whole(Whole),
    /// A streamed reply that breaks off after its first half; a whole one does not come at all.
    Half(Whole),
    /// None.
    Broken {
        /// Why, as the plugin is told.
        kind: ErrorKind,
        /// What happened.
        message: String,
    },
}

/// A reply to its end.
#[derive(Clone, Debug)]
pub(super) struct Whole {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
}

/// A reply of this status and text.
pub(super) fn text(status: u16, text: &str) -> Reply {
    Reply::Whole(whole(status, text.as_bytes()))
}

fn whole(status: u16, body: &[u8]) -> Whole {
    Whole { status, headers: Vec::new(), body: Bytes::copy_from_slice(body) }
}

/// No reply, for this reason.
pub(super) fn broken(kind: ErrorKind) -> Reply {
    Reply::Broken { kind, message: format!("looked at: {kind}") }
}

/// Failures whose kind is the same whatever the vendor, and the kinds that they may be told as.
pub(super) fn failures() -> Vec<(&'static str, Reply, &'static [ErrorKind])> {
    use ErrorKind::{Loading, Overloaded, RateLimited, Timeout, Transport, Unauthorized};
    let json = r#"{"error":{"message":"looked at","type":"error","code":"looked_at"}}"#;
    vec![
        ("status 401", text(401, json), &[Unauthorized]),
        ("status 429", text(429, json), &[RateLimited]),
        ("status 503", text(503, json), &[Overloaded, Loading]),
        ("a time-out", broken(Timeout), &[Timeout]),
        ("a broken connection", broken(Transport), &[Transport]),
    ]
}

/// Replies that mean nothing, each with what it is.
pub(super) fn garbage() -> Vec<(&'static str, Reply)> {
    const TEXTS: [(&str, u16, &str); 20] = [
        ("nothing", 200, ""),
        ("nothing with status 204", 204, ""),
        ("`null`", 200, "null"),
        ("`true`", 200, "true"),
        ("a number", 200, "1e999"),
        ("a string", 200, "\"hello\""),
        ("`[]`", 200, "[]"),
        ("`{}`", 200, "{}"),
        ("half an object", 200, "{\"choices\":[{\"message\":{\"content\":\"a"),
        ("empty choices", 200, "{\"choices\":[],\"candidates\":[],\"output\":[]}"),
        ("choices of null", 200, "{\"choices\":null,\"generated_text\":null,\"text\":null}"),
        (
            "numbers for texts",
            200,
            "{\"choices\":[{\"text\":7,\"message\":7,\"finish_reason\":{}}]}",
        ),
        ("numbers without end", 200, "{\"usage\":{\"prompt_tokens\":1e400},\"choices\":[{}]}"),
        ("negative counts", 200, "{\"usage\":{\"prompt_tokens\":-5},\"choices\":[{}]}"),
        ("a page", 200, "<!doctype html><html><body>502 Bad Gateway</body></html>"),
        ("events without sense", 200, "data: {\"x\":1}\n\ndata: [DONE]\n\n"),
        ("broken events", 200, "data: {\"choices\":[{\"delta\":\n\nevent\ndata\n\n:\n\n"),
        ("a redirect", 302, ""),
        ("a page with status 404", 404, "<h1>Not Found</h1>"),
        ("a page with status 500", 500, "<h1>Internal Server Error</h1>"),
    ];
    let mut all: Vec<(&str, Reply)> =
        TEXTS.iter().map(|(what, status, body)| (*what, text(*status, body))).collect();
    let mut deep = "[".repeat(20_000);
    deep.push_str(&"]".repeat(20_000));
    all.push(("brackets in brackets", text(200, &deep)));
    let bytes: Vec<u8> =
        (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    all.push(("bytes that are no text", Reply::Whole(whole(200, &bytes))));
    all.push(("bytes that are no text with status 400", Reply::Whole(whole(400, &bytes))));
    all.push(("half a reply", Reply::Half(whole(200, b"{\"choices\":[{\"text\":\"a\"}]}"))));
    all
}
