//! Fuzzes what reads bytes that others wrote: `FUZZ_TARGET=frame fuzz corpus/frame -max_total_time=20`.
//!
//! One program for all targets, because linking takes longer than running; `.ci/fuzz` builds it with instrumentation. The
//! host's readers are compiled in from their files, since the whole host would take minutes to instrument.

#![no_main]
#![allow(clippy::panic, clippy::expect_used, reason = "a finding is a panic")]

mod backends;
mod host;
mod messages;
mod sse;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

/// What one input is given to.
type Target = Box<dyn Fn(&[u8]) + Send + Sync>;

static TARGET: OnceLock<Target> = OnceLock::new();

fuzz_target!(|bytes: &[u8]| TARGET.get_or_init(chosen)(bytes));

fn chosen() -> Target {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    match name.as_str() {
        "elf" => Box::new(host::elf),
        "frame" => Box::new(host::frame),
        "http" => Box::new(host::http),
        "sse" => Box::new(sse::events),
        "messages" => Box::new(messages::read),
        "custom" => backends::custom(),
        "huggingface" => backends::huggingface(),
        "litellm" => backends::litellm(),
        "sglang" => backends::sglang(),
        "tgi" => backends::tgi(),
        _ => panic!("FUZZ_TARGET names no target: {name:?}"),
    }
}
