//! How fast a peer has to take an answer that waits in memory: what it keeps there is kept from everybody.
//!
//! INV-TAKER: an answer that waits for its peer loses its connection when the peer takes nothing of it for
//! the write timeout, and however it trickles out.

use std::time::Duration;

use tokio::time::Instant;

/// Bytes a slow peer must take to earn one more second.
const BYTES_PER_SECOND_MIN: u64 = 64 << 10;

/// How fast a peer takes what waits for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    since: Instant,
    /// When it took something last.
    last: Instant,
    bytes: u64,
}

impl Pace {
    /// That of a peer for whom something waits since `now`.
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, last: now, bytes: 0 }
    }

    /// Counts what it took.
    pub(crate) fn took(&mut self, bytes: usize, now: Instant) {
        self.last = now;
        self.bytes += bytes as u64;
    }

    /// When its time is up: it took nothing for `patience`, or too little for too long.
    pub(crate) fn due(&self, patience: Duration) -> Instant {
        let earned = Duration::from_secs(self.bytes / BYTES_PER_SECOND_MIN);
        (self.last + patience).min(self.since + patience + earned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn a_peer_that_takes_nothing_or_a_trickle_is_given_up_and_a_slow_one_is_not() {
        let start = Instant::now();
        let mut trickling = Pace::new(start);
        let mut slow = Pace::new(start);
        assert_eq!(trickling.due(PATIENCE), start + PATIENCE);
        for second in 1..=100 {
            trickling.took(1, start + Duration::from_secs(second));
            slow.took(64 << 10, start + Duration::from_secs(second));
        }
        let now = start + Duration::from_secs(100);
        assert_eq!(trickling.due(PATIENCE), start + PATIENCE);
        assert_eq!(slow.due(PATIENCE), now + PATIENCE);
        slow.took(1 << 30, now);
        assert_eq!(slow.due(PATIENCE), now + PATIENCE, "bytes that came fast are no credit");
    }
}
