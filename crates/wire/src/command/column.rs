//! What the table of commands says of each beside its fields: the types of its columns.
//!
//! Whoever carries, repeats, admits or documents a command asks its row; a list of commands anywhere else
//! would be a second table.

use std::fmt;

use super::CommandCode;

/// Whether a request may be sent again when nobody knows whether it was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Yes: carried out twice it leaves the server the same, and gives the same answer.
    Safe,
    /// No. Deleting, for one: the second answer would be that there is nothing to delete.
    Never,
    /// What it asks for decides: a poll that stores an offset moves it, a send may be dropped as a duplicate.
    Depends,
}

/// Whether a request may be begun while those before it wait until they are durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Yes. Its answer keeps its place.
    Follows,
    /// No: it would see, or overtake, what is not decided yet.
    Waits,
}

/// The dearest thing a request may need before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Nothing: it is answered from memory, on the thread of its connection.
    Memory,
    /// The next commit of the journal.
    Commit,
    /// Reads or syncs of files, on a thread that may block.
    Disk,
    /// As [`Cost::Disk`], and the wait for messages it asks for.
    Wait,
    /// A change of the metadata, durable in two places, on a thread that may block.
    Change,
    /// As [`Cost::Change`], and the hash of a password, for which there are turns.
    Hash,
}

/// The method of a request over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HttpMethod {
    /// Reads.
    Get,
    /// Makes something new.
    Post,
    /// Replaces.
    Put,
    /// Changes in part.
    Patch,
    /// Removes.
    Delete,
}

/// How a command is reached over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpRoute {
    /// By a method and a path, whose parts in braces are fields of the command.
    At(HttpMethod, &'static str),
    /// By the route of another command, which becomes this one where the body says more.
    With(CommandCode),
    /// Not at all, for this reason.
    Nowhere(&'static str),
}

impl HttpMethod {
    /// Its name in requests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

impl fmt::Display for HttpMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for HttpRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(method, path) => write!(f, "`{method} {path}`"),
            Self::With(other) => write!(f, "as {other:?}"),
            Self::Nowhere(reason) => write!(f, "none: {reason}"),
        }
    }
}
