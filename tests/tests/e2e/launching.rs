//! Servers that a run starts, and those that it waits for. Whatever ends the host, nothing of what it started is left.

mod ending;
mod starting;

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    path::Path,
    process::Child,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use host_tests::{built, sandbox::Sandbox};
use rustix::process::{Pid, Signal, kill_process};

use super::{ECHO, echoes};

/// Longer than anything takes here, also on a machine that is busy.
const LONG: Duration = Duration::from_secs(60);

/// A port that is free, outside the range from which systems give ports away: nobody gets it by chance.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 100).unwrap() * 100 + 20_000;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 100;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Waits until something is so.
fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(start.elapsed() < LONG, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A sandbox with `samples` to ask, and `serve.sh`: a server behind a shell, with helpers in and outside its process
/// group. Its processes are in `ids`, the supervisor first, the server second.
fn sandbox(samples: usize, port: u16, arguments: &str) -> Sandbox {
    let mock = format!("'{}' mock --port {port} {arguments}", built::host().display());
    with_script(
        samples,
        &format!(
            "echo $PPID $$ > ids.new\n\
             sleep 1000 & echo $! >> ids.new\n\
             setsid sh -c 'echo $$ >> ids.new; mv ids.new ids; exec sleep 1000' &\n\
             while ! test -e ids; do sleep 0.01; done\n\
             echo serving\n\
             exec {mock}\n"
        ),
    )
}

fn with_script(samples: usize, script: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", echoes(samples));
    sandbox.write("serve.sh", script);
    sandbox
}

/// A run file with one backend, whose server is started by `serve.sh`.
fn run_file(port: u16, more: &str) -> String {
    format!(
        "{more}\n[[backend]]\nid = \"own\"\nplugin = \"tgi\"\nbase_url = \"http://127.0.0.1:{port}/tgi\"\n\
         launch = [\"sh\", \"serve.sh\"]\n{ECHO}"
    )
}

/// The processes that `serve.sh` has named.
fn ids(sandbox: &Sandbox) -> Vec<i32> {
    let text = until("the server runs", || fs::read_to_string(sandbox.path("ids")).ok());
    let ids: Vec<i32> = text.split_whitespace().map(|id| id.parse().unwrap()).collect();
    assert_eq!(ids.len(), 4, "{text}");
    ids
}

/// Whether a process is there and has not ended. One that has ended and is not reaped is its new parent's affair.
fn lives(id: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else { return false };
    !stat.rsplit_once(") ").unwrap().1.starts_with(['Z', 'X'])
}

/// Checks that all of these end.
fn all_end(ids: &[i32]) {
    for id in ids {
        until(&format!("process {id} of {ids:?} ends"), || (!lives(*id)).then_some(()));
    }
}

fn signal(id: i32, signal: Signal) {
    kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
}

/// A host whose words can be waited for.
struct Running {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Running {
    fn start(sandbox: &Sandbox, text: &str) -> Self {
        let mut child = sandbox.spawn(sandbox.run_command(text, &[]));
        let said = Arc::<Mutex<String>>::default();
        let (heard, mut lines) = (Arc::clone(&said), BufReader::new(child.stderr.take().unwrap()));
        thread::spawn(move || {
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|read| read > 0) {
                heard.lock().unwrap().push_str(&std::mem::take(&mut line));
            }
        });
        Self { child, said }
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    fn until_it_says(&self, text: &str) {
        until(&format!("it says `{text}`"), || self.said().contains(text).then_some(()));
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its exit code; none after a signal.
    fn ends(&mut self) -> Option<i32> {
        let mut table = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut table).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    /// After a test that fails, too, the host ends, and what it started with it.
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The only log of a launched server below `runs`.
fn log(sandbox: &Sandbox, name: &str) -> String {
    let mut runs = fs::read_dir(sandbox.path("runs")).unwrap();
    let run = runs.next().unwrap().unwrap().path();
    fs::read_to_string(Path::new(&run).join(name)).unwrap()
}
