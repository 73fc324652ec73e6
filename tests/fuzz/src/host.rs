//! The host's readers: of a plugin's file, of the frames that a worker sends, and of what a server replies.

#[allow(dead_code, unreachable_pub, reason = "only the reader itself is used here")]
#[path = "../../../host/src/plugin/worker/frame.rs"]
mod frame_codec;
#[allow(dead_code, unreachable_pub, reason = "only the reader itself is used here")]
#[path = "../../../host/src/transport/lean/framing.rs"]
mod framing;
#[allow(dead_code, unreachable_pub, reason = "only the reader itself is used here")]
#[path = "../../../host/src/transport/lean/head.rs"]
mod head;
#[allow(dead_code, unreachable_pub, reason = "only the reader itself is used here")]
#[path = "../../../host/src/plugin/inspect.rs"]
mod inspect;

use bytes::Bytes;
use hyper::Method;

use frame_codec::{Frame, FrameError, Incoming, append};

/// The reader of plugin files neither panics nor hangs, and tells the same twice.
pub(crate) fn elf(bytes: &[u8]) {
    assert_eq!(inspect::inspect(bytes), inspect::inspect(bytes));
}

/// However a stream of frames is cut, the same frames come out, and they are encoded as they came.
///
/// The first byte says how it is cut.
pub(crate) fn frame(bytes: &[u8]) {
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let (whole, end) = frames(bytes, bytes.len().max(1));
    let (pieces, end_of_pieces) = frames(bytes, usize::from(*cut).max(1));
    assert_eq!((&whole, end), (&pieces, end_of_pieces), "cut every {cut} bytes");
    let mut again = Vec::new();
    for (head, body) in &whole {
        let half = head.len() / 2;
        append(&mut again, &[&head[..half], &head[half..]], body).expect("it came as a frame");
    }
    assert!(bytes.starts_with(&again), "encoded otherwise than it came");
}

/// All frames of these bytes, and why there are no more of them.
fn frames(bytes: &[u8], piece: usize) -> (Vec<(Vec<u8>, Vec<u8>)>, Option<FrameError>) {
    let mut incoming = Incoming::default();
    let mut found = Vec::new();
    for piece in bytes.chunks(piece) {
        let mut left = piece;
        while !left.is_empty() {
            assert!(incoming.read_from(&mut left).expect("memory is read"), "no room is made");
            loop {
                match incoming.frame() {
                    Ok(Some(Frame { head, body })) => found.push((head.to_vec(), body.to_vec())),
                    Ok(None) => break,
                    Err(error) => return (found, Some(error)),
                }
            }
        }
    }
    (found, None)
}

/// However a reply is cut, it says the same.
///
/// The first byte says how it is cut.
pub(crate) fn http(bytes: &[u8]) {
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let whole = reply(bytes, bytes.len().max(1));
    assert_eq!(whole, reply(bytes, usize::from(*cut).max(1)), "cut every {cut} bytes");
}

/// What came of a reply before it ended or broke.
#[derive(Debug, Default, PartialEq)]
struct Came {
    status: Option<u16>,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    body: Vec<u8>,
    is_over: bool,
    is_broken: bool,
}

fn reply(bytes: &[u8], piece: usize) -> Came {
    let (mut came, mut framing, mut arrived) = (Came::default(), None, Bytes::new());
    for piece in bytes.chunks(piece) {
        arrived = [&arrived[..], piece].concat().into();
        if framing.is_none() {
            match head::Head::read(&mut arrived, &Method::POST) {
                Ok(Some(head)) => {
                    came.status = Some(head.status.as_u16());
                    let fields = head.fields().map(|(name, value)| (name.into(), value.into()));
                    came.fields = fields.collect();
                    framing = Some(head.framing);
                }
                Ok(None) => continue,
                Err(_) => return Came { is_broken: true, ..came },
            }
        }
        let Some(framing) = &mut framing else { continue };
        loop {
            match framing.take(&mut arrived) {
                Ok(Some(bytes)) => came.body.extend_from_slice(&bytes),
                Ok(None) => break,
                Err(_) => return Came { is_broken: true, ..came },
            }
        }
        came.is_over = framing.is_over();
    }
    came
}
