//! What the mock spends on a request: `cargo bench -p host --bench mock`.
//!
//! CPU time, the kernel's part included, of a whole process that does nothing but serve; the client is another process,
//! this program started again. Of several rounds the best and the middle one are told: what else the machine does costs
//! a round time, and never saves it any.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench prints, and fails by panicking"
)]

use std::{
    env,
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    thread,
};

use host::mock::{Flavor, Server, Settings};
use rustix::time::{ClockId, clock_gettime};

/// Where the client finds the server, and what it asks.
const ADDRESS: &str = "HOST_BENCH_ADDRESS";
const CASE: &str = "HOST_BENCH_CASE";
/// Connections that ask at once, and how often each does.
const CONNECTIONS: usize = 8;
const REQUESTS: usize = 1_000;
const ROUNDS: usize = 15;

/// A request: what it shows, flavor, path and body.
const CASES: [(&str, &str, &str, &str); 7] = [
    (
        "a short answer",
        "tgi",
        "/generate",
        r#"{"inputs":"What is 17 + 25?","parameters":{"do_sample":false,"max_new_tokens":16,"details":true}}"#,
    ),
    (
        "a prompt of 90 tokens scored",
        "tgi",
        "/generate",
        r#"{"inputs":"Question: How do I ready a guinea pig cage for its new occupants?\nAnswer: Provide the guinea pig with a cage full of a few inches of bedding made of ripped paper strips, you will also need to supply it with a water bottle and a food dish.","parameters":{"do_sample":false,"max_new_tokens":1,"details":true,"decoder_input_details":true}}"#,
    ),
    (
        "the same, by SGLang",
        "sglang",
        "/generate",
        r#"{"text":"Question: How do I ready a guinea pig cage for its new occupants?\nAnswer: Provide the guinea pig with a cage full of a few inches of bedding made of ripped paper strips, you will also need to supply it with a water bottle and a food dish.","sampling_params":{"temperature":0,"max_new_tokens":1},"return_logprob":true,"logprob_start_len":0}"#,
    ),
    (
        "a chat",
        "openai",
        "/v1/chat/completions",
        r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Which is larger?\nA. one\nB. two\nAnswer with A or B."}],"temperature":0,"max_completion_tokens":16}"#,
    ),
    (
        "a message",
        "anthropic",
        "/v1/messages",
        r#"{"model":"claude-haiku-4-5","messages":[{"role":"user","content":"Which is larger?\nA. one\nB. two\nAnswer with A or B."}],"temperature":0,"max_tokens":16}"#,
    ),
    (
        "a candidate",
        "gemini",
        "/v1beta/models/gemini-2.0-flash:generateContent",
        r#"{"contents":[{"role":"user","parts":[{"text":"Which is larger?\nA. one\nB. two\nAnswer with A or B."}]}],"generationConfig":{"temperature":0,"maxOutputTokens":16}}"#,
    ),
    (
        "a stream of 10 tokens",
        "tgi",
        "/generate_stream",
        r#"{"inputs":"Tell me something.","parameters":{"do_sample":false,"max_new_tokens":10}}"#,
    ),
];

fn main() {
    match (env::var(ADDRESS), env::var(CASE)) {
        (Ok(address), Ok(case)) => ask(&address, case.parse().unwrap()),
        _ => CASES.iter().enumerate().for_each(|(case, _)| measure(case)),
    }
}

/// Serves one case to a client and prints what it took.
fn measure(case: usize) {
    let (name, flavor, path, _) = CASES[case];
    if flavor.parse::<Flavor>().is_err() {
        return;
    }
    let server = Server::start(Settings::default()).unwrap();
    let client = || {
        let mut again = Command::new(env::current_exe().unwrap());
        again.env(ADDRESS, server.address().to_string()).env(CASE, case.to_string());
        assert!(again.status().unwrap().success());
    };
    client();
    let mut rounds = [0.0; ROUNDS].map(|_: f64| {
        let before = cpu_us();
        client();
        (cpu_us() - before) / (CONNECTIONS * REQUESTS) as f64
    });
    rounds.sort_by(f64::total_cmp);
    let (best, middle) = (rounds[0], rounds[ROUNDS / 2]);
    println!("{best:5.1} µs of CPU a request (middle {middle:5.1}): {name} (/{flavor}{path})");
}

/// What this process has used.
fn cpu_us() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

/// Asks a server, again and again, on several connections.
fn ask(address: &str, case: usize) {
    let (_, flavor, path, body) = CASES[case];
    let length = body.len();
    let request = format!(
        "POST /{flavor}{path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         anthropic-version: 2023-06-01\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_nodelay(true).unwrap();
                let mut buffer = Vec::with_capacity(1 << 16);
                for _ in 0..REQUESTS {
                    stream.write_all(request.as_bytes()).unwrap();
                    reply(&mut stream, &mut buffer);
                }
            });
        }
    });
}

/// Reads one reply to its end.
fn reply(stream: &mut TcpStream, buffer: &mut Vec<u8>) {
    let mut chunk = [0; 1 << 15];
    buffer.clear();
    loop {
        let read = stream.read(&mut chunk).unwrap();
        assert!(read > 0, "the server went away");
        buffer.extend_from_slice(&chunk[..read]);
        let Some(head) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let text = std::str::from_utf8(&buffer[..head]).unwrap();
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let done = match length {
            Some(length) => buffer.len() >= head + 4 + length.parse::<usize>().unwrap(),
            None => buffer.ends_with(b"0\r\n\r\n"),
        };
        if done {
            return;
        }
    }
}
