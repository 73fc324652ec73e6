//! What one request costs: start, http, reply, done through a library that was loaded from disk.
//!
//! A 1 KB prompt, a 2 KB chat reply, the vendor's codec and the host's reading of every action included,
//! beside the same codec called directly. Runs alternate, so that the machine's moods fall on all alike.
//!
//!     taskset -c 1 cargo bench -p plugin-api

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark prints its figures and fails by panicking"
)]

#[path = "../../tests/plugins/bench_chat/src/codec.rs"]
mod codec;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    ffi::c_void,
    hint::black_box,
    path::Path,
    process::Command,
    ptr,
    time::Instant,
};

use plugin_api::{
    abi::{self, Buf, Bytes, MessageRef},
    message::{Action, Decimal, Event, ReplyHead, Start},
    *,
};

const URL: &str = "https://api.vendor.test/v1/chat/completions";
const MODEL: &str = "vendor-large-2";
const ROUNDS: usize = 401;
const RUNS: u32 = 100;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

unsafe extern "C" fn wake(_: *mut c_void, _: u64) {}

unsafe extern "C" fn cancelled(_: *mut c_void, _: u64) -> u8 {
    0
}

unsafe extern "C" fn log(_: *mut c_void, _: u32, _: Bytes) {}

unsafe extern "C" fn extension(_: *mut c_void, _: Bytes) -> *const c_void {
    ptr::null()
}

static HOST: abi::Host = abi::Host {
    size: size_of::<abi::Host>(),
    ctx: ptr::null_mut(),
    wake,
    cancelled,
    log,
    extension,
};

/// A backend and the buffers that a host uses again for each of its requests.
struct Bench {
    plugin: &'static abi::Plugin,
    backend: *mut abi::Backend,
    head: Vec<u8>,
    body: Vec<u8>,
    pushed: Vec<(Vec<u8>, Buf)>,
    spare: Vec<Vec<u8>>,
}

unsafe extern "C" fn push(ctx: *mut c_void, head: Bytes, body: Buf) -> i32 {
    // SAFETY: `ctx` is the `Bench` whose step this is; nothing else uses its lists meanwhile.
    let bench = unsafe { &mut *ctx.cast::<Bench>() };
    let mut copy = bench.spare.pop().unwrap_or_default();
    copy.clear();
    // SAFETY: the head is live for the call.
    copy.extend_from_slice(unsafe { head.as_slice() });
    bench.pushed.push((copy, body));
    abi::STATUS_OK
}

impl Bench {
    fn open(plugin: &'static abi::Plugin, config: &serde_json::Value) -> Self {
        let head = json!({ "config": config }).to_string();
        let mut backend = ptr::null_mut();
        let mut err = Buf::empty();
        let message = MessageRef::new(head.as_bytes(), &[]);
        // SAFETY: every pointer is valid for the call, and the host's table for the process.
        let status =
            unsafe { (plugin.open)(message, &raw const HOST, 0, &raw mut backend, &raw mut err) };
        assert_eq!(status, abi::STATUS_OK, "{}", String::from_utf8_lossy(err.as_slice()));
        let lists = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { plugin, backend, head: lists.0, body: lists.1, pushed: lists.2, spare: lists.3 }
    }

    fn step(&mut self, session: *mut abi::Session, body: &[u8]) {
        let step = self.plugin.step;
        let message = MessageRef::new(&self.head, body);
        let ctx = (&raw mut *self).cast();
        let sink = abi::Sink { size: size_of::<abi::Sink>(), ctx, push };
        // SAFETY: the session is live, and `head` is not touched by `push`.
        let status = unsafe { step(session, message, &raw const sink) };
        assert_eq!(status, abi::STATUS_OK);
    }

    fn begin_and_end(&self) {
        let mut session = ptr::null_mut();
        let mut err = Buf::empty();
        // SAFETY: the backend is open; the places are valid; the session is ended once.
        unsafe {
            (self.plugin.begin)(self.backend, 1, &raw mut session, &raw mut err);
            (self.plugin.end)(session);
        }
    }

    /// One request from start to end, as a host does it.
    fn round_trip(&mut self, prompt: &str, reply: &[u8]) -> Completion {
        let mut session = ptr::null_mut();
        let mut err = Buf::empty();
        // SAFETY: the backend is open; the places are valid.
        unsafe { (self.plugin.begin)(self.backend, 1, &raw mut session, &raw mut err) };
        let mut body = std::mem::take(&mut self.body);
        write_start(prompt, &mut self.head, &mut body);
        self.step(session, &body);
        self.body = body;
        let (head, body) = self.pushed.pop().unwrap();
        let completion = match Action::read(&head).unwrap() {
            Action::Http(http) => {
                assert!(!body.as_slice().is_empty());
                write_reply(http.call, &mut self.head);
                drop(body);
                self.step(session, reply);
                let (head, body) = self.pushed.pop().unwrap();
                let completion = read_done(&head, body.as_slice());
                self.spare.push(head);
                completion
            }
            _ => read_done(&head, body.as_slice()),
        };
        self.spare.push(head);
        // SAFETY: begun above, ended here.
        unsafe { (self.plugin.end)(session) };
        completion
    }
}

fn request(prompt: &str) -> Generate<'_> {
    Generate {
        max_tokens: Some(512),
        temperature: Some(0.0),
        ..Generate::new(Prompt::Text(prompt))
    }
}

fn write_start(prompt: &str, head: &mut Vec<u8>, body: &mut Vec<u8>) {
    head.clear();
    body.clear();
    let request = Request::Generate(request(prompt));
    let requests = vec![request.put(body)];
    let request_id = "gsm8k/17/0#1".into();
    let start = Start { request_id, attempt: 1, deadline_ms: 60_000, requests };
    Event::Start(start).write(head).unwrap();
}

fn write_reply(call: Decimal, head: &mut Vec<u8>) {
    head.clear();
    let headers = vec![("x-request-id".into(), "req_0123456789abcdef".into())];
    Event::Reply(ReplyHead { call, status: 200, headers }).write(head).unwrap();
}

fn read_done(head: &[u8], body: &[u8]) -> Completion {
    let Action::Done(done) = Action::read(head).unwrap() else { panic!("not done") };
    let Answer::Completion(completion) = Answer::resolve(done.answer, body).unwrap() else {
        panic!("not a completion")
    };
    completion
}

fn write(action: &Action<'_>, out: &mut Vec<u8>) {
    out.clear();
    black_box(action).write(out).unwrap();
}

fn read_start<'a>(head: &'a [u8], body: &'a [u8]) -> Option<Request<'a>> {
    let Event::Start(start) = Event::read(head).unwrap() else { return None };
    start.requests.into_iter().map(|head| Request::resolve(head, body).unwrap()).next()
}

/// The same codec without any boundary.
fn direct(prompt: &str, reply: &[u8]) -> Completion {
    let request = codec::encode(URL, MODEL, &request(prompt)).unwrap();
    black_box(request.body_bytes());
    let headers = [("x-request-id", "req_0123456789abcdef")];
    codec::decode(&Reply::new(200, &headers, reply)).unwrap()
}

/// The backend of the library, linked in: its allocations can be counted.
struct Linked;

impl Backend for Linked {
    type Config = ();

    fn open((): (), _: Host) -> Result<Self> {
        Ok(Self)
    }

    async fn generate(&self, request: &Generate<'_>, io: &Io) -> Result<Completion> {
        codec::decode(&io.send(codec::encode(URL, MODEL, request)?).await?)
    }
}

fn build() -> &'static abi::Plugin {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/plugins/bench_chat");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugins");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", &target)
        .status()
        .unwrap();
    assert!(status.success());
    // SAFETY: a plugin that was just built; its constructors are those of std.
    let library = unsafe { libloading::Library::new(target.join("release/libbench_chat.so")) };
    let library: &'static libloading::Library = Box::leak(Box::new(library.unwrap()));
    // SAFETY: the symbol is a static of this type, the library is never unloaded, and so is its table.
    unsafe {
        let entry = library.get::<*const abi::Entry>(abi::ENTRY_SYMBOL).unwrap();
        &*((**entry).plugin)()
    }
}

fn allocations(mut run: impl FnMut()) -> u64 {
    run();
    let before = ALLOCATIONS.get();
    for _ in 0..100 {
        run();
    }
    (ALLOCATIONS.get() - before) / 100
}

/// A thing to measure, by name.
type Case<'a> = (&'static str, Box<dyn FnMut() + 'a>);

fn main() {
    let prompt = "Natalia sold clips to 48 of her friends in April. ".repeat(21)[..1024].to_owned();
    // A worked answer: an escape every 45 bytes, as in those of a model that explains its sums.
    let text =
        "Natalia sold 48/2 = 24 of her clips in May.\nThat is 48+24 = 72 clips altogether.\n"
            .repeat(22);
    let reply = json!({
        "id": "chatcmpl-123", "object": "chat.completion", "created": 1_700_000_000, "model": MODEL,
        "choices": [{ "index": 0, "finish_reason": "stop",
            "message": { "role": "assistant", "content": text[..1700].to_owned() } }],
        "usage": { "prompt_tokens": 260, "completion_tokens": 410, "total_tokens": 670 },
    })
    .to_string();
    let reply = reply.as_bytes();
    println!("prompt {} bytes, reply {} bytes", prompt.len(), reply.len());

    let plugin = build();
    let config = json!({ "url": URL, "model": MODEL });
    let mut chat = Bench::open(plugin, &config);
    let mut empty = Bench::open(plugin, &json!({ "empty": true }));
    let linked_table: &'static abi::Plugin = Box::leak(Box::new(export::plugin::<Linked>()));
    let mut linked = Bench::open(linked_table, &json!(null));
    assert_eq!(chat.round_trip(&prompt, reply), direct(&prompt, reply));
    assert_eq!(linked.round_trip(&prompt, reply), direct(&prompt, reply));

    let all = allocations(|| drop(linked.round_trip(&prompt, reply)));
    let codec = allocations(|| drop(direct(&prompt, reply)));
    let host = allocations(|| drop(chat.round_trip(&prompt, reply)));
    println!("allocations: host {host}, plugin {} (of which codec {codec})", all - host);

    let encoded = codec::encode(URL, MODEL, &request(&prompt)).unwrap();
    black_box(&encoded);
    let whole = Reply::new(200, &[], reply);
    let (mut start_head, mut start_body, mut reply_head) = (Vec::new(), Vec::new(), Vec::new());
    let http_head = br#"{"http":{"call":"1","method":"POST","url":"https://api.vendor.test/v1/chat/completions","headers":[["authorization",[{"text":"Bearer "},{"secret":"api_key"}]],["content-type","application/json"]]}}"#;
    let done_head = br#"{"done":{"item":0,"answer":{"completion":{"choices":[{"text":[0,1700],"finish_reason":"stop"}],"usage":{"prompt_tokens":260,"completion_tokens":410},"model":"vendor-large-2"}}}}"#;
    let done_body = &text.as_bytes()[..1700];

    let begun = Bench::open(plugin, &config);
    let (mut start, mut replied) = ((Vec::new(), Vec::new()), Vec::new());
    write_start(&prompt, &mut start.0, &mut start.1);
    write_reply(Decimal(1), &mut replied);
    let http = Action::read(http_head).unwrap();
    let done = Action::read(done_head).unwrap();
    let (mut http_out, mut done_out) = (Vec::new(), Vec::new());

    let mut cases: Vec<Case<'_>> = vec![
        ("round trip", Box::new(|| drop(black_box(chat.round_trip(&prompt, reply))))),
        ("the codec called directly", Box::new(|| drop(black_box(direct(&prompt, reply))))),
        (
            "crossing: an empty backend",
            Box::new(|| drop(black_box(empty.round_trip(&prompt, reply)))),
        ),
        (
            "codec: encode",
            Box::new(|| drop(black_box(codec::encode(URL, MODEL, &request(&prompt))))),
        ),
        ("codec: decode", Box::new(|| drop(black_box(codec::decode(&whole))))),
        ("host: write start", Box::new(|| write_start(&prompt, &mut start_head, &mut start_body))),
        ("host: read http", Box::new(|| drop(black_box(Action::read(http_head))))),
        ("host: write reply", Box::new(|| write_reply(Decimal(1), &mut reply_head))),
        ("host: read done", Box::new(|| drop(black_box(read_done(done_head, done_body))))),
        ("sdk: begin and end", Box::new(|| begun.begin_and_end())),
        ("sdk: read start", Box::new(|| drop(black_box(read_start(&start.0, &start.1))))),
        ("sdk: write http", Box::new(|| write(&http, &mut http_out))),
        ("sdk: read reply", Box::new(|| drop(black_box(Event::read(&replied))))),
        ("sdk: write done", Box::new(|| write(&done, &mut done_out))),
    ];
    // `cargo bench -p plugin-api -- crossing` measures that alone, under a profiler say.
    if let Some(only) = std::env::args().skip(1).find(|argument| !argument.starts_with('-')) {
        cases.retain(|(name, _)| name.contains(&only));
    }
    let mut figures: Vec<Vec<f64>> = vec![Vec::new(); cases.len()];
    for round in 0..ROUNDS {
        for ((_, case), figures) in cases.iter_mut().zip(&mut figures) {
            let start = Instant::now();
            (0..RUNS).for_each(|_| case());
            // The first round warms caches and pools.
            if round > 0 {
                figures.push(start.elapsed().as_secs_f64() * 1e9 / f64::from(RUNS));
            }
        }
    }
    println!("{:<28} {:>8} {:>8}", "ns a request", "median", "best");
    for ((name, _), figures) in cases.iter().zip(&mut figures) {
        figures.sort_by(f64::total_cmp);
        println!("{name:<28} {:>8.0} {:>8.0}", figures[figures.len() / 2], figures[0]);
    }
}
