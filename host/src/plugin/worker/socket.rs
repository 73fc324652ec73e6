//! The host's end of a worker's socket. Frames are sent at once as far as it takes them, and the rest when it takes more.

use std::{
    io,
    net::Shutdown,
    os::unix::net::UnixStream as StdStream,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::{net::UnixStream, sync::Notify};

use super::frame::{self, FrameError};

/// One end.
pub(super) struct Socket {
    stream: UnixStream,
    /// The same, to be closed at once.
    copy: StdStream,
    queue: Mutex<Queue>,
    /// Told when the queue could not be emptied at once.
    unsent: Notify,
}

/// What is yet to be sent.
#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    /// How many of them are sent. They stay until all are: to move the rest for each part that a socket takes would take
    /// longer than to send it.
    sent: usize,
    /// Set with the last frame of all: once that is sent, the worker is told that no more comes, and may end by itself.
    is_last: bool,
}

impl Socket {
    /// Takes it over.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn new(stream: StdStream) -> io::Result<Self> {
        let copy = stream.try_clone()?;
        stream.set_nonblocking(true)?;
        let stream = UnixStream::from_std(stream)?;
        Ok(Self { stream, copy, queue: Mutex::default(), unsent: Notify::new() })
    }

    /// Queues a frame and sends what the socket takes at once.
    ///
    /// # Errors
    /// It is longer than a frame may be.
    pub(super) fn send(&self, head: &[&[u8]], body: &[u8]) -> Result<(), FrameError> {
        let mut queue = self.queue();
        frame::append(&mut queue.bytes, head, body)?;
        self.begin_sending(&mut queue);
        Ok(())
    }

    /// The same with the last frame of all.
    ///
    /// # Errors
    /// As for [`Self::send`].
    pub(super) fn send_last(&self, head: &[u8]) -> Result<(), FrameError> {
        let mut queue = self.queue();
        frame::append(&mut queue.bytes, &[head], b"")?;
        // Not a moment sooner: whoever flushes what came before would close the way to it.
        queue.is_last = true;
        self.begin_sending(&mut queue);
        Ok(())
    }

    /// Whether nothing more is to come after what is queued or sent.
    pub(super) fn is_last(&self) -> bool {
        self.queue().is_last
    }

    /// Sends what could not be sent at once, for ever.
    pub(super) async fn send_on(&self) {
        loop {
            self.unsent.notified().await;
            while self.stream.writable().await.is_ok() {
                if self.flush(&mut self.queue()) {
                    break;
                }
            }
        }
    }

    /// Waits for bytes and takes as many as there is room for; none at the end.
    pub(super) async fn read(&self, room: &mut [u8]) -> Option<usize> {
        loop {
            self.stream.readable().await.ok()?;
            match self.stream.try_read(room) {
                Ok(0) => return None,
                Ok(bytes) => return Some(bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
    }

    /// Closes it for both, whoever reads from it now.
    pub(super) fn close(&self) {
        let _ = self.copy.shutdown(Shutdown::Both);
    }

    fn begin_sending(&self, queue: &mut Queue) {
        if !self.flush(queue) {
            self.unsent.notify_one();
        }
    }

    /// Sends what the socket takes. Whether that is all.
    fn flush(&self, queue: &mut Queue) -> bool {
        while let Some(rest) = queue.bytes.get(queue.sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.try_write(rest) {
                Ok(sent) => queue.sent += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if queue.sent > queue.bytes.len() / 2 {
                        queue.bytes.drain(..queue.sent);
                        queue.sent = 0;
                    }
                    return false;
                }
                // It is dead, which whoever reads finds out.
                Err(_) => break,
            }
        }
        queue.bytes.clear();
        queue.sent = 0;
        if queue.is_last {
            let _ = self.copy.shutdown(Shutdown::Write);
        }
        true
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
