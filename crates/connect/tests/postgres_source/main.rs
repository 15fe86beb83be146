//! Changes of a real PostgreSQL, told to a topic, whatever happens to either of them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that fails by a panic has done its work"
)]

mod copies;
mod login;
#[path = "../support/postgres.rs"]
mod postgres;
mod rig;
mod slots;
mod values;
