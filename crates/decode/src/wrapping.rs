//! Compressed payloads, told by the bytes they begin with.

use serde::Serialize;
use std::borrow::Cow;
use std::io::{self, Read};

use crate::Limits;

/// How a payload is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Wrapping {
    /// Gzip, RFC 1952.
    Gzip,
    /// A frame of Zstandard, RFC 8878.
    Zstd,
}

/// How often a payload is unpacked: whoever compresses what was compressed gains nothing.
const LAYERS_MAX: usize = 2;

/// The largest window of a frame that is unpacked, as a power of two: 8 MiB, what RFC 8878 asks every decoder for.
const WINDOW_LOG_MAX: u32 = 23;
const _: () = assert!(
    1 << WINDOW_LOG_MAX <= Limits::SHOWN.unwrapped_bytes,
    "INV-DECODE-BOUND: unpacking holds no more behind than it may give"
);

/// Unpacks a payload that is compressed, and tells how it was. One that cannot be unpacked, or only to more than `bytes_max`
/// bytes, stays as it is.
pub(crate) fn unwrap(payload: &[u8], bytes_max: usize) -> (Vec<Wrapping>, Cow<'_, [u8]>) {
    let (mut wrapped, mut inner) = (Vec::new(), Cow::Borrowed(payload));
    while wrapped.len() < LAYERS_MAX
        && let Some(wrapping) = Wrapping::of(&inner)
        && let Some(unpacked) = wrapping.unpack(&inner, bytes_max)
    {
        wrapped.push(wrapping);
        inner = Cow::Owned(unpacked);
    }
    (wrapped, inner)
}

impl Wrapping {
    fn of(payload: &[u8]) -> Option<Self> {
        match payload {
            [0x1f, 0x8b, 8, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            _ => None,
        }
    }

    fn unpack(self, payload: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
        let unpacked = match self {
            Self::Gzip => read(flate2::read::MultiGzDecoder::new(payload), bytes_max),
            Self::Zstd => zstd::Decoder::with_buffer(payload).and_then(|mut decoder| {
                decoder.window_log_max(WINDOW_LOG_MAX)?;
                read(decoder, bytes_max)
            }),
        };
        unpacked.ok()
    }
}

/// All there is to be read; an error when that is more than `bytes_max`.
fn read(from: impl Read, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    from.take(bytes_max as u64 + 1).read_to_end(&mut unpacked)?;
    if unpacked.len() > bytes_max {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(unpacked)
}
