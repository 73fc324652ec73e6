//! Plugins in a process of their own: the same library and the same messages, framed over a socket.
//!
//! A worker is a re-executed `host` that loads one library and opens one backend. It has no secret and needs no
//! network, since HTTP is the host's. If it dies, the sessions in it fail and it is started again; if it dies too
//! often, its backend is given up.

mod become_script;
pub mod circuit;
pub mod client;
mod death;
pub mod frame;
mod link;
mod memory;
mod message;
mod network;
pub mod offered;
mod output;
mod process;
mod program;
mod sandbox;
pub mod serve;
pub mod session;
mod socket;
mod watch;
