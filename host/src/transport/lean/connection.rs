//! One connection: asked and read from by the task that waits for it.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use hyper::Method;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    task::coop::unconstrained,
    time::{Instant, Sleep, sleep_until},
};

use super::{
    framing::Framing,
    head::{End, Head},
};

/// Most bytes read at once.
const PIECE: usize = 64 * 1024;
/// Most bytes of a reply's head, those of interim replies before it included.
const LARGEST_HEAD: usize = 64 * 1024;

thread_local! {
    /// What is read goes here first, and then into a block of its own size: a connection that waits needs none.
    static READ: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A connection that one request at a time is on. Dropping it closes it.
pub(super) struct Connection {
    stream: TcpStream,
    /// What came and was not taken yet.
    arrived: Bytes,
    framing: Framing,
    /// What the server has not heard yet of the request that it answers already.
    unsent: Bytes,
    /// Whether another request may follow.
    is_kept: bool,
    alarm: Alarm,
}

/// A request as it is sent.
pub(super) struct Sent<'a> {
    pub(super) method: &'a Method,
    /// [`super::head::write`].
    pub(super) head: &'a [u8],
    pub(super) body: &'a Bytes,
}

/// Why there is nothing more to wait for.
pub(super) enum Ended {
    /// What was waited for did not come in time.
    Late,
    /// The connection is over, and the server has seen nothing of the request.
    Unsent(String),
    /// The connection is over. The server may have seen the request.
    Broken(String),
}

impl Connection {
    /// Over a stream to the server.
    pub(super) fn new(stream: TcpStream, due: Instant) -> Self {
        let alarm = Alarm(Box::pin(sleep_until(due)));
        let (arrived, unsent) = (Bytes::new(), Bytes::new());
        Self { stream, arrived, framing: Framing::Length(0), unsent, is_kept: true, alarm }
    }

    /// Whether another request can be sent, as far as is known.
    pub(super) fn is_ready(&self) -> bool {
        // What comes after a body was not asked for.
        self.is_kept && self.framing.is_over() && self.arrived.is_empty() && self.unsent.is_empty()
    }

    /// Sends a request and waits for the head of its reply.
    pub(super) async fn ask(&mut self, request: &Sent<'_>, due: Instant) -> Result<Head, Ended> {
        let end = End::of(request.method, request.body);
        let mut parts = [request.head, end.as_bytes(), request.body];
        let is_begun = |parts: &[&[u8]; 3]| parts[0].len() < request.head.len();
        let mut heard = 0;
        poll_fn(|context| {
            if !is_begun(&parts) {
                // A server that waits for a request has nothing to say but that it waits no longer.
                if let Poll::Ready(read) = self.poll_read(context) {
                    let why =
                        read.err().map_or_else(|| CLOSED.to_owned(), |error| error.to_string());
                    return Poll::Ready(Err(Ended::Unsent(why)));
                }
            }
            let written = self.poll_write(context, &mut parts);
            if let Poll::Ready(Err(error)) = &written
                && !is_begun(&parts)
            {
                return Poll::Ready(Err(Ended::Unsent(error.to_string())));
            }
            let head = match self.poll_head(context, request.method, &mut heard) {
                Poll::Ready(head) => head.map_err(Ended::Broken),
                Poll::Pending => return self.alarm.poll(due, context).map(|()| Err(Ended::Late)),
            };
            Poll::Ready(head.map(|mut head| {
                let [_, end, rest] = parts;
                // A server may begin to answer before it has heard everything. If it refuses, it need not hear the
                // rest; else that goes out while the reply comes in.
                let is_heard = end.is_empty() && (rest.is_empty() || head.status.is_success());
                if is_heard {
                    self.unsent = request.body.slice(request.body.len() - rest.len()..);
                }
                self.is_kept = head.is_kept && is_heard;
                self.framing = std::mem::replace(&mut head.framing, Framing::Length(0));
                head
            }))
        })
        .await
    }

    /// Waits for the next bytes of a body; none at its end.
    pub(super) async fn data(&mut self, due: Instant) -> Result<Option<Bytes>, Ended> {
        poll_fn(|context| {
            loop {
                let taken = self.framing.take(&mut self.arrived);
                match taken.map_err(|why| Ended::Broken(why.to_owned()))? {
                    Some(bytes) => return Poll::Ready(Ok(Some(bytes))),
                    None if self.framing.is_over() => return Poll::Ready(Ok(None)),
                    None => {}
                }
                if let Poll::Ready(Err(error)) = self.poll_unsent(context) {
                    return Poll::Ready(Err(Ended::Broken(error.to_string())));
                }
                let is_last = self.framing == Framing::UntilClosed && self.unsent.is_empty();
                match self.poll_read(context) {
                    Poll::Ready(Ok(0)) if is_last => return Poll::Ready(Ok(None)),
                    Poll::Ready(read) => {
                        some(read).map_err(Ended::Broken)?;
                    }
                    Poll::Pending => {
                        return self.alarm.poll(due, context).map(|()| Err(Ended::Late));
                    }
                }
            }
        })
        .await
    }

    /// Writes what is left of a request, and takes it off `parts`.
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        parts: &mut [&[u8]; 3],
    ) -> Poll<io::Result<()>> {
        while parts.iter().any(|part| !part.is_empty()) {
            let slices = parts.map(IoSlice::new);
            let stream = Pin::new(&mut self.stream);
            let mut written = ready!(stream.poll_write_vectored(context, &slices))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            for part in parts.iter_mut() {
                let of_part = written.min(part.len());
                *part = &part[of_part..];
                written -= of_part;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what the server has not heard yet while it answers.
    fn poll_unsent(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let stream = Pin::new(&mut self.stream);
            match ready!(stream.poll_write(context, &self.unsent))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.unsent.advance(written),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The head of a reply, of which so many bytes were heard.
    fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        method: &Method,
        heard: &mut usize,
    ) -> Poll<Result<Head, String>> {
        loop {
            *heard += some(ready!(self.poll_read(context)))?;
            let head = Head::read(&mut self.arrived, method)
                .map_err(|why| format!("its reply is not what HTTP/1.1 allows: {why}"))?;
            if let Some(head) = head {
                return Poll::Ready(Ok(head));
            }
            if *heard > LARGEST_HEAD {
                let why = format!("the head of its reply is larger than {LARGEST_HEAD} bytes");
                return Poll::Ready(Err(why));
            }
        }
    }

    /// Reads what there is, behind what came before; 0 bytes at the end of the stream.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Self { stream, arrived, .. } = self;
        READ.with_borrow_mut(|buffer| {
            buffer.resize(PIECE, 0);
            let mut buffer = ReadBuf::new(buffer);
            ready!(Pin::new(stream).poll_read(context, &mut buffer))?;
            let read = buffer.filled();
            *arrived = if arrived.is_empty() {
                Bytes::copy_from_slice(read)
            } else {
                [arrived, read].concat().into()
            };
            Poll::Ready(Ok(read.len()))
        })
    }
}

const CLOSED: &str = "the connection was closed before the reply was complete";

/// How much was read, if anything was.
fn some(read: io::Result<usize>) -> Result<usize, String> {
    match read {
        Ok(0) => Err(CLOSED.to_owned()),
        Ok(read) => Ok(read),
        Err(error) => Err(error.to_string()),
    }
}

/// A timer that is set anew only when it must ring earlier, or has rung: requests mostly end long before their time, and
/// their times are mostly later than that of the last.
struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    fn poll(&mut self, due: Instant, context: &mut Context<'_>) -> Poll<()> {
        if self.0.deadline() > due {
            self.0.as_mut().reset(due);
        }
        // A server that always has more to say uses up what a task may read at once, and its time runs all the same.
        while pin!(unconstrained(self.0.as_mut())).poll(context).is_ready() {
            if self.0.deadline() >= due {
                return Poll::Ready(());
            }
            self.0.as_mut().reset(due);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{task::coop, time};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_runs_out_also_for_a_task_that_has_read_all_it_may_at_once() {
        let due = Instant::now() + Duration::from_secs(1);
        let mut alarm = Alarm(Box::pin(sleep_until(due)));
        let mut polled = async |due| {
            poll_fn(|context| {
                while coop::has_budget_remaining() {
                    ready!(coop::poll_proceed(context)).made_progress();
                }
                Poll::Ready(alarm.poll(due, context))
            })
            .await
        };
        assert_eq!(polled(due).await, Poll::Pending);
        time::advance(Duration::from_secs(2)).await;
        let later = Instant::now() + Duration::from_secs(1);
        assert_eq!(polled(later).await, Poll::Pending);
        time::advance(Duration::from_secs(2)).await;
        assert_eq!(polled(later).await, Poll::Ready(()));
    }
}
