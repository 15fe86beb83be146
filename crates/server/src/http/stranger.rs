//! What a connection that has shown no good token may make the server keep of a request's head.
//!
//! The library that parses requests keeps what it has read of one until it is whole. A few KiB of it are what any
//! connection may have; for more, a stranger needs a share of the budget of strangers, and is not read from until
//! there is one.
//!
//! INV-HTTP-STRANGER: before a good token, no more than [`FREE_BYTES`] of a request are read without a grant.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::service::BUFFER_BYTES_MAX;
use crate::transport::{Budget, Grant};

/// Bytes of a request that any connection may have.
const FREE_BYTES: usize = 4 << 10;
const _: () = assert!(
    FREE_BYTES < BUFFER_BYTES_MAX,
    "INV-HTTP-STRANGER: a stranger has less read than a request may have in its buffer"
);

/// Whether a connection has shown a good token.
#[derive(Debug, Clone, Default)]
pub(super) struct TokenShown(Arc<AtomicBool>);

impl TokenShown {
    /// It has.
    pub(super) fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A stream that is read only as far as its peer may make the server keep it.
pub(super) struct Measured<S> {
    stream: S,
    known: TokenShown,
    strangers: Budget,
    /// Bytes read since the last answer began.
    unanswered: usize,
    grant: Option<Grant>,
    waiting: Option<BoxFuture<'static, Grant>>,
}

impl<S> Measured<S> {
    /// Reads `stream` in memory of `strangers`, until its peer is `known`.
    pub(super) fn new(stream: S, known: TokenShown, strangers: Budget) -> Self {
        Self { stream, known, strangers, unanswered: 0, grant: None, waiting: None }
    }

    /// Waits until more may be read.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.unanswered < FREE_BYTES || self.grant.is_some() || self.known.get() {
            return Poll::Ready(());
        }
        let strangers = &self.strangers;
        let waiting = self.waiting.get_or_insert_with(|| {
            let strangers = strangers.clone();
            Box::pin(async move { strangers.take(None, BUFFER_BYTES_MAX).await })
        });
        let grant = ready!(waiting.as_mut().poll(cx));
        self.waiting = None;
        self.grant = Some(grant);
        Poll::Ready(())
    }

    /// An answer begins, so the head of its request is gone.
    fn answers(&mut self) {
        self.unanswered = 0;
        self.grant = None;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Measured<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_room(cx));
        if self.grant.is_some() || self.known.get() {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
            self.unanswered += buffer.filled().len() - before;
            return Poll::Ready(Ok(()));
        }
        let free = FREE_BYTES.saturating_sub(self.unanswered);
        // The part is initialized, so that what was read into it can be told without unsafe code.
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(free.min(buffer.remaining())));
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        buffer.advance(read);
        self.unanswered += read;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Measured<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.answers();
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.answers();
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn is_pending(mut future: std::pin::Pin<&mut impl Future>) -> bool {
        std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_pending()))
            .await
    }

    #[tokio::test]
    async fn a_stranger_is_read_from_only_as_far_as_there_is_memory() {
        let strangers = Budget::of_strangers(64 << 10, 0);
        let other = strangers.take(None, 64 << 10).await;
        let last_resort = strangers.take(None, 64 << 10).await;
        let (known, request) = (TokenShown::default(), vec![b'x'; 10 << 10]);
        let mut stream = Measured::new(&request[..], known.clone(), strangers.clone());
        let mut free = vec![0; FREE_BYTES];
        stream.read_exact(&mut free).await.unwrap();
        let mut rest = Vec::new();
        let mut reading = Box::pin(stream.read_to_end(&mut rest));
        assert!(is_pending(reading.as_mut()).await, "no memory for more");
        drop(other);
        reading.await.unwrap();
        assert_eq!(rest.len(), request.len() - FREE_BYTES);
        drop((stream, last_resort));

        let mut stream = Measured::new(&request[..], known.clone(), strangers.clone());
        let all = strangers.take(None, 64 << 10).await;
        let last_resort = strangers.take(None, 64 << 10).await;
        known.note();
        let mut whole = Vec::new();
        stream.read_to_end(&mut whole).await.unwrap();
        assert_eq!(whole.len(), request.len(), "one that is known waits for nobody");
        drop((all, last_resort));
    }

    #[tokio::test]
    async fn an_answer_gives_the_memory_back() {
        let strangers = Budget::of_strangers(64 << 10, 0);
        let (mut peer, stream) = tokio::io::duplex(64 << 10);
        let mut stream = Measured::new(stream, TokenShown::default(), strangers.clone());
        peer.write_all(&[b'x'; 10 << 10]).await.unwrap();
        stream.read_exact(&mut [0; 10 << 10]).await.unwrap();
        assert!(strangers.try_take(64 << 10).is_none());
        stream.write_all(b"answer").await.unwrap();
        assert!(strangers.try_take(64 << 10).is_some());
    }
}
