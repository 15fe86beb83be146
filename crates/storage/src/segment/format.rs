//! Names of segment files and the frame of a message inside them.
//!
//! ```text
//! 0          8    24       32          40                 48                    52               56         64
//! | checksum | id | offset | timestamp | origin timestamp | user headers length | payload length | reserved | payload, user headers
//! ```
//! All numbers little-endian; `checksum` is the XXH3-64 of everything after it.

use galgo_wire::batch::{MessageHeader, checksum};
use galgo_wire::id::{Offset, Timestamp};
use galgo_wire::limits::MESSAGE_HEADER_BYTES;

const LOG_SUFFIX: &str = ".log";
const INDEX_SUFFIX: &str = ".index";
const BASE_DIGITS: usize = 20;
const _: () = assert!(
    BASE_DIGITS == u64::MAX.ilog10() as usize + 1,
    "any offset is a name, and names sort as offsets do"
);

/// Name of the file of messages of the segment that starts at `base`.
pub(crate) fn log_name(base: Offset) -> String {
    format!("{:020}{LOG_SUFFIX}", base.get())
}

/// Name of the index of the segment that starts at `base`.
pub(crate) fn index_name(base: Offset) -> String {
    format!("{:020}{INDEX_SUFFIX}", base.get())
}

/// The base of a segment, when `name` is exactly what [`log_name`] gives for it.
pub(crate) fn parse_log_name(name: &str) -> Option<Offset> {
    name.strip_suffix(LOG_SUFFIX).and_then(parse_base)
}

/// The base of a segment, when `name` is exactly what [`index_name`] gives for it.
pub(crate) fn parse_index_name(name: &str) -> Option<Offset> {
    name.strip_suffix(INDEX_SUFFIX).and_then(parse_base)
}

fn parse_base(digits: &str) -> Option<Offset> {
    // Exactly as it is written: a name that is parsed more freely would stand for a file that another name has.
    if digits.len() != BASE_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().map(Offset::new)
}

/// What walking and checking need of a message header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MessageFrame {
    /// XXH3-64 of the message after this field, as written.
    pub(crate) checksum: u64,
    /// Id of the message.
    pub(crate) id: u128,
    /// Offset of the message.
    pub(crate) offset: Offset,
    /// When the server took it.
    pub(crate) timestamp: Timestamp,
    /// Bytes of the whole message.
    pub(crate) len: u64,
}

impl MessageFrame {
    /// Reads the frame at the start of `bytes`; `None` when they cannot be a message header.
    #[inline]
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let header = MessageHeader::read(bytes)?;
        let (payload, user_headers) = (header.payload_length, header.user_headers_length);
        // Checked here and not only with the checksum: lengths are walked by before the message is read.
        if !header.lengths_fit() || !header.reserved_fits() {
            return None;
        }
        Some(Self {
            checksum: header.checksum,
            id: header.id,
            offset: header.offset,
            timestamp: header.timestamp,
            len: MESSAGE_HEADER_BYTES as u64 + u64::from(payload) + u64::from(user_headers),
        })
    }

    /// Reads the whole message at the start of `bytes`: its frame, when all of it is there and its
    /// checksum is right.
    pub(crate) fn parse_verified(bytes: &[u8]) -> Option<Self> {
        let frame = Self::parse(bytes)?;
        let message = bytes.get(..usize::try_from(frame.len).ok()?)?;
        (checksum(message) == frame.checksum).then_some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_and_nothing_else_is() {
        assert_eq!(log_name(Offset::new(42)), "00000000000000000042.log");
        assert_eq!(parse_log_name("00000000000000000042.log"), Some(Offset::new(42)));
        assert_eq!(parse_log_name(&log_name(Offset::new(u64::MAX))), Some(Offset::new(u64::MAX)));
        for name in ["42.log", "00000000000000000042.index", "0000000000000000004x.log", ".log"] {
            assert_eq!(parse_log_name(name), None, "{name}");
        }
        for name in
            ["99999999999999999999.log", "+0000000000000000042.log", "00000000000000000042.log.cut"]
        {
            assert_eq!(parse_log_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_frame_needs_a_whole_plausible_header() {
        let mut header = [0_u8; MESSAGE_HEADER_BYTES];
        header[24] = 7;
        header[52] = 5;
        assert_eq!(
            MessageFrame::parse(&header).map(|frame| (frame.offset.get(), frame.len)),
            Some((7, 69))
        );
        for len in 0..MESSAGE_HEADER_BYTES {
            assert_eq!(MessageFrame::parse(&header[..len]), None);
        }
        assert_eq!(MessageFrame::parse_verified(&header), None, "the payload is not there");
        header[63] = 1;
        assert_eq!(MessageFrame::parse(&header), None, "reserved is not zero");
        header[63] = 0;
        header[55] = 0xff;
        assert_eq!(MessageFrame::parse(&header), None, "the payload is over its limit");
    }
}
