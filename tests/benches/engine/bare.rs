//! The bare loop: reqwest with the host's own settings, as many tasks as requests at once, a JSON line a sample. No
//! plugin, no template, no score. It is told what to send by a file, in a process of its own.

use std::{
    env, fs,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use super::work;

/// Names the file with the [`Order`].
pub(crate) const ORDER: &str = "HOST_BENCH_ORDER";

/// What a bare loop sends.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    /// The body before and after the number of the sample.
    pub(crate) before: String,
    pub(crate) after: String,
    pub(crate) samples: usize,
    pub(crate) concurrency: usize,
    pub(crate) out: PathBuf,
}

/// A bare loop that is still to be started.
pub(crate) fn command(order: &Order, path: &Path) -> Command {
    fs::write(path, serde_json::to_vec(order).unwrap()).unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    command.env(ORDER, path);
    command
}

/// The loop's own process.
pub(crate) fn main(path: &Path) {
    let order: Order = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(run(order));
}

async fn run(order: Order) {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let client = reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(10))
        .redirect(reqwest::redirect::Policy::none())
        .tcp_nodelay(true)
        .pool_idle_timeout(Duration::from_secs(60))
        .user_agent("bare")
        .no_proxy()
        .build()
        .unwrap();
    let headers: HeaderMap = order
        .headers
        .iter()
        .map(|(name, value)| {
            (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
        })
        .collect();
    let out = Mutex::new(BufWriter::new(fs::File::create(&order.out).unwrap()));
    let shared = Arc::new((client, headers, out, AtomicUsize::new(0), order));
    let tasks: Vec<_> = (0..shared.4.concurrency)
        .map(|_| {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                let (client, headers, out, next, order) = &*shared;
                loop {
                    let sample = next.fetch_add(1, Ordering::Relaxed);
                    if sample >= order.samples {
                        return;
                    }
                    let body = format!("{}{}{}", order.before, work::number(sample), order.after);
                    let request = client.post(&order.url).headers(headers.clone()).body(body);
                    let reply = request.send().await.unwrap();
                    let status = reply.status().as_u16();
                    assert_eq!(status, 200);
                    let reply = reply.bytes().await.unwrap();
                    let mut out = out.lock().unwrap();
                    write!(out, "{{\"sample\":{sample},\"status\":{status},\"reply\":").unwrap();
                    out.write_all(&reply).unwrap();
                    out.write_all(b"}\n").unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    shared.2.lock().unwrap().flush().unwrap();
}
