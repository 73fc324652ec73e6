//! Whatever is asked and whatever is answered: a backend does not panic, and its sessions end.

#![allow(clippy::panic, reason = "a test helper fails by panicking")]

use std::ops::Range;

use super::{Random, Scripted, Sent, Server, Stage, broken, play};
use crate::{
    backend::Backend,
    error::ErrorKind,
    request::{Generate, Loglikelihood, Message, Part, Prompt, Request, Rolling},
};

/// Plays one session for each seed: a request of any kind with odd texts and parameters, to a server whose replies are
/// now good, now broken, in any order, late, in pieces, and which is sometimes ended early. `server` gives the good
/// replies; a request that it does not expect gets a 404.
///
/// Chance is that of the seed: to see one failure again, run `seed..seed + 1`.
///
/// ```
/// # mod echo { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/echo.rs")); }
/// # use echo::Echo;
/// use plugin_api::{json, testkit::{Scripted, Stage, no_panic}};
///
/// no_panic(
///     0..50,
///     || Stage::<Echo>::open(json!({ "base_url": "http://test" })),
///     || Scripted::json(&json!({ "text": "Hello" })),
/// );
/// ```
///
/// # Panics
/// The backend panicked or broke the contract otherwise; with the seed.
#[track_caller]
pub fn no_panic<B: Backend, S: Server>(
    seeds: Range<u64>,
    stage: impl Fn() -> Stage<B>,
    server: impl Fn() -> S,
) {
    for seed in seeds {
        let mut random = Random::new(seed);
        let stage = stage().shuffled(seed);
        let most = random.once_in(4).then(|| random.next() % 12);
        let texts: Vec<String> = (0..6).map(|_| text(&mut random)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let requests = requests(&texts, &mut random);
        let mut mangling = Mangling { server: server(), random };
        let ended = match play::whole(&stage, &requests, &mut mangling, most) {
            Ok((played, _)) => played.answers,
            Err(fault) => panic!("seed {seed}: {requests:?}: {fault}"),
        };
        for error in ended.values().filter_map(|answer| answer.as_ref().err()) {
            if matches!(error.kind, ErrorKind::Panic | ErrorKind::Protocol | ErrorKind::Crashed) {
                panic!("seed {seed}: {requests:?}: {error}");
            }
        }
    }
}

fn text(random: &mut Random) -> String {
    const PIECES: [&str; 14] = [
        "Q", " ", "\n\n", "é", "😀", "\0", "\"", "\\", "{{ x }}", "${HOME}", "</s>", "\u{feff}",
        "\u{202e}", "A:",
    ];
    let length = if random.once_in(20) { 20_000 } else { random.below(8) };
    (0..length).filter_map(|_| random.pick(&PIECES)).copied().collect()
}

/// One request, or sometimes a few of a kind.
fn requests<'a>(texts: &[&'a str], random: &mut Random) -> Vec<Request<'a>> {
    let items = if random.once_in(5) { 2 + random.below(3) } else { 1 };
    match random.below(12) {
        0 => vec![Request::Health],
        1 => vec![Request::Describe],
        2 => vec![Request::Prepare(Vec::new())],
        3 => vec![Request::Release(Vec::new())],
        4 => vec![Request::Tokenize(one(texts, random))],
        5 => vec![Request::Render(messages(texts, random))],
        6 => vec![Request::Embed(texts.iter().take(random.below(4)).copied().collect())],
        7 => vec![Request::Rolling(Rolling { text: one(texts, random) })],
        8 | 9 => (0..items).map(|_| Request::Loglikelihood(scoring(texts, random))).collect(),
        _ => (0..items).map(|_| Request::Generate(generation(texts, random))).collect(),
    }
}

fn one<'a>(texts: &[&'a str], random: &mut Random) -> &'a str {
    random.pick(texts).copied().unwrap_or_default()
}

fn prompt<'a>(texts: &[&'a str], random: &mut Random) -> Prompt<'a> {
    if random.once_in(2) {
        Prompt::Text(one(texts, random))
    } else {
        Prompt::Messages(messages(texts, random))
    }
}

fn messages<'a>(texts: &[&'a str], random: &mut Random) -> Vec<Message<'a>> {
    const ROLES: [&str; 5] = ["system", "user", "assistant", "", "tool"];
    let mut all = Vec::new();
    for _ in 0..random.below(4) {
        let mut content = vec![Part::Text(one(texts, random))];
        if random.once_in(4) {
            content.push(Part::Image { media_type: "image/png".into(), data: &[0, 255] });
        }
        let role = random.pick(&ROLES).copied().unwrap_or_default();
        all.push(Message { role: role.into(), content });
    }
    all
}

fn scoring<'a>(texts: &[&'a str], random: &mut Random) -> Loglikelihood<'a> {
    Loglikelihood {
        prompt: prompt(texts, random),
        continuations: (0..random.below(4)).map(|_| one(texts, random)).collect(),
        token_logprobs: random.once_in(2),
    }
}

fn generation<'a>(texts: &[&'a str], random: &mut Random) -> Generate<'a> {
    const FLOATS: [f64; 6] = [0.0, 0.5, 1.0, -1.0, 1e300, f64::MIN_POSITIVE];
    const COUNTS: [u32; 4] = [0, 1, 5, u32::MAX];
    let mut float = || random.once_in(2).then(|| random.pick(&FLOATS).copied()).flatten();
    let (temperature, top_p) = (float(), float());
    let mut count = || random.once_in(2).then(|| random.pick(&COUNTS).copied()).flatten();
    let (max_tokens, top_k, logprobs) = (count(), count(), count());
    let n = random.pick(&[0, 1, 1, 1, 3]).copied().unwrap_or(1);
    Generate {
        prompt: prompt(texts, random),
        n,
        max_tokens,
        temperature,
        top_p,
        top_k,
        stop: (0..random.below(4)).map(|_| one(texts, random).into()).collect(),
        seed: random.once_in(2).then(|| random.next()),
        logprobs,
        stream: random.once_in(2),
        extra: serde_json::Map::new(),
    }
}

/// A server whose every other reply is broken.
struct Mangling<S> {
    server: S,
    random: Random,
}

impl<S: Server> Server for Mangling<S> {
    fn answer(&mut self, sent: &Sent) -> Option<Scripted> {
        let random = &mut self.random;
        let good = self.server.answer(sent).unwrap_or_else(|| Scripted::new(404, ""));
        let mut reply = good;
        if random.once_in(2) {
            reply = broken::any(&reply, random);
        }
        if random.once_in(3) {
            reply = reply.cut_every(1 + random.below(9));
        }
        if random.once_in(3) {
            reply = reply.after(std::time::Duration::from_millis(random.next() % 100_000));
        }
        Some(reply)
    }
}
