//! The binary `host`.

use std::process::ExitCode;

/// A sample's memory is taken by one thread and given back by another, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    host::cli::main().into()
}
