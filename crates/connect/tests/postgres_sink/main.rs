//! Rows in a real PostgreSQL: all of them, once, whatever happens to it and to us.

#![expect(clippy::unwrap_used, reason = "a test that fails by a panic has done its work")]

mod batches;
mod checks;
mod conformance;
mod locks;
mod lost;
mod pooler;
#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/rig.rs"]
#[expect(dead_code, reason = "half of it is for queues")]
mod rig;
mod table;
mod values;
