//! The fields of a message, cut off one after the other.
//!
//! Whatever the bytes are, nothing panics, and nothing is set aside for what is only announced.

use bytes::{Buf, Bytes};

/// Bytes that are no message: what was expected in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of the server is not understood: {0}")]
pub(crate) struct GarbledMessage(pub(crate) &'static str);

/// What is left of a message.
#[derive(Clone, Debug)]
pub(crate) struct MessageFields(Bytes);

impl MessageFields {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, GarbledMessage> {
        self.0.try_get_u8().map_err(|_| GarbledMessage("it ends in a number"))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, GarbledMessage> {
        self.0.try_get_u16().map_err(|_| GarbledMessage("it ends in a number"))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, GarbledMessage> {
        self.0.try_get_u32().map_err(|_| GarbledMessage("it ends in a number"))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, GarbledMessage> {
        self.0.try_get_u64().map_err(|_| GarbledMessage("it ends in a number"))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, GarbledMessage> {
        self.0.try_get_i64().map_err(|_| GarbledMessage("it ends in a number"))
    }

    /// So many bytes; they are not copied.
    pub(crate) fn bytes(&mut self, count: u32) -> Result<Bytes, GarbledMessage> {
        match usize::try_from(count) {
            Ok(count) if count <= self.0.len() => Ok(self.0.split_to(count)),
            _ => Err(GarbledMessage("it ends in a value")),
        }
    }

    /// Text up to a zero.
    pub(crate) fn text(&mut self) -> Result<String, GarbledMessage> {
        let text = self.until_zero()?;
        let text = std::str::from_utf8(&text).map_err(|_| GarbledMessage("a text is not UTF-8"))?;
        Ok(text.to_owned())
    }

    fn until_zero(&mut self) -> Result<Bytes, GarbledMessage> {
        let end = self.0.iter().position(|byte| *byte == 0);
        let text = self.0.split_to(end.ok_or(GarbledMessage("it ends in a text"))?);
        self.0.advance(1);
        Ok(text)
    }

    /// Text up to a zero, with a mark where it is not UTF-8: for people only.
    pub(crate) fn lossy_text(&mut self) -> Result<String, GarbledMessage> {
        Ok(String::from_utf8_lossy(&self.until_zero()?).into_owned())
    }

    /// All that is left.
    pub(crate) fn rest(self) -> Bytes {
        self.0
    }

    /// Bytes that are left.
    pub(crate) fn left(&self) -> usize {
        self.0.len()
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<(), GarbledMessage> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(GarbledMessage("it goes on behind its end")),
        }
    }
}
