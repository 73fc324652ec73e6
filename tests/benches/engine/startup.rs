//! How soon the host does something.

use std::{process::Command, time::Instant};

use super::{
    child,
    pairs::Middle,
    server::{Listener, Wire},
    work::{self, Work},
};

/// Starts of each.
const STARTS: usize = 4;

/// Prints the times.
pub(crate) fn measure(work: &Work, rounds: usize) {
    let rounds = rounds * STARTS;
    let milliseconds = |seconds: f64| seconds * 1e3;
    let version = (0..rounds).map(|_| {
        let spent = child::measure(Command::new(work::host()).arg("--version"), false);
        milliseconds(spent.seconds)
    });
    println!("`host --version`: {:.1} ms", Middle::of(version));
    let mut samples = Vec::new();
    let first = (0..rounds).map(|_| {
        let listener = Listener::start(Wire::Tgi);
        let run = work.run(Wire::Tgi, &listener.url(), 1_000, 32);
        let begun = Instant::now();
        let mut host = run.command().spawn().unwrap();
        let first = listener.first();
        let sample = if first.is_sample() { first.clone() } else { listener.first_sample() };
        samples.push(milliseconds((sample.at - begun).as_secs_f64()));
        assert!(host.wait().unwrap().success());
        milliseconds((first.at - begun).as_secs_f64())
    });
    println!("first request of `host run`: {:.1} ms", Middle::of(first));
    println!("first sample asked: {:.1} ms", Middle::of(samples.into_iter()));
}
