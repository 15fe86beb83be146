//! The load tool: any number of producers and consumers against any server of the protocol.
//!
//! The load costs little next to what it measures. Requests are built in advance; over plain
//! TCP a worker is one blocking thread, and what a consumer receives is thrown away without a copy.
//! On a schedule, a request counts from when it was due, whatever kept it.
//! What a run made on a server is gone after it, however it ended, unless it was to be kept.

pub(crate) mod channel;
pub(crate) mod consumer;
pub(crate) mod course;
pub(crate) mod frames;
pub(crate) mod host;
pub(crate) mod plan;
pub(crate) mod polls;
pub(crate) mod producer;
pub(crate) mod recorder;
pub(crate) mod run;
pub(crate) mod schedule;
pub(crate) mod stage;
pub(crate) mod summary;
pub(crate) mod table;
pub(crate) mod usage;
