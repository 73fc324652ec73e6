//! A server and all that it started. A supervisor is the subreaper of them: one whose parent ends becomes its child,
//! so "no child is left" means that nothing is left, whatever sessions and groups they moved to.

use std::{
    collections::HashSet,
    fs, io,
    os::unix::process::ExitStatusExt,
    process::ExitStatus,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{
        Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, set_child_subreaper,
        wait,
    },
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::timeout,
};

/// Between two looks at who is left.
const LOOK: Duration = Duration::from_millis(50);
/// Longest wait for those who were killed: only one that the kernel holds takes as long.
const LAST: Duration = Duration::from_secs(5);

/// Hears of children that end. Made before the first of them.
pub struct Nursery {
    ends: tokio::signal::unix::Signal,
}

/// The processes of one server.
pub struct Family {
    ends: tokio::signal::unix::Signal,
    /// Leads the group that it is in.
    server: Pid,
    end: Option<ExitStatus>,
    is_over: bool,
}

impl Nursery {
    /// From now on orphans below this process are its children.
    ///
    /// # Errors
    /// The system's.
    pub fn new() -> io::Result<Self> {
        set_child_subreaper(Some(getpid()))?;
        Ok(Self { ends: signal(SignalKind::child())? })
    }

    /// The family of a child that leads a process group.
    pub fn of(self, server: Pid) -> Family {
        Family { ends: self.ends, server, end: None, is_over: false }
    }
}

impl Family {
    /// Waits until the server itself has ended.
    pub async fn server_ends(&mut self) -> ExitStatus {
        loop {
            self.reap();
            if let Some(end) = self.end {
                return end;
            }
            self.ends.recv().await;
        }
    }

    /// Ends all of them: asks them, and kills those who are left after `grace`. Whether none is left.
    pub async fn end(&mut self, grace: Duration) -> bool {
        if timeout(grace, self.ask()).await.is_ok() {
            return true;
        }
        let begun = Instant::now();
        // Who is further down comes up when those above are gone.
        while begun.elapsed() < LAST {
            self.kill();
            if timeout(LOOK, self.all_end()).await.is_ok() {
                return true;
            }
        }
        false
    }

    /// Asks each once to end, also those who only come up when those above them have, until none is left.
    async fn ask(&mut self) {
        let group = self.tell_group(Signal::TERM);
        let mut asked = HashSet::new();
        while !self.is_over() {
            for child in children().iter().filter(|child| !child.is_of(group)) {
                if asked.insert(child.id) {
                    let _ = kill_process(child.id, Signal::TERM);
                }
            }
            // The end of a grandchild brings up its children unheard.
            let _ = timeout(LOOK, self.ends.recv()).await;
        }
    }

    fn kill(&self) {
        let group = self.tell_group(Signal::KILL);
        for child in children().iter().filter(|child| !child.is_of(group)) {
            let _ = kill_process(child.id, Signal::KILL);
        }
    }

    /// Sends a signal to the server's group, and gives the group if that was done. No stranger can be hit: a group's
    /// id is not given away before its leader is reaped. Neither is that of a child.
    fn tell_group(&self, signal: Signal) -> Option<Pid> {
        let group = self.end.is_none().then_some(self.server)?;
        let _ = kill_process_group(group, signal);
        Some(group)
    }

    async fn all_end(&mut self) {
        while !self.is_over() {
            self.ends.recv().await;
        }
    }

    fn is_over(&mut self) -> bool {
        self.reap();
        self.is_over
    }

    fn reap(&mut self) {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((child, status))) if child == self.server => {
                    self.end = Some(ExitStatus::from_raw(status.as_raw()));
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return,
                Err(_) => {
                    self.is_over = true;
                    return;
                }
            }
        }
    }
}

struct Child {
    id: Pid,
    group: i32,
}

impl Child {
    fn is_of(&self, group: Option<Pid>) -> bool {
        group.is_some_and(|group| group.as_raw_pid() == self.group)
    }
}

/// The children of this process. The whole of `/proc` is looked through, since not every kernel lists them.
fn children() -> Vec<Child> {
    let own = getpid().as_raw_pid();
    let entries = fs::read_dir("/proc").into_iter().flatten().map_while(Result::ok);
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter_map(|id: i32| {
        let stat = fs::read(format!("/proc/{id}/stat")).ok()?;
        let [parent, group] = parent_and_group(&stat)?;
        (parent == own).then_some(Child { id: Pid::from_raw(id)?, group })
    })
    .collect()
}

/// Of a `/proc/ID/stat`: `ID (NAME) STATE PARENT GROUP …`, where the name may hold anything.
fn parent_and_group(stat: &[u8]) -> Option<[i32; 2]> {
    let name_ends = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(name_ends + 1..)?).ok()?;
    let mut fields = rest.split_whitespace().skip(1).map_while(|field| field.parse().ok());
    Some([fields.next()?, fields.next()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_pass_for_the_fields_after_it() {
        let table: [(&[u8], _); 5] = [
            (b"7 (sh) S 1 7 7 0 -1", Some([1, 7])),
            (b"7 (a) R 9 9 (b) S 2 3 4", Some([2, 3])),
            (b"7 (\xff\n) Z 4 5", Some([4, 5])),
            (b"7 (sh) S 1", None),
            (b"", None),
        ];
        for (stat, expected) in table {
            assert_eq!(parent_and_group(stat), expected, "{}", String::from_utf8_lossy(stat));
        }
    }
}
