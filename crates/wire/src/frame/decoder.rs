//! The incremental decoder: bytes of any split in, whole requests out, in place.

use super::RequestHeader;
use crate::command::CommandCode;
use crate::error_code::ErrorCode;
use crate::limits::{
    CONTROL_PAYLOAD_BYTES_MAX, REQUEST_HEADER_BYTES, SEND_PAYLOAD_BYTES_MAX_DEFAULT,
};

/// Room a decoder starts with.
const BUFFER_BYTES_MIN: usize = 4 << 10;
/// Room a decoder of small frames grows to while reads fill it.
const BUFFER_BYTES_BUSY: usize = 64 << 10;
/// An unfinished frame of at most this much is moved to the front before each read.
const CHEAP_MOVE_BYTES: usize = 4 << 10;
/// Frames with at least this much missing are read to their end and not beyond, so that nothing
/// behind them has to be moved.
const EXACT_READ_BYTES_MIN: usize = 32 << 10;

/// What a decoder admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// Largest payload of any command but SEND_MESSAGES; over it the connection must close.
    pub control_bytes_max: u32,
    /// Largest payload of SEND_MESSAGES; a larger one is drained and refused.
    pub send_bytes_max: u32,
    /// Drain and refuse every SEND_MESSAGES with this code: nothing is stored for a caller who may
    /// not send anyway.
    pub refuse_sends: Option<ErrorCode>,
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self {
            control_bytes_max: CONTROL_PAYLOAD_BYTES_MAX,
            send_bytes_max: SEND_PAYLOAD_BYTES_MAX_DEFAULT,
            refuse_sends: None,
        }
    }
}

/// What becomes of a request, known from its header alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admission {
    Read,
    Drain(ErrorCode),
    Close(ErrorCode),
}

impl FrameLimits {
    fn admit(&self, header: RequestHeader) -> Admission {
        if header.code == CommandCode::SendMessages.as_u32() {
            return match self.refuse_sends {
                Some(code) => Admission::Drain(code),
                None if header.payload_len > self.send_bytes_max => {
                    Admission::Drain(ErrorCode::InvalidSizeBytes)
                }
                None => Admission::Read,
            };
        }
        if header.payload_len > self.control_bytes_max {
            Admission::Close(ErrorCode::InvalidCommand)
        } else {
            Admission::Read
        }
    }
}

/// A whole request; the payload lies in the decoder and may be changed in place.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The command code, known or not.
    pub code: u32,
    /// The payload.
    pub payload: &'a mut [u8],
}

/// What came out of a decoder.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole request.
    Frame(Frame<'a>),
    /// A request that is refused; answer with the code and go on.
    Refused(ErrorCode),
    /// A request after which nothing can be understood; answer with the code and close.
    Close(ErrorCode),
}

/// What the bytes at the front of the buffer are.
#[derive(Clone, Copy, Debug)]
enum State {
    Header,
    Payload { code: u32, len: usize },
    Draining { left: u64, code: ErrorCode },
    Closing(ErrorCode),
    Closed,
}

/// Turns bytes into requests, however they are split.
///
/// ```
/// use galgo_wire::frame::{Decoder, Event, FrameLimits};
///
/// let mut decoder = Decoder::new(FrameLimits::default());
/// let ping = [4, 0, 0, 0, 1, 0, 0, 0];
/// decoder.space()[..8].copy_from_slice(&ping); // as a socket would
/// decoder.filled(8);
/// let Some(Event::Frame(frame)) = decoder.next_event() else { panic!("a whole frame") };
/// assert_eq!((frame.code, frame.payload.len()), (1, 0));
/// assert!(decoder.next_event().is_none());
/// ```
#[derive(Debug)]
pub struct Decoder {
    limits: FrameLimits,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Room worth having for this connection, by how full its reads were.
    room_wanted: usize,
    state: State,
}

impl Decoder {
    /// Makes a decoder that has no memory yet.
    #[must_use]
    pub fn new(limits: FrameLimits) -> Self {
        Self {
            limits,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            room_wanted: BUFFER_BYTES_MIN,
            state: State::Header,
        }
    }

    /// The limits, to be changed when the caller logs in or out; they hold from the next header on.
    pub fn limits_mut(&mut self) -> &mut FrameLimits {
        &mut self.limits
    }

    /// Room for the next bytes, never empty. Call it when [`Decoder::next_event`] has nothing more.
    pub fn space(&mut self) -> &mut [u8] {
        self.make_room();
        let room = self.buffer.len() - self.end;
        let wanted = match self.state {
            State::Payload { len, .. } => match len.saturating_sub(self.end - self.start) {
                missing if missing >= EXACT_READ_BYTES_MIN => missing.min(room),
                _ => room,
            },
            _ => room,
        };
        self.buffer.get_mut(self.end..self.end + wanted).unwrap_or_default()
    }

    /// Says how many bytes were put at the front of [`Decoder::space`].
    pub fn filled(&mut self, count: usize) {
        debug_assert!(self.end + count <= self.buffer.len(), "more filled than there is room");
        self.end = self.end.saturating_add(count).min(self.buffer.len());
        if self.end == self.buffer.len() && self.room_wanted < BUFFER_BYTES_BUSY {
            self.room_wanted *= 2;
        }
    }

    /// The next whole request, or the refusal of one; `None` when more bytes are needed.
    pub fn next_event(&mut self) -> Option<Event<'_>> {
        loop {
            match self.state {
                State::Header => match self.read_header()? {
                    Ok(state) => self.state = state,
                    Err(code) => return Some(Event::Refused(code)),
                },
                State::Payload { code, len } => return self.take_payload(code, len),
                State::Draining { left, code } => {
                    let have = (self.end - self.start) as u64;
                    let spent = left.min(have);
                    self.start += usize::try_from(spent).unwrap_or(usize::MAX);
                    if spent < left {
                        self.state = State::Draining { left: left - spent, code };
                        return None;
                    }
                    self.state = State::Header;
                    return Some(Event::Refused(code));
                }
                State::Closing(code) => {
                    self.state = State::Closed;
                    return Some(Event::Close(code));
                }
                State::Closed => return None,
            }
        }
    }

    /// Whether bytes of an unfinished request are here.
    #[must_use]
    pub fn is_mid_frame(&self) -> bool {
        self.start < self.end || !matches!(self.state, State::Header | State::Closed)
    }

    /// Gives memory back while nothing is being read.
    pub fn release_idle(&mut self) {
        if self.start == self.end && !matches!(self.state, State::Payload { .. }) {
            (self.start, self.end) = (0, 0);
            self.buffer = Vec::new();
            self.room_wanted = BUFFER_BYTES_MIN;
        }
    }

    /// Bytes of memory held.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.buffer.capacity()
    }

    fn read_header(&mut self) -> Option<Result<State, ErrorCode>> {
        let ready = self.buffer.get(self.start..self.end)?;
        let header = *ready.first_chunk::<REQUEST_HEADER_BYTES>()?;
        self.start += REQUEST_HEADER_BYTES;
        Some(RequestHeader::read(header).map(|header| match self.limits.admit(header) {
            // A length no address space can hold is over any limit.
            Admission::Read => match usize::try_from(header.payload_len) {
                Ok(len) => State::Payload { code: header.code, len },
                Err(_) => State::Closing(ErrorCode::InvalidCommand),
            },
            Admission::Drain(code) => State::Draining { left: u64::from(header.payload_len), code },
            Admission::Close(code) => State::Closing(code),
        }))
    }

    fn take_payload(&mut self, code: u32, len: usize) -> Option<Event<'_>> {
        let from = self.start;
        if self.end - from < len {
            return None;
        }
        self.start = from + len;
        self.state = State::Header;
        let payload = self.buffer.get_mut(from..from + len)?;
        Some(Event::Frame(Frame { code, payload }))
    }

    /// Moves what is unfinished to the front when that is needed, and grows the buffer by what has
    /// arrived already, so that an announced length alone costs nothing.
    fn make_room(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        let have = self.end - self.start;
        let needed = match self.state {
            State::Payload { len, .. } => len,
            _ => REQUEST_HEADER_BYTES,
        };
        let wanted = needed.min(2 * have).max(have + 1);
        let fits = self.start + wanted <= self.buffer.len();
        if self.start > 0 && (have <= CHEAP_MOVE_BYTES || !fits) {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, have);
        }
        let size = (self.start + wanted).max(self.room_wanted);
        if size > self.buffer.len() {
            self.buffer.resize(size, 0);
        }
    }
}
