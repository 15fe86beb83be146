//! The receive buffer of a connection: bytes in, requests out, in place. Where they lie is the business of
//! [`galgo_wire::frame`]; here it is how much memory they get.
//!
//! A request is stamped and written to its log from the very bytes it was received into. The buffer is
//! small on an idle connection, grows once a client keeps it busy, and takes a large request whole under
//! a grant of the budget all connections share. It grows with the bytes that arrive, not with those that
//! are announced.
//!
//! INV-STRANGER: a peer that is not logged in has [`BUFFER_BYTES_IDLE`] without a grant, and no byte more.
//! A request for which the system has no memory is refused, and nothing else.
//! INV-HERE: what is told of the buffer is in it: a payload that was found is there until its request is consumed.

use std::ops::Range;

use bytes::BufMut as _;
use galgo_wire::ErrorCode;
use galgo_wire::frame::{Admission, Cut, RequestCut, RequestCutter, RequestHeader};
use galgo_wire::index::{part, part_mut};
use galgo_wire::limits::REQUEST_HEADER_BYTES;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::admission::{PeerStanding, admit};
use crate::transport::budget::{Allowance, Grant};

/// Buffer of a connection that is idle.
pub(crate) const BUFFER_BYTES_IDLE: usize = 4 << 10;

/// Buffer of a connection that is busy with small requests.
const BUFFER_BYTES_BUSY: usize = 32 << 10;

/// What a large request begins with, or all of it if it is smaller. From there its buffer doubles.
const BUFFER_BYTES_FIRST: usize = 1 << 20;
const _: () = assert!(
    REQUEST_HEADER_BYTES < BUFFER_BYTES_IDLE
        && BUFFER_BYTES_IDLE < BUFFER_BYTES_BUSY
        && BUFFER_BYTES_BUSY < BUFFER_BYTES_FIRST,
    "a header fits every buffer, and each buffer is larger than the one before it"
);

/// What stands at the front of the buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Front {
    /// A request that is here in full.
    Request {
        /// Its command.
        code: u32,
        /// Where its payload is, from its own first byte on; see [`Inbox::payload`].
        payload: Range<usize>,
    },
    /// A request to be answered with this error; it is consumed already.
    Refused(ErrorCode),
    /// Part of a request, or nothing.
    Partial,
}

/// The receive buffer.
#[derive(Debug)]
pub(crate) struct Inbox {
    buffer: Vec<u8>,
    /// Where the front request begins.
    start: usize,
    /// Bytes from `start` to the end of the front request; of its header while that is not here.
    front_bytes: usize,
    /// Size of the largest request since the last call of [`Inbox::shrink`].
    peak_bytes: usize,
    /// Covers the buffer while it is larger than a busy one.
    grant: Grant,
    cutter: RequestCutter,
}

/// What the assertions about the buffer say.
const HERE: &str = "INV-HERE: what is told of the buffer is in it";

impl Inbox {
    /// An empty buffer of the idle size.
    pub(crate) fn new() -> Self {
        Self {
            buffer: Vec::with_capacity(BUFFER_BYTES_IDLE),
            start: 0,
            front_bytes: REQUEST_HEADER_BYTES,
            peak_bytes: 0,
            grant: Grant::default(),
            cutter: RequestCutter::default(),
        }
    }

    /// Looks at the front of the buffer. A request stays there until [`Inbox::consume`].
    pub(crate) fn front(&mut self, caller: PeerStanding) -> Front {
        let mut judged = None;
        let here = part(&self.buffer, self.start.., HERE);
        let RequestCut { spent, front } = self.cutter.cut(here, |header| {
            let admission = admit(header, caller);
            judged = Some((admission, header.payload_len));
            admission
        });
        self.spend(spent);
        self.front_bytes = front.as_ref().map_or(REQUEST_HEADER_BYTES, Cut::whole);
        match judged {
            Some((Admission::Accept, _)) => {
                self.peak_bytes = self.peak_bytes.max(self.front_bytes);
            }
            Some((_, payload_len)) => self.note_refused(payload_len, caller),
            None => {}
        }
        match front {
            Ok(Cut::Frame { header, payload }) => {
                // From where the request begins, which may move with the buffer while it waits for its turn.
                let payload = payload.start - spent..payload.end - spent;
                Front::Request { code: header.code, payload }
            }
            Ok(Cut::Partial { .. }) => Front::Partial,
            Err(error) => Front::Refused(error),
        }
    }

    /// The payload of the request at the front.
    pub(crate) fn payload(&mut self, range: Range<usize>) -> &mut [u8] {
        part_mut(&mut self.buffer, self.start + range.start..self.start + range.end, HERE)
    }

    /// Moves on to what follows the front request.
    pub(crate) fn consume(&mut self) {
        self.spend(self.front_bytes);
        self.front_bytes = REQUEST_HEADER_BYTES;
    }

    /// Whether a request is partly here, or partly thrown away.
    pub(crate) fn is_mid_request(&self) -> bool {
        self.buffer.len() > self.start || self.is_discarding()
    }

    /// Whether the rest of a refused request is being thrown away.
    pub(crate) fn is_discarding(&self) -> bool {
        self.cutter.is_discarding()
    }

    /// Whether what stands at the front is a header, once eight bytes are here.
    pub(crate) fn begins_with_header(&self) -> Option<bool> {
        let header = part(&self.buffer, self.start.., HERE).first_chunk();
        header.map(|header| RequestHeader::read(*header).is_ok())
    }

    /// Makes room for more of the front request, if that needs no grant or one is free now.
    pub(crate) fn try_make_room(&mut self, allowance: &Allowance) -> bool {
        if self.room_without_grant(free_bytes(allowance)) {
            return true;
        }
        let bytes = self.next_size();
        let granted = allowance.try_grow(&mut self.grant, bytes);
        if granted {
            self.grow(bytes);
        }
        granted
    }

    /// Makes room for more of the front request, waiting for a grant.
    pub(crate) async fn make_room(&mut self, allowance: &Allowance) {
        let bytes = self.next_size();
        allowance.grow(&mut self.grant, bytes).await;
        self.grow(bytes);
    }

    /// Receives some bytes; zero at the end of the stream. Dropping the future loses nothing.
    pub(crate) async fn fill<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
    ) -> std::io::Result<usize> {
        let missing = (self.start + self.front_bytes).saturating_sub(self.buffer.len());
        let spare = self.buffer.capacity() - self.buffer.len();
        // Bytes past the end of a large request would have to be moved to the front of the buffer
        // afterwards; past the end of a small one they are what makes pipelining cheap.
        let wanted = if self.front_bytes > BUFFER_BYTES_BUSY { missing } else { BUFFER_BYTES_BUSY };
        stream.read_buf(&mut (&mut self.buffer).limit(wanted.min(spare))).await
    }

    /// Gives back the memory that no request needed since the last call. Called now and then.
    pub(crate) fn shrink(&mut self) {
        if self.buffer.is_empty() && self.peak_bytes == 0 {
            self.resize(BUFFER_BYTES_IDLE);
            self.grant = Grant::default();
        } else if self.peak_bytes <= BUFFER_BYTES_BUSY && self.fits(BUFFER_BYTES_BUSY) {
            self.release(BUFFER_BYTES_BUSY);
        }
        self.peak_bytes = 0;
    }

    /// Whether there is memory to give back.
    pub(crate) fn is_large(&self) -> bool {
        self.buffer.capacity() > BUFFER_BYTES_IDLE
    }

    /// Gives granted memory back at once when others may be waiting for it, or when it is not the caller's: that
    /// of a peer without a login.
    pub(crate) fn yield_grant(&mut self, allowance: &Allowance) {
        let stranger = allowance.is_of_stranger();
        let free = free_bytes(allowance);
        if !self.grant.is_empty()
            && self.fits(free)
            && (stranger || self.grant.is_last_resort() || allowance.is_tight())
        {
            self.release(free);
        }
    }

    /// Takes note that the connection is somebody else's now: what was granted to the one before is given back.
    pub(crate) fn change_hands(&mut self) {
        if self.fits(BUFFER_BYTES_BUSY) {
            self.release(BUFFER_BYTES_BUSY);
        }
    }

    /// Whether what is here, the front request as a whole included, has room in a buffer of `bytes`. A grant
    /// must not depend on an empty one: a client can always have begun its next request.
    fn fits(&self, bytes: usize) -> bool {
        let here = self.buffer.len() - self.start;
        here.max(self.front_bytes) <= bytes
    }

    /// Drops bytes at the front that are done with.
    fn spend(&mut self, bytes: usize) {
        self.start += bytes;
        assert!(self.start <= self.buffer.len(), "{HERE}");
        if self.start == self.buffer.len() {
            self.start = 0;
            self.buffer.clear();
        }
    }

    /// Takes note of a payload that is thrown away as it comes: a large one goes faster through a larger buffer.
    fn note_refused(&mut self, payload_len: u32, caller: PeerStanding) {
        self.peak_bytes = self.peak_bytes.max(REQUEST_HEADER_BYTES);
        let may_grow = caller.authenticated && self.grant.is_empty();
        if payload_len as usize > self.buffer.capacity() && may_grow {
            self.resize(BUFFER_BYTES_BUSY);
        }
    }

    /// Whether there is room, or can be in a buffer of `free` bytes.
    fn room_without_grant(&mut self, free: usize) -> bool {
        let has_room = |inbox: &Self| {
            let (len, capacity) = (inbox.buffer.len(), inbox.buffer.capacity());
            // A large request fills what it has before it gets more.
            let fits = inbox.start + inbox.front_bytes <= capacity || capacity > BUFFER_BYTES_BUSY;
            fits && len < capacity
        };
        if has_room(self) {
            return true;
        }
        // The bytes of a busy client filled the buffer, or its next request is cut by the buffer's end.
        if self.front_bytes <= free && self.buffer.capacity() < free {
            self.resize(free);
        }
        self.move_to_front();
        has_room(self)
    }

    /// The size the buffer gets next for a large request.
    fn next_size(&self) -> usize {
        (2 * self.buffer.capacity()).max(BUFFER_BYTES_FIRST).min(self.front_bytes)
    }

    /// Falls back to a buffer of `bytes` and gives the grant back.
    fn release(&mut self, bytes: usize) {
        if !self.grant.is_empty() {
            self.resize(bytes);
            self.grant = Grant::default();
        }
    }

    /// Lets the buffer, which begins with the front request, have `bytes`.
    fn grow(&mut self, bytes: usize) {
        let more = bytes.saturating_sub(self.buffer.len());
        if self.buffer.try_reserve_exact(more).is_err() {
            tracing::warn!(
                bytes = self.front_bytes,
                next = "raise the limit of memory (ulimit -v, LimitAS), or lower limits.request_bytes and \
                        limits.in_flight_bytes",
                "request refused: the system has no memory for it"
            );
            self.give_up();
        }
    }

    /// Refuses the front request, of which a part is here; the rest is thrown away as it comes.
    fn give_up(&mut self) {
        let here = self.buffer.len() - self.start;
        let still_to_come = self.front_bytes.saturating_sub(here) as u64;
        self.cutter.give_up(still_to_come, ErrorCode::CannotSaveMessagesToSegment);
        self.front_bytes = here;
        self.consume();
    }

    fn move_to_front(&mut self) {
        if self.start > 0 {
            self.buffer.copy_within(self.start.., 0);
            self.buffer.truncate(self.buffer.len() - self.start);
            self.start = 0;
        }
    }

    /// Replaces the buffer by one of `bytes`, or of what it holds if that is more.
    fn resize(&mut self, bytes: usize) {
        let here = part(&self.buffer, self.start.., HERE);
        let mut buffer = Vec::with_capacity(bytes.max(here.len()));
        buffer.extend_from_slice(here);
        self.buffer = buffer;
        self.start = 0;
    }
}

/// What a buffer may have without a grant.
fn free_bytes(allowance: &Allowance) -> usize {
    if allowance.is_of_stranger() { BUFFER_BYTES_IDLE } else { BUFFER_BYTES_BUSY }
}

#[cfg(test)]
mod tests;
