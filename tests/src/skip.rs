//! How a test says that it is passed over: where cargo does not hide it. What a test prints is kept from the terminal
//! unless the test fails, and one that is passed over does not fail.

use std::{
    fmt::Display,
    io::{Write, stderr},
    thread,
};

/// Says why this test, or a part of it, is passed over.
pub fn skipped(why: impl Display) {
    let thread = thread::current();
    let test = thread.name().unwrap_or("a test");
    // Whoever closes stderr does not want to know.
    let _ = writeln!(stderr().lock(), "skipped: {test}: {why}");
}
