//! How long to wait before the next try.

use std::time::Duration;

use rand::RngExt as _;

/// The longest pause after the first failure in a row.
const FIRST: Duration = Duration::from_millis(500);
/// The longest pause of all.
const LAST: Duration = Duration::from_secs(30);
/// After so many failures the longest pause is reached.
const DOUBLINGS: u32 = 6;

const _: () = assert!(FIRST.as_millis() < LAST.as_millis(), "pauses get longer");
const _: () = assert!(
    FIRST.as_millis() << DOUBLINGS >= LAST.as_millis(),
    "after so many failures the longest pause is reached"
);

/// Pauses that get longer with each failure in a row: a random time up to a limit that doubles, so that many
/// that failed together do not come back together.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after another failure, at least what the other side asked for.
    pub fn pause(&mut self, asked: Option<Duration>) -> Duration {
        let limit = FIRST.saturating_mul(1 << self.failures.min(DOUBLINGS)).min(LAST);
        self.failures = self.failures.saturating_add(1);
        let millis = rand::rng().random_range(0..=limit.as_millis());
        let Ok(millis) = u64::try_from(millis) else {
            unreachable!("a pause is no longer than the longest")
        };
        let random = Duration::from_millis(millis);
        random.max(asked.unwrap_or_default())
    }

    /// Begins anew: something worked.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}
