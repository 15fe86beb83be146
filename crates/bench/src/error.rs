//! Why a run did not come about, or broke off.

use std::fmt;

use galgo::{CallError, ConnectError};

/// What a step of a run gives.
pub type Outcome<T = ()> = Result<T, BenchError>;

/// Why a run did not come about, or broke off: what happened, to what, and what to do next.
#[derive(Debug)]
pub struct BenchError {
    /// What happened, by who has to act.
    pub cause: BenchCause,
    /// What was being done, where that is not plain from the cause.
    pub doing: Option<String>,
    /// What to do next.
    pub hint: Option<String>,
}

/// What happened, by who has to act.
#[derive(Debug, thiserror::Error)]
pub enum BenchCause {
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A file, a process or a thread of this machine failed.
    #[error("{0}")]
    Machine(String),
    /// No server answered, or the connection broke.
    #[error("{0}")]
    Connection(String),
    /// The server refused a request of the load.
    #[error("{what}")]
    Refused {
        /// What it said, as a sentence.
        what: String,
        /// The number it said it with.
        status: u32,
        /// The name of that number in the protocol, if it has one.
        name: &'static str,
    },
    /// A call of the SDK failed.
    #[error(transparent)]
    Call(Box<CallError>),
    /// The SDK could not connect.
    #[error(transparent)]
    Connect(Box<ConnectError>),
    /// It was to end early.
    #[error("interrupted")]
    Interrupted,
}

impl BenchError {
    /// What was asked for makes no sense.
    pub fn usage(what: impl fmt::Display) -> Self {
        BenchCause::Usage(what.to_string()).into()
    }

    /// A file, a process or a thread of this machine failed.
    pub fn machine(what: impl fmt::Display) -> Self {
        BenchCause::Machine(what.to_string()).into()
    }

    /// No server answered, or the connection broke.
    pub fn connection(what: impl fmt::Display) -> Self {
        BenchCause::Connection(what.to_string()).into()
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Puts what was being done in front of what happened.
    #[must_use]
    pub fn while_doing(mut self, doing: impl Into<String>) -> Self {
        self.doing = Some(doing.into());
        self
    }
}

impl From<CallError> for BenchCause {
    fn from(error: CallError) -> Self {
        Self::Call(Box::new(error))
    }
}

impl From<ConnectError> for BenchCause {
    fn from(error: ConnectError) -> Self {
        Self::Connect(Box::new(error))
    }
}

impl<C: Into<BenchCause>> From<C> for BenchError {
    fn from(cause: C) -> Self {
        Self { cause: cause.into(), doing: None, hint: None }
    }
}

impl fmt::Display for BenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(doing) = &self.doing {
            write!(f, "{doing}: ")?;
        }
        write!(f, "{}", self.cause)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for BenchError {}
