//! Memory does not grow with the number of samples.

use std::{fs, thread, time::Duration};

use host_tests::{fake_tgi::FakeTgi, sandbox::Sandbox};

use super::{ECHO, echoes, tgi};

/// Most memory that the host had at once, in KiB. Looked at until it ends: the mark only ever rises.
fn peak(backend: &str, samples: usize) -> u64 {
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", echoes(samples));
    let mut child = sandbox.spawn(sandbox.run_command(&format!("{backend}{ECHO}"), &["--quiet"]));
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let mark = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let mark = mark.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak = mark.unwrap_or(peak);
        thread::sleep(Duration::from_millis(5));
    }
    let left = sandbox.wait(child).exits(0).left();
    assert_eq!(left.counts(), [samples as u64, samples as u64, 0]);
    peak
}

#[test]
fn a_hundred_times_the_samples_need_no_more_memory() {
    let fake = FakeTgi::builder().text(str::to_owned).without_record().start_blocking().unwrap();
    let (few, many) = (peak(&tgi(&fake), 1000), peak(&tgi(&fake), 100_000));
    assert!(many < few + 10 * 1024, "{few} KiB with few samples, {many} KiB with many");
}
