//! What an author tests with; feature `testkit`. The [guide](crate::guide::testing) shows all of it at work.
//!
//! - [`Stage`] is a host in small: it plays a request to its end against a [`Server`] that the test writes, with a
//!   clock that costs no time, and tells as [`Played`] what was asked and answered.
//! - [`Recording`] answers from a file that `host run --record` made.
//! - [`drop_at_every_step`], [`garbage`] and [`no_panic`] hold a backend to what every backend must keep.
//! - [`check_schema`] keeps the schema in the manifest that of the code.
//! - [`Driver`] gives one event at a time, for what only a test that does so can see.

mod base64;
mod broken;
mod driver;
mod dropping;
mod fault;
mod fields;
mod garbage;
mod judge;
mod mangle;
mod open;
mod play;
mod played;
mod property;
mod queue;
mod random;
mod recording;
mod schema;
mod scripted;
mod sent;
mod server;
mod stage;
mod table;

pub use driver::{Driver, Pushed, failure, push_raw};
pub use dropping::drop_at_every_step;
pub use fault::Fault;
pub use garbage::{Garbage, garbage};
pub use open::{granted, open, open_with};
pub use played::{Played, answer, answers, completion, deltas, likelihoods, requests};
pub use property::no_panic;
pub use random::Random;
pub use recording::{Recorded, Recording};
pub use schema::check_schema;
pub use scripted::Scripted;
pub use sent::Sent;
pub use server::{Script, Server};
pub use stage::Stage;
