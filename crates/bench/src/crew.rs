//! The workers of a run, and what they share with the thread that watches them.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Barrier, OnceLock};
use std::thread::ScopedJoinHandle;
use std::time::Instant;

use crate::course::Course;
use crate::error::Outcome;
use crate::recorder::{Live, Recorder};
use crate::usage::ProcessWatch;

/// What the workers and the thread that watches them share.
#[derive(Debug)]
pub(crate) struct Together {
    /// Passed twice: when all are ready, and when there is a course.
    pub(crate) start: Barrier,
    /// The course, once it is there.
    pub(crate) course: OnceLock<Course>,
    /// Whether a worker could not get ready.
    pub(crate) is_unready: AtomicBool,
    /// To look for signals while there is no course yet.
    pub(crate) preparation: Course,
}

/// Who does what.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role {
    /// A producer, by its number.
    Producer(u32),
    /// A consumer, by its number.
    Consumer(u32),
}

/// A worker under way.
pub(crate) struct LoadWorker<'scope> {
    /// What it does.
    pub(crate) role: Role,
    /// What it did so far.
    pub(crate) live: Arc<Live>,
    /// Its thread.
    pub(crate) thread: ScopedJoinHandle<'scope, Outcome<Recorder>>,
}

impl LoadWorker<'_> {
    /// Whether it is a producer.
    pub(crate) fn sends(&self) -> bool {
        matches!(self.role, Role::Producer(_))
    }
}

/// The records of both sides, and what it all cost.
#[derive(Debug)]
pub(crate) struct Records {
    /// What producers did.
    pub(crate) sent: Recorder,
    /// What consumers did.
    pub(crate) received: Recorder,
    /// The server, where it can be watched.
    pub(crate) server: Option<ProcessWatch>,
    /// This process.
    pub(crate) client: ProcessWatch,
    /// When it was over.
    pub(crate) ended: Instant,
}
