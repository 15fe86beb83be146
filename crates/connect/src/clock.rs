//! Times as numbers.
//!
//! What is longer than a number tells is as long as it tells: 584,000 years.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Microseconds since the Unix epoch, by the clock of the system; 0 when that is in front of it.
pub(crate) fn now_micros() -> u64 {
    micros(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// A time in microseconds.
pub(crate) fn micros(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(time.subsec_micros()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_microseconds() {
        assert_eq!(micros(Duration::new(3, 4_005_999)), 3_004_005);
        assert_eq!(micros(Duration::MAX), u64::MAX);
        assert!(now_micros() > 1_700_000_000_000_000);
    }
}
