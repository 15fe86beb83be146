//! The frames of WebSocket (RFC 6455, section 5): headers read and written, payloads unmasked.
//!
//! ```text
//! 0     1          2           4 or 10   +4
//! | F op | M length | longer length | mask | payload ...
//! ```

/// Longest header a client sends: ten bytes and the mask.
pub(super) const HEADER_BYTES_MAX: usize = 14;

/// Largest payload of a control frame.
pub(super) const CONTROL_BYTES_MAX: u64 = 125;

/// Largest frame taken from a client. Frames are not gathered, so this bounds no memory; it is here
/// because a length beyond it is no honest one.
pub(super) const FRAME_BYTES_MAX: u64 = 2 << 30;

const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;
const _: () = assert!(
    FINAL | RESERVED | OPCODE == 0xff && FINAL & RESERVED == 0 && (FINAL | RESERVED) & OPCODE == 0,
    "the first byte of a frame is all of these and nothing else"
);
const _: () = assert!(MASKED == !LENGTH, "the second byte is the mask's flag and the length");
const _: () = assert!(CONTROL_BYTES_MAX < 126, "a control frame has its length in the second byte");
const _: () = assert!(
    HEADER_BYTES_MAX == 2 + size_of::<u64>() + 4,
    "two bytes, the longest length, the mask"
);

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    /// More of the message that was begun.
    Continuation = 0,
    /// A message of text.
    Text = 1,
    /// A message of bytes.
    Binary = 2,
    /// The end.
    Close = 8,
    /// To be answered with a pong.
    Ping = 9,
    /// An answer to a ping.
    Pong = 10,
}

/// A frame of a client, without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHead {
    /// Whether it ends its message.
    pub(super) last: bool,
    /// What it is.
    pub(super) opcode: Opcode,
    /// What its payload is masked with.
    pub(super) mask: [u8; 4],
    /// Bytes of payload.
    pub(super) length: u64,
}

/// How a client broke the rules; the number it is told in the close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Violation {
    /// Not a frame of the protocol.
    Protocol = 1002,
    /// A frame that is too big.
    TooBig = 1009,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Self> {
        let all =
            [Self::Continuation, Self::Text, Self::Binary, Self::Close, Self::Ping, Self::Pong];
        all.into_iter().find(|opcode| *opcode as u8 == bits)
    }

    /// Whether it may stand between the frames of a message.
    pub(super) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

impl FrameHead {
    /// Reads a header at the front of `bytes`, and how long it is; `None` while it is not all there.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, Violation> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        if first & RESERVED != 0 || second & MASKED == 0 {
            return Err(Violation::Protocol);
        }
        let opcode = Opcode::from_bits(first & OPCODE).ok_or(Violation::Protocol)?;
        let (length, rest) = match second & LENGTH {
            126 => match rest.split_first_chunk() {
                Some((length, rest)) => (u16::from_be_bytes(*length).into(), rest),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest),
                None => return Ok(None),
            },
            length => (length.into(), rest),
        };
        let last = first & FINAL != 0;
        if opcode.is_control() && (!last || length > CONTROL_BYTES_MAX) {
            return Err(Violation::Protocol);
        }
        if length > FRAME_BYTES_MAX {
            return Err(Violation::TooBig);
        }
        let Some((mask, rest)) = rest.split_first_chunk() else { return Ok(None) };
        let header = Self { last, opcode, mask: *mask, length };
        Ok(Some((header, bytes.len() - rest.len())))
    }
}

/// Appends the header of a frame for a client.
pub(super) fn write_header(out: &mut Vec<u8>, opcode: Opcode, last: bool, length: u64) {
    out.push(opcode as u8 | if last { FINAL } else { 0 });
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => out.push(short),
        (_, Ok(long)) => {
            out.push(126);
            out.extend_from_slice(&long.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
}

/// Takes the mask off `bytes`, the first of which stands `at` bytes into its payload.
pub(super) fn unmask(bytes: &mut [u8], mask: [u8; 4], at: u64) {
    let turn = (at % 4) as u32;
    // Little-endian, so that the first byte of the mask is the lowest one and turning right drops it.
    let mask = u32::from_le_bytes(mask).rotate_right(8 * turn);
    let wide = u64::from(mask) | u64::from(mask) << 32;
    let mut chunks = bytes.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        chunk.copy_from_slice(&(u64::from_le_bytes(word) ^ wide).to_le_bytes());
    }
    for (byte, mask) in chunks.into_remainder().iter_mut().zip(wide.to_le_bytes()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_in_each_of_its_lengths_and_not_before_it_is_there() {
        for (length, bytes) in [(0, 6), (125, 6), (126, 8), (65_535, 8), (65_536, 14)] {
            let mut header = Vec::new();
            write_header(&mut header, Opcode::Binary, true, length);
            header[1] |= MASKED;
            header.extend([1, 2, 3, 4]);
            assert_eq!(header.len(), bytes);
            for cut in 0..bytes {
                assert_eq!(FrameHead::read(&header[..cut]), Ok(None));
            }
            header.push(99);
            let expected =
                FrameHead { last: true, opcode: Opcode::Binary, mask: [1, 2, 3, 4], length };
            assert_eq!(FrameHead::read(&header), Ok(Some((expected, bytes))));
        }
    }

    #[test]
    fn what_the_protocol_forbids_is_refused() {
        let read = |bytes: &[u8]| FrameHead::read(bytes).unwrap_err();
        assert_eq!(read(&[0x82, 0x01]), Violation::Protocol, "no mask");
        assert_eq!(read(&[0xc2, 0x81]), Violation::Protocol, "a reserved bit");
        assert_eq!(read(&[0x83, 0x81]), Violation::Protocol, "an unknown opcode");
        assert_eq!(read(&[0x09, 0x81]), Violation::Protocol, "a ping in pieces");
        assert_eq!(read(&[0x89, 0xfe, 0, 126]), Violation::Protocol, "a large ping");
        assert_eq!(read(&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]), Violation::TooBig);
    }

    #[test]
    fn a_payload_comes_out_the_same_however_it_is_cut() {
        let plain: Vec<u8> = (0..100).collect();
        let mask = [7, 77, 177, 9];
        let masked: Vec<u8> =
            plain.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        for cut in 0..plain.len() {
            let mut bytes = masked.clone();
            let (front, back) = bytes.split_at_mut(cut);
            unmask(front, mask, 0);
            unmask(back, mask, cut as u64);
            assert_eq!(bytes, plain);
        }
    }
}
