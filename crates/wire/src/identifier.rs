//! How a request names a stream, topic, group or user: by number or by name.

use crate::error_code::ErrorCode;
use crate::name::{Name, NameError};
use crate::primitive::{DecodeError, Payload, Reader, put_str8};
use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

const NUMERIC: u8 = 1;
const NAMED: u8 = 2;

const _: () = assert!(NUMERIC != NAMED, "the two kinds of identifiers are told apart");

/// A reference to something by number or by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identifier {
    /// By number.
    Numeric(u32),
    /// By name, compared exactly.
    Named(Name),
}

impl Identifier {
    /// The identifier that means the name `text`, even when it is a number in digits.
    ///
    /// # Errors
    /// [`NameError`] when the text is not 1 to 255 bytes.
    pub fn named(text: &str) -> Result<Self, NameError> {
        Name::parse(text).map(Self::Named)
    }

    /// Borrows the identifier.
    #[must_use]
    pub fn borrowed(&self) -> IdentifierRef<'_> {
        match self {
            Self::Numeric(number) => IdentifierRef::Numeric(*number),
            Self::Named(name) => IdentifierRef::Named(name.as_str()),
        }
    }
}

impl FromStr for Identifier {
    type Err = NameError;

    /// A text that parses as `u32` is a number, any other a name. A name that is a number in digits is
    /// written with a tilde in front, `~7`, and one that has tildes in front of digits with one more.
    fn from_str(text: &str) -> Result<Self, NameError> {
        if let Ok(number) = text.parse() {
            return Ok(Self::Numeric(number));
        }
        match text.strip_prefix('~') {
            Some(name) if looks_like_a_number(name) => Self::named(name),
            _ => Self::named(text),
        }
    }
}

/// Whether `name`, less tildes in front of it, would be taken for a number.
fn looks_like_a_number(name: &str) -> bool {
    name.trim_start_matches('~').parse::<u32>().is_ok()
}

impl From<u32> for Identifier {
    fn from(number: u32) -> Self {
        Self::Numeric(number)
    }
}

impl From<Name> for Identifier {
    fn from(name: Name) -> Self {
        Self::Named(name)
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.borrowed().fmt(f)
    }
}

impl Serialize for Identifier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Numeric(number) => serializer.serialize_u32(*number),
            Self::Named(name) => name.serialize(serializer),
        }
    }
}

impl Payload for Identifier {
    fn encode(&self, out: &mut Vec<u8>) {
        self.borrowed().encode(out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        let identifier = IdentifierRef::read(reader)?;
        identifier.to_owned().map_err(|_| ErrorCode::InvalidFormat)
    }
}

/// An [`Identifier`] whose name lies in the bytes it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdentifierRef<'a> {
    /// By number.
    Numeric(u32),
    /// By name, compared exactly.
    Named(&'a str),
}

impl<'a> IdentifierRef<'a> {
    /// Reads an identifier without copying its name.
    ///
    /// # Errors
    /// [`DecodeError::Unknown`] for an unknown kind, [`DecodeError::Length`] for a number that is
    /// not four bytes, [`DecodeError::Empty`] for an empty name, and as [`Reader::str8`].
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            NUMERIC => match reader.u8()? {
                // A length for what always has four bytes: names have one at the same place.
                4 => reader.u32().map(Self::Numeric),
                _ => Err(DecodeError::Length),
            },
            NAMED => reader.name().map(Self::Named),
            kind => Err(DecodeError::Unknown(kind)),
        }
    }

    /// Appends the identifier to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Numeric(number) => {
                out.extend_from_slice(&[NUMERIC, 4]);
                out.extend_from_slice(&number.to_le_bytes());
            }
            Self::Named(name) => {
                out.push(NAMED);
                put_str8(out, name);
            }
        }
    }

    /// Copies the identifier out of the bytes it was read from.
    ///
    /// # Errors
    /// [`NameError`] when the name is not 1 to 255 bytes, which one that was read always is.
    pub fn to_owned(self) -> Result<Identifier, NameError> {
        match self {
            Self::Numeric(number) => Ok(Identifier::Numeric(number)),
            Self::Named(name) => Identifier::named(name),
        }
    }
}

impl fmt::Display for IdentifierRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numeric(number) => number.fmt(f),
            Self::Named(name) if looks_like_a_number(name) => write!(f, "~{name}"),
            Self::Named(name) => f.pad(name),
        }
    }
}

#[cfg(test)]
impl crate::sample::Sample for Identifier {
    fn sample(source: &mut crate::sample::Draws) -> Self {
        if bool::sample(source) {
            Self::Numeric(u32::sample(source))
        } else {
            Self::Named(Name::sample(source))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_is_a_number_is_a_number() {
        assert_eq!("17".parse(), Ok(Identifier::Numeric(17)));
        assert_eq!("4294967296".parse(), Identifier::named("4294967296"));
        assert_eq!("s1".parse(), Identifier::named("s1"));
        assert_eq!("".parse::<Identifier>(), Err(NameError::Empty));
        assert_eq!("s1".parse::<Identifier>().unwrap().to_string(), "s1");
    }

    /// A stream could be made with the name `7` and then not be named: `7` is the stream with that number.
    #[test]
    fn a_name_of_digits_is_written_with_a_tilde() {
        for (text, name) in [("~7", "7"), ("~~7", "~7"), ("~~~7", "~~7"), ("~", "~"), ("~x", "~x")]
        {
            let identifier: Identifier = text.parse().unwrap();
            assert_eq!(Ok(&identifier), Identifier::named(name).as_ref(), "{text}");
            assert_eq!(identifier.to_string(), text, "shown as it is typed");
        }
        assert_eq!("~4294967296".parse(), Identifier::named("~4294967296"));
    }

    #[test]
    fn malformed_identifiers_give_the_exact_code() {
        let cases: [(&[u8], ErrorCode); 8] = [
            (&[0, 4, 0, 0, 0, 0], ErrorCode::InvalidCommand),
            (&[3, 1, b'a'], ErrorCode::InvalidCommand),
            (&[1, 3, 0, 0, 0], ErrorCode::InvalidFormat),
            (&[1, 5, 0, 0, 0, 0, 0], ErrorCode::InvalidFormat),
            (&[1, 4, 0, 0, 0], ErrorCode::InvalidCommand),
            (&[2, 0], ErrorCode::InvalidFormat),
            (&[2, 2, b'a'], ErrorCode::InvalidCommand),
            (&[2, 1, 0xff], ErrorCode::InvalidCommand),
        ];
        for (bytes, code) in cases {
            assert_eq!(Identifier::from_bytes(bytes), Err(code), "{bytes:?}");
        }
    }
}
