//! Runs a process to its end and tells what it alone has used.

use std::{
    fs,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    param::clock_ticks_per_second,
    process::{Pid, WaitId, WaitIdOptions, waitid},
};

/// What a process has used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    /// From its start to its end.
    pub(crate) seconds: f64,
    /// User's and system's.
    pub(crate) cpu_seconds: f64,
    /// The most memory that it had, if that was asked for.
    pub(crate) peak_mb: f64,
}

/// How often its memory is looked at. What is told is the kernel's own mark of the highest, so nothing falls between.
const LOOK: Duration = Duration::from_millis(10);

/// Runs a command that must succeed.
pub(crate) fn measure(command: &mut Command, memory: bool) -> Spent {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let begun = Instant::now();
    let mut child = command.spawn().unwrap();
    let id = child.id();
    let over = AtomicBool::new(false);
    let (seconds, peak_mb) = thread::scope(|scope| {
        let watch = memory.then(|| {
            scope.spawn(|| {
                let mut peak = 0.0;
                while !over.load(Ordering::Relaxed) {
                    peak = highest_mb(id).unwrap_or(peak);
                    thread::sleep(LOOK);
                }
                peak
            })
        });
        // It stays a zombie, whose times can still be read.
        let pid = Pid::from_child(&child);
        waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
        let seconds = begun.elapsed().as_secs_f64();
        over.store(true, Ordering::Relaxed);
        (seconds, watch.map_or(0.0, |watch| watch.join().unwrap()))
    });
    let cpu_seconds = cpu_seconds(id);
    let status = child.wait().unwrap();
    assert!(status.success(), "{command:?}: {status}");
    Spent { seconds, cpu_seconds, peak_mb }
}

/// `utime` and `stime` of `/proc/PID/stat` (proc(5), fields 14 and 15), which count all threads.
fn cpu_seconds(id: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    // The name before it may hold anything, blanks too.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    ticks as f64 / clock_ticks_per_second() as f64
}

/// `VmHWM` of `/proc/PID/status`; none once it has ended.
fn highest_mb(id: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}
