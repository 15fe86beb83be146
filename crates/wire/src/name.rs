//! Names and secrets that are valid once made.
//!
//! INV-SECRET: neither `Debug` nor `Display` of a secret shows a byte of it.

use crate::error_code::ErrorCode;
use crate::limits::{
    NAME_BYTES_MAX, PASSWORD_BYTES_MAX, PASSWORD_BYTES_MIN, SECRET_BYTES_MAX, TOKEN_NAME_BYTES_MAX,
    TOKEN_NAME_BYTES_MIN, USERNAME_BYTES_MAX, USERNAME_BYTES_MIN,
};
use crate::primitive::{Payload, Reader, put_str8};
use serde::{Serialize, Serializer};
use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

/// Why a text cannot be a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is no text.
    #[error("a name is not empty")]
    Empty,
    /// The text is shorter than names of its kind are.
    #[error("at least {min} bytes are needed, not {len}")]
    TooShort {
        /// Bytes of the text.
        len: usize,
        /// Bytes needed.
        min: usize,
    },
    /// The text is longer than names of its kind are.
    #[error("{len} bytes are too many, at most {max} are allowed")]
    TooLong {
        /// Bytes of the text.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
}

fn check_length(text: &str, min: usize, max: usize) -> Result<(), NameError> {
    match text.len() {
        0 if min > 0 => Err(NameError::Empty),
        len if len < min => Err(NameError::TooShort { len, min }),
        len if len > max => Err(NameError::TooLong { len, max }),
        _ => Ok(()),
    }
}

/// One text type: its bounds, and the error code of a text outside them.
macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident($min:expr, $max:expr) else $error:ident;)*) => {$(
        const _: () = assert!(
            $max <= u8::MAX as usize,
            "a length of one byte tells any text within the bounds"
        );

        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// Makes the value from its text.
            ///
            /// # Errors
            /// [`NameError`] when the number of bytes is out of bounds.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                check_length(text, $min, $max)?;
                Ok(Self(text.into()))
            }

            /// Returns the text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The code a server answers when the text is out of bounds.
            pub const ERROR: ErrorCode = ErrorCode::$error;
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl Payload for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                put_str8(out, &self.0);
            }

            fn decode(reader: &mut Reader<'_>) -> Result<Self, ErrorCode> {
                Self::parse(reader.str8()?).map_err(|_| Self::ERROR)
            }
        }

        #[cfg(test)]
        impl crate::sample::Sample for $name {
            fn sample(source: &mut crate::sample::Draws) -> Self {
                Self(source.text($min, $max).into())
            }
        }
    )*};
}

/// What names have on top of other texts: they may be shown and compared with text.
macro_rules! shown {
    ($($name:ident)*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        crate::json::as_inner! { $name, String }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )*};
}

/// What secrets have on top of other texts: nobody sees them in a log.
macro_rules! redacted {
    ($($name:ident)*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("<redacted>")
            }
        }
    )*};
}

texts! {
    /// A name of anything, 1 to 255 bytes.
    Name(1, NAME_BYTES_MAX) else InvalidFormat;
    /// The name of a stream, 1 to 255 bytes, case-sensitive.
    StreamName(1, NAME_BYTES_MAX) else InvalidFormat;
    /// The name of a topic, 1 to 255 bytes, case-sensitive.
    TopicName(1, NAME_BYTES_MAX) else InvalidFormat;
    /// The name of a consumer group, 1 to 255 bytes, case-sensitive.
    GroupName(1, NAME_BYTES_MAX) else InvalidFormat;
    /// The name of a user, 3 to 50 bytes, case-sensitive.
    Username(USERNAME_BYTES_MIN, USERNAME_BYTES_MAX) else InvalidUsername;
    /// The name of a personal access token, 3 to 30 bytes.
    TokenName(TOKEN_NAME_BYTES_MIN, TOKEN_NAME_BYTES_MAX) else InvalidPersonalAccessTokenName;
    /// A password as it may be set or used to log in, 3 to 100 bytes.
    Password(PASSWORD_BYTES_MIN, PASSWORD_BYTES_MAX) else InvalidPassword;
    /// A password only to be compared, of any length the wire can carry.
    Secret(0, SECRET_BYTES_MAX) else InvalidPassword;
    /// The text of a personal access token.
    TokenText(1, SECRET_BYTES_MAX) else InvalidFormat;
}

shown! { Name StreamName TopicName GroupName Username TokenName }
redacted! { Password Secret TokenText }

macro_rules! plain_names {
    ($($name:ident)*) => {$(
        impl From<$name> for Name {
            fn from(name: $name) -> Self {
                Self(name.0)
            }
        }

        impl From<Name> for $name {
            fn from(name: Name) -> Self {
                Self(name.0)
            }
        }
    )*};
}

plain_names! { StreamName TopicName GroupName }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_bounds() {
        assert_eq!(Name::parse(""), Err(NameError::Empty));
        assert!(Name::parse("a").is_ok());
        assert!(Name::parse(&"é".repeat(127)).is_ok());
        assert_eq!(
            StreamName::parse(&"a".repeat(256)),
            Err(NameError::TooLong { len: 256, max: 255 })
        );
        assert_eq!(Username::parse("ab"), Err(NameError::TooShort { len: 2, min: 3 }));
        assert!(Username::parse(&"a".repeat(50)).is_ok());
        assert!(Username::parse(&"a".repeat(51)).is_err());
        assert!(Password::parse(&"a".repeat(100)).is_ok());
        assert!(Password::parse(&"a".repeat(101)).is_err());
        assert!(TokenName::parse(&"a".repeat(31)).is_err());
        assert!(Secret::parse("").is_ok());
    }

    #[test]
    fn out_of_bounds_on_the_wire_gives_the_code_of_the_field() {
        fn code<T: Payload + fmt::Debug>(text: &str) -> ErrorCode {
            let mut bytes = Vec::new();
            put_str8(&mut bytes, text);
            T::decode(&mut Reader::new(&bytes)).unwrap_err()
        }
        assert_eq!(code::<TopicName>(""), ErrorCode::InvalidFormat);
        assert_eq!(code::<Username>("ab"), ErrorCode::InvalidUsername);
        assert_eq!(code::<Password>("ab"), ErrorCode::InvalidPassword);
        assert_eq!(code::<TokenName>("ab"), ErrorCode::InvalidPersonalAccessTokenName);
    }

    /// INV-SECRET.
    #[test]
    fn a_secret_is_not_shown() {
        let shown = format!("{:?}", Password::parse("hunter2").unwrap());
        assert!(!shown.contains("hunter"));
    }
}
