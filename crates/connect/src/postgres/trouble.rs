//! What goes wrong between us and PostgreSQL, and what is to be done about it.
//!
//! Part of INV-MUTE: of what the server says, the code and the names of columns and constraints are kept, and the message only where
//! it is of a class that quotes no values.

use std::io;
use std::time::Duration;

use super::fields::{GarbledMessage, MessageFields};
use super::frame::FRAME_BYTES_MAX;
use crate::failure::Failure;

/// Why a conversation with the server ended, or a statement failed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PgError {
    /// The connection is not to be had, or broke, or nothing came.
    #[error("{0}")]
    Away(String),
    /// The server said so.
    #[error("{0}")]
    Server(ServerWords),
    /// It speaks something else.
    #[error(transparent)]
    Garbled(#[from] GarbledMessage),
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

/// An error of the server: its code, names, and what it says where that has no values in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("PostgreSQL says: {}{message} ({code})", about(self.names()))]
pub(crate) struct ServerWords {
    pub(crate) code: String,
    pub(crate) message: String,
    /// Whether it ended the session.
    pub(crate) is_fatal: bool,
    pub(crate) constraint: Option<String>,
    pub(crate) column: Option<String>,
    /// The line of a copy that it is about, from 1, if it is about that alone.
    pub(crate) line: Option<usize>,
}

/// Letters of a message of the server that are kept.
const MESSAGE_LETTERS_MAX: usize = 400;

/// Classes of codes whose messages are made of names and numbers of the server's own. Others may quote values, and what functions
/// of a database say is anything at all.
const MUTE_CLASSES: [&str; 17] = [
    "08", "0A", "25", "26", "28", "34", "3D", "3F", "40", "42", "53", "54", "55", "57", "58", "F0",
    "XX",
];

impl ServerWords {
    /// Reads the fields of an error.
    pub(crate) fn parse(mut fields: MessageFields) -> Result<Self, GarbledMessage> {
        let mut words = Self::default();
        let (mut context, mut is_raised) = (String::new(), false);
        loop {
            let kind = fields.u8()?;
            if kind == 0 {
                break;
            }
            let text = fields.lossy_text()?;
            match kind {
                b'C' => words.code = text,
                b'M' => words.message = text.chars().take(MESSAGE_LETTERS_MAX).collect(),
                b'V' => words.is_fatal = text != "ERROR",
                b'n' => words.constraint = Some(text),
                b'c' => words.column = Some(text),
                b'W' => context = text,
                b'R' => is_raised = text == "exec_stmt_raise",
                _ => {}
            }
        }
        // What a function of the database raises is anything at all, whatever code it has.
        if is_raised || !MUTE_CLASSES.iter().any(|class| words.code.starts_with(class)) {
            words.message = meaning(&words.code).to_owned();
        }
        words.read_context(&context);
        Ok(words)
    }

    /// Finds the line and the column in `COPY orders, line 3, column total: "…"`; the rest is a value.
    fn read_context(&mut self, context: &str) {
        let Some(place) = context.strip_prefix("COPY ") else { return };
        let Some((_, place)) = place.split_once(", line ") else { return };
        let end = place.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(place.len());
        let (line, behind) = place.split_at(end);
        self.line = line.parse().ok();
        let column = behind.strip_prefix(", column ").and_then(|column| column.split_once(": "));
        if let Some((column, _)) = column {
            self.column.get_or_insert_with(|| column.to_owned());
        }
    }

    fn names(&self) -> [Option<(&'static str, &str)>; 2] {
        [
            self.column.as_deref().map(|name| ("column", name)),
            self.constraint.as_deref().map(|name| ("constraint", name)),
        ]
    }

    /// Whether it goes by without anybody doing anything about it.
    pub(crate) fn is_passing(&self) -> bool {
        let classes =
            ["08", "40", "53", "57P", "57014", "55P03", "55006", "25006", "58030", "XX000"];
        classes.iter().any(|class| self.code.starts_with(class))
    }

    /// Whether it may be about the values that were sent, and nothing else.
    pub(crate) fn is_of_values(&self) -> bool {
        let class = self.code.get(..2).unwrap_or_default();
        class == "54" || !MUTE_CLASSES.contains(&class)
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
    pub(crate) fn silence(after: Duration) -> Self {
        Self::Away(format!("nothing came for {} seconds", after.as_secs()))
    }

    /// The code, if the server said it.
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Self::Server(words) => Some(&words.code),
            _ => None,
        }
    }

    /// Whether the session is over.
    pub(crate) fn is_fatal(&self) -> bool {
        match self {
            Self::Server(words) => words.is_fatal,
            _ => true,
        }
    }

    /// As a failure; `doing` names what was tried and to what.
    pub(crate) fn failure(self, doing: &str) -> Failure {
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

/// What the code of an error about values means.
fn meaning(code: &str) -> &'static str {
    match code {
        "21000" => "two rows are of one key",
        "22001" => "a text is too long",
        "22003" => "a number is too large",
        "22007" | "22008" => "a value is no date or time",
        "22021" | "22P05" => "a text has a letter that is none",
        "22P02" | "22P03" | "2202E" | "22030" | "22032" => "a value is not of its type",
        "23502" => "there is no value, and it may not be null",
        "23503" => "a row it refers to is not there",
        "23505" => "there is a row with this key",
        "23514" => "a check is not passed",
        "23P01" => "a row is in its way",
        code if code.starts_with("22") => "a value does not fit",
        code if code.starts_with("23") => "a constraint is not kept",
        _ => "it is not taken",
    }
}

fn about(names: [Option<(&'static str, &str)>; 2]) -> String {
    names.iter().flatten().map(|(what, name)| format!("{what} {name}: ")).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn words(text: &'static [u8]) -> PgError {
        PgError::Server(ServerWords::parse(MessageFields::new(Bytes::from_static(text))).unwrap())
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
        assert!(ServerWords::parse(MessageFields::new(Bytes::from_static(b"C22P02"))).is_err());
        let raised = self::words(b"VERROR\0CP0001\0MMARKED\0\0");
        assert!(!raised.failure("copy").to_string().contains("MARKED"), "INV-MUTE");
        // A trigger may take any code; where the words come from tells.
        let raised = self::words(b"VERROR\0C42501\0MMARKED\0Rexec_stmt_raise\0\0");
        assert!(!raised.failure("copy").to_string().contains("MARKED"), "INV-MUTE");
    }

    #[test]
    fn the_context_of_a_copy_names_line_and_column_and_no_value() {
        let told = |text: &'static [u8]| match words(text) {
            PgError::Server(words) => (words.line, words.to_string()),
            other => panic!("{other}"),
        };
        assert_eq!(
            told(b"C22P02\0Minvalid: \"MARKED\"\0WCOPY orders, line 13, column total: \"MARKED: x, line 5\"\0\0"),
            (Some(13), "PostgreSQL says: column total: a value is not of its type (22P02)".to_owned())
        );
        assert_eq!(
            told(b"C23505\0MMARKED\0norders_pkey\0WCOPY orders, line 2\0\0"),
            (
                Some(2),
                "PostgreSQL says: constraint orders_pkey: there is a row with this key (23505)"
                    .to_owned()
            )
        );
        let (line, _) =
            told(b"C22P02\0MMARKED\0WPL/pgSQL function f() line 3\nCOPY orders, line 2\0\0");
        assert_eq!(line, None, "what a function does may be about another row");
    }
}
