//! The time that retention goes by: the wall clock, as far as it can be trusted.
//!
//! A clock that is set forward makes everything older at once. Whether it was wrong before or is wrong
//! now, nobody can tell; so what it was set forward by does not count until it has held for a while.
//! A clock that is set back is believed at once: it only makes things younger.
//!
//! INV-NO-LEAP: between two looks, the time retention goes by moves at most [`STEP_US_MAX`] more than the
//! monotonic clock, unless the wall clock has held for the time it is given.

use galgo_wire::id::Timestamp;

/// What the wall clock may differ from the monotonic one between two looks, in microseconds: less is how
/// clocks are kept right.
const STEP_US_MAX: u64 = 60_000_000;
/// A server that was off for longer than this cannot tell that from a clock that is ahead, in microseconds.
const AWAY_US_MAX: u64 = 24 * 60 * 60 * 1_000_000;

/// Follows both clocks.
#[derive(Debug)]
pub(super) struct SteadyClock {
    /// What both said at the last look.
    wall_us: u64,
    monotonic_us: u64,
    /// What the wall clock was set forward by and is not believed yet.
    lead_us: u64,
    /// When it was, by the monotonic clock.
    forward_us: u64,
    /// How long it has to hold.
    wait_us: u64,
    /// By how much the time to go by has leapt since [`SteadyClock::take_leap`].
    leapt_us: u64,
}

/// What is to be told of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It was set forward by so many microseconds.
    Forward(u64),
    /// It was set back by so many microseconds.
    Back(u64),
    /// It has held.
    Held,
}

impl SteadyClock {
    /// Begins with what both clocks say. `newest` is when the data was last written, if that is known; a
    /// clock that is more than a day ahead of it has to hold first.
    pub(super) fn new(
        (wall, monotonic_us): (Timestamp, u64),
        newest: Option<Timestamp>,
        wait_us: u64,
    ) -> Self {
        let away_us = newest.map_or(0, |newest| wall.get().saturating_sub(newest.get()));
        let lead_us = if away_us > AWAY_US_MAX && wait_us > 0 { away_us } else { 0 };
        let (wall_us, forward_us) = (wall.get(), monotonic_us);
        Self { wall_us, monotonic_us, lead_us, forward_us, wait_us, leapt_us: 0 }
    }

    /// Looks at both clocks; returns the time to go by.
    pub(super) fn look(&mut self, wall: Timestamp, monotonic_us: u64) -> (Timestamp, Option<Told>) {
        let passed_us = monotonic_us.saturating_sub(self.monotonic_us);
        let expected_us = self.wall_us.saturating_add(passed_us);
        let forward_us = wall.get().saturating_sub(expected_us);
        let back_us = expected_us.saturating_sub(wall.get());
        (self.wall_us, self.monotonic_us) = (wall.get(), monotonic_us);
        let mut told = None;
        if forward_us > STEP_US_MAX && self.wait_us > 0 {
            self.lead_us = self.lead_us.saturating_add(forward_us);
            self.forward_us = monotonic_us;
            told = Some(Told::Forward(forward_us));
        } else if back_us > STEP_US_MAX {
            self.lead_us = self.lead_us.saturating_sub(back_us);
            told = Some(Told::Back(back_us));
        }
        if self.lead_us > 0 && self.waits_us() == Some(0) {
            self.leapt_us = self.leapt_us.saturating_add(std::mem::take(&mut self.lead_us));
            told = told.or(Some(Told::Held));
        }
        (Timestamp::new(wall.get().saturating_sub(self.lead_us)), told)
    }

    /// By how much the time to go by has leapt since the last call, in microseconds: the clock had held, so
    /// whatever was noted while it had to is older at once.
    pub(super) fn take_leap(&mut self) -> u64 {
        std::mem::take(&mut self.leapt_us)
    }

    /// How far the wall clock is ahead of what is believed, in microseconds.
    pub(super) fn lead_us(&self) -> u64 {
        self.lead_us
    }

    /// How long it still has to hold, in microseconds; `None` when it is believed.
    pub(super) fn waits_us(&self) -> Option<u64> {
        let held_us = self.monotonic_us.saturating_sub(self.forward_us);
        (self.lead_us > 0).then(|| self.wait_us.saturating_sub(held_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000_000;
    const NOON: u64 = 100 * 24 * HOUR;

    fn at(wall_us: u64) -> Timestamp {
        Timestamp::new(wall_us)
    }

    #[test]
    fn a_clock_set_forward_counts_once_it_has_held() {
        let mut clock = SteadyClock::new((at(NOON), 7), None, HOUR);
        assert_eq!(clock.look(at(NOON + 5), 12), (at(NOON + 5), None));
        let day = 24 * HOUR;
        assert_eq!(clock.look(at(NOON + day), 12), (at(NOON + 5), Some(Told::Forward(day - 5))));
        let later = HOUR - 1;
        assert_eq!(clock.look(at(NOON + day + later), 12 + later), (at(NOON + 5 + later), None));
        assert_eq!(clock.waits_us(), Some(1));
        let held = clock.look(at(NOON + day + HOUR), 12 + HOUR);
        assert_eq!(held, (at(NOON + day + HOUR), Some(Told::Held)));
        assert_eq!(clock.waits_us(), None);
        assert_eq!((clock.take_leap(), clock.take_leap()), (day - 5, 0));
    }

    #[test]
    fn a_clock_set_forward_and_back_again_was_never_believed() {
        let mut clock = SteadyClock::new((at(NOON), 0), None, HOUR);
        let _ = clock.look(at(NOON + 50 * HOUR), 0);
        let (now, told) = clock.look(at(NOON + 10), 10);
        assert_eq!((now, told), (at(NOON + 10), Some(Told::Back(50 * HOUR))));
        assert_eq!(clock.look(at(NOON + 3 * HOUR), 3 * HOUR), (at(NOON + 3 * HOUR), None));
    }

    #[test]
    fn a_clock_set_back_is_believed_at_once_and_small_steps_always() {
        let mut clock = SteadyClock::new((at(NOON), 0), None, HOUR);
        assert_eq!(clock.look(at(NOON - HOUR), 0), (at(NOON - HOUR), Some(Told::Back(HOUR))));
        let minute = STEP_US_MAX;
        assert_eq!(clock.look(at(NOON - HOUR + minute), 0), (at(NOON - HOUR + minute), None));
    }

    #[test]
    fn a_start_long_after_the_newest_data_waits_too() {
        let week = 7 * 24 * HOUR;
        let mut clock = SteadyClock::new((at(NOON), 0), Some(at(NOON - week)), HOUR);
        assert_eq!(clock.look(at(NOON), 0), (at(NOON - week), None));
        assert_eq!(clock.look(at(NOON + HOUR), HOUR), (at(NOON + HOUR), Some(Told::Held)));
        let mut clock = SteadyClock::new((at(NOON), 0), Some(at(NOON - 23 * HOUR)), HOUR);
        assert_eq!(clock.look(at(NOON), 0), (at(NOON), None));
        let mut clock = SteadyClock::new((at(NOON), 0), Some(at(NOON - week)), 0);
        assert_eq!(clock.look(at(NOON), 0), (at(NOON), None), "told to believe it at once");
    }
}
