//! Tells the operator that a log does not take batches, without a line for each of them.
//!
//! A partition writes at most one refusal and one line of relief in [`PERIOD_US`].

use galgo_storage::disk::advice;
use galgo_storage::log::{AppendError, LogName};

use crate::causes::Causes;

/// Shortest time between two refusals of a partition in the log. A disk that is nearly full takes
/// small batches and refuses large ones, so a success in between is no reason to speak again.
const PERIOD_US: u64 = 10_000_000;

/// What a partition refused since it last said so.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// Batches refused since the last line.
    untold: u64,
    /// When the last line was written.
    told_at_us: Option<u64>,
    /// Whether the last line spoke of a refusal, so that relief is still to be told.
    relief_due: bool,
}

impl Refusals {
    /// Notes a refused batch.
    pub(super) fn refused(&mut self, name: &LogName, error: &AppendError, now_us: u64) {
        let Some(refused) = self.count(now_us) else { return };
        tell!(
            error,
            name.get(),
            refused,
            error = %Causes(error),
            next = advice_on(error),
            "the log does not take messages; senders are told so"
        );
    }

    /// Notes that a batch was taken.
    pub(super) fn took(&mut self, name: &LogName) {
        if std::mem::take(&mut self.relief_due) {
            let name = name.get();
            let (stream, topic) = (name.stream.as_str(), name.topic.as_str());
            tracing::info!(
                stream,
                topic,
                partition = name.partition,
                "the log takes messages again"
            );
        }
    }

    /// Counts a refusal; gives how many there were since the last line when one is due.
    fn count(&mut self, now_us: u64) -> Option<u64> {
        self.untold += 1;
        let due = self.told_at_us.is_none_or(|told| now_us.saturating_sub(told) >= PERIOD_US);
        if !due {
            return None;
        }
        self.told_at_us = Some(now_us);
        self.relief_due = true;
        Some(std::mem::take(&mut self.untold))
    }
}

/// What to do about it, where it is a limit of the system.
fn advice_on(error: &AppendError) -> Option<&'static str> {
    let causes = Causes(error);
    causes.sources().find_map(|cause| advice(cause.downcast_ref()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_is_told_once_a_period_with_their_number() {
        let mut refusals = Refusals::default();
        assert_eq!(refusals.count(5), Some(1));
        for now_us in 6..1_000 {
            assert_eq!(refusals.count(now_us), None);
        }
        assert_eq!(refusals.count(5 + PERIOD_US), Some(995));
    }

    #[test]
    fn relief_is_told_once_for_each_refusal_told() {
        let mut refusals = Refusals::default();
        refusals.count(0);
        assert!(refusals.relief_due);
        refusals.took(&LogName::default());
        refusals.count(1);
        assert!(!refusals.relief_due);
    }
}
