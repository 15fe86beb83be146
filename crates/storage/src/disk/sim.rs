//! A disk in memory that fails as real ones do, decided by a seed.

/// A simulated disk.
#[derive(Debug, Clone)]
pub struct SimDisk {}
