//! `host mock`, started as a user starts it and ended with the test.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use crate::built;

/// A mock server of its own process, on a free port.
#[derive(Debug)]
pub struct Mock {
    process: Child,
    address: String,
}

impl Mock {
    /// Starts one with these further arguments.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_at(0, arguments)
    }

    /// Starts one at this port of the loopback address.
    pub fn start_at(port: u16, arguments: &[&str]) -> Self {
        let mut process = Command::new(built::host())
            .args(["mock", "--port", &port.to_string()])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        let mut stdout = BufReader::new(process.stdout.take().expect("it is piped"));
        stdout.read_line(&mut address).unwrap();
        Self { process, address: address.trim().to_owned() }
    }

    /// Where a flavor is served.
    pub fn url(&self, flavor: &str) -> String {
        format!("{}/{flavor}", self.address)
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
