//! Replies that no server should give, made of one that it does give.

use std::ops::Range;

use super::{
    Random, Scripted,
    mangle::{self, STRANGE, spread},
};
use crate::error::ErrorKind;

/// One reply, and what is wrong with it.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) reply: Scripted,
    pub(super) nature: Nature,
}

/// What an answer may be made of such a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    /// There is nothing in it to make one of.
    Shapeless,
    /// As above, and the status says what kind of failure it is.
    Status(u16),
    /// A character was made unreadable.
    Smudged,
    /// A field is other than it should be.
    Mutated,
    /// A field is an empty list, by which some wires say that the model said nothing.
    Emptied,
}

/// Places at which a reply is cut, at most.
const CUTS: usize = 100;

/// All the replies that are tried in the place of `good`.
pub(super) fn cases(good: &Scripted, stream: bool) -> Vec<Case> {
    let mut all = Vec::new();
    let mut add = |name: String, reply: Scripted, nature: Nature| {
        all.push(Case { name, reply, nature });
    };
    let with = |body: Vec<u8>| Scripted { body, pieces: Vec::new(), ..good.clone() };
    for (name, body) in shapeless() {
        add(format!("the body is {name}"), with(body), Nature::Shapeless);
    }
    let ends: Vec<usize> = (0..good.body.len()).collect();
    for end in spread(&ends, CUTS) {
        let cut = with(good.body.get(..*end).unwrap_or_default().to_vec());
        if stream {
            let broken = cut.clone().breaking(ErrorKind::Transport);
            add(format!("the connection breaks at byte {end}"), broken, Nature::Shapeless);
        }
        add(format!("the body is cut at byte {end}"), cut, Nature::Shapeless);
    }
    for at in spread(&ends, 24) {
        let mut body = good.body.clone();
        if let Some(byte) = body.get_mut(*at) {
            *byte = 0xff;
        }
        add(format!("byte {at} is 0xff"), with(body), Nature::Smudged);
    }
    for (name, body) in mutations(&good.body, stream) {
        let nature = if name.ends_with("is []") { Nature::Emptied } else { Nature::Mutated };
        add(name, with(body), nature);
    }
    for status in STATUSES {
        for (name, body) in [("no body", ""), ("a page", "<html><body>nginx</body></html>")] {
            let reply = Scripted { headers: Vec::new(), ..with(body.into()) }.status(status);
            add(format!("status {status} with {name}"), reply, Nature::Status(status));
        }
        for body in
            ["{\"error\":\"x\"}", "{\"error\":{\"message\":\"x\",\"type\":null}}", "{}", "[1]"]
        {
            let reply = Scripted { headers: Vec::new(), ..with(body.into()) }.status(status);
            add(format!("status {status} with {body}"), reply, Nature::Shapeless);
        }
    }
    for wait in ["soon", "-1", "1e400", "", "99999999999999999999", "Wed, 21 Oct 2015 07:28:00 GMT"]
    {
        let reply = Scripted::new(429, "").header("retry-after", wait);
        add(format!("status 429, retry-after {wait:?}"), reply, Nature::Shapeless);
    }
    for kind in [
        ErrorKind::Transport,
        ErrorKind::Timeout,
        ErrorKind::ForbiddenOrigin,
        ErrorKind::UnexpectedReply,
        ErrorKind::InvalidRequest,
        ErrorKind::Other,
    ] {
        add(format!("no reply: {kind}"), Scripted::unreachable(kind), Nature::Shapeless);
    }
    all
}

/// One such reply by chance.
pub(super) fn any(good: &Scripted, random: &mut Random) -> Scripted {
    let with = |body: Vec<u8>| Scripted { body, ..good.clone() };
    match random.below(6) {
        0 => with(random.pick(&shapeless()).map(|(_, body)| body.clone()).unwrap_or_default()),
        1 => {
            let end = random.below(good.body.len());
            with(good.body.get(..end).unwrap_or_default().to_vec())
        }
        2 => good.clone().breaking(ErrorKind::Transport),
        3 => {
            let body = random.pick(&["", "{}", "{\"error\":\"x\"}"]).copied().unwrap_or_default();
            with(body.into()).status(random.pick(&STATUSES).copied().unwrap_or(500))
        }
        _ => {
            let Ok(text) = std::str::from_utf8(&good.body) else { return good.clone() };
            let lines: Vec<Range<usize>> = json_lines(text).collect();
            let whole = || 0..text.len();
            let at = random.pick(&lines).cloned().unwrap_or_else(whole);
            let (before, rest) = text.split_at(at.start);
            let (json, after) = rest.split_at(at.len());
            match mangle::any(json, random) {
                Some(json) => with(format!("{before}{json}{after}").into_bytes()),
                None => good.clone(),
            }
        }
    }
}

const STATUSES: [u16; 26] = [
    100, 201, 202, 204, 206, 301, 304, 400, 401, 402, 403, 404, 408, 409, 413, 418, 422, 424, 429,
    451, 500, 501, 502, 503, 504, 529,
];

/// Bodies that say nothing.
fn shapeless() -> Vec<(String, Vec<u8>)> {
    let texts = [
        "",
        " ",
        "\n\n",
        "null",
        "true",
        "7",
        "\"text\"",
        "{}",
        "[]",
        "[[]]",
        "[{}]",
        "[null]",
        "\u{feff}",
        "\u{feff}{}",
        "1e999",
        "{\"a\":1e999}",
        "<html><body>Sign in</body></html>",
        "{\"detail\":\"Not Found\"}",
        "Internal Server Error",
        "data: [DONE]\n\n",
        "data:\n\n",
        "data: {}\n\n",
        "data: 7\n\n",
        "data: null\n\n",
        "data: <html>\n\n",
        "data: {\"a\"\n\ndata: :1}\n\n",
        "event: error\ndata: {\"x\":1}\n\n",
        "event: ping\n\n",
        ": comment\n\n",
        "{}\n{}\n",
        "\0\0\0\0",
    ];
    let mut all: Vec<_> =
        texts.into_iter().map(|text| (format!("{text:?}"), text.as_bytes().to_vec())).collect();
    all.push(("no UTF-8".to_owned(), b"\xff\xfe\xfa".to_vec()));
    all.push(("no UTF-8 inside JSON".to_owned(), b"{\"text\":\"\xff\"}".to_vec()));
    all.push(("a number of 400 digits".to_owned(), "9".repeat(400).into_bytes()));
    all.push(("a list a hundred thousand deep".to_owned(), "[".repeat(100_000).into_bytes()));
    all.push((
        "an object a hundred thousand deep".to_owned(),
        "{\"a\":".repeat(100_000).into_bytes(),
    ));
    all.push(("a megabyte of spaces".to_owned(), vec![b' '; 1 << 20]));
    all
}

/// The good body with something wrong in its JSON: in all of it, or in one of its lines where it is a stream.
fn mutations(body: &[u8], stream: bool) -> Vec<(String, Vec<u8>)> {
    let Ok(text) = std::str::from_utf8(body) else {
        return Vec::new();
    };
    if !stream {
        return mangle::all(text).into_iter().map(|(name, text)| (name, text.into())).collect();
    }
    let mut all = Vec::new();
    let lines: Vec<Range<usize>> = json_lines(text).collect();
    for line in spread(&lines, 4) {
        let (before, rest) = text.split_at(line.start);
        let (json, after) = rest.split_at(line.len());
        for (name, json) in mangle::all(json) {
            let name = format!("in the event at byte {}, {name}", line.start);
            all.push((name, format!("{before}{json}{after}").into_bytes()));
        }
        let other = format!("{before}\"{STRANGE}\"{after}");
        all.push((format!("the event at byte {} is a text", line.start), other.into_bytes()));
    }
    all
}

/// Where the JSON texts of a stream lie: lines that are one, or that follow `data:`.
fn json_lines(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = 0;
    text.split_inclusive('\n').filter_map(move |line| {
        let start = at;
        at += line.len();
        let json = line.strip_prefix("data:").unwrap_or(line);
        let trimmed = json.trim();
        let lead = line.len() - json.len() + (json.len() - json.trim_start().len());
        trimmed.starts_with('{').then(|| start + lead..start + lead + trimmed.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_of_a_stream_is_found_line_by_line() {
        let text = "data: {\"a\":1}\r\n\n: x\ndata:{\"b\":2}\n\ndata: [DONE]\n\n{\"c\":3}";
        let found: Vec<_> = json_lines(text).map(|range| &text[range]).collect();
        assert_eq!(found, ["{\"a\":1}", "{\"b\":2}", "{\"c\":3}"]);
    }

    #[test]
    fn no_case_is_the_good_reply() {
        let good = Scripted::new(200, "{\"text\":\"a\"}");
        for stream in [false, true] {
            let cases = cases(&good, stream);
            assert!(cases.len() > 200, "{}", cases.len());
            let same = |case: &&Case| {
                case.reply.status == 200
                    && case.reply.body == good.body
                    && case.reply.breaks.is_none()
            };
            assert_eq!(cases.iter().find(same).map(|case| &case.name), None);
        }
    }
}
