//! What every target keeps, tried against a real one: the suite that each kind runs in its tests, and any program behind
//! `[to.exec]` can be put to.
//!
//! It delivers numbered messages, some filtered and some of several rows, and reads back which numbers are there.
//! INV-DELIVERED, INV-PREFIX and INV-ONE-STEP are what it looks for: nothing lost, nothing out of order, and, in a target that keeps
//! positions, nothing twice, whenever the connection is killed.

mod kill;
mod trial;

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use crate::batch::Row;
use crate::place::LaneName;
use crate::sink::SinkSpec;

/// A word that is in every message of the suite, and may be in no error (INV-MUTE).
pub const MARK: &str = "marked-value-of-a-message";

/// How the suite sees a target from behind.
#[async_trait]
pub trait ReadBack: Sync {
    /// The numbers (`number` in the payload) that are there of a lane (`lane` in the payload), in the order they were delivered
    /// in; by number where the target knows no order.
    ///
    /// # Errors
    /// Why it cannot be read.
    async fn numbers(&self, lane: &LaneName) -> Result<Vec<u64>, String>;

    /// What to deliver in place of a row so that the target does not take it, [`MARK`] in it; `None` if the target takes
    /// everything.
    fn poison(&self, row: &Row) -> Option<Bytes> {
        let _ = row;
        None
    }

    /// Whether the target keeps only the last row of each message, because its key has no part. No message of the suite has
    /// more than one row then.
    fn one_row_each(&self) -> bool {
        false
    }
}

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenPromise {
    /// What was tried.
    pub case: &'static str,
    /// What came out.
    pub what: String,
}

impl fmt::Display for BrokenPromise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.case, self.what)
    }
}

impl std::error::Error for BrokenPromise {}

/// Puts a target through everything. It is prepared first; its lanes are of the stream `conformance`, and nothing may have been
/// delivered of them before.
///
/// # Errors
/// The first promise that was not kept.
pub async fn conformance(spec: &dyn SinkSpec, back: &dyn ReadBack) -> Result<(), BrokenPromise> {
    let trial = trial::Trial::new(spec, back);
    trial.prepare().await?;
    trial.all_in_order().await?;
    trial.written_again().await?;
    trial.overtaken().await?;
    trial.bad_messages().await?;
    trial.stopped_in_the_middle().await?;
    trial.killed_at_every_wait().await
}

#[cfg(test)]
mod tests;
