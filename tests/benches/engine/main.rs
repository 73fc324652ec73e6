//! How near the engine comes to the wire's limit: `cargo bench -p host-tests --bench engine`.
//!
//! The real `host run` against a bare loop of reqwest, each a process of its own, side by side on the same server:
//! the loop sends the same requests with the same settings and writes one JSON line a sample, and does nothing else. They
//! take turns, and of the ratios of the pairs the median is told, since what else the machine does weighs on both.
//! CPU time is the client's own, user's and system's; time is that of the whole process, its start included.
//!
//! `HOST_BENCH_SAMPLES` (100000), `HOST_BENCH_PAIRS` (5), `HOST_BENCH_NGINX` (path of nginx's program, else it is
//! looked for), `HOST_BENCH_HOST` (another `host`, with its plugins beside it), `HOST_BENCH_ONLY` (a part of the names
//! of what is measured: `startup`, `mock, tgi`, `nginx`, `50 ms`, `memory`, `likelihood`), `HOST_BENCH_MILLION` (measure
//! memory with a million samples too; needs 8 GB of disk where `TMPDIR` is).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench prints, and fails by panicking"
)]

mod bare;
mod child;
mod likelihood;
mod pairs;
mod server;
mod startup;
mod work;

use std::{env, path::Path};

use server::{Mock, Nginx, Wire};
use work::{Recorded, Work};

fn main() {
    if let Some(order) = env::var_os(bare::ORDER) {
        return bare::main(Path::new(&order));
    }
    let settings = Settings::new();
    let folder = tempfile::tempdir().unwrap();
    let work = Work::new(folder.path());
    if settings.wants("startup") {
        startup::measure(&work, settings.pairs);
    }
    println!(
        "\n| server | latency | concurrency | samples/s, host | bare loop | ratio | µs of CPU a sample, host | bare loop | ratio |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for wire in [Wire::Tgi, Wire::OpenAi] {
        let mock = Mock::start(&[]);
        against(&settings, &work, &format!("mock, {wire}"), &mock.url(wire), wire, 0);
    }
    match Nginx::start(folder.path()) {
        Ok(nginx) => against(&settings, &work, "nginx", &nginx.url(), Wire::OpenAi, 0),
        Err(why) => println!("| nginx | skipped: {why} |"),
    }
    let mock = Mock::start(&["--latency-ms", "50"]);
    // TGI's plugin asks about the server first, which would only be told as a lower rate of a short run.
    against(&settings, &work, "mock, openai", &mock.url(Wire::OpenAi), Wire::OpenAi, 50);
    if settings.wants("memory") {
        memory(&settings, &work);
    }
    if settings.wants("likelihood") {
        likelihood::measure(&settings, &work);
    }
}

/// What the environment asks for.
struct Settings {
    samples: usize,
    pairs: usize,
    only: Option<String>,
    million: bool,
}

impl Settings {
    fn new() -> Self {
        let number = |name: &str, default: usize| {
            env::var(name).map_or(default, |text| text.parse().expect(name))
        };
        Self {
            samples: number("HOST_BENCH_SAMPLES", 100_000),
            pairs: number("HOST_BENCH_PAIRS", 5),
            only: env::var("HOST_BENCH_ONLY").ok(),
            million: env::var_os("HOST_BENCH_MILLION").is_some(),
        }
    }

    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
    }
}

/// Both at 32 and at 256 at once.
fn against(settings: &Settings, work: &Work, name: &str, url: &str, wire: Wire, latency_ms: usize) {
    if !settings.wants(&format!("{name} {latency_ms} ms")) {
        return;
    }
    let recorded = Recorded::new(work, wire);
    for concurrency in [32, 256] {
        // Four seconds of it are enough where the server's latency sets the pace.
        let samples = match latency_ms {
            0 => settings.samples,
            ms => settings.samples.min(concurrency * 4_000 / ms),
        };
        let pairs = pairs::run(work, &recorded, url, samples, concurrency, settings.pairs);
        println!("| {name} | {latency_ms} ms | {concurrency} | {pairs} |");
    }
}

/// The most memory that a run takes, by the number of its samples.
fn memory(settings: &Settings, work: &Work) {
    println!("\n| samples | most memory, MB |\n|---|---|");
    let million: &[usize] = if settings.million { &[1_000_000] } else { &[] };
    for samples in [1_000, 100_000].iter().chain(million) {
        let mock = Mock::start(&[]);
        let run = work.run(Wire::Tgi, &mock.url(Wire::Tgi), *samples, 256);
        let spent = child::measure(&mut run.command(), true);
        println!("| {samples} | {:.1} |", spent.peak_mb);
    }
}
