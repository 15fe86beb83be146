//! An entry for fuzzers: any bytes of a client of WebSocket.
//!
//! Only there with the feature `fuzzing` and in the tests of this crate.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, ReadBuf};

use super::frame::Violation;
use super::reader::{FrameReader, Read};

#[cfg(test)]
mod tests;

/// What is told of a stream of bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    /// The bytes of the binary messages.
    payload: Vec<u8>,
    /// Pings and what ended it, with how many bytes of payload had come before.
    events: Vec<(usize, Event)>,
}

#[derive(Debug, PartialEq, Eq)]
enum Event {
    Ping(Vec<u8>),
    Close(Vec<u8>),
    End,
    Violation(Violation),
}

/// A stream that hands its bytes out in pieces of such a size.
struct Pieces<'a> {
    bytes: &'a [u8],
    piece: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let len = this.piece.min(this.bytes.len()).min(buf.remaining());
        let (now, later) = this.bytes.split_at(len);
        buf.put_slice(now);
        this.bytes = later;
        Poll::Ready(Ok(()))
    }
}

/// `| bytes that come at once u8 | bytes of room u8 | what a client sends ... |`: the same messages, pings and end
/// however the bytes are cut and however much room there is for them.
///
/// INV-WS-STREAM: what comes out is the payloads of binary messages in order; INV-WS-BOUND: never more than came in.
pub fn websocket(input: &[u8]) {
    let Some((&[piece, room], bytes)) = input.split_first_chunk() else { return };
    let whole = read(bytes, bytes.len().max(1), 64 << 10);
    assert!(whole.payload.len() <= bytes.len(), "INV-WS-BOUND");
    let cut = read(bytes, usize::from(piece).max(1), usize::from(room).max(1));
    assert_eq!(cut, whole, "INV-WS-STREAM: it depends on where the bytes are cut");
}

fn read(bytes: &[u8], piece: usize, room: usize) -> Told {
    let mut stream = Pieces { bytes, piece };
    let mut reader = FrameReader::new();
    let mut told = Told::default();
    let mut buffer = vec![0; room];
    let cx = &mut Context::from_waker(Waker::noop());
    loop {
        let mut buf = ReadBuf::new(&mut buffer);
        let Poll::Ready(Ok(read)) = reader.poll(&mut stream, cx, &mut buf) else {
            unreachable!("the stream neither fails nor waits");
        };
        told.payload.extend_from_slice(buf.filled());
        let at = told.payload.len();
        let event = match read {
            Read::Filled => continue,
            Read::Ping(payload) => {
                told.events.push((at, Event::Ping(payload)));
                continue;
            }
            Read::Close(payload) => Event::Close(payload),
            Read::End => Event::End,
            Read::Violation(violation) => Event::Violation(violation),
        };
        told.events.push((at, event));
        return told;
    }
}
