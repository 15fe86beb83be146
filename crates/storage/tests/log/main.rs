//! The promises of a partition's log, on a simulated disk.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that fails by a panic has done its work"
)]

mod clock;
mod crash;
mod damage;
mod evidence;
mod faults;
mod golden;
mod index;
mod model;
mod recovery;
mod rig;
mod roll;
