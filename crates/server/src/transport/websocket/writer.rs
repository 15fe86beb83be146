//! Answers in binary messages: one message for each, in frames every client takes.
//!
//! The answers come as one stream of bytes; each says its length in its first eight. So the writer finds
//! by itself where a message has to end.
//!
//! An answer is one message, up to [`MESSAGE_BYTES_MAX`]; what is left of a larger one
//! follows in the next.
//! What is staged is bounded, whatever is written and however slowly it is taken.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use galgo_wire::index::{part, to_usize};

use galgo_wire::limits::RESPONSE_HEADER_BYTES;
use tokio::io::AsyncWrite;

use super::frame::{Opcode, write_header};

/// Largest frame sent. Clients take 16 MiB unless they are told otherwise.
const FRAME_BYTES_MAX: u64 = 8 << 20;

/// Largest message sent. Clients take 64 MiB unless they are told otherwise.
const MESSAGE_BYTES_MAX: u64 = 48 << 20;
const _: () = assert!(MESSAGE_BYTES_MAX.is_multiple_of(FRAME_BYTES_MAX));

/// Bytes in front of every answer.
const ANSWER_HEADER_BYTES: usize = 8;

/// Small answers are staged up to this size.
const STAGED_BYTES_MAX: usize = 64 << 10;

/// Capacity kept when nothing is staged.
const STAGED_BYTES_KEPT: usize = 1 << 10;
const _: () = assert!(
    STAGED_BYTES_KEPT < STAGED_BYTES_MAX,
    "a connection that has sent its answers gives memory back"
);

/// A pong is left out when this much is staged already: its client does not read.
const PONG_BYTES_MAX: usize = 4 << 10;

/// From this size on bytes are written from where they are.
const DIRECT_BYTES: usize = 16 << 10;
const _: () = assert!(
    PONG_BYTES_MAX < DIRECT_BYTES && DIRECT_BYTES < STAGED_BYTES_MAX,
    "a pong and small answers are staged, and what is staged is bounded"
);
const _: () =
    assert!(ANSWER_HEADER_BYTES == RESPONSE_HEADER_BYTES, "the length of an answer is in it");
const _: () =
    assert!((STAGED_BYTES_MAX as u64) < FRAME_BYTES_MAX, "frames are not cut for the staging");

/// What counting keeps to.
const SENT: &str = "no more was sent than was staged";

/// Puts frames around answers.
#[derive(Debug, Default)]
pub(super) struct FrameWriter {
    staged: Vec<u8>,
    /// Staged bytes that were written.
    sent: usize,
    /// Bytes of the current answer still to come.
    answer_left: u64,
    /// Bytes of the current frame still to come.
    frame_left: u64,
    /// Bytes of the current message before this frame; zero between messages.
    message_bytes: u64,
    closed: bool,
}

impl FrameWriter {
    /// Takes some bytes of answers. What it took may be staged until [`FrameWriter::poll_drain`].
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.staged.len() >= STAGED_BYTES_MAX {
            ready!(self.poll_drain(stream, cx))?;
        }
        let mut taken = 0;
        while taken < bytes.len() && self.staged.len() < STAGED_BYTES_MAX {
            let rest = part(bytes, taken.., "no more was taken than is there");
            if self.frame_left == 0 && !self.begin_frame(rest) {
                break;
            }
            let frame_left = to_usize(self.frame_left);
            let piece = rest.get(..frame_left).unwrap_or(rest);
            if piece.len() >= DIRECT_BYTES {
                if taken > 0 {
                    break;
                }
                taken = ready!(self.poll_direct(stream, cx, piece))?;
                self.passed(taken);
                return Poll::Ready(Ok(taken));
            }
            self.staged.extend_from_slice(piece);
            self.passed(piece.len());
            taken += piece.len();
        }
        if taken == 0 {
            return Poll::Ready(Err(io::ErrorKind::InvalidInput.into()));
        }
        Poll::Ready(Ok(taken))
    }

    /// Writes what is staged.
    pub(super) fn poll_drain<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.sent < self.staged.len() {
            let rest = part(&self.staged, self.sent.., SENT);
            let written = ready!(Pin::new(&mut *stream).poll_write(cx, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
        }
        self.staged.clear();
        self.staged.shrink_to(STAGED_BYTES_KEPT);
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// Whether anything is staged.
    pub(super) fn has_staged(&self) -> bool {
        !self.staged.is_empty()
    }

    /// Stages the answer to a ping.
    pub(super) fn pong(&mut self, payload: &[u8]) {
        if self.frame_left == 0 && self.staged.len() < PONG_BYTES_MAX {
            self.control(Opcode::Pong, payload);
        }
    }

    /// Stages a close frame, once.
    pub(super) fn close(&mut self, payload: &[u8]) {
        if !self.closed && self.frame_left == 0 {
            self.control(Opcode::Close, payload);
        }
        self.closed = true;
    }

    fn control(&mut self, opcode: Opcode, payload: &[u8]) {
        write_header(&mut self.staged, opcode, true, payload.len() as u64);
        self.staged.extend_from_slice(payload);
    }

    /// Stages the header of the next frame; false when `rest` does not say how long the answer is.
    fn begin_frame(&mut self, rest: &[u8]) -> bool {
        if self.answer_left == 0 {
            let Some([_, _, _, _, length @ ..]) = rest.first_chunk::<ANSWER_HEADER_BYTES>() else {
                return false;
            };
            self.answer_left = ANSWER_HEADER_BYTES as u64 + u64::from(u32::from_le_bytes(*length));
        }
        let begun = self.message_bytes > 0;
        self.frame_left = self.answer_left.min(FRAME_BYTES_MAX);
        let message_bytes = self.message_bytes + self.frame_left;
        let last = self.frame_left == self.answer_left || message_bytes == MESSAGE_BYTES_MAX;
        self.message_bytes = if last { 0 } else { message_bytes };
        let opcode = if begun { Opcode::Continuation } else { Opcode::Binary };
        write_header(&mut self.staged, opcode, last, self.frame_left);
        true
    }

    fn passed(&mut self, bytes: usize) {
        let left = self.frame_left.min(self.answer_left);
        assert!(bytes as u64 <= left, "INV-WS-STREAM: no frame is longer than its header said");
        self.frame_left -= bytes as u64;
        self.answer_left -= bytes as u64;
    }

    /// Writes what is staged and then some of `piece`, which stays where it is.
    fn poll_direct<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        piece: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let staged = part(&self.staged, self.sent.., SENT);
            let parts = [IoSlice::new(staged), IoSlice::new(piece)];
            let written = ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &parts))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_staged = written.min(staged.len());
            self.sent += of_staged;
            if self.sent == self.staged.len() {
                self.staged.clear();
                self.sent = 0;
            }
            if written > of_staged {
                return Poll::Ready(Ok(written - of_staged));
            }
        }
    }
}
