//! Bodies that a server compressed.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;

/// Most compressed bytes taken at once: they can become a thousand times as many, and between two pieces somebody looks
/// at how many there are already.
const PIECE: usize = 4096;

/// Decompresses as bytes come.
pub(super) struct Gzip {
    decoder: MultiGzDecoder<Vec<u8>>,
    waiting: Bytes,
    /// An empty body is none that was cut off.
    began: bool,
}

impl Gzip {
    pub(super) fn new() -> Self {
        let decoder = MultiGzDecoder::new(Vec::new());
        Self { decoder, waiting: Bytes::new(), began: false }
    }

    /// Takes what came.
    pub(super) fn feed(&mut self, bytes: Bytes) {
        self.began |= !bytes.is_empty();
        self.waiting = bytes;
    }

    /// The next piece of what was taken; none if more must come.
    ///
    /// # Errors
    /// It is not gzip.
    pub(super) fn next(&mut self) -> io::Result<Option<Bytes>> {
        while !self.waiting.is_empty() {
            let piece = self.waiting.split_to(self.waiting.len().min(PIECE));
            self.decoder.write_all(&piece)?;
            self.decoder.flush()?;
            let decoded = std::mem::take(self.decoder.get_mut());
            if !decoded.is_empty() {
                return Ok(Some(decoded.into()));
            }
        }
        Ok(None)
    }

    /// What is left once everything came.
    ///
    /// # Errors
    /// It is cut off.
    pub(super) fn finish(&mut self) -> io::Result<Option<Bytes>> {
        if !std::mem::take(&mut self.began) {
            return Ok(None);
        }
        self.decoder.try_finish()?;
        let decoded = std::mem::take(self.decoder.get_mut());
        Ok((!decoded.is_empty()).then(|| decoded.into()))
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn compressed(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// Everything that comes out, and the size of the largest piece.
    fn decompressed(bytes: &[u8], cut: usize) -> io::Result<(Vec<u8>, usize)> {
        let (mut gzip, mut all, mut largest) = (Gzip::new(), Vec::new(), 0);
        for piece in bytes.chunks(cut) {
            gzip.feed(Bytes::copy_from_slice(piece));
            while let Some(decoded) = gzip.next()? {
                largest = largest.max(decoded.len());
                all.extend_from_slice(&decoded);
            }
        }
        if let Some(decoded) = gzip.finish()? {
            all.extend_from_slice(&decoded);
        }
        Ok((all, largest))
    }

    #[test]
    fn it_comes_out_as_it_went_in_wherever_it_is_cut() {
        let text = b"an answer of some length ".repeat(500);
        let mut twice = compressed(&text);
        twice.extend(compressed(b"and more"));
        for cut in [1, 7, 1 << 20] {
            assert_eq!(decompressed(&compressed(&text), cut).unwrap().0, text);
            let (all, _) = decompressed(&twice, cut).unwrap();
            assert!(all.ends_with(b"and more"), "cut at {cut}");
        }
        assert_eq!(decompressed(&[], 1).unwrap().0, b"");
    }

    #[test]
    fn a_body_that_is_cut_off_or_no_gzip_fails() {
        let whole = compressed(&b"an answer ".repeat(99));
        for length in 1..whole.len() {
            assert!(decompressed(&whole[..length], 64).is_err(), "{length} of {}", whole.len());
        }
        assert!(decompressed(b"{\"plain\": \"text\"}", 64).is_err());
    }

    #[test]
    fn a_bomb_goes_off_in_small_pieces() {
        let bomb = compressed(&vec![0; 16 << 20]);
        let (all, largest) = decompressed(&bomb, bomb.len()).unwrap();
        assert_eq!(all.len(), 16 << 20);
        assert!(largest <= 5 << 20, "{largest}");
    }
}
