//! The codes a server answers with, and what each means to whom.
//!
//! A response carries the number alone, so a code must say everything by itself.

mod table;

use std::fmt;

pub use table::ErrorCode;

/// Who raises a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RaisedBy {
    /// The server, to its clients.
    Server,
    /// The client library, to its user.
    Client,
    /// Server and client library.
    Both,
    /// The server when it starts, or when its storage fails.
    Internal,
    /// Nobody; the number is taken.
    Unused,
}

impl fmt::Display for RaisedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Server => "server",
            Self::Client => "client",
            Self::Both => "server, client",
            Self::Internal => "storage",
            Self::Unused => "unused",
        })
    }
}

/// What a client does with a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// The same request fails again.
    No,
    /// The connection is of no more use: connect, log in, and repeat the request once.
    Reconnect,
}

/// Turns the rows of the table into the enum and its facts.
macro_rules! error_codes {
    ($($number:literal $name:ident $snake:literal $origin:ident $status:literal $text:literal;)*) => {
        /// A failure as the wire and HTTP name it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum ErrorCode {
            $(
                #[doc = $text]
                $name = $number,
            )*
        }

        impl ErrorCode {
            /// Every code, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The code with this number; `None` for a gap and for 0, which is success.
            #[must_use]
            pub fn from_u32(number: u32) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The name classic clients know it by.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// The `code` of an HTTP error body.
            #[must_use]
            pub fn snake_case(self) -> &'static str {
                match self {
                    $(Self::$name => $snake,)*
                }
            }

            /// What went wrong, for people.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// Who raises it.
            #[must_use]
            pub fn origin(self) -> $crate::error_code::RaisedBy {
                match self {
                    $(Self::$name => $crate::error_code::RaisedBy::$origin,)*
                }
            }

            /// The HTTP status of an answer with this code.
            #[must_use]
            pub fn http_status(self) -> u16 {
                match self {
                    $(Self::$name => $status,)*
                }
            }
        }
    };
}
use error_codes;

impl ErrorCode {
    /// The number on the wire.
    #[must_use]
    pub fn as_u32(self) -> u32 {
        self as u32
    }

    /// The code with this number, or [`ErrorCode::Error`] for a number nobody knows.
    #[must_use]
    pub fn from_status(number: u32) -> Self {
        Self::from_u32(number).unwrap_or(Self::Error)
    }

    /// What a client does next.
    #[must_use]
    pub fn retry(self) -> Retry {
        match self {
            Self::Disconnected
            | Self::CannotEstablishConnection
            | Self::StaleClient
            | Self::TcpError
            | Self::QuicError
            | Self::Unauthenticated
            | Self::NotConnected
            | Self::ConnectionClosed
            | Self::EmptyResponse
            | Self::WebSocketReceiveError
            | Self::WebSocketSendError => Retry::Reconnect,
            _ => Retry::No,
        }
    }

    /// Whether the server closes the connection after answering with this code.
    #[must_use]
    pub fn closes_connection(self) -> bool {
        matches!(self, Self::StaleClient | Self::ClientNotFound | Self::Disconnected)
    }

    /// The field an HTTP error body points at.
    #[must_use]
    pub fn field(self) -> Option<&'static str> {
        Some(match self {
            Self::StreamIdNotFound | Self::InvalidStreamId => "stream_id",
            Self::TopicIdNotFound | Self::InvalidTopicId => "topic_id",
            Self::PartitionNotFound => "partition_id",
            Self::SegmentNotFound => "segment_id",
            Self::ClientNotFound => "client_id",
            Self::PersonalAccessTokenAlreadyExists
            | Self::StreamNameAlreadyExists
            | Self::InvalidStreamName
            | Self::TopicNameAlreadyExists
            | Self::InvalidTopicName
            | Self::ConsumerGroupNameAlreadyExists => "name",
            Self::InvalidOffset => "offset",
            Self::InvalidConsumerGroupId => "consumer_group_id",
            Self::UserAlreadyExists => "username",
            _ => return None,
        })
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text())
    }
}

impl std::error::Error for ErrorCode {}

// 0 is the status of a success.
const _: () = {
    let (mut before, mut rest) = (0, ErrorCode::ALL);
    while let [code, behind @ ..] = rest {
        assert!(
            *code as u32 > before,
            "the codes go up, so that none is there twice, and none is 0"
        );
        (before, rest) = (*code as u32, behind);
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_names_and_order_agree() {
        assert_eq!(ErrorCode::ALL.len(), 223);
        assert!(ErrorCode::ALL.is_sorted());
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_u32(code.as_u32()), Some(*code));
            assert_eq!(code.snake_case(), snake_case(code.name()), "{code:?}");
            assert!(!code.text().is_empty() && !code.text().ends_with('.'));
        }
    }

    fn snake_case(name: &str) -> String {
        let mut out = String::new();
        for letter in name.chars() {
            if letter.is_uppercase() && !out.is_empty() {
                out.push('_');
            }
            out.extend(letter.to_lowercase());
        }
        out
    }

    #[test]
    fn gaps_and_success_are_no_codes() {
        for number in [0, 17, 18, 22, 29, 37, 56, 102, 205, 1016, 2012, u32::MAX] {
            assert_eq!(ErrorCode::from_u32(number), None);
            assert_eq!(ErrorCode::from_status(number), ErrorCode::Error);
        }
    }

    #[test]
    fn http_statuses_are_those_of_the_protocol() {
        let of = |status| -> Vec<u32> {
            let with = ErrorCode::ALL.iter().filter(|code| code.http_status() == status);
            with.map(|code| code.as_u32()).collect()
        };
        assert_eq!(of(404), [20, 100, 1009, 2010, 3007, 3021, 4000, 5000, 5003, 5006]);
        assert_eq!(of(401), [40, 53, 77, 78]);
        assert_eq!(of(403), [41]);
        assert_eq!(of(404).len() + of(401).len() + of(403).len() + of(400).len(), 223);
    }

    #[test]
    fn the_reconnect_set_is_that_of_classic_clients() {
        let set: Vec<u32> = ErrorCode::ALL
            .iter()
            .filter(|code| code.retry() == Retry::Reconnect)
            .map(|code| code.as_u32())
            .collect();
        assert_eq!(set, [8, 9, 30, 31, 32, 40, 61, 206, 304, 403, 404]);
    }
}
