//! What the tests of several crates share. No product code uses it.
//!
//! A helper for which a crate of the product has to be built is behind a feature of that crate's name.

#![expect(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of tests says what it does by its name, and a test that fails by a panic has done its work"
)]

#[cfg(feature = "broker")]
pub mod authorization;
pub mod docs;
pub mod frames;
pub mod fuzz;
#[cfg(feature = "server")]
pub mod http;
#[cfg(feature = "broker")]
pub mod requests;
#[cfg(feature = "broker")]
pub mod rig;
#[cfg(feature = "server")]
pub mod server;
pub mod service;

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// No healthy server takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Does something that ends by itself in a moment, unless it waits for what never comes: that ends all tests.
pub fn in_time<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let (done, told) = channel();
    let what = what.to_owned();
    std::thread::spawn(move || {
        if told.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            eprintln!("still not done: {what}");
            std::process::abort();
        }
    });
    let result = work();
    let _ = done.send(());
    result
}
