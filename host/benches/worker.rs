//! What a worker costs: `cargo bench -p host --bench worker`.
//!
//! The same library in this process and in a worker, side by side and in turns: the time of a step with a body of 2 KB,
//! one after the other, and beside them what it takes a bare process to send as much there and back; steps a second of many
//! sessions at once; the time from nothing to an open backend; and the memory of a worker. A worker is this program again,
//! since that is what a host starts.
//!
//! Where a core is idle, waking it is most of a step's time, and belongs to the machine: `taskset -c 1` shows the rest.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench prints, and fails by panicking"
)]

use std::{
    env, fs,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode},
    sync::Arc,
    time::{Duration, Instant},
};

use host::{
    launch::link::WORKER,
    plugin::{
        action::Pushed,
        inspect,
        load::{Loaded, sealed},
        wake::Registration,
        worker::client::{Program, Worker},
    },
    secret::Redactor,
};
use plugin_api::{
    Generate, Prompt, Request,
    message::{Event, Start},
};

/// The body of each step, in bytes.
const BODY: usize = 2048;
/// Steps of a turn, and turns.
const STEPS: usize = 1000;
const TURNS: usize = 20;
/// Lengths, head and body of the frame of such a step, and of the one that answers it, in bytes.
const THERE: usize = 8 + 47 + BODY;
const BACK: usize = 8 + 60;
/// What makes this program one that does nothing but answer.
const ECHO: &str = "__echo";
/// Sessions at once, and steps of each.
const SESSIONS: usize = 64;
const EACH: usize = 3000;
/// Workers that are started.
const STARTS: usize = 20;
/// What the plugin is told: to want another step for ever.
const OPEN: &[u8] = br#"{"config":{"mode":"again_forever"}}"#;

fn main() -> ExitCode {
    match env::args().nth(1).as_deref() {
        Some(WORKER) => return host::cli::main().into(),
        Some(ECHO) => return echo(),
        _ => {}
    }
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::spawn(measure()).await.unwrap() });
    ExitCode::SUCCESS
}

async fn measure() {
    let path = plugin();
    let bytes = fs::read(&path).unwrap();
    let inspection = inspect::inspect(&bytes).unwrap();
    let (manifest, json) = (&inspection.manifest, &inspection.manifest_bytes);
    let copy = sealed(&path, &bytes).unwrap();
    let program = Program::new(
        &path,
        Arc::new(copy.try_clone().unwrap()),
        manifest,
        json,
        false,
        Arc::new(Redactor::default()),
    );
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let begun = Instant::now();
        let worker = Worker::start(program.clone(), OPEN.to_vec()).await.unwrap();
        starts.push(begun.elapsed());
        drop(worker);
    }
    println!("start of a worker, until its backend is open: {:?}", median(&mut starts));

    let worker = Arc::new(Worker::start(program, OPEN.to_vec()).await.unwrap());
    let loaded = Loaded::open(&path, copy, json, manifest.abi, false).unwrap();
    let backend = Arc::new(loaded.open_backend(OPEN, 1).unwrap());
    let (head, text) = start();
    let body = vec![b'x'; BODY];
    let resumed = br#"{"resumed":{}}"#;
    let (here, there) = (Registration::enter(), Registration::enter());
    let mut here = backend.begin(here.token()).unwrap();
    let mut there = worker.begin(there.token()).await.unwrap();
    let mut pushed = Vec::<Pushed>::new();
    here.step(&head, &text, &mut pushed);
    there.step(&head, &text, &mut pushed).await.unwrap();
    let (mut in_process, mut in_worker, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    let (mut socket, mut child) = echoing();
    let mut answer = [0; BACK];
    for _ in 0..TURNS {
        for _ in 0..STEPS {
            pushed.clear();
            let begun = Instant::now();
            here.step(resumed, &body, &mut pushed);
            in_process.push(begun.elapsed());
        }
        for _ in 0..STEPS {
            pushed.clear();
            let begun = Instant::now();
            there.step(resumed, &body, &mut pushed).await.unwrap();
            in_worker.push(begun.elapsed());
        }
        for _ in 0..STEPS {
            let begun = Instant::now();
            socket.write_all(&[b'x'; THERE]).unwrap();
            socket.read_exact(&mut answer).unwrap();
            bare.push(begun.elapsed());
        }
    }
    drop(socket);
    child.wait().unwrap();
    let (here, there) = (median(&mut in_process), median(&mut in_worker));
    println!(
        "a step at the median: {here:?} in-process, {there:?} in a worker: {:?} more; \
         {:?} for as many bytes there and back, nothing done with them",
        there - here,
        median(&mut bare)
    );

    let begun = Instant::now();
    let all: Vec<_> = (0..SESSIONS).map(|_| tokio::spawn(steps(Arc::clone(&worker)))).collect();
    for one in all {
        one.await.unwrap();
    }
    let rate = (SESSIONS * EACH) as f64 / begun.elapsed().as_secs_f64();
    println!("steps a second through one worker, {SESSIONS} sessions at once: {rate:.0}");
    println!(
        "memory of a worker: {} KiB resident, {} KiB of them its own; its share, with one host: {} KiB",
        resident("status", "VmRSS:"),
        resident("status", "RssAnon:"),
        resident("smaps_rollup", "Pss:")
    );
}

async fn steps(worker: Arc<Worker>) {
    let registration = Registration::enter();
    let mut session = worker.begin(registration.token()).await.unwrap();
    let (head, text) = start();
    let body = vec![b'x'; BODY];
    let mut pushed = Vec::new();
    session.step(&head, &text, &mut pushed).await.unwrap();
    for _ in 0..EACH {
        pushed.clear();
        session.step(br#"{"resumed":{}}"#, &body, &mut pushed).await.unwrap();
    }
}

/// A start event: head and body.
fn start() -> (Vec<u8>, Vec<u8>) {
    let request = Request::Generate(Generate::new(Prompt::Text("Hello?")));
    let mut body = Vec::new();
    let start = Start {
        request_id: "bench".into(),
        attempt: 1,
        deadline_ms: 0,
        requests: vec![request.put(&mut body)],
    };
    (serde_json::to_vec(&Event::Start(start)).unwrap(), body)
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// A process that answers, and the way to it.
fn echoing() -> (UnixStream, Child) {
    let (own, its) = UnixStream::pair().unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    (own, command.arg(ECHO).stdin(OwnedFd::from(its)).spawn().unwrap())
}

/// Reads as much as a step has and answers with as much as it does, until the end.
fn echo() -> ExitCode {
    let mut socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned().unwrap());
    let mut step = [0; THERE];
    while socket.read_exact(&mut step).is_ok() {
        socket.write_all(&[b'x'; BACK]).unwrap();
    }
    ExitCode::SUCCESS
}

/// A line of this file of this process's only child, in KiB.
fn resident(file: &str, name: &str) -> u64 {
    let threads = fs::read_dir("/proc/self/task").unwrap().map(|thread| thread.unwrap().path());
    let lists = threads.map(|thread| fs::read_to_string(thread.join("children")).unwrap());
    let child = lists.collect::<String>();
    let status = fs::read_to_string(format!("/proc/{}/{file}", child.trim())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The plugin that misbehaves, optimised.
fn plugin() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let target = target.join("test-plugins");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--manifest-path"]);
    cargo.arg(root.join("tests/plugins/hostile/Cargo.toml")).arg("--target-dir").arg(&target);
    assert!(cargo.status().unwrap().success());
    target.join("release/libhostile.so")
}
