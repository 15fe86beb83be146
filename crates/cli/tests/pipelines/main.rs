//! Acceptance of pipelines: the real binary, real servers, and everything that can be done to them.
//!
//! Each test runs `galgo connect run` as a process of its own between a real `galgo server` and a real target, kills, freezes or
//! starves one of them, and then counts what is in the target. In its short form, which is part of the test run, a topic has
//! some ten thousand messages and a few processes die; in the long form it is a million and twenty:
//!
//! ```text
//! GALGO_PIPELINE_MESSAGES=1000000 GALGO_PIPELINE_KILLS=20 cargo test --release -p galgo-cli --test pipelines -- --nocapture
//! ```
//!
//! The places of kills come from `GALGO_PIPELINE_SEED`, which is printed; what they hit depends on the machine.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]
#![expect(clippy::indexing_slicing, reason = "as above")]

mod faults;
mod files;
mod galgo;
mod kills;
mod target;
mod volume;

use std::time::Duration;

/// Partitions of the topic.
const PARTITIONS: u32 = 4;
/// How long anything may take that should come to an end by itself.
const PATIENCE: Duration = Duration::from_secs(180);
/// A value that is in every message, and may be in no log, metric, status or error (INV-MUTE).
const MARK: &str = "mark-5e1f0c";

fn from_environment(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

/// Messages in a topic, rounded to whole partitions.
fn messages() -> u64 {
    from_environment("GALGO_PIPELINE_MESSAGES", 20_000) / u64::from(PARTITIONS)
        * u64::from(PARTITIONS)
}

/// How often each process dies.
fn kills() -> u64 {
    from_environment("GALGO_PIPELINE_KILLS", 4)
}

fn seed() -> u64 {
    let seed = from_environment("GALGO_PIPELINE_SEED", rand::random());
    println!("GALGO_PIPELINE_SEED={seed}");
    seed
}
