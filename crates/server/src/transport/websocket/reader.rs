//! The bytes of a client's binary messages, one after the other, without their frames.
//!
//! INV-WS-STREAM: what comes out is the payloads of binary messages in order, whatever frames they came in.
//! INV-WS-BOUND: of a frame only its header, or a control frame, is ever held; payloads go straight to
//! where the caller wants them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use galgo_wire::index::{part, part_mut, to_usize};

use tokio::io::{AsyncRead, ReadBuf};

use super::frame::{CONTROL_BYTES_MAX, FrameHead, HEADER_BYTES_MAX, Opcode, Violation, unmask};

/// Bytes read ahead to find headers.
const AHEAD_BYTES: usize = 1 << 10;
const _: () = assert!(AHEAD_BYTES > HEADER_BYTES_MAX + CONTROL_BYTES_MAX as usize);

/// Most bytes taken from the stream at once, so that little is cleared that is not filled.
const PIECE_BYTES: usize = 64 << 10;
const _: () = assert!(
    PIECE_BYTES > AHEAD_BYTES,
    "what is read ahead to find a header is less than what is read of a message"
);

/// What the two ends of that keep to.
const READ: &str = "what was read ahead and not looked at is in the buffer";

/// What a read came to.
#[derive(Debug)]
pub(super) enum Read {
    /// The buffer has more bytes than before.
    Filled,
    /// A ping to answer.
    Ping(Vec<u8>),
    /// The client closes, with this payload.
    Close(Vec<u8>),
    /// The stream ended.
    End,
    /// The client broke the rules.
    Violation(Violation),
}

/// Takes frames apart.
#[derive(Debug)]
pub(super) struct FrameReader {
    ahead: Box<[u8; AHEAD_BYTES]>,
    from: usize,
    to: usize,
    frame: Option<FrameHead>,
    /// Bytes of the frame's payload that were taken.
    at: u64,
    /// What the message being received is, between its first frame and its last.
    message: Option<Opcode>,
}

impl FrameReader {
    pub(super) fn new() -> Self {
        let ahead = Box::new([0; AHEAD_BYTES]);
        Self { ahead, from: 0, to: 0, frame: None, at: 0, message: None }
    }

    /// Reads until there is something to tell.
    pub(super) fn poll<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<Read>> {
        loop {
            let Some(header) = self.frame else {
                match FrameHead::read(self.here()) {
                    Ok(Some((header, bytes))) => {
                        self.from += bytes;
                        if let Err(violation) = self.begin(header) {
                            return Poll::Ready(Ok(Read::Violation(violation)));
                        }
                    }
                    Ok(None) => {
                        if ready!(self.read_ahead(stream, cx))? == 0 {
                            return Poll::Ready(Ok(Read::End));
                        }
                    }
                    Err(violation) => return Poll::Ready(Ok(Read::Violation(violation))),
                }
                continue;
            };
            let left = header.length - self.at;
            if header.opcode.is_control() {
                if (self.here().len() as u64) < left {
                    if ready!(self.read_ahead(stream, cx))? == 0 {
                        return Poll::Ready(Ok(Read::End));
                    }
                    continue;
                }
                let payload = self.take_control(header);
                match header.opcode {
                    Opcode::Ping => return Poll::Ready(Ok(Read::Ping(payload))),
                    Opcode::Close => return Poll::Ready(Ok(Read::Close(payload))),
                    _ => continue,
                }
            }
            if left == 0 {
                self.end(header);
                continue;
            }
            let taken = if self.message_is_text(header) {
                ready!(self.skip(stream, cx, left))?
            } else {
                ready!(self.copy(stream, cx, header, buf))?
            };
            if taken == 0 {
                return Poll::Ready(Ok(Read::End));
            }
            if !self.message_is_text(header) {
                return Poll::Ready(Ok(Read::Filled));
            }
        }
    }

    /// Bytes that were read and not looked at.
    fn here(&self) -> &[u8] {
        part(self.ahead.as_slice(), self.from..self.to, READ)
    }

    fn begin(&mut self, header: FrameHead) -> Result<(), Violation> {
        match (header.opcode, self.message) {
            (Opcode::Continuation, None) => return Err(Violation::Protocol),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(Violation::Protocol),
            (Opcode::Text | Opcode::Binary, None) => self.message = Some(header.opcode),
            _ => {}
        }
        self.frame = Some(header);
        self.at = 0;
        Ok(())
    }

    fn end(&mut self, header: FrameHead) {
        self.frame = None;
        if header.last && !header.opcode.is_control() {
            self.message = None;
        }
    }

    fn message_is_text(&self, header: FrameHead) -> bool {
        !header.opcode.is_control() && self.message == Some(Opcode::Text)
    }

    fn take_control(&mut self, header: FrameHead) -> Vec<u8> {
        let end = self.from + header.length as usize;
        let mut payload = part(self.ahead.as_slice(), self.from..end, READ).to_vec();
        unmask(&mut payload, header.mask, 0);
        self.from = end;
        self.end(header);
        payload
    }

    /// Reads some bytes ahead; there is always room for them when this is called.
    fn read_ahead<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.ahead.copy_within(self.from..self.to, 0);
        self.to -= self.from;
        self.from = 0;
        let mut room = ReadBuf::new(part_mut(self.ahead.as_mut_slice(), self.to.., READ));
        ready!(Pin::new(stream).poll_read(cx, &mut room))?;
        let read = room.filled().len();
        self.to += read;
        Poll::Ready(Ok(read))
    }

    /// Throws some bytes of the payload away.
    fn skip<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        left: u64,
    ) -> Poll<io::Result<usize>> {
        if self.here().is_empty() && ready!(self.read_ahead(stream, cx))? == 0 {
            return Poll::Ready(Ok(0));
        }
        let taken = to_usize(left).min(self.here().len());
        self.from += taken;
        self.at += taken as u64;
        Poll::Ready(Ok(taken))
    }

    /// Moves some bytes of the payload to `buf`.
    fn copy<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        header: FrameHead,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        let left = to_usize(header.length - self.at);
        // A small rest is worth reading together with the header of the next frame.
        if self.here().is_empty()
            && left < AHEAD_BYTES / 2
            && ready!(self.read_ahead(stream, cx))? == 0
        {
            return Poll::Ready(Ok(0));
        }
        let wanted = left.min(buf.remaining()).min(PIECE_BYTES);
        let room = buf.initialize_unfilled_to(wanted);
        let here = self.here();
        let taken = if here.is_empty() {
            let mut piece = ReadBuf::new(room);
            ready!(Pin::new(stream).poll_read(cx, &mut piece))?;
            piece.filled().len()
        } else {
            let taken = here.len().min(wanted);
            for (to, from) in room.iter_mut().zip(here) {
                *to = *from;
            }
            self.from += taken;
            taken
        };
        unmask(
            part_mut(room, ..taken, "no more was taken than there is room"),
            header.mask,
            self.at,
        );
        self.at += taken as u64;
        assert!(self.at <= header.length, "INV-WS-STREAM: what follows a frame is not of it");
        buf.advance(taken);
        Poll::Ready(Ok(taken))
    }
}
