//! Servers that the host starts and is answerable for: whatever way the host ends, nothing of them is left.
//!
//! Between the host and a server stands a supervisor, a re-executed `host` in a session of its own. The two are
//! joined by a socket: its end says that the host is done with the server, or is gone, and a supervisor outlives a
//! `SIGKILL` of the host for as long as it takes to end what it started. A parent-death signal alone would not do: it
//! reaches one process and not that one's children, and comes when a *thread* of the parent ends. It is what ends the
//! server should the supervisor itself be killed.

pub mod become_server;
pub mod family;
pub mod link;
pub mod log;
pub mod server;
pub mod supervisor;
