//! Every command of the broker, driven as the server drives it: encoded requests in, encoded replies
//! out, on a simulated disk.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that fails by a panic has done its work"
)]

use galgo_testkit::{requests, rig};

mod access;
mod answers;
mod bad_batches;
mod chains;
mod clients;
mod clock;
mod concurrent;
mod deduplication;
mod directory;
mod durability;
mod encryption;
mod fences;
mod groups;
mod holds;
mod lives;
mod login;
mod login_protection;
mod logins_end;
mod no_sync;
mod offline;
mod offsets;
mod partitions;
mod poll;
mod purge;
mod restart;
mod segments;
mod send;
mod stats;
mod streams;
mod tokens;
mod topics;
mod users;
mod waiting;
