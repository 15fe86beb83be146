//! What a command says when it cannot do what it was asked, and the exit code that goes with it.
//!
//! A failure names what happened, to what, and what to do next. Scripts read the exit code (or the
//! JSON object with `--output json`); people read the sentence.

mod bench;
mod sdk;

pub(crate) use self::bench::of_load;

use std::fmt;
use std::io;

use galgo::ErrorCode;
use serde_json::{Map, Value, json};

/// Who has to act, as an exit code. The numbers are part of the tool's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitKind {
    /// A file or the terminal could not be read or written, or the tool itself is at fault.
    Io = 1,
    /// The command line asks for something that makes no sense.
    Usage = 2,
    /// No server answered, or the connection broke.
    Connection = 3,
    /// The server answered, and said no.
    Refused = 4,
    /// It was tried for as long as it was to be tried.
    GaveUp = 5,
}

impl ExitKind {
    fn name(self) -> &'static str {
        match self {
            Self::Io => "io",
            Self::Usage => "usage",
            Self::Connection => "connection",
            Self::Refused => "refused",
            Self::GaveUp => "gave_up",
        }
    }
}

/// The end of a command that did not succeed.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: ExitKind,
    what: String,
    hint: Option<String>,
    server_code: Option<(u32, String)>,
    /// Boxed, since every result of every command has room for a failure.
    facts: Box<Map<String, Value>>,
    quiet: bool,
    told: bool,
}

/// What every command returns.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    fn new(kind: ExitKind, what: String) -> Self {
        Self {
            kind,
            what,
            hint: None,
            server_code: None,
            facts: Box::default(),
            quiet: false,
            told: false,
        }
    }

    /// The command line asks for something that makes no sense.
    pub(crate) fn usage(what: impl fmt::Display) -> Self {
        Self::new(ExitKind::Usage, what.to_string())
    }

    /// Something on this machine failed.
    pub(crate) fn io(what: impl fmt::Display) -> Self {
        Self::new(ExitKind::Io, what.to_string())
    }

    /// No server could be reached or the connection broke.
    pub(crate) fn connection(what: impl fmt::Display) -> Self {
        Self::new(ExitKind::Connection, what.to_string())
    }

    /// The server said no, with this code.
    pub(crate) fn refused(what: impl fmt::Display, code: u32, name: &str) -> Self {
        let mut failure = Self::new(ExitKind::Refused, what.to_string());
        failure.server_code = Some((code, name.to_owned()));
        failure
    }

    /// The server may not use the data directory it was given.
    pub(crate) fn data_dir_refused(what: impl fmt::Display) -> Self {
        Self::new(ExitKind::Refused, what.to_string())
    }

    /// Another system, or a check of it, said no.
    pub(crate) fn denied(what: impl fmt::Display) -> Self {
        Self::new(ExitKind::Refused, what.to_string())
    }

    /// It was tried for as long as it was to be tried.
    pub(crate) fn gave_up(what: impl fmt::Display) -> Self {
        Self::new(ExitKind::GaveUp, what.to_string())
    }

    /// Whether no server could be reached, so that trying again may help.
    pub(crate) fn is_of_connection(&self) -> bool {
        self.kind == ExitKind::Connection
    }

    /// What happened, as a sentence.
    pub(crate) fn sentence(&self) -> &str {
        &self.what
    }

    /// What to do next, if that is known.
    pub(crate) fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Something the command names does not exist on the server, which refuses it elsewhere with this code.
    /// Where the protocol answers with nothing in place of an error, only the tool knows that it is one.
    pub(crate) fn missing(what: impl fmt::Display, code: ErrorCode) -> Self {
        Self::refused(format!("{what} does not exist"), code.as_u32(), code.name())
    }

    /// The reader of our output went away: nothing is left to say, and nothing is wrong.
    pub(crate) fn closed_pipe() -> Self {
        let mut failure = Self::new(ExitKind::Io, "the reader of the output went away".to_owned());
        failure.quiet = true;
        failure
    }

    /// An error while writing the output; a closed pipe is a normal end.
    pub(crate) fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::closed_pipe();
        }
        Self::io(format!("cannot write the output: {error}"))
    }

    /// Adds what to do next.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what to do next if nothing better is known.
    pub(crate) fn or_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// Puts what was being done in front of what happened.
    pub(crate) fn while_doing(mut self, doing: impl fmt::Display) -> Self {
        self.what = format!("{doing}: {}", self.what);
        self
    }

    /// Says something else happened; the server's code stays.
    pub(crate) fn instead(mut self, what: String) -> Self {
        self.what = what;
        self
    }

    /// Whether the server refused with this code.
    pub(crate) fn is_refusal(&self, code: ErrorCode) -> bool {
        self.server_code.as_ref().is_some_and(|(number, _)| *number == code.as_u32())
    }

    /// Whether no server answered or the connection broke.
    pub(crate) fn is_connection(&self) -> bool {
        self.kind == ExitKind::Connection
    }

    /// Whether stream, topic or partition is not there.
    pub(crate) fn is_missing(&self) -> bool {
        use ErrorCode::{PartitionNotFound, StreamIdNotFound, TopicIdNotFound};
        let codes = [StreamIdNotFound, TopicIdNotFound, PartitionNotFound];
        codes.into_iter().any(|code| self.is_refusal(code))
    }

    /// Whether what was refused may be taken later, as the server stands: what is not there may be made, and
    /// a full disk may be freed.
    pub(crate) fn may_pass(&self) -> bool {
        self.is_missing() || self.has_no_room()
    }

    /// Whether the server could not write messages down.
    pub(crate) fn has_no_room(&self) -> bool {
        self.is_refusal(ErrorCode::CannotSaveMessagesToSegment)
    }

    /// What happened, without the next step.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// Adds a sentence after what happened.
    pub(crate) fn and(mut self, more: impl fmt::Display) -> Self {
        self.what = format!("{}; {more}", self.what);
        self
    }

    /// Adds a number or text for the JSON form.
    pub(crate) fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.facts.insert(name.to_owned(), value.into());
        self
    }

    /// Takes note that it was reported already.
    pub(crate) fn told(mut self) -> Self {
        self.told = true;
        self
    }

    /// Whether there is nothing to report: the command ended because its reader did, or told it itself.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet || self.told
    }

    /// The exit code of the process.
    pub(crate) fn exit_code(&self) -> u8 {
        if self.quiet { 0 } else { self.kind as u8 }
    }

    /// The failure as a JSON object.
    pub(crate) fn to_json(&self) -> Value {
        let mut error = Map::new();
        error.insert("kind".to_owned(), json!(self.kind.name()));
        error.insert("exit_code".to_owned(), json!(self.exit_code()));
        error.insert("message".to_owned(), json!(self.what));
        if let Some(hint) = &self.hint {
            error.insert("hint".to_owned(), json!(hint));
        }
        if let Some((code, name)) = &self.server_code {
            error.insert("server_code".to_owned(), json!(code));
            error.insert("server_error".to_owned(), json!(name));
        }
        assert!(
            self.facts.keys().all(|name| !error.contains_key(name)),
            "a fact does not take the place of what every failure tells"
        );
        error.extend(self.facts.as_ref().clone());
        json!({ "error": error })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  {hint}")?;
        }
        Ok(())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::io(format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_ends_with_the_next_step() {
        let failure =
            Failure::refused("stream `a` does not exist", 1009, "StreamIdNotFound").hint("try b");
        assert_eq!(failure.to_string(), "error: stream `a` does not exist\n  try b");
        assert_eq!(failure.exit_code(), 4);
    }

    #[test]
    fn json_carries_the_facts() {
        let failure = Failure::connection("gone").fact("acknowledged", 7);
        let value = failure.to_json();
        assert_eq!(value["error"]["acknowledged"], 7);
        assert_eq!(value["error"]["kind"], "connection");
        assert_eq!(value["error"]["exit_code"], 3);
    }

    #[test]
    fn closed_pipe_is_a_clean_end() {
        let failure = Failure::output(&io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(failure.is_quiet());
        assert_eq!(failure.exit_code(), 0);
    }
}
