//! A stream whose peer must not leave a waiting answer untouched for too long, nor take all day over it:
//! what an answer keeps in memory is kept from everybody else.
//!
//! Part of INV-TAKER: an answer that waits for its peer loses its connection when the peer takes nothing of it for
//! the write timeout, and however it trickles out.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::transport::Pace;

/// A stream with a limit on how long a write may wait.
pub(super) struct Patient<S> {
    stream: S,
    write_timeout: Duration,
    /// There while something waits for the peer.
    waiting: Option<PeerBehind>,
}

/// A peer that is behind, from the first write it did not take until it has everything.
struct PeerBehind {
    pace: Pace,
    timer: Pin<Box<Sleep>>,
}

impl<S> Patient<S> {
    /// Gives the peer of `stream` this long to take something of what waits for it.
    pub(super) fn new(stream: S, write_timeout: Duration) -> Self {
        Self { stream, write_timeout, waiting: None }
    }

    /// Counts what was written, and judges a peer that lets a write wait.
    fn judge_write(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let (Some(waiting), Poll::Ready(Ok(bytes))) = (&mut self.waiting, &written) {
            waiting.pace.took(*bytes, Instant::now());
            let due = waiting.pace.due(self.write_timeout);
            waiting.timer.as_mut().reset(due);
        }
        self.judge(cx, written)
    }

    /// Takes note of a peer that has everything, and judges one that has not.
    fn judge_end(
        &mut self,
        cx: &mut Context<'_>,
        ended: Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        if ended.is_ready() {
            self.waiting = None;
        }
        self.judge(cx, ended)
    }

    fn judge<T>(&mut self, cx: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            return done;
        }
        let patience = self.write_timeout;
        let waiting = self.waiting.get_or_insert_with(|| {
            let pace = Pace::new(Instant::now());
            PeerBehind { pace, timer: Box::pin(sleep_until(pace.due(patience))) }
        });
        match waiting.timer.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge_write(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, buffers);
        self.judge_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.judge_end(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.judge_end(cx, closed)
    }
}
