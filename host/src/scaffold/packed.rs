//! The templates and the SDK, as the build script has packed them into this binary.

use std::io::{self, Read};

use flate2::read::DeflateDecoder;

const PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/scaffold.deflate"));

/// The part of the SDK.
pub(super) const SDK: &str = "sdk/";

/// A file, by its path below the part that was asked for.
pub(super) struct Packed {
    /// With slashes.
    pub(super) path: String,
    /// What it holds.
    pub(super) content: Vec<u8>,
}

/// The files whose paths begin with `part`, in the order of names.
///
/// # Errors
/// What was packed is damaged.
pub(super) fn files(part: &str) -> io::Result<Vec<Packed>> {
    let mut unpacked = Vec::new();
    DeflateDecoder::new(PACKED).read_to_end(&mut unpacked)?;
    let mut rest = unpacked.as_slice();
    let mut files = Vec::new();
    while !rest.is_empty() {
        let name = String::from_utf8_lossy(next(&mut rest)?);
        let content = next(&mut rest)?;
        if let Some(path) = name.strip_prefix(part) {
            files.push(Packed { path: path.to_owned(), content: content.to_vec() });
        }
    }
    Ok(files)
}

/// The next bytes, whose length stands before them.
fn next<'a>(rest: &mut &'a [u8]) -> io::Result<&'a [u8]> {
    let taken = rest.split_first_chunk::<4>().and_then(|(length, after)| {
        after.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
    });
    let (bytes, after) = taken.ok_or(io::ErrorKind::UnexpectedEof)?;
    *rest = after;
    Ok(bytes)
}
