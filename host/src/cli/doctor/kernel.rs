//! What the kernel offers to keep a plugin's process in its place, and what bounds this one.

use std::{fs, thread};

use rustix::process::{Resource, getrlimit};

use super::{Fact, State};
use crate::plugin::worker::sandbox::has_landlock;

/// Each thing by itself: which of them is needed depends on what is run.
pub(super) fn facts() -> Vec<Fact> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".to_owned());
    vec![
        Fact::new("machine", "cores", State::Good, cores.to_string()),
        memory(),
        open_files(),
        Fact::new("machine", "kernel", State::Good, release),
        seccomp(read("/proc/sys/kernel/seccomp/actions_avail").as_deref()),
        landlock(has_landlock()),
        namespaces(read("/proc/sys/user/max_user_namespaces").as_deref()),
    ]
}

fn read(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

fn memory() -> Fact {
    let text = read("/proc/meminfo").unwrap_or_default();
    let kib = text.lines().find_map(|line| {
        let rest = line.strip_prefix("MemAvailable:")?;
        rest.trim().trim_end_matches(" kB").parse::<u64>().ok()
    });
    match kib {
        Some(kib) => {
            let detail = format!("{} available", crate::cli::cache::size(kib.saturating_mul(1024)));
            Fact::new("machine", "memory", State::Good, detail)
        }
        None => Fact::new("machine", "memory", State::Absent, "not told"),
    }
}

/// Each request in flight takes one.
fn open_files() -> Fact {
    const FEW: u64 = 512;
    let limit = getrlimit(Resource::Nofile);
    match limit.current {
        Some(files) if files < FEW => {
            let detail = format!("{files} at once: too few for many requests; see `ulimit -n`");
            Fact::new("machine", "open files", State::Bad, detail)
        }
        Some(files) => Fact::new("machine", "open files", State::Good, format!("{files} at once")),
        None => Fact::new("machine", "open files", State::Good, "any number"),
    }
}

fn seccomp(actions: Option<&str>) -> Fact {
    let detail = "this kernel has none: a worker may use the network and start programs";
    match actions {
        Some(_) => {
            let detail = "workers have no network and start no program";
            Fact::new("isolation", "seccomp", State::Good, detail)
        }
        None => Fact::new("isolation", "seccomp", State::Absent, detail),
    }
}

fn landlock(is_there: bool) -> Fact {
    let detail = "this kernel has none: a worker may read what its user may";
    match is_there {
        true => {
            Fact::new("isolation", "landlock", State::Good, "workers read only their own files")
        }
        false => Fact::new("isolation", "landlock", State::Absent, detail),
    }
}

fn namespaces(most: Option<&str>) -> Fact {
    match most {
        Some("0") => {
            Fact::new("isolation", "user namespaces", State::Absent, "none may be made here")
        }
        Some(most) => {
            Fact::new("isolation", "user namespaces", State::Good, format!("{most} at most"))
        }
        None => Fact::new("isolation", "user namespaces", State::Absent, "this kernel has none"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_is_there_only_if_the_kernel_says_so() {
        assert_eq!(landlock(true).state, State::Good);
        assert_eq!(landlock(false).state, State::Absent);
        assert_eq!(namespaces(Some("0")).state, State::Absent);
        assert_eq!(namespaces(Some("31000")).state, State::Good);
        assert_eq!(seccomp(None).state, State::Absent);
    }
}
