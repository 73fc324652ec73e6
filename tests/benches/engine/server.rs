//! Servers: the mock and nginx, which are measured against, and a listener that only looks at what is sent.

use std::{
    fmt, fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use super::work;

/// A vendor's wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Tgi,
    OpenAi,
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tgi => "tgi",
            Self::OpenAi => "openai",
        })
    }
}

/// A reply to a chat, as OpenAI's servers give it.
const REPLY: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"I come to 42."},"finish_reason":"stop"}],"usage":{"prompt_tokens":230,"completion_tokens":7,"total_tokens":237}}"#;

/// What TGI's server generates.
const GENERATED: &str = r#"{"generated_text":"I come to 42.","details":{"finish_reason":"stop","generated_tokens":2,"seed":null,"prefill":[],"tokens":[{"id":1,"text":"I come to 42.","logprob":-0.5,"special":false},{"id":2,"text":"</s>","logprob":-0.5,"special":true}]}}"#;

/// What TGI's server says of itself.
const INFO: &str = r#"{"model_id":"mock","version":"3.3.6","max_concurrent_requests":256,"max_best_of":2,"max_stop_sequences":4,"max_input_tokens":4095,"max_total_tokens":4096,"validation_workers":2,"max_client_batch_size":4,"router":"text-generation-router"}"#;

impl Wire {
    /// The path below which its routes are.
    pub(crate) const fn base_path(self) -> &'static str {
        match self {
            Self::Tgi => "",
            Self::OpenAi => "/v1",
        }
    }

    /// The backend's table of a run file.
    pub(crate) fn backend(self, url: &str) -> String {
        match self {
            Self::Tgi => format!("[[backend]]\nplugin = \"tgi\"\nbase_url = \"{url}\"\n"),
            Self::OpenAi => format!(
                "[[backend]]\nplugin = \"litellm\"\nmodel = \"openai/gpt-4o-mini\"\nbase_url = \"{url}\"\nsecrets = [\"openai\"]\n"
            ),
        }
    }
}

/// `host mock` in a process of its own.
pub(crate) struct Mock {
    process: Child,
    address: String,
}

impl Mock {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(work::host());
        command.args(["mock", "--port", "0"]).args(arguments);
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { process, address: address.trim().to_owned() }
    }

    /// Where all wires are.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn url(&self, wire: Wire) -> String {
        format!("{}/{wire}{}", self.address, wire.base_path())
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// nginx, which answers every request with the same chat completion.
pub(crate) struct Nginx {
    process: Child,
    port: u16,
}

impl Nginx {
    /// Starts it, or says why not.
    pub(crate) fn start(folder: &Path) -> Result<Self, String> {
        let folder = folder.join("nginx");
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let port = free_port();
        let root = folder.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {root}/{kind};\n"))
            .concat();
        let configuration = format!(
            "daemon off;\nworker_processes 1;\npid {root}/pid;\nerror_log {root}/error.log;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\naccess_log off;\nkeepalive_requests 1000000000;\ntcp_nodelay on;\n{temporary}\
             server {{ listen 127.0.0.1:{port};\nlocation / {{ default_type application/json; return 200 '{REPLY}'; }} }} }}\n"
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, configuration).map_err(|error| error.to_string())?;
        let mut command = Command::new(Self::program());
        command.arg("-p").arg(&folder).arg("-c").arg(&file).arg("-e").arg(folder.join("error.log"));
        let process = command
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if begun.elapsed() > Duration::from_secs(5) {
                return Err("it does not listen".to_owned());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(Self { process, port })
    }

    fn program() -> PathBuf {
        let usual = || Some(PathBuf::from("/usr/sbin/nginx")).filter(|path| path.exists());
        work::path_from("HOST_BENCH_NGINX").or_else(usual).unwrap_or_else(|| "nginx".into())
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}{}", self.port, Wire::OpenAi.base_path())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master ends its worker.
        let id = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        drop(self.process.wait());
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    /// Whether it asks a sample: a prompt is much longer than whatever else is asked.
    pub(crate) fn is_sample(&self) -> bool {
        self.body.len() >= work::PROMPT
    }
}

/// A server that tells what was asked of it, and when. It answers as far as plugins need that.
pub(crate) struct Listener {
    port: u16,
    seen: mpsc::Receiver<Seen>,
    wire: Wire,
}

impl Listener {
    pub(crate) fn start(wire: Wire) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, seen) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, tell) = (stream.unwrap(), tell.clone());
                thread::spawn(move || serve(stream, &tell));
            }
        });
        Self { port, seen, wire }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}{}", self.port, self.wire.base_path())
    }

    /// The first request of all.
    pub(crate) fn first(&self) -> Seen {
        self.seen.recv().unwrap()
    }

    /// The first request that asks a sample.
    pub(crate) fn first_sample(&self) -> Seen {
        self.seen.iter().find(Seen::is_sample).unwrap()
    }
}

/// Answers the requests of one connection.
fn serve(stream: TcpStream, tell: &mpsc::Sender<Seen>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let at = Instant::now();
        let path = lines[0].split(' ').nth(1).unwrap().to_owned();
        let headers: Vec<(String, String)> = lines[1..]
            .iter()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let mut body = vec![0; length.map_or(0, |(_, length)| length.parse().unwrap())];
        reader.read_exact(&mut body).unwrap();
        let (status, reply) = match path.as_str() {
            "/info" => ("200 OK", INFO),
            "/tokenize" => ("200 OK", r#"[{"id":97,"text":"a","start":0,"stop":1}]"#),
            "/generate" => ("200 OK", GENERATED),
            _ if body.is_empty() => ("404 Not Found", "{}"),
            _ => ("200 OK", REPLY),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            reply.len()
        );
        // Who does not wait for the answer has seen enough.
        if tell.send(Seen { at, path, headers, body }).is_err()
            || stream.write_all(format!("{head}{reply}").as_bytes()).is_err()
        {
            return;
        }
    }
}
