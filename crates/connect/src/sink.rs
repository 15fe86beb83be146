//! Where messages go.

use std::ops::{Deref, DerefMut};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::batch::Batch;
use crate::failure::Failure;
use crate::place::{LaneName, Position};

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
}

/// The connections to a target that the lanes of a pipeline share.
pub struct Sinks {
    free: Mutex<Vec<Box<dyn Sink>>>,
    permits: Semaphore,
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
        Self { free: Mutex::new(sinks), permits }
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
