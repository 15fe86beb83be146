//! User headers: typed keys and values behind a payload, opaque to the server.
//!
//! ```text
//! | key kind u8 | key length u32 | key | value kind u8 | value length u32 | value | ...
//! ```
//! A field of a fixed-size kind has exactly that size; any has 1 to 255 bytes.

use crate::error_code::ErrorCode;
use crate::limits::{USER_HEADER_FIELD_BYTES_MAX, USER_HEADERS_BYTES_MAX};
use crate::primitive::{DecodeError, Reader, put_length32};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Declares the kinds with their numbers, words and sizes.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $number:literal $word:literal $size:expr;)*) => {
        /// The type of a key or value.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum HeaderKind {
            $($(#[$doc])* $kind = $number,)*
        }

        impl HeaderKind {
            /// Every kind, by number.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// The kind with this number.
            #[must_use]
            pub fn from_u8(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$kind),)*
                    _ => None,
                }
            }

            /// The word for it in JSON.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$kind => $word,)*
                }
            }

            /// The one size of its fields; `None` when they have any.
            #[must_use]
            pub fn size(self) -> Option<usize> {
                match self {
                    $(Self::$kind => $size,)*
                }
            }
        }
    };
}

kinds! {
    /// Any bytes.
    Raw = 1 "raw" None;
    /// UTF-8.
    String = 2 "string" None;
    /// One byte, 0 or 1.
    Bool = 3 "bool" Some(1);
    /// `i8`.
    Int8 = 4 "int8" Some(1);
    /// `i16`.
    Int16 = 5 "int16" Some(2);
    /// `i32`.
    Int32 = 6 "int32" Some(4);
    /// `i64`.
    Int64 = 7 "int64" Some(8);
    /// `i128`.
    Int128 = 8 "int128" Some(16);
    /// `u8`.
    Uint8 = 9 "uint8" Some(1);
    /// `u16`.
    Uint16 = 10 "uint16" Some(2);
    /// `u32`.
    Uint32 = 11 "uint32" Some(4);
    /// `u64`.
    Uint64 = 12 "uint64" Some(8);
    /// `u128`.
    Uint128 = 13 "uint128" Some(16);
    /// `f32`.
    Float32 = 14 "float32" Some(4);
    /// `f64`.
    Float64 = 15 "float64" Some(8);
}

const _: () = assert!(
    HeaderKind::ALL.len() == HeaderKind::Float64 as usize,
    "the kinds are numbered from 1 without gaps, so that none is left out of the list"
);

/// Why bytes are not a header field, or a text not a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The kind is not known.
    #[error("the header kind {0} is unknown")]
    Kind(u8),
    /// The field does not have the size of its kind, or not 1 to 255 bytes.
    #[error("a header field of {len} bytes does not fit its kind")]
    Length {
        /// Bytes of the field.
        len: usize,
    },
    /// The value is not one of its kind.
    #[error("a header value is not of its kind")]
    Value,
    /// All headers together are over their limit.
    #[error("the user headers are over {USER_HEADERS_BYTES_MAX} bytes")]
    TooLarge,
    /// The bytes are cut off.
    #[error("the user headers are cut off")]
    Truncated,
}

impl From<DecodeError> for HeaderError {
    fn from(_: DecodeError) -> Self {
        Self::Truncated
    }
}

impl From<HeaderError> for ErrorCode {
    fn from(error: HeaderError) -> Self {
        match error {
            HeaderError::Kind(_) => Self::InvalidHeaderKind,
            HeaderError::Length { .. } | HeaderError::Value => Self::InvalidHeaderValue,
            HeaderError::TooLarge => Self::TooBigUserHeaders,
            HeaderError::Truncated => Self::InvalidCommand,
        }
    }
}

/// A typed key or value, 1 to 255 bytes; ordered by kind, then bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderField {
    kind: HeaderKind,
    bytes: Box<[u8]>,
}

/// A [`HeaderField`] used as a key, usually a string.
pub type HeaderKey = HeaderField;
/// A [`HeaderField`] used as a value.
pub type HeaderValue = HeaderField;

macro_rules! numbers {
    ($($from:ident $kind:ident;)*) => {$(
        impl From<$from> for HeaderField {
            fn from(value: $from) -> Self {
                Self { kind: HeaderKind::$kind, bytes: value.to_le_bytes().into() }
            }
        }

        impl TryFrom<&HeaderField> for $from {
            type Error = HeaderError;

            fn try_from(field: &HeaderField) -> Result<Self, HeaderError> {
                match (field.kind, field.bytes.first_chunk()) {
                    (HeaderKind::$kind, Some(bytes)) => Ok(Self::from_le_bytes(*bytes)),
                    _ => Err(HeaderError::Value),
                }
            }
        }
    )*};
}

numbers! {
    i8 Int8; i16 Int16; i32 Int32; i64 Int64; i128 Int128;
    u8 Uint8; u16 Uint16; u32 Uint32; u64 Uint64; u128 Uint128;
    f32 Float32; f64 Float64;
}

impl From<bool> for HeaderField {
    fn from(value: bool) -> Self {
        Self { kind: HeaderKind::Bool, bytes: Box::new([u8::from(value)]) }
    }
}

impl FromStr for HeaderField {
    type Err = HeaderError;

    /// A string field.
    fn from_str(text: &str) -> Result<Self, HeaderError> {
        Self::new(HeaderKind::String, text.as_bytes())
    }
}

impl HeaderField {
    /// Makes a field of any kind.
    ///
    /// # Errors
    /// [`HeaderError::Length`] when the size is not one of the kind, [`HeaderError::Value`] when a
    /// string is not UTF-8.
    pub fn new(kind: HeaderKind, bytes: &[u8]) -> Result<Self, HeaderError> {
        let fits = match kind.size() {
            Some(size) => bytes.len() == size,
            None => (1..=USER_HEADER_FIELD_BYTES_MAX).contains(&bytes.len()),
        };
        if !fits {
            return Err(HeaderError::Length { len: bytes.len() });
        }
        if kind == HeaderKind::String && std::str::from_utf8(bytes).is_err() {
            return Err(HeaderError::Value);
        }
        Ok(Self { kind, bytes: bytes.into() })
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> HeaderKind {
        self.kind
    }

    /// The bytes, numbers little-endian.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The text of a string field.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self.kind {
            HeaderKind::String => std::str::from_utf8(&self.bytes).ok(),
            _ => None,
        }
    }

    /// The value of a bool field; any byte but 0 is true.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match (self.kind, self.bytes.first()) {
            (HeaderKind::Bool, Some(byte)) => Some(*byte != 0),
            _ => None,
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.push(self.kind as u8);
        put_length32(out, self.bytes.len());
        out.extend_from_slice(&self.bytes);
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, HeaderError> {
        let number = reader.u8()?;
        let kind = HeaderKind::from_u8(number).ok_or(HeaderError::Kind(number))?;
        let len = reader.length32()?;
        // A length of four bytes for at most 255: the classic form, which has room to spare.
        if len > USER_HEADER_FIELD_BYTES_MAX {
            return Err(HeaderError::Length { len });
        }
        Self::new(kind, reader.bytes(len)?)
    }

    fn number<T>(&self) -> Option<T>
    where
        T: for<'a> TryFrom<&'a Self>,
    {
        T::try_from(self).ok()
    }
}

impl fmt::Display for HeaderField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.kind {
            HeaderKind::String => self.as_str().map(str::to_owned),
            HeaderKind::Bool => self.as_bool().map(|value| value.to_string()),
            HeaderKind::Int8 => self.number::<i8>().map(|value| value.to_string()),
            HeaderKind::Int16 => self.number::<i16>().map(|value| value.to_string()),
            HeaderKind::Int32 => self.number::<i32>().map(|value| value.to_string()),
            HeaderKind::Int64 => self.number::<i64>().map(|value| value.to_string()),
            HeaderKind::Int128 => self.number::<i128>().map(|value| value.to_string()),
            HeaderKind::Uint8 => self.number::<u8>().map(|value| value.to_string()),
            HeaderKind::Uint16 => self.number::<u16>().map(|value| value.to_string()),
            HeaderKind::Uint32 => self.number::<u32>().map(|value| value.to_string()),
            HeaderKind::Uint64 => self.number::<u64>().map(|value| value.to_string()),
            HeaderKind::Uint128 => self.number::<u128>().map(|value| value.to_string()),
            HeaderKind::Float32 => self.number::<f32>().map(|value| value.to_string()),
            HeaderKind::Float64 => self.number::<f64>().map(|value| value.to_string()),
            HeaderKind::Raw => None,
        };
        match text {
            Some(text) => f.pad(&text),
            None => self.bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

impl fmt::Debug for HeaderField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{self}", self.kind.word())
    }
}

/// The user headers of one message, ordered by key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UserHeaders(BTreeMap<HeaderKey, HeaderValue>);

impl UserHeaders {
    /// No headers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a header; returns the value it had.
    pub fn insert(&mut self, key: HeaderKey, value: HeaderValue) -> Option<HeaderValue> {
        self.0.insert(key, value)
    }

    /// The value of a string key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&HeaderValue> {
        key.parse().ok().and_then(|key: HeaderKey| self.0.get(&key))
    }

    /// The headers in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&HeaderKey, &HeaderValue)> {
        self.0.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The headers as bytes.
    ///
    /// # Errors
    /// [`HeaderError::TooLarge`] when they are over the limit of a message.
    pub fn to_bytes(&self) -> Result<Vec<u8>, HeaderError> {
        let mut out = Vec::new();
        for (key, value) in &self.0 {
            key.put(&mut out);
            value.put(&mut out);
        }
        if out.len() > USER_HEADERS_BYTES_MAX as usize {
            return Err(HeaderError::TooLarge);
        }
        Ok(out)
    }

    /// Reads headers; of a key that comes twice the last value holds.
    ///
    /// # Errors
    /// [`HeaderError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HeaderError> {
        Self::pairs(bytes).map(Self::from_iter)
    }

    /// Reads headers in the order they were sent in, with every value of a key that comes twice.
    ///
    /// # Errors
    /// [`HeaderError`].
    pub fn pairs(bytes: &[u8]) -> Result<Vec<(HeaderKey, HeaderValue)>, HeaderError> {
        if bytes.len() > USER_HEADERS_BYTES_MAX as usize {
            return Err(HeaderError::TooLarge);
        }
        let mut reader = Reader::new(bytes);
        let mut pairs = Vec::new();
        while !reader.is_empty() {
            pairs.push((HeaderField::take(&mut reader)?, HeaderField::take(&mut reader)?));
        }
        Ok(pairs)
    }
}

impl FromIterator<(HeaderKey, HeaderValue)> for UserHeaders {
    fn from_iter<I: IntoIterator<Item = (HeaderKey, HeaderValue)>>(headers: I) -> Self {
        Self(headers.into_iter().collect())
    }
}

#[cfg(test)]
mod tests;
