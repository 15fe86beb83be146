//! Why something was not delivered: the classes there are, each with one thing to do about it.

use std::time::Duration;

use crate::place::Place;

/// Why a target did not take a batch, or could not be asked.
///
/// A connector returns one of these and nothing else. None holds a value of a message (INV-MUTE).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It cannot be reached, or asks to wait. Tried again, ever more rarely, for as long as it takes.
    #[error("{reason}")]
    Away {
        /// What happened.
        reason: String,
        /// How long it asked to be left alone.
        retry_after: Option<Duration>,
    },
    /// It says that this may not be, whoever the messages are of: a wrong password, a missing right or table.
    /// At a start this ends the pipeline; later it is tried again once a minute, and secrets are read again.
    #[error("{reason}; {advice}")]
    Refused {
        /// What it said.
        reason: String,
        /// What to do about it.
        advice: String,
    },
    /// It does not take these messages, whatever else is sent with them.
    #[error("{} rows are not taken, the first is offset {}: {reason}", places.len(), places.first().map_or(0, |it| it.offset))]
    Bad {
        /// Which; never empty, in order.
        places: Vec<Place>,
        /// What is wrong with the first of them.
        reason: String,
    },
    /// It does not take the batch, and does not say which message is to blame.
    #[error("the batch is not taken: {reason}")]
    Batch {
        /// What it said.
        reason: String,
    },
    /// Its position is not where this batch begins: somebody else is at work, or it was restored from a copy.
    #[error("the target's position is another one than expected")]
    Moved,
    /// The connection was lost while it was deciding. Only its position tells what became of the batch.
    #[error("what became of the batch is not known: {reason}")]
    Unknown {
        /// What happened.
        reason: String,
    },
}

/// Something a check has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub weight: Weight,
    /// What was looked at and found: "table sales.orders: column total is numeric(12,2)".
    pub text: String,
    /// What to do about it, unless all is well.
    pub advice: Option<String>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// As it should be.
    Good,
    /// Works, but not for long, or not for everything.
    Warning,
    /// Would not work.
    Fault,
}

impl Finding {
    /// All is well.
    pub fn good(text: impl Into<String>) -> Self {
        Self { weight: Weight::Good, text: text.into(), advice: None }
    }

    /// It works, but not for long or not for everything.
    pub fn warning(text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { weight: Weight::Warning, text: text.into(), advice: Some(advice.into()) }
    }

    /// It would not work.
    pub fn fault(text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { weight: Weight::Fault, text: text.into(), advice: Some(advice.into()) }
    }
}

impl Failure {
    /// A failure that somebody has to do something about.
    pub fn refused(reason: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into(), advice: advice.into() }
    }

    /// A failure that passes by itself.
    pub fn away(reason: impl Into<String>) -> Self {
        Self::Away { reason: reason.into(), retry_after: None }
    }

    /// Its name in metrics.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::Away { .. } => "away",
            Self::Refused { .. } => "refused",
            Self::Bad { .. } => "bad",
            Self::Batch { .. } => "batch",
            Self::Moved => "moved",
            Self::Unknown { .. } => "unknown",
        }
    }
}
