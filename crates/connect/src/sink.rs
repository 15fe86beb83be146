//! Where messages go.
//!
//! A kind of target is two types: a [`SinkSpec`], which is what the section of the file says and opens nothing, and a
//! [`Sink`], which is one connection and is opened when it is first used, and again after it broke.

pub(crate) mod exec;
pub(crate) mod file;
pub(crate) mod http;
#[cfg(feature = "mqtt")]
pub(crate) mod mqtt;
pub(crate) mod nats;
pub(crate) mod postgres;
pub(crate) mod rabbitmq;
#[cfg(feature = "redis")]
pub(crate) mod redis;
pub(crate) mod sqlite;

use std::ops::{Deref, DerefMut};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::batch::{Batch, Row};
use crate::failure::{Failure, Finding};
use crate::place::{LaneName, Position};

/// What a target promises of a message, whatever is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// It is there once: rows and position move in one step.
    ExactlyOnce,
    /// It may come again, with the same key, and the target drops or overwrites what comes again.
    Idempotent,
    /// It may come again, after a kill at most a batch of each lane.
    AtLeastOnce,
}

/// A target as the file of a pipeline describes it.
///
/// Secrets are named in it, not held: each connection reads them again.
#[async_trait]
pub trait SinkSpec: Send + Sync {
    /// What it promises.
    fn promise(&self) -> Promise;

    /// Whether payloads have to be JSON: they are decoded then, and one that is none is a bad message.
    fn needs_json(&self) -> bool;

    /// How many connections all lanes of the pipeline share.
    fn connections(&self) -> usize {
        4
    }

    /// A connection, not yet opened.
    fn sink(&self) -> Box<dyn Sink>;

    /// Makes what the file says is to be made, tables for example, and finds out whether the rest is there. Called when a
    /// pipeline starts, before any lane; what it made once it finds again.
    ///
    /// # Errors
    /// [`Failure::Refused`] says what is missing and what to do; [`Failure::Away`].
    async fn prepare(&self) -> Result<(), Failure>;

    /// Looks whether the target would take these rows, and whether all is there that [`SinkSpec::prepare`] does not make;
    /// changes nothing, not for a moment that anybody else can see.
    ///
    /// # Errors
    /// [`Failure`] when it could not be asked; what it finds wrong is in the findings.
    async fn check(&self, sample: &[Row]) -> Result<Vec<Finding>, Failure>;

    /// A row of a lane as it would be written, as a line of text, for people who asked to see it.
    ///
    /// # Errors
    /// What is wrong with it, without its values.
    fn preview(&self, lane: &LaneName, row: &Row) -> Result<String, String>;

    /// Removes what [`SinkSpec::prepare`] and the lanes made for the pipeline, but not what they delivered; tells what.
    ///
    /// # Errors
    /// [`Failure`].
    async fn cleanup(&self) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }
}

/// A connection to a target.
#[async_trait]
pub trait Sink: Send {
    /// Where a lane goes on, if the target itself knows: asked when the lane begins, and after [`Failure::Moved`] and
    /// [`Failure::Unknown`].
    ///
    /// # Errors
    /// [`Failure`].
    async fn position(&mut self, lane: &LaneName) -> Result<Option<Position>, Failure>;

    /// Delivers a batch; in a target that keeps positions, moves the lane from its begin to its end in the same step,
    /// and only from there (INV-ONE-STEP).
    ///
    /// # Errors
    /// [`Failure`]; but for [`Failure::Unknown`], none of the batch is delivered then, or the target drops what
    /// comes a second time, or the sink promises no more than at least once.
    async fn write(&mut self, lane: &LaneName, batch: &Batch) -> Result<(), Failure>;

    /// Has a lane go on from another place, wherever it is: somebody asked for that.
    ///
    /// # Errors
    /// [`Failure`]; [`Failure::Refused`] from a target that keeps no positions.
    async fn set_position(&mut self, lane: &LaneName, position: &Position) -> Result<(), Failure> {
        let _ = position;
        Err(Failure::Refused {
            reason: format!("the target keeps no position of {lane}"),
            advice: "set the offset of the group: galgo offset set".to_owned(),
        })
    }

    /// Nothing more is written through this connection: what it keeps open for more is made whole, a program is told to end.
    /// Called when the pipeline stops, once all lanes have stopped; what was delivered is safe without it, as after a kill.
    ///
    /// # Errors
    /// [`Failure`]: it is as after a kill.
    async fn finish(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// The connections to a target that the lanes of a pipeline share.
pub struct Sinks {
    free: Mutex<Vec<Box<dyn Sink>>>,
    permits: Semaphore,
    count: u32,
}

/// A connection that is in use.
pub struct Borrowed<'a> {
    sink: Option<Box<dyn Sink>>,
    of: &'a Sinks,
    // Last: the place is free when the connection is back.
    _permit: SemaphorePermit<'a>,
}

impl Sinks {
    /// Shares these connections.
    ///
    /// # Panics
    /// Without one.
    #[must_use]
    pub fn new(sinks: Vec<Box<dyn Sink>>) -> Self {
        assert!(!sinks.is_empty(), "a pipeline has a connection to its target");
        let permits = Semaphore::new(sinks.len());
        let Ok(count) = u32::try_from(sinks.len()) else {
            unreachable!("a pipeline has no billions of connections")
        };
        Self { free: Mutex::new(sinks), permits, count }
    }

    /// A connection that nobody uses; waits for one.
    pub async fn borrow(&self) -> Borrowed<'_> {
        let Ok(permit) = self.permits.acquire().await else {
            unreachable!("nobody closes the semaphore")
        };
        let sink = self.free.lock().pop();
        assert!(sink.is_some(), "who has a permit finds a connection");
        Borrowed { sink, of: self, _permit: permit }
    }

    /// Has each connection make whole what it keeps open, once it is not in use.
    ///
    /// # Errors
    /// The first [`Failure`]; the others are finished all the same.
    pub async fn finish(&self) -> Result<(), Failure> {
        let Ok(_all) = self.permits.acquire_many(self.count).await else {
            unreachable!("nobody closes the semaphore")
        };
        let sinks = std::mem::take(&mut *self.free.lock());
        assert_eq!(sinks.len(), self.count as usize, "who has all permits has all connections");
        let mut first = Ok(());
        let mut back = Vec::with_capacity(sinks.len());
        for mut sink in sinks {
            first = first.and(sink.finish().await);
            back.push(sink);
        }
        *self.free.lock() = back;
        first
    }
}

impl Deref for Borrowed<'_> {
    type Target = dyn Sink;

    fn deref(&self) -> &Self::Target {
        let Some(sink) = &self.sink else { unreachable!("it is given back once") };
        &**sink
    }
}

impl DerefMut for Borrowed<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        let Some(sink) = &mut self.sink else { unreachable!("it is given back once") };
        &mut **sink
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        self.of.free.lock().extend(self.sink.take());
    }
}
