//! Gives memory back to the system once a storm of connections is over.
//!
//! The C library keeps what was freed for later, and a few small blocks that live on keep all that lies between
//! them. After thousands of connections that came and went the process would stay as large as it was then.

#![cfg_attr(target_env = "gnu", expect(unsafe_code, reason = "malloc_trim(3) has no safe wrapper"))]

/// Connections that went away without others in their place before memory is given back.
const STORM: usize = 500;

/// How many connections there were at most since memory was given back last.
#[derive(Debug, Default)]
pub(crate) struct Storms {
    peak: usize,
}

impl Storms {
    /// Whether a storm is over, with so many connections `open` now; told once for each.
    pub(crate) fn is_over(&mut self, open: usize) -> bool {
        self.peak = self.peak.max(open);
        let is_over = self.peak - open >= STORM && open <= self.peak / 2;
        if is_over {
            self.peak = open;
        }
        is_over
    }
}

/// Gives back what is free. Takes some milliseconds, in which other threads may wait for memory.
#[cfg(target_env = "gnu")]
pub(crate) fn give_back() {
    // SAFETY: malloc_trim takes no pointer, may be called from any thread at any time, and touches nothing
    // that is allocated.
    let gave = unsafe { libc::malloc_trim(0) };
    tracing::debug!(gave = gave == 1, "memory given back after many connections");
}

/// Other C libraries do it by themselves.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn give_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_over_once_half_of_many_connections_are_gone() {
        let mut storms = Storms::default();
        assert!(!storms.is_over(0) && !storms.is_over(4_900));
        assert!(!storms.is_over(4_000), "most are here");
        assert!(storms.is_over(20));
        assert!(!storms.is_over(20), "once");
        assert!(!storms.is_over(400) && !storms.is_over(0), "a few are no storm");
    }
}
