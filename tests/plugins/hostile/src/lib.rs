//! A plugin that misbehaves as its configuration says, so that the host can be tested.
//!
//! `mode` picks what it does; `after` (0) is how many requests it answers as `ok` first. All but the
//! first group misbehave in `generate`; log-likelihood and health always answer as `ok` does. Whatever the mode,
//! the first `loads` calls of `describe` and `generate` fail as `loading`, each answer costs `cost_usd_nanos`, and
//! `generate` waits for `delay_ms` before anything else.
//!
//! | mode | what it does | what a host makes of it |
//! |---|---|---|
//! | `ok` | `n` choices of `text`, usage counted in words | scored |
//! | `echo` | the prompt, or the text of the last message | scored |
//! | `fail` | fails with the kind `kind` | that kind |
//! | `http` | POSTs the prompt to `base_url`, answers with the body of the reply | scored |
//! | `stream` | the words of `text` as deltas, a turn between two, then `ok` | scored |
//! | `thread_wake` | answers from a thread of its own after `ms` | scored |
//! | `panic_open` | panics in `open` | refused at open |
//! | `slow_open` | `open` takes `ms` | refused or awaited |
//! | `panic_first_poll` | panics in the step of `start` | `panic` |
//! | `panic_later_poll` | waits 1 ms, then panics | `panic` |
//! | `panic_drop` | waits for ever; dropping its future panics | `end` still returns |
//! | `panic_close` | `ok`; dropping its backend panics | scored; `close` still returns |
//! | `abort_close` | `ok`; dropping its backend aborts the process | scored; a worker: told at the end |
//! | `exit_close` | `ok`; dropping its backend ends the process with status 0 | scored; a worker: told at the end |
//! | `never_ready` | awaits nothing at all | `protocol` |
//! | `wait_forever` | a `wait` of 2^64 - 1 ms | `timeout` at the deadline |
//! | `park_forever` | parks, and no thread ever wakes it | `timeout` at the deadline |
//! | `again_forever` | `again` without end | `timeout` at the deadline |
//! | `slow_block` | blocks the step for `ms`, then `ok` | late, others go on |
//! | `spin` | takes a processor in a step without end | late, its worker is ended |
//! | `burn` | counts the prompt's words `bytes` times, then `ok` | `plugin check` tells |
//! | `leave_thread` | starts a thread that never ends, then `ok` | `plugin check` tells |
//! | `answer_twice` | `done` of item 0 twice | `protocol` |
//! | `unknown_item` | `done` of item 4000000000 | `protocol` |
//! | `no_answer` | a batch: never answers its last item; else as `never_ready` | `protocol` |
//! | `bad_span` | `done` whose text lies outside its body | `protocol` |
//! | `bad_action` | `{"dance":{}}` | `protocol` |
//! | `garbage` | bytes that are neither JSON nor UTF-8 | `protocol` |
//! | `call_twice` | two `http` actions under one call number | `protocol` |
//! | `cancel_unknown` | cancels a call that never was, then `ok` | scored |
//! | `huge_delta` | one `delta` of `bytes` | bounded or `protocol` |
//! | `many_deltas` | `bytes` deltas of one byte in one step | bounded or `protocol` |
//! | `wrong_secret_slot` | a header with a secret that the manifest does not declare | `invalid_request` |
//! | `forbidden_url` | a request to `https://forbidden.invalid` | `forbidden_origin` |
//! | `file_url` | a request to `file:///etc/passwd` | `forbidden_origin` |
//! | `header_injection` | a header value with a line break | `invalid_request` |
//! | `log_flood` | `bytes` log lines, then `ok` | scored |
//! | `print` | writes to stdout and stderr, then `ok` | a worker captures it |
//! | `exit` | ends the process with status 0 | a worker: `crashed` |
//! | `abort` | aborts the process | a worker: `crashed` |
//! | `stack_overflow` | recurses without end | a worker: `crashed` |
//! | `segfault` | writes where nothing is | a worker: `crashed` |
//! | `eat_memory` | allocates without end | a worker: `crashed` |
//! | `scribble` | writes nonsense into every open file | a worker: `crashed` |
//! | `flood_output` | writes `bytes` lines to stdout, then `ok` | a worker shows the first |
//! | `environment` | answers with the names of its environment variables | a worker has few |
//! | `connect` | opens a connection to `base_url`, answers with what comes of it | a worker may not |
//! | `start_program` | starts `/bin/true`, answers with what comes of it | a worker may not |
//! | `share_memory` | maps memory that is shared with nobody yet, answers with what comes of it | a worker may not |
//! | `memory_file` | makes a file in memory, answers with what comes of it | a worker may not |
//! | `outlasting_memory` | makes memory that outlasts it, answers with what comes of it | a worker may not |
//! | `outlive` | wants no signal when its host dies, answers with what comes of it | a worker may not |
//! | `change_host` | gives its host the priority that it has, answers with what comes of it | a worker may not |
//! | `change_file` | gives this folder the rights that it has, answers with what comes of it | a worker may not |
//! | `rights` | answers with the capabilities that it has | a worker has none but to read |
//! | `read_file` | reads the file `text`, answers with what comes of it | a worker may not |

use std::{
    future::{pending, poll_fn},
    hint::black_box,
    io::Write,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    task::{Poll, Waker},
    thread,
    time::Duration,
};

use plugin_api::{testkit::push_raw, *};

#[derive(Deserialize, JsonSchema)]
#[serde(default)]
struct Config {
    /// What it does; see the table at the top of the source.
    mode: String,
    /// Requests that are answered as `ok` before it misbehaves.
    after: u32,
    /// Calls that fail as `loading` before anything else happens.
    loads: u32,
    /// Milliseconds before `generate` does anything.
    delay_ms: u64,
    /// What an answer costs, in billionths of a US dollar; 0 is not known.
    cost_usd_nanos: u64,
    /// The answer of `ok`.
    text: String,
    /// Why every answer ends.
    finish_reason: String,
    /// The error kind of `fail`.
    kind: String,
    /// Where `http` and its like send their request.
    base_url: String,
    /// Milliseconds of `slow_open`, `slow_block` and `thread_wake`.
    ms: u64,
    /// Size or number, for the modes that flood.
    bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: "ok".to_owned(),
            after: 0,
            loads: 0,
            delay_ms: 0,
            cost_usd_nanos: 0,
            text: "the answer is 42".to_owned(),
            finish_reason: "stop".to_owned(),
            kind: "overloaded".to_owned(),
            base_url: "http://127.0.0.1:9".to_owned(),
            ms: 50,
            bytes: 1 << 20,
        }
    }
}

struct Hostile {
    config: Config,
    host: Host,
    requests: AtomicU32,
    loaded: AtomicU32,
}

struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("panic_drop");
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        match self.config.mode.as_str() {
            "panic_close" => panic!("panic_close"),
            "abort_close" => std::process::abort(),
            "exit_close" => std::process::exit(0),
            _ => {}
        }
    }
}

impl Backend for Hostile {
    type Config = Config;

    fn open(config: Config, host: Host) -> Result<Self> {
        match config.mode.as_str() {
            "panic_open" => panic!("panic_open"),
            "slow_open" => thread::sleep(Duration::from_millis(config.ms)),
            _ => {}
        }
        Ok(Self { config, host, requests: AtomicU32::new(0), loaded: AtomicU32::new(0) })
    }

    async fn generate(&self, request: &Generate<'_>, io: &Io) -> Result<Completion> {
        self.load()?;
        if self.config.delay_ms > 0 {
            io.wait(Duration::from_millis(self.config.delay_ms)).await;
        }
        let prompt = prompt_text(&request.prompt);
        if self.requests.fetch_add(1, Ordering::Relaxed) >= self.config.after
            && let Some(text) = self.misbehave(&prompt, io).await?
        {
            return Ok(self.completion(&prompt, &text, request.n));
        }
        Ok(self.completion(&prompt, &self.config.text, request.n))
    }

    async fn generate_batch(
        &self,
        requests: &[Generate<'_>],
        io: &Io,
        answers: &Answers<'_, Completion>,
    ) {
        let unanswered = usize::from(self.config.mode == "no_answer");
        let items = requests.iter().zip(0..).take(requests.len() - unanswered);
        join_all(items.map(|(request, item)| async move {
            let io = io.for_item(item);
            let answer = if unanswered > 0 {
                Ok(self.completion("", &self.config.text, request.n))
            } else {
                self.generate(request, &io).await
            };
            answers.put(item, answer);
        }))
        .await;
    }

    async fn loglikelihood(&self, request: &Loglikelihood<'_>, _: &Io) -> Result<Vec<Likelihood>> {
        Ok(request.continuations.iter().map(|text| likelihood(text)).collect())
    }

    async fn loglikelihood_rolling(&self, request: &Rolling<'_>, _: &Io) -> Result<Likelihood> {
        Ok(likelihood(request.text))
    }

    async fn health(&self, _: &Io) -> Result<Health> {
        Ok(Health { ready: true, detail: self.config.mode.clone() })
    }

    async fn describe(&self, _: &Io) -> Result<Description> {
        self.load()?;
        let prices = (self.config.cost_usd_nanos > 0).then(|| "hostile 1".to_owned());
        Ok(Description { model: Some("hostile".to_owned()), prices, ..Description::default() })
    }
}

impl Hostile {
    /// What the mode says; the text to answer with, or none for that of `ok`.
    async fn misbehave(&self, prompt: &str, io: &Io) -> Result<Option<String>> {
        let config = &self.config;
        match config.mode.as_str() {
            "ok" | "slow_open" | "panic_close" | "abort_close" | "exit_close" => {}
            "echo" => return Ok(Some(prompt.to_owned())),
            "fail" => {
                return Err(Error::new(ErrorKind::from(config.kind.as_str()), "as configured"));
            }
            "http" => return self.post(prompt, io).await.map(Some),
            "stream" => {
                for word in config.text.split_inclusive(' ') {
                    io.delta(word);
                    io.again().await;
                }
            }
            "thread_wake" => answer_from_a_thread(config.ms).await,
            "panic_first_poll" => panic!("panic_first_poll"),
            "panic_later_poll" => {
                io.wait(Duration::from_millis(1)).await;
                panic!("panic_later_poll");
            }
            "panic_drop" => {
                let _bomb = PanicsInDrop;
                io.wait(Duration::MAX).await;
            }
            "never_ready" | "no_answer" => pending().await,
            "wait_forever" => io.wait(Duration::MAX).await,
            "park_forever" => park_forever().await,
            "again_forever" => loop {
                io.again().await;
            },
            "slow_block" => thread::sleep(Duration::from_millis(config.ms)),
            "spin" => loop {
                black_box(());
            },
            "burn" => {
                for _ in 0..config.bytes {
                    black_box(words(prompt));
                }
            }
            "leave_thread" => drop(thread::spawn(|| {
                loop {
                    thread::park();
                }
            })),
            "answer_twice" => push_done(io, 0, 2),
            "unknown_item" => push_done(io, 4_000_000_000, 2),
            "bad_span" => push_done(io, 0, 1_000_000),
            "bad_action" => push_raw(io, *b"{\"dance\":{}}", []),
            "garbage" => push_raw(io, [0xff, 0xfe, b'{', 0], [0xff; 100]),
            "call_twice" => {
                let url = &config.base_url;
                let head = format!(r#"{{"http":{{"call":"9","method":"GET","url":"{url}"}}}}"#);
                push_raw(io, head.clone(), []);
                push_raw(io, head, []);
                pending().await
            }
            "cancel_unknown" => push_raw(io, *b"{\"cancel\":{\"call\":\"77\"}}", []),
            "huge_delta" => io.delta(&"x".repeat(config.bytes)),
            "many_deltas" => (0..config.bytes).for_each(|_| io.delta("x")),
            "wrong_secret_slot" => {
                let call = HttpRequest::get(config.base_url.as_str()).bearer("no_such_slot");
                io.send(call).await?;
            }
            "forbidden_url" => {
                io.send(HttpRequest::get("https://forbidden.invalid/")).await?;
            }
            "file_url" => {
                io.send(HttpRequest::get("file:///etc/passwd")).await?;
            }
            "header_injection" => {
                let call = HttpRequest::get(config.base_url.as_str());
                io.send(call.header("x-a", "b\r\nx-injected: c")).await?;
            }
            "log_flood" => {
                for line in 0..config.bytes {
                    self.host.log(Level::Info, &format!("line {line}"));
                }
            }
            "print" => {
                let _ = writeln!(std::io::stdout(), "hostile to stdout");
                let _ = writeln!(std::io::stderr(), "hostile to stderr");
            }
            "exit" => std::process::exit(0),
            "abort" => std::process::abort(),
            "stack_overflow" => {
                black_box(recurse(1));
            }
            "segfault" => {
                // SAFETY: none; this is what the mode is for.
                unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) }
            }
            "eat_memory" => {
                let mut kept = Vec::new();
                loop {
                    kept.push(black_box(vec![1_u8; 16 << 20]));
                }
            }
            "scribble" => scribble(),
            "flood_output" => {
                for line in 0..config.bytes {
                    let _ = writeln!(std::io::stdout(), "line {line}");
                }
            }
            "environment" => {
                let names = std::env::vars_os().map(|(name, _)| name.display().to_string());
                return Ok(Some(names.collect::<Vec<_>>().join(" ")));
            }
            "connect" => {
                let address = config.base_url.trim_start_matches("http://");
                return Ok(Some(told(std::net::TcpStream::connect(address))));
            }
            "start_program" => {
                return Ok(Some(told(std::process::Command::new("/bin/true").status())));
            }
            "read_file" => return Ok(Some(told(std::fs::read(&config.text)))),
            "change_file" => {
                let set = std::fs::metadata(".")
                    .and_then(|found| std::fs::set_permissions(".", found.permissions()));
                return Ok(Some(told(set)));
            }
            "rights" => {
                let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
                let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
                return Ok(Some(effective.unwrap_or_default().trim().to_owned()));
            }
            "share_memory" | "memory_file" | "outlasting_memory" | "outlive" | "change_host" => {
                return Ok(Some(told(escape(&config.mode))));
            }
            other => return Err(Error::new(ErrorKind::Other, format!("there is no mode {other}"))),
        }
        Ok(None)
    }

    fn load(&self) -> Result<()> {
        if self.loaded.fetch_add(1, Ordering::Relaxed) < self.config.loads {
            let mut error = Error::new(ErrorKind::Loading, "the model is being loaded");
            error.retry_after_ms = Some(1);
            return Err(error);
        }
        Ok(())
    }

    fn completion(&self, prompt: &str, text: &str, n: u32) -> Completion {
        let mut completion = Completion::new(text, self.config.finish_reason.as_str());
        let choice = completion.choices[0].clone();
        completion.choices = vec![choice; n.max(1) as usize];
        let cost = self.config.cost_usd_nanos;
        completion.usage.cost_usd_nanos = (cost > 0).then_some(cost);
        completion.usage.cached_tokens = (cost > 0).then_some(1);
        completion.with_usage(Some(words(prompt)), Some(words(text) * u64::from(n.max(1))))
    }

    async fn post(&self, prompt: &str, io: &Io) -> Result<String> {
        let call = HttpRequest::post(self.config.base_url.as_str()).body(prompt.into());
        let reply = io.send(call).await?;
        if !reply.is_success() {
            return Err(reply.error());
        }
        Ok(String::from_utf8_lossy(reply.body()).into_owned())
    }
}

fn prompt_text(prompt: &Prompt<'_>) -> String {
    match prompt {
        Prompt::Text(text) => (*text).to_owned(),
        Prompt::Messages(messages) => {
            let text = messages.last().and_then(Message::as_text);
            text.unwrap_or_default().into_owned()
        }
    }
}

fn words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

/// From the length alone: -0.5 a byte, a token for four bytes, greedy if the length is even.
fn likelihood(text: &str) -> Likelihood {
    Likelihood {
        logprob: Some(-0.5 * text.len() as f64),
        tokens: text.len().div_ceil(4).max(1) as u32,
        greedy: Some(text.len().is_multiple_of(2)),
        ..Likelihood::default()
    }
}

/// A `done` of this item, whose text is `length` bytes of a body of two.
fn push_done(io: &Io, item: u32, length: usize) {
    let choice = json!({ "text": [0, length], "finish_reason": "stop" });
    let answer = json!({ "completion": { "choices": [choice] } });
    push_raw(io, json!({ "done": { "item": item, "answer": answer } }).to_string(), *b"hi");
}

async fn answer_from_a_thread(ms: u64) {
    let shared: Arc<Mutex<(bool, Option<Waker>)>> = Arc::default();
    let theirs = Arc::clone(&shared);
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(ms));
        let mut state = theirs.lock().unwrap();
        state.0 = true;
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    });
    poll_fn(|context| {
        let mut state = shared.lock().unwrap();
        if state.0 {
            return Poll::Ready(());
        }
        state.1 = Some(context.waker().clone());
        Poll::Pending
    })
    .await;
}

/// What came of something that may be forbidden.
fn told<T>(result: std::io::Result<T>) -> String {
    result.map_or_else(|error| error.kind().to_string(), |_| "done".to_owned())
}

/// Asks the system for what no limit counts, for what outlasts a worker, or for what is its host's. What it gives is
/// given back.
fn escape(mode: &str) -> std::io::Result<()> {
    use std::ffi::{c_char, c_int, c_long, c_uint, c_ulong, c_void};
    unsafe extern "C" {
        fn mmap(
            at: *mut c_void,
            size: usize,
            may: c_int,
            how: c_int,
            fd: c_int,
            from: c_long,
        ) -> *mut c_void;
        fn memfd_create(name: *const c_char, flags: c_uint) -> c_int;
        fn shmget(key: c_int, size: usize, flags: c_int) -> c_int;
        fn shmctl(id: c_int, what: c_int, buffer: *mut c_void) -> c_int;
        fn prctl(what: c_int, value: c_ulong) -> c_int;
        fn getppid() -> c_int;
        fn getpriority(which: c_int, who: c_int) -> c_int;
        fn setpriority(which: c_int, who: c_int, value: c_int) -> c_int;
        fn close(fd: c_int) -> c_int;
    }
    let none = std::ptr::null_mut();
    // SAFETY: plain system calls with values of their own; nothing that is mapped is touched.
    let got = unsafe {
        match mode {
            // PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS
            "share_memory" => mmap(none, 4096, 3, 0x21, -1, 0).addr() as isize as c_long,
            "memory_file" => match memfd_create(c"escape".as_ptr(), 0) {
                fd @ 0.. => c_long::from(close(fd)),
                failed => failed.into(),
            },
            // IPC_PRIVATE, IPC_CREAT | 0600, IPC_RMID
            "outlasting_memory" => match shmget(0, 4096, 0o1600) {
                id @ 0.. => c_long::from(shmctl(id, 0, none)),
                failed => failed.into(),
            },
            // PRIO_PROCESS
            "change_host" => setpriority(0, getppid(), getpriority(0, getppid())).into(),
            // PR_SET_PDEATHSIG
            _ => prctl(1, 0).into(),
        }
    };
    if got == -1 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

/// Writes into every open file that is none of the standard ones.
fn scribble() {
    use std::os::fd::FromRawFd;
    for number in 3..20 {
        // SAFETY: none; files of others are written to, and not closed.
        let mut file = std::mem::ManuallyDrop::new(unsafe { std::fs::File::from_raw_fd(number) });
        let _ = file.write_all(b"this is no frame, and its first bytes are no length of one");
    }
}

async fn park_forever() {
    let mut held = None;
    poll_fn(|context| {
        held = Some(context.waker().clone());
        Poll::<()>::Pending
    })
    .await;
}

#[allow(unconditional_recursion, reason = "this is what the mode is for")]
fn recurse(depth: u64) -> u64 {
    let here = black_box([depth; 64]);
    recurse(depth + 1) + here[0]
}

export_plugin!(Hostile);

#[cfg(test)]
mod tests {
    #[test]
    fn the_schema_is_that_of_the_configuration() {
        plugin_api::testkit::check_schema::<super::Hostile>(env!("CARGO_MANIFEST_DIR")).unwrap();
    }
}
