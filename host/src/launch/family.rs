//! A server and all that it started. A supervisor is the subreaper of them: one whose parent ends becomes its child,
//! so "no child is left" means that nothing is left, whatever sessions and groups they moved to.

use std::{
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

/// Between two looks at who is left, once all are killed.
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
        self.tell(Signal::TERM);
        if timeout(grace, self.all_end()).await.is_ok() {
            return true;
        }
        let begun = Instant::now();
        // Who is further down comes up when those above are gone.
        while begun.elapsed() < LAST {
            self.tell(Signal::KILL);
            if timeout(LOOK, self.all_end()).await.is_ok() {
                return true;
            }
        }
        false
    }

    async fn all_end(&mut self) {
        loop {
            self.reap();
            if self.is_over {
                return;
            }
            self.ends.recv().await;
        }
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

    /// Sends a signal to the server's group and to the children outside it. No stranger can be hit: ids of children
    /// that are not reaped yet are not given away, and neither is that of the server's group before the server is.
    fn tell(&self, signal: Signal) {
        let group = self.end.is_none().then_some(self.server);
        if let Some(group) = group {
            let _ = kill_process_group(group, signal);
        }
        for child in children() {
            if group.is_none_or(|group| child.group != group.as_raw_pid()) {
                let _ = kill_process(child.id, signal);
            }
        }
    }
}

struct Child {
    id: Pid,
    group: i32,
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
