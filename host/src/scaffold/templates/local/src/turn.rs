//! When a computation gives the host a turn.

use plugin_api::{Error, ErrorKind, Io, Result};

/// Additions between two turns: some milliseconds of work. The contract allows 200 ms, and the more seldom the host
/// gets a turn, the later it can give up what nobody wants any more.
const WORK_A_TURN: u32 = 1 << 22;

/// Counts work.
pub(crate) struct Turns<'a> {
    io: &'a Io,
    done: u32,
}

impl<'a> Turns<'a> {
    /// Nothing is done yet.
    pub(crate) fn new(io: &'a Io) -> Self {
        Self { io, done: 0 }
    }

    /// So much was done. Once it is enough, others get a turn: the host may also drop the future there, and nothing
    /// after the `await` runs then.
    ///
    /// # Errors
    /// `cancelled` once the host no longer wants the answer.
    pub(crate) async fn worked(&mut self, additions: u32) -> Result<()> {
        self.done += additions;
        if self.done >= WORK_A_TURN {
            self.done = 0;
            self.io.again().await;
            // For a computation that cannot be split: it may look in between.
            if self.io.cancelled() {
                let message = "the host no longer wants the answer";
                return Err(Error::new(ErrorKind::Cancelled, message));
            }
        }
        Ok(())
    }
}
