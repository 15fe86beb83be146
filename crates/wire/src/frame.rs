//! Frames: where they lie in a stream of bytes, both ways, and how they are written.
//!
//! ```text
//! request:  0        4      8            response: 0        4        8
//!           | length | code | payload    |         | status | length | payload
//! ```
//! The length of a request counts its code, that of a response only its payload.
//!
//! Whoever receives frames owns the buffer they arrive in and shows it to a cutter, which says where the
//! frame at the front lies and, while that is not all here, how many bytes it will have. A server refuses
//! requests and goes on behind them ([`RequestCutter`]); a client that gets what is no reply has lost its
//! connection ([`ReplyCutter`]).
//!
//! A header is eight bytes, whatever they say; one that makes no sense is spent all the same.
//! INV-IN-STEP: in whatever pieces a stream arrives, the next header is looked for exactly where the frame
//! before it ends.
//! INV-ROOM: nobody is asked to make room for a payload that was not accepted.

mod cutter;

pub use cutter::{Admission, Cut, Garbled, ReplyCutter, RequestCut, RequestCutter};

use crate::error_code::ErrorCode;
use crate::index::part_mut;
use crate::limits::{REQUEST_HEADER_BYTES, RESPONSE_HEADER_BYTES};

/// Bytes of the command code, which the length of a request counts.
const CODE_BYTES: u32 = 4;

const _: () = assert!(
    REQUEST_HEADER_BYTES == size_of::<u32>() + CODE_BYTES as usize,
    "a request's header is its length and its code"
);
const _: () = assert!(RESPONSE_HEADER_BYTES == 2 * size_of::<u32>(), "status and length");

/// The first eight bytes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestHeader {
    /// The command code, known or not.
    pub code: u32,
    /// Bytes that follow the header.
    pub payload_len: u32,
}

impl RequestHeader {
    /// Reads the header.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidCommand`] when the length does not even cover the code; the eight bytes
    /// are spent then, and the next request follows.
    pub fn read(bytes: [u8; REQUEST_HEADER_BYTES]) -> Result<Self, ErrorCode> {
        let [l0, l1, l2, l3, c0, c1, c2, c3] = bytes;
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        let code = u32::from_le_bytes([c0, c1, c2, c3]);
        let payload_len = length.checked_sub(CODE_BYTES).ok_or(ErrorCode::InvalidCommand)?;
        Ok(Self { code, payload_len })
    }

    /// The bytes of the header.
    #[must_use]
    pub fn to_bytes(self) -> [u8; REQUEST_HEADER_BYTES] {
        pair(self.payload_len.saturating_add(CODE_BYTES), self.code)
    }
}

/// The first eight bytes of a response, and all of one that tells of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResponseHeader {
    /// 0 for success, else the number of an [`ErrorCode`].
    pub status: u32,
    /// Bytes that follow the header; 0 after any failure.
    pub payload_len: u32,
}

impl ResponseHeader {
    /// The header of a successful response; its payload is to follow.
    #[must_use]
    pub fn ok(payload_len: u32) -> Self {
        Self { status: 0, payload_len }
    }

    /// The whole response for a failure.
    #[must_use]
    pub fn error(code: ErrorCode) -> Self {
        Self { status: code.as_u32(), payload_len: 0 }
    }

    /// Reads the header.
    #[must_use]
    pub fn read(bytes: [u8; RESPONSE_HEADER_BYTES]) -> Self {
        let [s0, s1, s2, s3, l0, l1, l2, l3] = bytes;
        let status = u32::from_le_bytes([s0, s1, s2, s3]);
        Self { status, payload_len: u32::from_le_bytes([l0, l1, l2, l3]) }
    }

    /// The bytes of the header.
    #[must_use]
    pub fn to_bytes(self) -> [u8; RESPONSE_HEADER_BYTES] {
        pair(self.status, self.payload_len)
    }

    /// Appends the header to `out`. Every reply of a server begins so.
    pub fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_bytes());
    }
}

fn pair(first: u32, second: u32) -> [u8; 8] {
    let [a, b, c, d] = first.to_le_bytes();
    let [e, f, g, h] = second.to_le_bytes();
    [a, b, c, d, e, f, g, h]
}

/// Appends a request to `out`: room for the header is made first, `payload` writes behind it, and
/// the header is filled in with the length.
///
/// # Errors
/// [`ErrorCode::InvalidSizeBytes`] when the payload does not fit a frame; `out` is as before.
pub fn put_request(
    out: &mut Vec<u8>,
    code: u32,
    payload: impl FnOnce(&mut Vec<u8>),
) -> Result<(), ErrorCode> {
    let start = out.len();
    out.extend_from_slice(&[0; REQUEST_HEADER_BYTES]);
    payload(out);
    let payload_len = out.len() - start - REQUEST_HEADER_BYTES;
    let header = u32::try_from(payload_len)
        .ok()
        .filter(|len| *len <= u32::MAX - CODE_BYTES)
        .map(|payload_len| RequestHeader { code, payload_len }.to_bytes());
    let Some(header) = header else {
        out.truncate(start);
        return Err(ErrorCode::InvalidSizeBytes);
    };
    let room = start..start + REQUEST_HEADER_BYTES;
    // The length is known only now; what `payload` wrote lies behind the room and stays where it is.
    part_mut(out, room, "INV-IN-STEP: a payload is appended, so its header is where room was made")
        .copy_from_slice(&header);
    Ok(())
}

#[cfg(test)]
mod tests;
