//! Values as people type them: durations, sizes, times, headers, partitions.

pub(crate) mod duration;
pub(crate) mod header;
pub(crate) mod partition;
pub(crate) mod permission;
pub(crate) mod size;
pub(crate) mod time;
