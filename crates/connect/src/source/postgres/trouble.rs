//! What goes wrong between us and PostgreSQL, and what is to be done about it.
//!
//! Part of INV-MUTE: of what the server says, only the message and the code are kept, and of errors about values only the code.

use std::io;
use std::time::Duration;

use super::fields::{Fields, Garbled};
use super::frame::FRAME_BYTES_MAX;
use crate::failure::Failure;

/// Why a conversation with the server ended, or a statement failed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PgError {
    /// The connection is not to be had, or broke, or nothing came.
    #[error("{0}")]
    Away(String),
    /// The server said so.
    #[error("{0}")]
    Server(ServerWords),
    /// It speaks something else.
    #[error(transparent)]
    Garbled(#[from] Garbled),
    /// A message is larger than what is read.
    #[error("a row or a change has {bytes} bytes; more than {FRAME_BYTES_MAX} are not read")]
    TooLong {
        /// Its size.
        bytes: u64,
    },
    /// Settings and server do not fit.
    #[error("{reason}")]
    Setup {
        /// What does not fit.
        reason: String,
        /// What to do about it.
        advice: String,
    },
}

/// An error of the server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("PostgreSQL says: {message} ({code})")]
pub(super) struct ServerWords {
    pub(super) code: String,
    pub(super) message: String,
}

/// Letters of a message of the server that are kept.
const MESSAGE_LETTERS_MAX: usize = 400;

impl ServerWords {
    /// Reads the fields of an error.
    pub(super) fn parse(mut fields: Fields) -> Result<Self, Garbled> {
        let (mut code, mut message) = (String::new(), String::new());
        loop {
            let kind = fields.u8()?;
            if kind == 0 {
                break;
            }
            let text = fields.lossy_text()?;
            match kind {
                b'C' => code = text,
                b'M' => message = text.chars().take(MESSAGE_LETTERS_MAX).collect(),
                _ => {}
            }
        }
        if code.starts_with("22") || code.starts_with("23") {
            message = "a value does not fit".to_owned();
        }
        Ok(Self { code, message })
    }

    fn is_passing(&self) -> bool {
        let classes =
            ["08", "53", "57P", "57014", "40001", "40P01", "55P03", "55006", "25006", "XX000"];
        classes.iter().any(|class| self.code.starts_with(class))
    }

    fn advice(&self) -> &'static str {
        match self.code.as_str() {
            "28P01" | "28000" => {
                "look at user and password in the file, and at pg_hba.conf of the server"
            }
            "3D000" => "name a database that is there in url",
            "42501" => {
                "give the role the right, or have the owner do it; galgo connect check lists what is needed"
            }
            "53400" => "raise max_replication_slots",
            "42P01" => "galgo connect check tells which tables are missing",
            _ => "galgo connect check looks at everything that is needed",
        }
    }
}

impl PgError {
    /// That nothing came.
    pub(super) fn silence(after: Duration) -> Self {
        Self::Away(format!("nothing came for {} seconds", after.as_secs()))
    }

    /// The code, if the server said it.
    pub(super) fn code(&self) -> Option<&str> {
        match self {
            Self::Server(words) => Some(&words.code),
            _ => None,
        }
    }

    /// As a failure of the source; `doing` names what was tried and to what.
    pub(super) fn failure(self, doing: &str) -> Failure {
        let reason = format!("{doing}: {self}");
        match self {
            Self::Away(_) => Failure::away(reason),
            Self::Server(words) if words.is_passing() => Failure::away(reason),
            Self::Server(words) => Failure::refused(reason, words.advice()),
            Self::Garbled(_) => Failure::refused(
                reason,
                "url names something else than a PostgreSQL, or one that is not known here",
            ),
            Self::TooLong { .. } => Failure::refused(
                reason,
                "leave the table out of `tables` and of the publication, run galgo connect cleanup, and begin again",
            ),
            Self::Setup { advice, .. } => Failure::refused(reason, advice),
        }
    }
}

impl From<io::Error> for PgError {
    fn from(error: io::Error) -> Self {
        Self::Away(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn words(text: &'static [u8]) -> PgError {
        PgError::Server(ServerWords::parse(Fields::new(Bytes::from_static(text))).unwrap())
    }

    #[test]
    fn codes_decide_what_is_done() {
        let passing = words(b"SFATAL\0C57P03\0Mthe database system is starting up\0\0");
        assert!(matches!(passing.failure("log in"), Failure::Away { .. }));
        let refused = words(b"SFATAL\0C28P01\0Mpassword authentication failed for user \"a\"\0\0");
        assert_eq!(
            refused.failure("log in as a@db:5432/shop").to_string(),
            "log in as a@db:5432/shop: PostgreSQL says: password authentication failed for user \"a\" (28P01); \
             look at user and password in the file, and at pg_hba.conf of the server"
        );
    }

    #[test]
    fn values_are_not_repeated() {
        let words = words(b"C22P02\0Minvalid input syntax: \"MARKED\"\0DMARKED\0\0");
        assert!(!words.failure("copy").to_string().contains("MARKED"), "INV-MUTE");
        assert!(ServerWords::parse(Fields::new(Bytes::from_static(b"C22P02"))).is_err());
    }
}
