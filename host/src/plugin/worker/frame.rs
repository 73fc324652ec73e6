//! Frames: `u32 LE` head length, `u32 LE` body length, head, body. Knows nothing of what is in them.

use std::io::{self, Read};

/// Longest head, in bytes.
pub const MAX_HEAD: usize = 16 * 1024 * 1024;
/// Longest body, in bytes: what a whole reply may be, and prompts with images.
pub const MAX_BODY: usize = 256 * 1024 * 1024;
/// The two lengths.
const LENGTHS: usize = 8;
/// How much is told of what is no frame, in bytes.
const MAX_TOLD: usize = 40;
/// What is read at once at most, unless a frame is longer.
const PIECE: usize = 64 * 1024;

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A length beyond the cap.
    #[error("a {part} of {bytes} bytes, and {most} is the most")]
    TooLong {
        /// `head` or `body`.
        part: &'static str,
        /// What the frame says.
        bytes: usize,
        /// The cap.
        most: usize,
    },
}

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// JSON.
    pub head: &'a [u8],
    /// Raw bytes.
    pub body: &'a [u8],
}

/// Appends a frame whose head is these parts, one after the other.
///
/// # Errors
/// It would be longer than a frame may be; then nothing is appended.
pub fn append(out: &mut Vec<u8>, head: &[&[u8]], body: &[u8]) -> Result<(), FrameError> {
    let length = head.iter().map(|part| part.len()).sum();
    let lengths = [checked("head", length, MAX_HEAD)?, checked("body", body.len(), MAX_BODY)?];
    out.reserve(LENGTHS + length + body.len());
    for length in lengths {
        out.extend_from_slice(&length.to_le_bytes());
    }
    for part in head {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(body);
    Ok(())
}

fn checked(part: &'static str, bytes: usize, most: usize) -> Result<u32, FrameError> {
    let length = u32::try_from(bytes).ok().filter(|_| bytes <= most);
    length.ok_or(FrameError::TooLong { part, bytes, most })
}

/// Bytes as they come, of which frames are taken.
#[derive(Debug, Default)]
pub struct Incoming {
    /// What is in use lies between `start` and `end`; the rest is room.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes of the frame that is not complete yet, as far as they are known.
    wanted: usize,
}

impl Incoming {
    /// The next frame, if it is complete.
    ///
    /// # Errors
    /// What came is no frame; nothing after it can be read.
    pub fn frame(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        let held = self.bytes.get(self.start..self.end).unwrap_or_default();
        let Some((head, body)) = lengths(held) else {
            self.wanted = LENGTHS;
            return Ok(None);
        };
        checked("head", head, MAX_HEAD)?;
        checked("body", body, MAX_BODY)?;
        self.wanted = LENGTHS + head + body;
        let Some(frame) = held.get(LENGTHS..self.wanted) else { return Ok(None) };
        let Some((head, body)) = frame.split_at_checked(head) else { return Ok(None) };
        self.start += self.wanted;
        Ok(Some(Frame { head, body }))
    }

    /// What is no frame, as far as it is text: something wrote where only frames go.
    pub fn text(&self) -> Option<String> {
        let held = self.bytes.get(self.start..self.end).unwrap_or_default();
        let is_text = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~');
        let length = held.iter().take(MAX_TOLD).take_while(|byte| is_text(byte)).count();
        let text = std::str::from_utf8(held.get(..length)?).ok()?;
        // Fewer may be a length that happens to look like it.
        (length >= 3).then(|| text.trim_end().escape_debug().to_string())
    }

    /// Room for more bytes; [`Incoming::came`] says how many came.
    pub fn room(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        // One large frame is no reason to keep its room.
        if self.end == 0 && self.bytes.len() > 16 * PIECE {
            self.bytes = Vec::new();
        }
        // A length is only a claim: room is made as bytes come, twice what there is.
        let most = self.end.saturating_mul(2).max(PIECE);
        let length = self.wanted.max(self.end + 1).clamp(PIECE, most);
        if self.bytes.len() < length {
            self.bytes.resize(length, 0);
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// So many bytes came into the room.
    pub fn came(&mut self, bytes: usize) {
        self.end = (self.end + bytes).min(self.bytes.len());
    }

    /// Waits for more bytes. False at the end.
    ///
    /// # Errors
    /// The reader's.
    pub fn read_from(&mut self, mut reader: impl Read) -> io::Result<bool> {
        loop {
            match reader.read(self.room()) {
                Ok(bytes) => {
                    self.came(bytes);
                    return Ok(bytes > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The two lengths that a frame begins with.
fn lengths(held: &[u8]) -> Option<(usize, usize)> {
    let (head, rest) = held.split_first_chunk::<4>()?;
    let body = rest.first_chunk::<4>()?;
    let length = |bytes: &[u8; 4]| usize::try_from(u32::from_le_bytes(*bytes)).ok();
    Some((length(head)?, length(body)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All frames of these bytes, read in pieces of this size at most.
    fn frames(bytes: &[u8], piece: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut incoming = Incoming::default();
        let mut found = Vec::new();
        for piece in bytes.chunks(piece) {
            let mut left = piece;
            while !left.is_empty() {
                let read = left.read(incoming.room()).unwrap();
                incoming.came(read);
                while let Some(frame) = incoming.frame().unwrap() {
                    found.push((frame.head.to_vec(), frame.body.to_vec()));
                }
            }
        }
        found
    }

    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut() {
        let large = vec![7; 200_000];
        let sent: [(&[u8], &[u8]); 5] =
            [(b"{}", b""), (b"{\"a\":1}", b"xyz"), (b"", b""), (b"{}", &large), (b"1", b"2")];
        let mut bytes = Vec::new();
        for (head, body) in sent {
            append(&mut bytes, &[head], body).unwrap();
        }
        for piece in [1, 2, 3, 7, 8, 9, 1000, 65_536, 1_000_000] {
            let found = frames(&bytes, piece);
            let found: Vec<_> = found.iter().map(|(head, body)| (&head[..], &body[..])).collect();
            assert!(found == sent, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_head_may_be_given_in_parts() {
        let (mut whole, mut parts) = (Vec::new(), Vec::new());
        append(&mut whole, &[b"{\"a\":[1]}"], b"b").unwrap();
        append(&mut parts, &[b"{\"a\":", b"[1]", b"}"], b"b").unwrap();
        assert_eq!(whole, parts);
    }

    #[test]
    fn a_length_beyond_the_cap_is_refused_before_room_is_made_for_it() {
        for (head, body, part) in [(u32::MAX, 0, "head"), (0, u32::MAX, "body")] {
            let mut incoming = Incoming::default();
            let bytes = [u32::to_le_bytes(head), u32::to_le_bytes(body)].concat();
            incoming.read_from(&bytes[..]).unwrap();
            let error = incoming.frame().unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
            assert!(incoming.bytes.len() <= PIECE);
        }
    }

    #[test]
    fn what_is_text_in_place_of_a_frame_is_told() {
        for (bytes, expected) in [
            (
                &b"hello from a script\nand more of it, to no end at all"[..],
                Some("hello from a script\\nand more of it, to n"),
            ),
            (b"hi\n@\0\0\0\0", Some("hi\\n@")),
            (b"ok\xff\xff\xff\xff\xff\xff", None),
            (b"\xff\xff\xff\xff\0\0\0\0", None),
        ] {
            let mut incoming = Incoming::default();
            incoming.read_from(bytes).unwrap();
            assert!(incoming.frame().is_err(), "{bytes:?}");
            assert_eq!(incoming.text().as_deref(), expected);
        }
    }

    #[test]
    fn a_claim_of_a_large_frame_takes_no_memory_before_its_bytes_come() {
        let mut incoming = Incoming::default();
        let most = u32::try_from(MAX_BODY).unwrap();
        let bytes = [u32::to_le_bytes(0), u32::to_le_bytes(most)].concat();
        incoming.read_from(&bytes[..]).unwrap();
        assert_eq!(incoming.frame(), Ok(None));
        incoming.room();
        assert!(incoming.bytes.len() <= 2 * PIECE);
    }
}
