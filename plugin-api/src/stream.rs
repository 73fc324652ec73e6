//! A reply that comes in pieces.

use std::{borrow::Cow, future::Future, pin::pin, task::Poll, time::Duration};

use crate::{abi, error::Result, http::Reply, io::Io, shared::OpenCall};

/// A streamed reply.
///
/// ```
/// use plugin_api::{HttpRequest, Io, Result};
///
/// async fn length(io: &Io) -> Result<usize> {
///     let mut stream = io.stream(HttpRequest::get("https://api.acme.test/long")).await?;
///     if !stream.head().is_success() {
///         return Err(stream.collect().await?.error());
///     }
///     let mut bytes = 0;
///     while let Some(chunk) = stream.chunk().await? {
///         bytes += chunk.len();
///     }
///     Ok(bytes)
/// }
/// ```
#[derive(Debug)]
pub struct Stream {
    pub(crate) reply: Reply,
    pub(crate) call: OpenCall,
}

impl Stream {
    /// Status and headers; the body is empty.
    pub fn head(&self) -> &Reply {
        &self.reply
    }

    /// The next bytes, cut anywhere; none once the reply is complete.
    ///
    /// # Errors
    /// The connection broke, or nothing came for too long.
    pub async fn chunk(&mut self) -> Result<Option<Cow<'static, [u8]>>> {
        Ok(self.call.chunk().await?.map(Cow::Owned))
    }

    /// Reads on for at most `grace`, and forgets what comes: a reply read to its end leaves its connection
    /// fit for the next call. For when the answer is whole but the stream is not yet over.
    ///
    /// ```
    /// use std::time::Duration;
    /// use plugin_api::{HttpRequest, Io, Result};
    ///
    /// async fn first(io: &Io) -> Result<Vec<u8>> {
    ///     let mut stream = io.stream(HttpRequest::get("https://api.acme.test/long")).await?;
    ///     let bytes = stream.chunk().await?.unwrap_or_default().into_owned();
    ///     stream.drain(io, Duration::from_millis(50)).await;
    ///     Ok(bytes)
    /// }
    /// ```
    pub async fn drain(self, io: &Io, grace: Duration) {
        let mut grace = pin!(io.wait(grace));
        loop {
            let mut chunk = pin!(self.call.chunk());
            let over = std::future::poll_fn(|context| {
                if grace.as_mut().poll(context).is_ready() {
                    return Poll::Ready(true);
                }
                chunk.as_mut().poll(context).map(|chunk| !matches!(chunk, Ok(Some(_))))
            });
            if over.await {
                return;
            }
        }
    }

    /// The rest of the reply as a whole one; for a status that is not a success, say.
    ///
    /// # Errors
    /// As for [`Stream::chunk`].
    pub async fn collect(mut self) -> Result<Reply> {
        let mut reply = std::mem::take(&mut self.reply);
        while let Some(chunk) = self.call.chunk().await? {
            reply.body.extend_from_slice(&chunk);
            abi::recycle(chunk);
        }
        Ok(reply)
    }
}
