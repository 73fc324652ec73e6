//! What the kernel offers to keep a plugin's process in its place, and what bounds this one.

use std::{fs, thread};

use rustix::process::{Resource, getrlimit};

use super::{Fact, State};
use crate::plugin::worker::offered::Offered;

/// Each thing by itself: which of them is needed depends on what is run.
pub(super) fn facts() -> Vec<Fact> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".to_owned());
    let machine = [
        Fact::new("machine", "cores", State::Good, cores.to_string()),
        memory(),
        open_files(),
        Fact::new("machine", "kernel", State::Good, release),
    ];
    machine.into_iter().chain(isolation(Offered::here())).collect()
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

/// What each means that a worker is confined by keeps from it, or leaves to it where it is lacking. The names are those of
/// `sandbox` in a run's manifest.
fn isolation(offered: Offered) -> [Fact; 6] {
    let fact = |name, is_there, there, lacking| {
        let (state, detail) =
            if is_there { (State::Good, there) } else { (State::Absent, lacking) };
        Fact::new("isolation", name, state, detail)
    };
    [
        fact(
            "no_new_privs",
            offered.no_new_privs,
            "workers get no rights by starting a program",
            "refused here: a script's worker may get the rights of a set-uid program, and seccomp is refused, too",
        ),
        fact(
            "limits",
            offered.limits,
            "workers have bounded memory, few files, and leave no core",
            "refused here: a worker may take all memory and open any number of files",
        ),
        fact(
            "network",
            offered.network,
            "workers have a network of their own, with nothing in it",
            "refused here: a worker is in the host's network, and only seccomp and landlock keep it from that",
        ),
        fact(
            "capabilities",
            offered.capabilities,
            "workers have no rights of an administrator but to read what is left to them",
            "refused here: a worker of an administrator's host is an administrator, too",
        ),
        landlock(offered.landlock),
        fact(
            "seccomp",
            offered.seccomp,
            "workers open no socket, start no program and reach no other process",
            "refused here, or this kernel has none: a worker may open sockets, start programs and signal processes of its user",
        ),
    ]
}

/// What landlock closes to a worker, and since which version of its interface.
const CLOSED: [(u8, &str); 5] = [
    (1, "reading and writing files"),
    (3, "cutting files off"),
    (4, "TCP"),
    (5, "commands to devices"),
    (6, "signals and abstract sockets"),
];

fn landlock(version: u8) -> Fact {
    if version == 0 {
        let detail = "this kernel has none, or it is not switched on: a worker may read and remove the files that its user may";
        return Fact::new("isolation", "landlock", State::Absent, detail);
    }
    let named = |list: Vec<String>| list.join(", ");
    let closed = CLOSED.iter().filter(|(since, _)| *since <= version);
    let mut detail = format!(
        "ABI {version}: closed to workers, but for what is theirs: {}",
        named(closed.map(|(_, what)| (*what).to_owned()).collect())
    );
    let open = CLOSED.iter().filter(|(since, _)| *since > version);
    let open: Vec<String> = open.map(|(since, what)| format!("{what} (ABI {since})")).collect();
    if !open.is_empty() {
        detail.push_str(&format!("; not by this kernel: {}", named(open)));
    }
    Fact::new("isolation", "landlock", State::Good, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_told_with_what_it_means() {
        let all = Offered {
            no_new_privs: true,
            limits: true,
            network: true,
            capabilities: true,
            landlock: 6,
            seccomp: true,
        };
        assert!(isolation(all).iter().all(|fact| fact.state == State::Good));
        let none = Offered {
            no_new_privs: false,
            limits: false,
            network: false,
            capabilities: false,
            landlock: 0,
            seccomp: false,
        };
        for fact in isolation(none) {
            assert_eq!(fact.state, State::Absent, "{fact:?}");
            assert!(fact.detail.contains(": a "), "{fact:?}");
        }
    }

    #[test]
    fn landlock_is_told_by_what_its_version_closes() {
        let table = [
            (
                2,
                "ABI 2: closed to workers, but for what is theirs: reading and writing files; not by this kernel: \
                 cutting files off (ABI 3), TCP (ABI 4), commands to devices (ABI 5), signals and abstract sockets (ABI 6)",
            ),
            (
                6,
                "ABI 6: closed to workers, but for what is theirs: reading and writing files, cutting files off, TCP, \
                 commands to devices, signals and abstract sockets",
            ),
        ];
        for (version, expected) in table {
            assert_eq!(landlock(version).detail, expected);
        }
    }
}
