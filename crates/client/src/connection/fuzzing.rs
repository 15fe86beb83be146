//! A connection without a server, for the fuzzers: what its reader makes of any bytes.
//!
//! Only there with the feature `fuzzing` and in the tests of this crate.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

use super::link::ReadHalf;
use super::queue::Replay;
use super::{Shared, reader};
use crate::builder::ClientBuilder;

/// Requests in flight; what a server sends more than these answers is not asked for.
const REQUESTS: usize = 16;

/// A stream that hands its bytes out in pieces of such a size.
struct Pieces {
    bytes: Bytes,
    piece: usize,
}

impl AsyncRead for Pieces {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let len = this.piece.min(this.bytes.len()).min(buf.remaining());
        buf.put_slice(&this.bytes.split_to(len));
        Poll::Ready(Ok(()))
    }
}

/// What requests in flight are answered with, `None` for a refusal, and how the connection ended.
pub(crate) fn replies(bytes: &Bytes, piece: usize) -> (Vec<Option<Bytes>>, String) {
    let shared = Shared::new(ClientBuilder::default());
    let cx = &mut Context::from_waker(Waker::noop());
    let push = |_| shared.queue.push(Bytes::from_static(b"request"), Replay::Safe, false).1;
    let mut waiting: Vec<_> = (0..REQUESTS).map(push).collect();
    let mut frames = Vec::new();
    let taken = pin!(shared.queue.take(&mut frames, REQUESTS, usize::MAX)).poll(cx).is_ready();
    assert!(taken && frames.len() == REQUESTS);
    let mut reader: ReadHalf = Box::new(Pieces { bytes: bytes.clone(), piece });
    let Poll::Ready(loss) = pin!(reader::run(&shared, &mut reader)).poll(cx) else {
        unreachable!("the stream never waits");
    };
    let mut answers = Vec::new();
    let mut unanswered = waiting.iter_mut().map(|request| request.try_recv().ok());
    for answer in unanswered.by_ref().map_while(|answer| answer) {
        answers.push(answer.ok());
    }
    assert!(unanswered.all(|answer| answer.is_none()), "INV-PIPELINE: out of order");
    (answers, format!("{loss:?}"))
}
