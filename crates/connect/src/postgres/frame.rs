//! Messages of the server as they come from the connection.
//!
//! Memory grows with what has come, not with what is announced.

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::fields::{GarbledMessage, MessageFields};
use super::trouble::PgError;

/// The largest message that is read.
pub(crate) const FRAME_BYTES_MAX: u32 = 64 << 20;
/// Set aside for the next read, at least.
const READ_BYTES: usize = 16 << 10;
const HEADER_BYTES: usize = 5;

/// A message of the server: what it is, and the rest of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PgFrame {
    pub(crate) tag: u8,
    pub(crate) body: Bytes,
}

impl PgFrame {
    pub(crate) fn fields(self) -> MessageFields {
        MessageFields::new(self.body)
    }
}

/// Bytes that have come, cut into messages.
#[derive(Debug, Default)]
pub(crate) struct FrameCutter {
    buffer: BytesMut,
}

impl FrameCutter {
    /// The next message, read from the connection as far as it has not come yet; nothing is lost when this is dropped while
    /// it waits.
    pub(crate) async fn next<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
    ) -> Result<PgFrame, PgError> {
        loop {
            if let Some(frame) = self.cut()? {
                return Ok(frame);
            }
            self.buffer.reserve(READ_BYTES);
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(PgError::Away("the server closed the connection".to_owned()));
            }
        }
    }

    fn cut(&mut self) -> Result<Option<PgFrame>, PgError> {
        let mut header = &self.buffer[..];
        let (Ok(tag), Ok(length)) = (header.try_get_u8(), header.try_get_u32()) else {
            return Ok(None);
        };
        let body = length.checked_sub(4).ok_or(GarbledMessage("it is shorter than its length"))?;
        if body > FRAME_BYTES_MAX {
            return Err(PgError::TooLong { bytes: body.into() });
        }
        let whole =
            HEADER_BYTES + usize::try_from(body).map_err(|_| GarbledMessage("it is too long"))?;
        if self.buffer.len() < whole {
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(whole);
        frame.advance(HEADER_BYTES);
        Ok(Some(PgFrame { tag, body: frame.freeze() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_are_cut_wherever_the_bytes_are_split() {
        let bytes = b"Z\0\0\0\x05Id\0\0\0\x08abcdc\0\0\0\x04";
        for split in 0..bytes.len() {
            let (front, back) = bytes.split_at(split);
            let mut stream = tokio::io::join(AsyncReadExt::chain(front, back), tokio::io::sink());
            let mut cutter = FrameCutter::default();
            for (tag, body) in [(b'Z', &b"I"[..]), (b'd', b"abcd"), (b'c', b"")] {
                let frame = cutter.next(&mut stream).await.unwrap();
                assert_eq!((frame.tag, &frame.body[..]), (tag, body));
            }
            let end = cutter.next(&mut stream).await.unwrap_err();
            assert_eq!(end.to_string(), "the server closed the connection");
        }
    }

    #[tokio::test]
    async fn what_is_too_long_or_too_short_is_refused_before_it_is_read() {
        let mut long = &b"d\xff\xff\xff\xff"[..];
        let error = FrameCutter::default().next(&mut long).await.unwrap_err();
        assert_eq!(error, PgError::TooLong { bytes: u64::from(u32::MAX) - 4 });
        let mut short = &b"d\0\0\0\x03"[..];
        let error = FrameCutter::default().next(&mut short).await.unwrap_err();
        assert!(matches!(error, PgError::Garbled(_)), "{error}");
    }
}
