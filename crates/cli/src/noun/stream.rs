//! Streams, and what is common to all that has a name or a number.

use galgo::{ErrorCode, Identifier};

use crate::failure::Failure;
use crate::output::text::visible;

/// What to add to the report of a new name that is typed in another way, as digits alone mean a number.
pub(crate) fn number_note(name: &str) -> String {
    match Identifier::named(name) {
        Ok(named) if named.to_string() != name => format!("; type its name as {named}"),
        _ => String::new(),
    }
}

/// The failure when there is no such stream.
pub(crate) fn missing(stream: &Identifier) -> Failure {
    Failure::missing(format!("stream {}", shown(stream)), ErrorCode::StreamIdNotFound)
        .hint("galgo stream list shows those there are")
}

/// A name or number, safe for a sentence.
pub(crate) fn shown(identifier: &Identifier) -> String {
    visible(&identifier.to_string()).into_owned()
}
