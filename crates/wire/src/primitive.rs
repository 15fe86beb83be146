//! Integers, texts and flags: one encoder and one decoder each, little-endian.
//!
//! Part of INV-EXACT: reading past the end, a text that is not UTF-8 and an unknown value are
//! [`ErrorCode::InvalidCommand`]; a value that breaks a rule is [`ErrorCode::InvalidFormat`].

use crate::error_code::ErrorCode;
use crate::index::{to_u8, to_u32, to_usize};
use crate::limits::TEXT_BYTES_MAX;

/// A value with one form on the wire, read in order from the front of what is left.
///
/// `()` is no bytes; `Option<T>` is `T` or no bytes at all, `Vec<T>` is `T` up to the end of the
/// payload: both can only come last.
pub trait Payload: Sized {
    /// Appends the value to `out`.
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads the value from the front of `reader`.
    ///
    /// # Errors
    /// The code the protocol asks for when the bytes are not such a value.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, ErrorCode>;

    /// The value as bytes of its own.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    /// Reads the value from `bytes`; bytes behind it are ignored.
    ///
    /// # Errors
    /// As [`Payload::decode`].
    fn from_bytes(bytes: &[u8]) -> Result<Self, ErrorCode> {
        Self::decode(&mut Reader::new(bytes))
    }
}

/// Why bytes are not the value they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a field.
    #[error("the bytes end inside a field")]
    Truncated,
    /// A text is not UTF-8.
    #[error("a text is not UTF-8")]
    NotUtf8,
    /// A kind, status or the like that the protocol does not know.
    #[error("a field has the unknown value {0}")]
    Unknown(u8),
    /// A text that must not be empty is.
    #[error("a text is empty")]
    Empty,
    /// A length does not fit the field it is for.
    #[error("a length does not fit its field")]
    Length,
    /// A length is over its limit.
    #[error("{len} bytes are over the limit of {max}")]
    TooLarge {
        /// Bytes announced.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
}

impl From<DecodeError> for ErrorCode {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Truncated | DecodeError::NotUtf8 | DecodeError::Unknown(_) => {
                Self::InvalidCommand
            }
            DecodeError::Empty | DecodeError::Length => Self::InvalidFormat,
            DecodeError::TooLarge { .. } => Self::InvalidSizeBytes,
        }
    }
}

/// A cursor over bytes from outside.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

macro_rules! integers {
    ($($name:ident)*) => {$(
        #[doc = concat!("Reads a little-endian `", stringify!($name), "`.")]
        ///
        /// # Errors
        /// [`DecodeError::Truncated`] when too few bytes are left.
        pub fn $name(&mut self) -> Result<$name, DecodeError> {
            self.array().map($name::from_le_bytes)
        }
    )*};
}

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    integers! { u8 u16 u32 u64 u128 f32 }

    /// Reads a flag: any byte but 0 is true, as the classic server has it.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when no byte is left.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.u8()? != 0)
    }

    /// Reads `N` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when too few bytes are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    /// Borrows the next `count` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when too few bytes are left.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    /// Reads a text behind a length of one byte; it may be empty.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::NotUtf8`].
    pub fn str8(&mut self) -> Result<&'a str, DecodeError> {
        let len = self.u8()?;
        self.text(usize::from(len))
    }

    /// Reads a text behind a length of one byte; it must not be empty.
    ///
    /// # Errors
    /// [`DecodeError::Empty`], [`DecodeError::Truncated`], [`DecodeError::NotUtf8`].
    pub fn name(&mut self) -> Result<&'a str, DecodeError> {
        match self.str8()? {
            "" => Err(DecodeError::Empty),
            text => Ok(text),
        }
    }

    /// Reads a text behind a length of four bytes; it may be empty.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::NotUtf8`], [`DecodeError::TooLarge`].
    pub fn str32(&mut self) -> Result<&'a str, DecodeError> {
        let len = self.length32()?;
        // In this order: a frame that is cut off in a text has always been called that, however long the text
        // would have been.
        if len > self.rest.len() {
            return Err(DecodeError::Truncated);
        }
        if len > TEXT_BYTES_MAX {
            return Err(DecodeError::TooLarge { len, max: TEXT_BYTES_MAX });
        }
        self.text(len)
    }

    /// Reads a length of four bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when too few bytes are left.
    pub fn length32(&mut self) -> Result<usize, DecodeError> {
        // A length that no address space can hold is longer than what is left.
        usize::try_from(self.u32()?).map_err(|_| DecodeError::Truncated)
    }

    /// Borrows everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// How many bytes are left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rest.len()
    }

    /// Whether no byte is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many entries of at least `entry_bytes` a list of `announced` can hold at most, as a
    /// capacity that bytes really present pay for.
    #[must_use]
    pub fn capacity(&self, announced: u32, entry_bytes: usize) -> usize {
        let fits = self.rest.len() / entry_bytes.max(1);
        to_usize(announced).min(fits)
    }

    fn text(&mut self, len: usize) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes(len)?).map_err(|_| DecodeError::NotUtf8)
    }
}

/// Appends a text behind a length of one byte; what is over 255 bytes is left away, at a
/// character's end (the types of [`crate::name`] never are).
pub fn put_str8(out: &mut Vec<u8>, text: &str) {
    let text = head(text, usize::from(u8::MAX));
    out.push(to_u8(text.len()));
    out.extend_from_slice(text.as_bytes());
}

/// Appends a text behind a length of four bytes; what is over [`TEXT_BYTES_MAX`] is left away, at
/// a character's end.
pub fn put_str32(out: &mut Vec<u8>, text: &str) {
    let text = head(text, TEXT_BYTES_MAX);
    put_length32(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// Appends a length or count as four bytes.
pub fn put_length32(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&to_u32(length).to_le_bytes());
}

/// The front of a text, as much of it as `max` bytes hold, at a character's end.
pub(crate) fn head(text: &str, max: usize) -> &str {
    text.split_at(text.floor_char_boundary(max)).0
}

const _: () = assert!(
    TEXT_BYTES_MAX <= u32::MAX as usize,
    "what is left of a long text fits the length in front of it"
);

macro_rules! integer_payloads {
    ($($name:ident)*) => {$(
        impl Payload for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn decode(reader: &mut Reader<'_>) -> Result<Self, ErrorCode> {
                Ok(reader.$name()?)
            }
        }
    )*};
}

integer_payloads! { u8 u16 u32 u64 u128 f32 }

impl Payload for bool {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        Ok(reader.bool()?)
    }
}

impl Payload for String {
    fn encode(&self, out: &mut Vec<u8>) {
        put_str32(out, self);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        Ok(reader.str32()?.to_owned())
    }
}

impl Payload for () {
    fn encode(&self, _: &mut Vec<u8>) {}

    fn decode(_: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        Ok(())
    }
}

impl<T: Payload> Payload for Option<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        if let Some(value) = self {
            value.encode(out);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        if reader.is_empty() { Ok(None) } else { T::decode(reader).map(Some) }
    }
}

impl<T: Payload> Payload for Vec<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        for value in self {
            value.encode(out);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        let mut values = Self::new();
        while !reader.is_empty() {
            let before = reader.len();
            values.push(T::decode(reader)?);
            if reader.len() == before {
                // A value of no bytes could repeat for ever.
                return Err(ErrorCode::InvalidFormat);
            }
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_too_long_for_their_length_end_at_a_character() {
        let mut out = Vec::new();
        put_str8(&mut out, &"é".repeat(200));
        assert_eq!(Reader::new(&out).str8().unwrap(), "é".repeat(127));
    }

    /// INV-BOUND.
    #[test]
    fn a_length_beyond_the_bytes_allocates_nothing() {
        assert_eq!(Reader::new(&[255, 255, 255, 255, 1]).str32(), Err(DecodeError::Truncated));
        assert_eq!(Reader::new(&[0; 10]).capacity(u32::MAX, 4), 2);
    }

    #[test]
    fn bad_utf8_and_short_bytes_are_invalid_commands() {
        assert_eq!(ErrorCode::from(DecodeError::NotUtf8), ErrorCode::InvalidCommand);
        assert_eq!(Reader::new(&[2, 0xff, 0xff]).name(), Err(DecodeError::NotUtf8));
        assert_eq!(Reader::new(&[2, b'a']).name(), Err(DecodeError::Truncated));
        assert_eq!(Reader::new(&[0]).name(), Err(DecodeError::Empty));
    }

    #[test]
    fn a_text_over_its_limit_is_an_invalid_size() {
        let mut out = Vec::new();
        put_length32(&mut out, TEXT_BYTES_MAX + 1);
        out.resize(out.len() + TEXT_BYTES_MAX + 1, b'a');
        assert_eq!(String::from_bytes(&out), Err(ErrorCode::InvalidSizeBytes));
    }
}
