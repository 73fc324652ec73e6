//! A reply's body on its way out: frame by frame, perhaps in pieces, perhaps not to its end.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};

use super::{exchange::Body, fault::Cut};

/// Frames that go out one by one; then the body ends, or the connection breaks.
#[derive(Debug)]
pub(crate) struct Frames {
    next: Option<Bytes>,
    rest: VecDeque<Bytes>,
    /// The length that is told beforehand.
    told: Option<u64>,
    breaks: bool,
    /// Whether everything before the break is on its way.
    flushed: bool,
    /// Most bytes of a frame.
    most: usize,
}

impl Frames {
    /// The body, cut and in pieces as said.
    pub(crate) fn new(body: Body, cut: Option<Cut>, most: Option<usize>) -> Self {
        let mut frames = match body {
            Body::Whole(body) => Self {
                told: Some(body.len() as u64),
                next: Some(body).filter(|body| !body.is_empty()).map(Bytes::from),
                rest: VecDeque::new(),
                breaks: false,
                flushed: false,
                most: usize::MAX,
            },
            Body::Events(frames) => Self {
                told: None,
                next: None,
                rest: frames.into_iter().map(Bytes::from).collect(),
                breaks: false,
                flushed: false,
                most: usize::MAX,
            },
        };
        frames.most = most.unwrap_or(usize::MAX).max(1);
        if let Some(cut) = cut {
            frames.cut(cut);
        }
        frames
    }

    /// Loses the second half: of the events, or of the only one. A whole body always breaks the connection, for a
    /// network does not change the length that was told.
    fn cut(&mut self, cut: Cut) {
        if let Some(whole) = &mut self.next {
            whole.truncate(whole.len() / 2);
            self.breaks = true;
        } else {
            // No event at all would be an empty body, which is another fault.
            self.breaks = cut == Cut::Breaking || self.rest.len() < 2;
            self.rest.truncate(self.rest.len() / 2);
        }
    }
}

impl HttpBody for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        let next = this.next.take().or_else(|| this.rest.pop_front());
        Poll::Ready(match next {
            Some(mut frame) => {
                if frame.len() > this.most {
                    this.next = Some(frame.split_off(this.most));
                }
                Some(Ok(Frame::data(frame)))
            }
            None if this.breaks && !this.flushed => {
                // What came before must reach the client: the connection flushes while it waits.
                this.flushed = true;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            None => std::mem::take(&mut this.breaks)
                .then(|| Err(io::Error::other("the connection breaks on cue"))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_none() && self.rest.is_empty() && !self.breaks
    }

    fn size_hint(&self) -> SizeHint {
        self.told.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    /// The frames that go out, and whether the connection breaks after them.
    async fn sent(body: Body, cut: Option<Cut>, most: Option<usize>) -> (Vec<String>, bool) {
        let mut frames = Frames::new(body, cut, most);
        let mut sent = Vec::new();
        while let Some(frame) = frames.frame().await {
            match frame {
                Ok(frame) => {
                    sent.push(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap());
                }
                Err(_) => return (sent, true),
            }
        }
        (sent, false)
    }

    #[tokio::test]
    async fn a_body_goes_out_whole_in_pieces_or_not_to_its_end() {
        let whole = || Body::Whole(b"12345678".to_vec());
        let events = || Body::Events(vec![b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
        let table = [
            (whole(), None, None, vec!["12345678"], false),
            (whole(), None, Some(3), vec!["123", "456", "78"], false),
            (whole(), Some(Cut::Cleanly), None, vec!["1234"], true),
            (whole(), Some(Cut::Breaking), None, vec!["1234"], true),
            (events(), None, None, vec!["one", "two", "three"], false),
            (events(), None, Some(4), vec!["one", "two", "thre", "e"], false),
            (events(), Some(Cut::Cleanly), None, vec!["one"], false),
            (events(), Some(Cut::Breaking), None, vec!["one"], true),
            (Body::Whole(Vec::new()), None, None, vec![], false),
        ];
        for (body, cut, most, frames, breaks) in table {
            let said = format!("{body:?} {cut:?} {most:?}");
            let frames: Vec<String> = frames.into_iter().map(str::to_owned).collect();
            assert_eq!(sent(body, cut, most).await, (frames, breaks), "{said}");
        }
    }

    #[test]
    fn a_cut_body_is_short_of_the_length_that_was_told() {
        let told =
            |cut| Frames::new(Body::Whole(b"12345678".to_vec()), cut, None).size_hint().exact();
        assert_eq!(told(None), Some(8));
        assert_eq!(told(Some(Cut::Cleanly)), Some(8));
        assert_eq!(told(Some(Cut::Breaking)), Some(8));
    }
}
