//! What a host and a supervisor tell each other: a line each way over their socket, whose end is a message too.

use serde::{Deserialize, Serialize};

/// The hidden command that makes a `host` a supervisor.
pub const SUPERVISE: &str = "__supervise";
/// The hidden command that makes a `host` the server.
pub const BECOME: &str = "__become";
/// The word that makes a `host` a plugin's worker; the number of the process to serve follows.
pub const WORKER: &str = "__worker";
/// This program, even if its file was replaced since it started.
pub const THIS_PROGRAM: &str = "/proc/self/exe";

/// From the host, first of all. The end of its direction of the socket then says that the server shall end.
#[derive(Serialize, Deserialize)]
pub struct Begin {
    /// What must not get into the log, and what stands there in its place.
    pub hidden: Vec<(String, String)>,
}

/// From the supervisor, when the server has ended.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ended {
    /// How, as a predicate: `ended with exit status 1`.
    pub how: String,
}
