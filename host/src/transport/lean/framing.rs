//! Where the body of a reply ends (RFC 9112, 6 and 7.1).

use bytes::{Buf, Bytes};

/// Most bytes beside a chunked body: of extensions, and of trailers, which nobody asks for.
const MOST_BESIDE: usize = 16 * 1024;
/// Most digits of a chunk's size.
const MOST_DIGITS: u8 = 16;

/// What of a body is still to come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunks),
    /// All until the server closes the connection.
    UntilClosed,
}

/// How far a chunked body was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chunks {
    next: Next,
    /// Bytes beside the body so far.
    beside: usize,
}

/// What comes next of a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The size of a chunk, of which so many digits came.
    Size { size: u64, digits: u8 },
    /// What may stand between a size and an extension.
    Blanks(u64),
    /// An extension.
    Extension(u64),
    /// The line feed after a size.
    SizeEnd(u64),
    /// So many bytes of a chunk.
    Data(u64),
    /// The carriage return after a chunk.
    DataReturn,
    /// The line feed after a chunk.
    DataEnd,
    /// A trailer, of which something came, or none.
    Trailer { is_begun: bool },
    /// The line feed after a trailer, or after all of them.
    TrailerEnd { is_begun: bool },
    /// Nothing.
    Over,
}

impl Framing {
    pub(super) const CHUNKED: Self = Self::Chunked(Chunks { next: Next::SIZE, beside: 0 });

    /// Whether all of the body came.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunks { next: Next::Over, .. }))
    }

    /// The next bytes of the body out of those that arrived; none if more must arrive, or if it is over.
    ///
    /// # Errors
    /// These are no chunks.
    pub(super) fn take(&mut self, arrived: &mut Bytes) -> Result<Option<Bytes>, &'static str> {
        let taken = match self {
            Self::Length(left) => part(left, arrived),
            Self::Chunked(chunks) => chunks.take(arrived)?,
            Self::UntilClosed => Some(std::mem::take(arrived)).filter(|bytes| !bytes.is_empty()),
        };
        if arrived.is_empty() {
            // What is empty may still keep the block that it was a part of.
            *arrived = Bytes::new();
        }
        Ok(taken)
    }
}

/// At most `left` of the bytes that arrived.
fn part(left: &mut u64, arrived: &mut Bytes) -> Option<Bytes> {
    let wanted = usize::try_from(*left).unwrap_or(usize::MAX).min(arrived.len());
    *left -= wanted as u64;
    (wanted > 0).then(|| arrived.split_to(wanted))
}

impl Chunks {
    fn take(&mut self, arrived: &mut Bytes) -> Result<Option<Bytes>, &'static str> {
        loop {
            if let Next::Data(left) = &mut self.next {
                let bytes = part(left, arrived);
                if *left == 0 {
                    self.next = Next::DataReturn;
                }
                if bytes.is_some() {
                    return Ok(bytes);
                }
            }
            let Some(&byte) = arrived.first().filter(|_| self.next != Next::Over) else {
                return Ok(None);
            };
            arrived.advance(1);
            self.next = self.next.after(byte)?;
            let is_beside =
                matches!(self.next, Next::Blanks(_) | Next::Extension(_) | Next::Trailer { .. });
            self.beside += usize::from(is_beside);
            if self.beside > MOST_BESIDE {
                return Err("there is too much beside its chunks");
            }
        }
    }
}

impl Next {
    const SIZE: Self = Self::Size { size: 0, digits: 0 };

    /// What comes next after one byte that is none of the body's.
    fn after(self, byte: u8) -> Result<Self, &'static str> {
        const NO_SIZE: &str = "a chunk's size is no hexadecimal number";
        Ok(match (self, byte) {
            (Self::Size { digits: 0, .. }, b'\r' | b'\n') => return Err("a chunk has no size"),
            (Self::Size { digits: 0, .. }, b' ' | b'\t' | b';') => return Err(NO_SIZE),
            (Self::Size { size, .. } | Self::Blanks(size) | Self::Extension(size), b'\r') => {
                Self::SizeEnd(size)
            }
            (Self::Size { size, .. } | Self::Blanks(size), b' ' | b'\t') => Self::Blanks(size),
            (Self::Size { size, .. } | Self::Blanks(size), b';') => Self::Extension(size),
            (Self::Extension(size), byte) if byte != b'\n' => Self::Extension(size),
            (Self::Size { size, digits }, byte) => {
                let digit = char::from(byte).to_digit(16).ok_or(NO_SIZE)?;
                if digits == MOST_DIGITS {
                    return Err("a chunk's size is too large");
                }
                Self::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (Self::SizeEnd(0), b'\n') => Self::Trailer { is_begun: false },
            (Self::SizeEnd(size), b'\n') => Self::Data(size),
            (Self::Blanks(_) | Self::Extension(_) | Self::SizeEnd(_), _) => {
                return Err("a chunk's size does not end its line");
            }
            (Self::DataReturn, b'\r') => Self::DataEnd,
            (Self::DataEnd, b'\n') => Self::SIZE,
            (Self::DataReturn | Self::DataEnd, _) => return Err("a chunk is longer than its size"),
            (Self::Trailer { is_begun }, b'\r') => Self::TrailerEnd { is_begun },
            (Self::Trailer { .. }, byte) if byte != b'\n' => Self::Trailer { is_begun: true },
            (Self::TrailerEnd { is_begun: true }, b'\n') => Self::Trailer { is_begun: false },
            (Self::TrailerEnd { is_begun: false }, b'\n') => Self::Over,
            (Self::Trailer { .. } | Self::TrailerEnd { .. }, _) => {
                return Err("a trailer does not end its line");
            }
            (Self::Data(_) | Self::Over, _) => self,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a body comes to if its bytes arrive cut after every `cut`: the body, whether it is over, and what is left.
    fn read(
        mut framing: Framing,
        bytes: &[u8],
        cut: usize,
    ) -> Result<(Vec<u8>, bool, Vec<u8>), &'static str> {
        let (mut body, mut arrived) = (Vec::new(), Bytes::new());
        for piece in bytes.chunks(cut) {
            arrived = [&arrived[..], piece].concat().into();
            while let Some(bytes) = framing.take(&mut arrived)? {
                assert!(!bytes.is_empty());
                body.extend_from_slice(&bytes);
            }
        }
        Ok((body, framing.is_over(), arrived.to_vec()))
    }

    #[test]
    fn a_body_ends_where_its_framing_says_wherever_it_is_cut() {
        let chunked = || Framing::CHUNKED;
        for (framing, bytes, body, is_over, left) in [
            (&(|| Framing::Length(5)) as &dyn Fn() -> Framing, "hello", "hello", true, ""),
            (&|| Framing::Length(5), "hello and more", "hello", true, " and more"),
            (&|| Framing::Length(9), "hello", "hello", false, ""),
            (&|| Framing::Length(0), "more", "", true, "more"),
            (&|| Framing::UntilClosed, "hello", "hello", false, ""),
            (&chunked, "5\r\nhello\r\n0\r\n\r\n", "hello", true, ""),
            (&chunked, "5\r\nhello\r\nA\r\n and so on\r\n0\r\n\r\nx", "hello and so on", true, "x"),
            (&chunked, "005;a=\"b\"\r\nhello\r\n0 ; c\r\n\r\n", "hello", true, ""),
            (&chunked, "1 \r\nh\r\n0\r\nx-a: b\r\nx-c:\r\n\r\n", "h", true, ""),
            (&chunked, "5\r\nhel", "hel", false, ""),
            (&chunked, "5\r\nhello\r\n0\r\n", "hello", false, ""),
            (&chunked, "0\r\n\r\n", "", true, ""),
        ] {
            for cut in 1..=bytes.len() {
                let expected = (body.into(), is_over, left.into());
                assert_eq!(read(framing(), bytes.as_bytes(), cut), Ok(expected), "{bytes:?} {cut}");
            }
        }
    }

    #[test]
    fn what_are_no_chunks_is_refused() {
        for bytes in [
            "\r\n",
            "\n",
            "x\r\n",
            "5\n",
            "5\rx",
            "-1\r\n",
            "0x5\r\nhello",
            " 5\r\nhello",
            ";5\r\nhello",
            "5 5\r\nhello",
            "5;\n",
            "5 \n",
            "5\r\nhello!\r\n",
            "5\r\nhello\n",
            "5\r\nhello\r\r",
            "11111111111111111\r\n",
            "0\r\nx-a: b\n\r\n",
            "0\r\n\n",
            "0\r\n\rx",
            "0\r\n\r\r\n",
        ] {
            for cut in [1, 99] {
                assert!(read(Framing::CHUNKED, bytes.as_bytes(), cut).is_err(), "{bytes:?} {cut}");
            }
        }
        for endless in ["5;", "5 ", "0\r\nx: ", "0\r\nx: y\r\nz: "] {
            let beside = if endless == "5 " { " " } else { "x" }.repeat(MOST_BESIDE + 1);
            let bytes = format!("{endless}{beside}");
            assert!(read(Framing::CHUNKED, bytes.as_bytes(), 4096).is_err(), "{endless}");
        }
        let trailers = format!("0\r\n{}\r\n", "x: y\r\n".repeat(MOST_BESIDE / 4 + 1));
        assert!(read(Framing::CHUNKED, trailers.as_bytes(), 4096).is_err());
        let extensions = "1;a\r\nx\r\n".repeat(MOST_BESIDE / 2 + 1);
        assert!(read(Framing::CHUNKED, extensions.as_bytes(), 4096).is_err());
    }

    #[test]
    fn what_was_taken_whole_keeps_no_block() {
        for (mut framing, bytes) in [
            (Framing::Length(5), "hello"),
            (Framing::CHUNKED, "5\r\nhello\r\n0\r\n\r\n"),
            (Framing::UntilClosed, "hello"),
        ] {
            let mut arrived = Bytes::copy_from_slice(bytes.as_bytes());
            let block = arrived.clone();
            while framing.take(&mut arrived).unwrap().is_some() {}
            assert!(block.is_unique(), "{bytes:?}");
        }
    }
}
