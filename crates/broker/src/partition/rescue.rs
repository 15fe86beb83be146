//! Taking writes again after a sync that failed, without a restart: what is known of the tries, and when one is due.
//!
//! INV-VOID: batches that were staged, refused and never acknowledged may be in the journal. They must not come
//! back in the place of what is acknowledged later. So a partition takes writes again only behind a checkpoint that
//! covers all of them: a marker that is staged when writes have stopped is in the journal behind the last
//! one, and the checkpoint is taken when the marker is settled.
//!
//! The steps themselves are those of [`super::member`].

use galgo_storage::lock::{Ranked, rank};

use crate::ticket::Ticket;

/// The pause between two tries, in microseconds, and what it becomes after so many of them.
const PAUSE_US: u64 = 1_000_000;
const LONG_PAUSE_US: u64 = 10_000_000;
const SHORT_PAUSES: u32 = 10;
/// Of so many tries that failed one is told: with the long pauses one in ten minutes.
const TRIES_A_LINE: u32 = 6 * SHORT_PAUSES;
const _: () = assert!(
    LONG_PAUSE_US * (TRIES_A_LINE as u64) == 600_000_000,
    "with the long pauses a try that failed is told every ten minutes"
);
const _: () =
    assert!(PAUSE_US < LONG_PAUSE_US, "a disk that does not come back is asked less often");

/// How a partition comes to take writes again.
#[derive(Debug, Default)]
pub(super) struct Rescue {
    state: Ranked<{ rank::RESCUE }, RescueState>,
}

/// How far a rescue has come.
#[derive(Debug, Default)]
struct RescueState {
    /// The marker behind everything that was staged.
    marker: Option<Ticket>,
    /// When it is tried next, by the monotonic clock.
    due_us: u64,
    /// How often it was.
    tries: u32,
    /// Nothing more is tried: what is there cannot be read, or is more than was published.
    is_hopeless: bool,
    /// How many tries have failed; whoever asked for one waits for it to grow.
    failures: u64,
    /// Why the last of them did.
    cause: String,
}

/// How the rescue of a partition that takes no writes stands.
#[derive(Debug)]
pub(crate) struct RescueStanding {
    /// How many tries have failed.
    pub(crate) failures: u64,
    /// Why the last of them did.
    pub(crate) cause: String,
    /// How long it is to the next, in microseconds.
    pub(crate) next_try_us: u64,
    /// Whether none will come before the next start.
    pub(crate) is_hopeless: bool,
}

impl Rescue {
    /// Whether it is time to try. `mark` stages the marker, where there is to be one.
    pub(super) fn is_due(&self, now_us: u64, mark: impl FnOnce() -> Option<Ticket>) -> bool {
        let mut state = self.state.lock();
        if state.is_hopeless {
            return false;
        }
        // Not staged yet, or refused, as by a journal that is full. One that is settled stays: what was staged before it
        // does not become more.
        let marker = state.marker.as_ref();
        if marker.is_none_or(|marker| matches!(marker.outcome(), Some(Err(_)))) {
            state.marker = mark();
        }
        // Behind the marker, which is staged whether or not a try is due: it takes a round of the
        // journal until it is settled, and without it no log that is open is taken back into
        // writes.
        let is_due = now_us >= state.due_us;
        if is_due {
            state.tries = state.tries.saturating_add(1);
            let pause_us = if state.tries <= SHORT_PAUSES { PAUSE_US } else { LONG_PAUSE_US };
            state.due_us = now_us.saturating_add(pause_us);
        }
        is_due
    }

    /// Whether all that was staged before writes stopped is settled, so that a checkpoint from now on covers
    /// it.
    pub(super) fn is_marked(&self) -> bool {
        let state = self.state.lock();
        state.marker.as_ref().is_some_and(|marker| marker.outcome() == Some(Ok(())))
    }

    /// How it stands at this time of the monotonic clock.
    pub(super) fn standing(&self, now_us: u64) -> RescueStanding {
        let state = self.state.lock();
        RescueStanding {
            failures: state.failures,
            cause: state.cause.clone(),
            next_try_us: state.due_us.saturating_sub(now_us),
            is_hopeless: state.is_hopeless,
        }
    }

    /// Makes the next try due at once, and those after it follow as after the first failure.
    pub(super) fn hasten(&self) {
        let mut state = self.state.lock();
        // With the tries: whoever asks has done something about it, and it is worth short pauses
        // again.
        (state.due_us, state.tries) = (0, 0);
    }

    /// Notes that a try has failed, and what clients are told of why: no file and no uid is in it.
    pub(super) fn failed(&self, cause: String) {
        let mut state = self.state.lock();
        state.failures += 1;
        state.cause = cause;
    }

    /// Whether a try that failed is told: once at first, then every ten minutes.
    pub(super) fn is_to_be_told(&self) -> bool {
        self.state.lock().tries % TRIES_A_LINE == 1
    }

    /// Is not tried again.
    pub(super) fn give_up(&self) {
        self.state.lock().is_hopeless = true;
    }

    /// It is over: another failure needs another marker.
    pub(super) fn end(&self) {
        // With the marker of this one: it lies in front of all that is refused from now on.
        *self.state.lock() = RescueState::default();
    }
}
