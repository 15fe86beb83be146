//! How Galgo keeps bytes on disk. Synchronous, and of the protocol it knows ids and messages only.
//!
//! Everything goes through [`disk::Disk`], so that crash tests run the same code on a simulated disk
//! that loses, tears and reorders whatever was not synced.
//!
//! | module | what it keeps |
//! |---|---|
//! | [`boot`] | in which run of the system a shard was last opened |
//! | [`clock`] | what the clocks said when a server last looked at them |
//! | [`data_dir`] | the lock, the identity and the names of everything in the data directory |
//! | [`features`] | which formats are in use that older programs do not know |
//! | [`metadata_log`] | metadata commands, with snapshots |
//! | [`journal`] | small writes of many partitions, made durable by one sync |
//! | [`checkpoint`] | what is durable in a shard's logs, so that its journal may forget it |
//! | [`file_cache`] | a bounded number of open files |
//! | [`log`] | one partition's messages, in segments with a sparse index |
//! | [`replace_file`] | replacing a small file as a whole |
//! | [`twin`] | small files that are kept twice |
//! | [`retention`] | which segments a topic gives up |
//!
//! `docs/format.md` describes every byte.

#![deny(clippy::indexing_slicing)]

/// No number of a frame, record, generation or checkpoint is higher: one would have to count a million times a second for
/// a hundred thousand years. A header that says so is damaged, whatever its checksum, so every number has a next one.
pub const COUNTER_MAX: u64 = 1 << 62;

/// No epoch of a shard's owner that is read is as high: each has a next one, and checkpoints have 32 bits for it. There is
/// one for each start.
pub const EPOCH_MAX: u64 = 1 << 31;
const _: () = assert!(
    EPOCH_MAX < u32::MAX as u64 && EPOCH_MAX < COUNTER_MAX && COUNTER_MAX < u64::MAX / 2,
    "INV-EPOCH: whatever number was read, there is a next one"
);

pub mod boot;
pub mod checkpoint;
pub mod clock;
pub mod data_dir;
pub mod disk;
pub mod features;
pub mod file_cache;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod index;
pub mod journal;
pub mod lock;
pub mod log;
pub mod metadata_log;
pub mod replace_file;
pub mod retention;
mod segment;
pub mod twin;
