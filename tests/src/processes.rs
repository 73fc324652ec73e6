//! What the system says of the processes that a host starts.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

/// The children of a process, whichever of its threads started them.
pub fn children(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|one| fs::read_to_string(one.path().join("children")).ok());
    let text: Vec<String> = lists.collect();
    text.iter().flat_map(|list| list.split_whitespace()).map(|id| id.parse().unwrap()).collect()
}

/// Whether a process is there and has not ended.
pub fn is_alive(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// CPU time that a process has used outside the kernel, in the system's ticks, of which a second has a hundred.
pub fn own_ticks(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The fourteenth field, of which the second may contain spaces.
    let rest = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
    rest.split(' ').nth(11).and_then(|ticks| ticks.parse().ok()).unwrap_or_default()
}
