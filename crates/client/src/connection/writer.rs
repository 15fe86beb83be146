//! The one writer of a connection: takes what waits and writes it, several requests at a time.

use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};
use galgo_wire::index::{part, part_mut};
use tokio::io::AsyncWriteExt;

use crate::connection::link::WriteHalf;
use crate::connection::queue::RequestQueue;

/// Most requests in one write.
const FRAMES_PER_WRITE_MAX: usize = 64;
const _: () = assert!(
    0 < FRAMES_PER_WRITE_MAX && FRAMES_PER_WRITE_MAX <= 1024,
    "a write gets on, and a kernel takes all frames of it"
);
/// A write is not filled up beyond this many bytes.
const BYTES_PER_WRITE_ENOUGH: usize = 1 << 20;

/// Writes until writing fails; returns why.
pub(super) async fn run(queue: &RequestQueue, mut writer: WriteHalf) -> io::Error {
    let mut frames = Vec::with_capacity(FRAMES_PER_WRITE_MAX);
    loop {
        queue.take(&mut frames, FRAMES_PER_WRITE_MAX, BYTES_PER_WRITE_ENOUGH).await;
        if let Err(error) = write_all(queue, &mut writer, &mut frames).await {
            return error;
        }
        frames.clear();
    }
}

async fn write_all(
    queue: &RequestQueue,
    writer: &mut WriteHalf,
    frames: &mut [Bytes],
) -> io::Result<()> {
    let mut rest = frames;
    while !rest.is_empty() {
        let count = {
            let mut slices = [IoSlice::new(&[]); FRAMES_PER_WRITE_MAX];
            let used = rest.len().min(FRAMES_PER_WRITE_MAX);
            for (slice, frame) in slices.iter_mut().zip(&*rest) {
                *slice = IoSlice::new(frame);
            }
            writer.write_vectored(part(&slices, ..used, "no more is used than there is")).await?
        };
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let done = advance(rest, count);
        queue.wrote(done);
        rest = part_mut(rest, done.., "no more frames were written than there are");
    }
    writer.flush().await
}

/// Takes `count` written bytes off `frames`; returns how many of them are written completely.
fn advance(frames: &mut [Bytes], mut count: usize) -> usize {
    for (done, frame) in frames.iter_mut().enumerate() {
        if count < frame.len() {
            frame.advance(count);
            return done;
        }
        count -= frame.len();
    }
    assert!(count == 0, "no more was written than there is");
    frames.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partly_written_frame_is_not_done() {
        let mut frames = [Bytes::from_static(b"abc"), Bytes::from_static(b"defg")];
        assert_eq!(advance(&mut frames, 5), 1);
        assert_eq!(&frames[1][..], b"fg");
        assert_eq!(advance(&mut frames[1..], 2), 1);
    }
}
