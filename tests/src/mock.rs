//! `host mock`, started as a user starts it and ended with the test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{self, Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
};

use serde_json::Value;

use crate::{built, patience::until, scripted};

/// A mock server of its own process.
#[derive(Debug)]
pub struct Mock {
    process: Child,
    /// `127.0.0.1:PORT`.
    address: String,
}

impl Mock {
    /// Starts one with these further arguments, on a free port.
    pub fn start(arguments: &[&str]) -> Self {
        Self::begin(0, arguments).expect("a mock on a free port")
    }

    /// Starts one on this port, which nobody listens at any more.
    pub fn start_at(port: u16, arguments: &[&str]) -> Self {
        // The system may take a moment to see that the one before is gone.
        until("the port is free", || Self::begin(port, arguments))
    }

    fn begin(port: u16, arguments: &[&str]) -> Option<Self> {
        let mut process = Command::new(built::host())
            .args(["mock", "--port", &port.to_string()])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        let mut stdout = BufReader::new(process.stdout.take().expect("it is piped"));
        stdout.read_line(&mut url).unwrap();
        match url.trim().strip_prefix("http://") {
            Some(address) => Some(Self { process, address: address.to_owned() }),
            None => {
                let _ = process.wait();
                None
            }
        }
    }

    /// Where a flavor is served.
    pub fn url(&self, flavor: &str) -> String {
        format!("http://{}/{flavor}", self.address)
    }

    /// What it was asked so far.
    pub fn stats(&self) -> Value {
        let reply = scripted::get(&self.address, "/mock/stats");
        let (_, body) = reply.split_once("\r\n\r\n").expect("a reply has a head");
        serde_json::from_str(body).unwrap()
    }

    /// One number of these.
    pub fn stat(&self, name: &str) -> u64 {
        let stats = self.stats();
        stats[name].as_u64().unwrap_or_else(|| panic!("no {name} in {stats}"))
    }

    /// How many requests came so far.
    pub fn requests(&self) -> u64 {
        self.stat("requests")
    }

    /// Waits until so many requests have come.
    pub fn wait_for(&self, requests: u64) {
        until(&format!("{requests} requests have come"), || {
            (self.requests() >= requests).then_some(())
        });
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A port that stays free while nobody listens there: below those that the system gives to connections and to whoever
/// asks for any port, and never given twice.
pub fn lasting_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    loop {
        let next = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        // Each test process begins elsewhere.
        let port = FIRST + (process::id().wrapping_mul(61).wrapping_add(next)) % COUNT;
        let port = u16::try_from(port).expect("it is below 32,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
