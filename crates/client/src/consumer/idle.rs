//! What a consumer does while nothing comes: it lets the server wait, or pauses between polls.
//!
//! A poll that waits is answered early when something else is sent on its connection. A wait that was cut
//! short counts as a poll that brought nothing, so that two who share a connection do not wake each other in
//! turn without end.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Pause after a poll that brought nothing; doubles with each further one.
const PAUSE_FIRST: Duration = Duration::from_millis(1);

/// The pauses of one consumer.
#[derive(Debug)]
pub(super) struct Idle {
    pause: Duration,
    pause_max: Duration,
    wait: Option<Duration>,
}

impl Idle {
    /// Pauses of up to `pause_max`; `wait`: how long the server may be asked to wait, if at all.
    pub(super) fn new(pause_max: Duration, wait: Option<Duration>) -> Self {
        assert!(
            pause_max >= PAUSE_FIRST,
            "pauses grow, or a partition without messages is polled without a pause"
        );
        Self { pause: PAUSE_FIRST, pause_max, wait }
    }

    /// How long the next poll is to wait.
    pub(super) fn wait(&self) -> Option<Duration> {
        self.wait
    }

    /// Sets how long the server may be asked to wait.
    pub(super) fn set_wait(&mut self, wait: Option<Duration>) {
        self.wait = wait;
    }

    /// Notes that a poll brought something.
    pub(super) fn fed(&mut self) {
        self.pause = PAUSE_FIRST;
    }

    /// Rests after a poll that was begun at `begun` and brought nothing.
    pub(super) async fn rest(&mut self, begun: Instant) {
        let took = begun.elapsed();
        let mut pause = self.pause_after(took);
        if self.wait.is_some() {
            // What the server has waited counts: only those who cut each other short have to pause.
            pause = pause.saturating_sub(took);
        }
        if !pause.is_zero() {
            sleep(pause).await;
        }
    }

    /// The pause after a poll that took so long and brought nothing.
    fn pause_after(&mut self, took: Duration) -> Duration {
        if self.wait.is_some_and(|wait| took >= wait) {
            return Duration::ZERO;
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(self.pause_max);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_until_something_comes_and_a_whole_wait_is_none() {
        let wait = Duration::from_secs(1);
        let mut idle = Idle::new(Duration::from_millis(3), Some(wait));
        let cut_short = Duration::from_millis(999);
        let mut pauses: Vec<_> = (0..3).map(|_| idle.pause_after(cut_short)).collect();
        idle.fed();
        pauses.push(idle.pause_after(cut_short));
        assert_eq!(pauses.iter().map(Duration::as_millis).collect::<Vec<_>>(), [1, 2, 3, 1]);
        assert_eq!(idle.pause_after(wait), Duration::ZERO);
        let mut polling = Idle::new(Duration::from_millis(3), None);
        assert_eq!(polling.pause_after(wait), PAUSE_FIRST);
    }
}
