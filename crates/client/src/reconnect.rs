//! How often and how fast a lost connection is opened again. Pure: random numbers are handed in.

use std::time::Duration;

use crate::groups::SESSION;

/// When to try again after a connection was lost or could not be opened.
///
/// The first attempt is made at once, later ones after pauses that double from `first_delay` to
/// `delay_max`, each shortened at random by up to half so that many clients do not come back in
/// step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReconnectPolicy {
    /// Attempts before giving up; `None`: never give up.
    pub attempts_max: Option<u32>,
    /// Pause after the first failed attempt.
    pub first_delay: Duration,
    /// Longest pause.
    pub delay_max: Duration,
    /// Shortest time between the last successful connect and a reconnect.
    pub reestablish_after: Duration,
}

const FIRST_DELAY_DEFAULT: Duration = Duration::from_millis(100);
const DELAY_MAX_DEFAULT: Duration = Duration::from_secs(5);
const _: () = assert!(
    FIRST_DELAY_DEFAULT.as_millis() < DELAY_MAX_DEFAULT.as_millis()
        && DELAY_MAX_DEFAULT.as_secs() * 3 < SESSION.as_secs(),
    "who lost the connection tries several times before a membership in a group ends"
);

impl Default for ReconnectPolicy {
    fn default() -> Self {
        Self {
            attempts_max: None,
            first_delay: FIRST_DELAY_DEFAULT,
            delay_max: DELAY_MAX_DEFAULT,
            reestablish_after: Duration::ZERO,
        }
    }
}

impl ReconnectPolicy {
    /// Never reconnects: what is waiting fails when the connection is lost.
    pub fn never() -> Self {
        Self { attempts_max: Some(0), ..Self::default() }
    }

    /// Gives up after `attempts` failed attempts in a row.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts_max = Some(attempts);
        self
    }

    /// Sets the first and the longest pause.
    pub fn delays(mut self, first: Duration, max: Duration) -> Self {
        self.first_delay = first;
        self.delay_max = max.max(first);
        self
    }

    /// Whether attempt number `attempt`, counted from 0, may be made.
    pub(crate) fn allows(&self, attempt: u32) -> bool {
        self.attempts_max.is_none_or(|max| attempt < max)
    }

    /// The pause before attempt number `attempt`; `random` is evenly spread over 0.0..1.0.
    pub(crate) fn pause_before(&self, attempt: u32, random: f64) -> Duration {
        let Some(doublings) = attempt.checked_sub(1) else { return Duration::ZERO };
        let full = self.first_delay.saturating_mul(1 << doublings.min(20)).min(self.delay_max);
        full.mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_start_with_none() {
        let policy = ReconnectPolicy::default();
        let pauses: Vec<u128> =
            (0..9).map(|attempt| policy.pause_before(attempt, 0.0).as_millis()).collect();
        assert_eq!(pauses, [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(policy.pause_before(u32::MAX, 0.0), policy.delay_max);
    }

    #[test]
    fn jitter_takes_up_to_half_of_a_pause() {
        let policy = ReconnectPolicy::default();
        assert_eq!(policy.pause_before(1, 1.0), Duration::from_millis(50));
        assert_eq!(policy.pause_before(1, 0.5), Duration::from_millis(75));
    }

    #[test]
    fn attempts_are_limited_only_when_asked() {
        assert!(ReconnectPolicy::default().allows(u32::MAX));
        assert!(!ReconnectPolicy::never().allows(0));
        assert!(ReconnectPolicy::default().attempts(2).allows(1));
        assert!(!ReconnectPolicy::default().attempts(2).allows(2));
    }
}
