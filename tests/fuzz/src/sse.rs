//! Server-sent events, cut anywhere.

use plugin_api::{SseEvent, SseParser};

/// The same events come out of whole bytes and of bytes in pieces; the first byte says of which size.
pub(crate) fn events(bytes: &[u8]) {
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let whole = parsed(bytes, bytes.len().max(1));
    assert_eq!(whole, parsed(bytes, usize::from(*cut).max(1)), "cut every {cut} bytes");
}

fn parsed(bytes: &[u8], piece: usize) -> Vec<SseEvent> {
    let mut parser = SseParser::default();
    let mut events: Vec<_> = bytes.chunks(piece).flat_map(|piece| parser.push(piece)).collect();
    events.extend(parser.finish());
    events
}
