//! A reply's body on its way out: frame by frame, perhaps in pieces, perhaps not to its end.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};

use super::{
    exchange::Body,
    fault::{Cut, Kept, Then},
    stats::Place,
};

/// Frames that go out one by one; then the body ends, the connection breaks, or nothing more comes.
#[derive(Debug)]
pub(crate) struct Frames {
    next: Option<Bytes>,
    rest: VecDeque<Bytes>,
    /// The length that is told beforehand.
    told: Option<u64>,
    then: Then,
    /// Whether everything before the break is on its way.
    flushed: bool,
    /// Most bytes of a frame.
    most: usize,
    /// The request's place among those in flight, until its answer is sent.
    _place: Option<Place>,
}

impl Frames {
    /// The body, cut and in pieces as said.
    pub(crate) fn new(
        body: Body,
        cut: Option<Cut>,
        most: Option<usize>,
        place: Option<Place>,
    ) -> Self {
        let (told, next, rest) = match body {
            Body::Whole(body) => {
                let told = Some(body.len() as u64);
                (told, Some(body).filter(|body| !body.is_empty()), Vec::new())
            }
            Body::Events(frames) => (None, None, frames),
        };
        let mut frames = Self {
            next: next.map(Bytes::from),
            rest: rest.into_iter().map(Bytes::from).collect(),
            told,
            then: Then::End,
            flushed: false,
            most: most.unwrap_or(usize::MAX).max(1),
            _place: place,
        };
        if let Some(cut) = cut {
            frames.cut(cut);
        }
        frames
    }

    /// Loses everything, or the second half: of the events, or of the only one. A whole body never just ends, for a
    /// network does not change the length that was told.
    fn cut(&mut self, Cut { kept, then }: Cut) {
        // No event at all would be an empty body, which is another fault.
        let may_end = self.rest.len() >= 2 && kept == Kept::Half;
        self.then = if then == Then::End && !may_end { Then::Break } else { then };
        match kept {
            Kept::Nothing => (self.next, self.rest) = (None, VecDeque::new()),
            Kept::Half => {
                if let Some(whole) = &mut self.next {
                    whole.truncate(whole.len() / 2);
                }
                self.rest.truncate(self.rest.len() / 2);
            }
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
        if let Some(mut frame) = next {
            if frame.len() > this.most {
                this.next = Some(frame.split_off(this.most));
            }
            return Poll::Ready(Some(Ok(Frame::data(frame))));
        }
        match this.then {
            Then::End => Poll::Ready(None),
            // The connection wakes itself when the client goes away.
            Then::Silence => Poll::Pending,
            Then::Break if this.flushed => {
                this.then = Then::End;
                Poll::Ready(Some(Err(io::Error::other("the connection breaks on cue"))))
            }
            Then::Break => {
                // What came before must reach the client: the connection flushes while it waits.
                this.flushed = true;
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_none() && self.rest.is_empty() && self.then == Then::End
    }

    fn size_hint(&self) -> SizeHint {
        self.told.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use http_body_util::BodyExt;

    use super::*;

    const fn half(then: Then) -> Option<Cut> {
        Some(Cut { kept: Kept::Half, then })
    }

    const fn nothing(then: Then) -> Option<Cut> {
        Some(Cut { kept: Kept::Nothing, then })
    }

    /// The frames that go out, and what comes after them.
    async fn sent(body: Body, cut: Option<Cut>, most: Option<usize>) -> (Vec<String>, Then) {
        let mut frames = Frames::new(body, cut, most, None);
        let mut sent = Vec::new();
        // A break is due after one more turn, silence never.
        let mut turns = 2;
        loop {
            match frames.frame().now_or_never() {
                Some(Some(Ok(frame))) => {
                    sent.push(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap());
                }
                Some(Some(Err(_))) => return (sent, Then::Break),
                Some(None) => return (sent, Then::End),
                None if turns == 0 => return (sent, Then::Silence),
                None => turns -= 1,
            }
        }
    }

    #[tokio::test]
    async fn a_body_goes_out_whole_in_pieces_or_not_to_its_end() {
        use Then::{Break, End, Silence};
        let whole = || Body::Whole(b"12345678".to_vec());
        let events = || Body::Events(vec![b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
        let only = || Body::Events(vec![b"only".to_vec()]);
        let table = [
            (whole(), None, None, vec!["12345678"], End),
            (whole(), None, Some(3), vec!["123", "456", "78"], End),
            (whole(), half(End), None, vec!["1234"], Break),
            (whole(), half(Break), None, vec!["1234"], Break),
            (whole(), half(Silence), None, vec!["1234"], Silence),
            (whole(), nothing(Break), None, vec![], Break),
            (whole(), nothing(Silence), None, vec![], Silence),
            (events(), None, None, vec!["one", "two", "three"], End),
            (events(), None, Some(4), vec!["one", "two", "thre", "e"], End),
            (events(), half(End), None, vec!["one"], End),
            (events(), half(Break), None, vec!["one"], Break),
            (events(), half(Silence), None, vec!["one"], Silence),
            (events(), nothing(End), None, vec![], Break),
            (events(), nothing(Break), None, vec![], Break),
            (events(), nothing(Silence), None, vec![], Silence),
            (only(), half(End), None, vec![], Break),
            (Body::Whole(Vec::new()), None, None, vec![], End),
        ];
        for (body, cut, most, frames, then) in table {
            let said = format!("{body:?} {cut:?} {most:?}");
            let frames: Vec<String> = frames.into_iter().map(str::to_owned).collect();
            assert_eq!(sent(body, cut, most).await, (frames, then), "{said}");
        }
    }

    #[test]
    fn a_cut_body_is_short_of_the_length_that_was_told() {
        let cuts = [None, half(Then::End), half(Then::Break), nothing(Then::Silence)];
        for cut in cuts {
            let frames = Frames::new(Body::Whole(b"12345678".to_vec()), cut, None, None);
            assert_eq!(frames.size_hint().exact(), Some(8), "{cut:?}");
        }
    }
}
