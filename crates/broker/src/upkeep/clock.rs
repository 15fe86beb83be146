//! The time that retention goes by: the wall clock, as far as it can be trusted.
//!
//! A clock that is set forward makes everything older at once. Whether it was wrong before or is wrong
//! now, nobody can tell; so what it was set forward by does not count until it has held for a while.
//! A clock that is set back is believed at once: it only makes things younger.
//!
//! What the wall clock should say is known from how long the system has been running, over a start of the server
//! too: what both said is on record (`galgo_storage::clock`). Where the system itself was started again, the
//! time is known to a day.
//!
//! INV-NO-LEAP: between two looks, whatever became of the server between them, the time retention goes by moves
//! at most [`STEP_US_MAX`] more than the system was running, or [`AWAY_US_MAX`] where it was started again,
//! unless the wall clock has held for the time it is given.

use galgo_storage::clock::ClockRecord;
use galgo_wire::id::Timestamp;

/// What the wall clock may differ from the running system between two looks, in microseconds: less is how
/// clocks are kept right.
const STEP_US_MAX: u64 = 60_000_000;
/// A system that was off for longer than this cannot tell that from a clock that is ahead, in microseconds.
const AWAY_US_MAX: u64 = 24 * 60 * 60 * 1_000_000;
const _: () = assert!(
    STEP_US_MAX < AWAY_US_MAX,
    "a running system knows the time better than one that was off"
);
/// After so long the clocks are put on record anew, in microseconds: meanwhile they drift apart by less than a
/// step.
const RECORD_US: u64 = 60 * 60 * 1_000_000;
const _: () = assert!(
    RECORD_US / 1_000_000 * 500 < STEP_US_MAX && RECORD_US < AWAY_US_MAX,
    "clocks that are off by 500 parts in a million are a step apart much later than that"
);

/// What the clocks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClockReading {
    /// The wall clock.
    pub(super) wall: Timestamp,
    /// For how long the system has been running, in microseconds.
    pub(super) running_us: u64,
}

/// What is known of the time before a start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClockPast {
    /// What was put on record.
    pub(super) record: Option<ClockRecord>,
    /// When the data was last written; counts where nothing is on record.
    pub(super) newest: Option<Timestamp>,
}

/// Follows both clocks.
#[derive(Debug)]
pub(super) struct SteadyClock {
    /// The run of the system, 0 when it is not known.
    boot: u128,
    /// What both said at the last look.
    last: ClockReading,
    /// What the wall clock was set forward by and is not believed yet.
    lead_us: u64,
    /// When it was, as [`ClockReading::running_us`].
    since_us: u64,
    /// How long it has to hold.
    wait_us: u64,
    /// By how much the time to go by has leapt since [`SteadyClock::take_leap`].
    leapt_us: u64,
    /// When the clocks are to be put on record, as [`ClockReading::running_us`].
    record_due_us: u64,
}

/// What is to be told of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClockNews {
    /// It was set forward by so many microseconds.
    Forward(u64),
    /// It was set back by so many microseconds.
    Back(u64),
    /// It has held.
    Held,
}

impl SteadyClock {
    /// Begins with what both clocks say in the run `boot` of the system; `None` when it is not known.
    ///
    /// With a `wait_us` of 0 the clock is believed at the first look.
    pub(super) fn new(
        boot: Option<u128>,
        now: ClockReading,
        past: ClockPast,
        wait_us: u64,
    ) -> Self {
        let ClockPast { record, newest } = past;
        let boot = boot.unwrap_or(0);
        let mut clock = Self {
            boot,
            last: now,
            lead_us: 0,
            since_us: now.running_us,
            wait_us,
            leapt_us: 0,
            record_due_us: 0,
        };
        let away_us = |believed: u64| now.wall.get().saturating_sub(believed);
        match record {
            // The same run of the system: as if the server had looked all the time.
            Some(record) if boot != 0 && record.boot == boot => {
                clock.last = ClockReading { wall: record.wall, running_us: record.running_us };
                (clock.lead_us, clock.since_us) = (record.lead_us, record.since_us);
                clock.look(now);
            }
            // Another run of the system: how long it was off, nobody knows. What was not believed is still not, less what
            // the clock was set back meanwhile.
            Some(record) => {
                let back_us = record.wall.get().saturating_sub(now.wall.get());
                let away_us = away_us(record.wall.get().saturating_sub(record.lead_us));
                let kept_us = record.lead_us.saturating_sub(back_us);
                clock.lead_us = if away_us > AWAY_US_MAX { away_us } else { kept_us };
            }
            None => {
                let away_us = newest.map_or(0, |newest| away_us(newest.get()));
                clock.lead_us = if away_us > AWAY_US_MAX { away_us } else { 0 };
            }
        }
        clock
    }

    /// Looks at both clocks; returns the time to go by.
    pub(super) fn look(&mut self, now: ClockReading) -> (Timestamp, Option<ClockNews>) {
        let passed_us = now.running_us.saturating_sub(self.last.running_us);
        let expected_us = self.last.wall.get().saturating_add(passed_us);
        let forward_us = now.wall.get().saturating_sub(expected_us);
        let back_us = expected_us.saturating_sub(now.wall.get());
        self.last = now;
        let mut told = None;
        if forward_us > STEP_US_MAX {
            self.lead_us = self.lead_us.saturating_add(forward_us);
            // It has not held while it was set once more: the wait begins anew.
            self.since_us = now.running_us;
            told = Some(ClockNews::Forward(forward_us));
        } else if back_us > STEP_US_MAX {
            // Believed at once, as it makes nothing older; what is still waited for goes first.
            self.lead_us = self.lead_us.saturating_sub(back_us);
            told = Some(ClockNews::Back(back_us));
        }
        if self.lead_us > 0 && self.waits_us() == Some(0) {
            self.leapt_us = self.leapt_us.saturating_add(std::mem::take(&mut self.lead_us));
            told = told.or(Some(ClockNews::Held));
        }
        if told.is_some() {
            // At once: a start that goes by the record of before has to find out anew what was
            // found here.
            self.record_due_us = 0;
        }
        (self.steady(), told)
    }

    /// The time to go by when the system has been running for `running_us`, as of the last look.
    pub(super) fn steady_at(&self, running_us: u64) -> Timestamp {
        // Between two looks the system tells how much time has passed, and not the wall clock,
        // which only a look judges.
        let passed_us = running_us.saturating_sub(self.last.running_us);
        Timestamp::new(self.steady().get().saturating_add(passed_us))
    }

    /// The time to go by at the last look.
    fn steady(&self) -> Timestamp {
        Timestamp::new(self.last.wall.get().saturating_sub(self.lead_us))
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
        let held_us = self.last.running_us.saturating_sub(self.since_us);
        (self.lead_us > 0).then(|| self.wait_us.saturating_sub(held_us))
    }

    /// What is to be put on record, when that is due.
    pub(super) fn to_record(&self) -> Option<ClockRecord> {
        let ClockReading { wall, running_us } = self.last;
        let Self { boot, lead_us, since_us, .. } = *self;
        (running_us >= self.record_due_us).then_some(ClockRecord {
            boot,
            running_us,
            wall,
            lead_us,
            since_us,
        })
    }

    /// Notes that `record` is on record.
    pub(super) fn recorded(&mut self, record: &ClockRecord) {
        // A look that came between may have found more.
        if record.lead_us == self.lead_us {
            self.record_due_us = record.running_us.saturating_add(RECORD_US);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000_000;
    const DAY: u64 = 24 * HOUR;
    const NOON: u64 = 100 * DAY;
    const BOOT: Option<u128> = Some(7);

    fn at(wall_us: u64) -> Timestamp {
        Timestamp::new(wall_us)
    }

    fn reading(wall_us: u64, running_us: u64) -> ClockReading {
        ClockReading { wall: at(wall_us), running_us }
    }

    fn recorded(record: ClockRecord, newest: Option<Timestamp>) -> ClockPast {
        ClockPast { record: Some(record), newest }
    }

    fn begun(wall_us: u64, running_us: u64) -> SteadyClock {
        SteadyClock::new(BOOT, reading(wall_us, running_us), ClockPast::default(), HOUR)
    }

    /// INV-NO-LEAP.
    #[test]
    fn a_clock_set_forward_counts_once_it_has_held() {
        let mut clock = begun(NOON, 7);
        assert_eq!(clock.look(reading(NOON + 5, 12)), (at(NOON + 5), None));
        let forward = Some(ClockNews::Forward(DAY - 5));
        assert_eq!(clock.look(reading(NOON + DAY, 12)), (at(NOON + 5), forward));
        let later = HOUR - 1;
        let look = clock.look(reading(NOON + DAY + later, 12 + later));
        assert_eq!(look, (at(NOON + 5 + later), None));
        assert_eq!(clock.waits_us(), Some(1));
        let held = clock.look(reading(NOON + DAY + HOUR, 12 + HOUR));
        assert_eq!(held, (at(NOON + DAY + HOUR), Some(ClockNews::Held)));
        assert_eq!(clock.waits_us(), None);
        assert_eq!((clock.take_leap(), clock.take_leap()), (DAY - 5, 0));
    }

    #[test]
    fn a_clock_set_forward_and_back_again_was_never_believed() {
        let mut clock = begun(NOON, 0);
        let _ = clock.look(reading(NOON + 50 * HOUR, 0));
        let look = clock.look(reading(NOON + 10, 10));
        assert_eq!(look, (at(NOON + 10), Some(ClockNews::Back(50 * HOUR))));
        let look = clock.look(reading(NOON + 3 * HOUR, 3 * HOUR));
        assert_eq!(look, (at(NOON + 3 * HOUR), None));
    }

    #[test]
    fn a_clock_set_back_is_believed_at_once_and_small_steps_always() {
        let mut clock = begun(NOON, 0);
        let look = clock.look(reading(NOON - HOUR, 0));
        assert_eq!(look, (at(NOON - HOUR), Some(ClockNews::Back(HOUR))));
        let minute = STEP_US_MAX;
        let look = clock.look(reading(NOON - HOUR + minute, 0));
        assert_eq!(look, (at(NOON - HOUR + minute), None));
    }

    #[test]
    fn without_a_record_a_start_long_after_the_newest_data_waits_too() {
        let week = 7 * DAY;
        let begin = |newest, wait_us| {
            let past = ClockPast { record: None, newest: Some(at(newest)) };
            SteadyClock::new(BOOT, reading(NOON, 0), past, wait_us)
        };
        let mut clock = begin(NOON - week, HOUR);
        assert_eq!(clock.look(reading(NOON, 0)), (at(NOON - week), None));
        assert_eq!(
            clock.look(reading(NOON + HOUR, HOUR)),
            (at(NOON + HOUR), Some(ClockNews::Held))
        );
        let mut clock = begin(NOON - 23 * HOUR, HOUR);
        assert_eq!(clock.look(reading(NOON, 0)), (at(NOON), None));
        let mut clock = begin(NOON - week, 0);
        let look = clock.look(reading(NOON, 0));
        assert_eq!(look, (at(NOON), Some(ClockNews::Held)), "told to believe it at once");
        assert_eq!(clock.take_leap(), week, "what was noted before follows");
    }

    /// What is on record of a server whose clock was set forward by `lead_us` half an hour ago.
    fn on_record(lead_us: u64) -> ClockRecord {
        let mut clock = begun(NOON, 5 * HOUR);
        let _ = clock.look(reading(NOON + lead_us, 5 * HOUR));
        let half = HOUR / 2;
        let _ = clock.look(reading(NOON + lead_us + half, 5 * HOUR + half));
        clock.to_record().unwrap()
    }

    #[test]
    fn a_start_goes_on_waiting_for_a_clock_that_is_ahead() {
        let record = on_record(2 * HOUR);
        // Its messages are from the wrong time, so the newest of them says nothing.
        let newest = Some(at(NOON + 2 * HOUR));
        let half = HOUR / 2;
        let now = reading(NOON + 2 * HOUR + half, 5 * HOUR + half);
        let mut clock = SteadyClock::new(BOOT, now, recorded(record, newest), HOUR);
        assert_eq!((clock.lead_us(), clock.waits_us()), (2 * HOUR, Some(half)), "where it was");
        assert_eq!(clock.look(now), (at(NOON + half), None));
        // Another run of the system cannot tell how long the clock has held.
        for boot in [Some(8), None] {
            let now = reading(NOON + 2 * HOUR + half, 3);
            let mut clock = SteadyClock::new(boot, now, recorded(record, newest), HOUR);
            assert_eq!((clock.lead_us(), clock.waits_us()), (2 * HOUR, Some(HOUR)));
            assert_eq!(clock.look(now), (at(NOON + half), None));
        }
    }

    #[test]
    fn a_clock_that_was_set_while_no_server_ran_is_noticed() {
        let mut clock = begun(NOON, 5 * HOUR);
        let record = clock.to_record().unwrap();
        clock.recorded(&record);
        assert_eq!(clock.to_record(), None);
        // Two days are no leap where two days have passed.
        let now = reading(NOON + 2 * DAY, 5 * HOUR + 2 * DAY);
        let later = SteadyClock::new(BOOT, now, recorded(record, None), HOUR);
        assert_eq!(later.lead_us(), 0);
        let ahead = reading(NOON + 2 * DAY, 5 * HOUR + 1);
        let clock = SteadyClock::new(BOOT, ahead, recorded(record, Some(ahead.wall)), HOUR);
        assert_eq!(clock.lead_us(), 2 * DAY - 1);
        // After a start of the system, up to a day may have passed.
        for (away, lead) in [(2 * DAY, 2 * DAY), (DAY, 0)] {
            let past = recorded(record, Some(at(NOON + away)));
            let clock = SteadyClock::new(Some(8), reading(NOON + away, 0), past, HOUR);
            assert_eq!(clock.lead_us(), lead);
        }
    }

    #[test]
    fn a_clock_set_right_while_no_server_ran_is_believed() {
        let record = on_record(2 * DAY);
        for (boot, running_us) in [(BOOT, 6 * HOUR), (Some(8), 0)] {
            let now = reading(NOON + HOUR, running_us);
            let clock = SteadyClock::new(boot, now, recorded(record, None), HOUR);
            // Another run of the system does not know the half an hour that has passed.
            let unknown_us = if boot == BOOT { 0 } else { HOUR / 2 };
            assert_eq!(clock.lead_us(), unknown_us);
        }
    }

    #[test]
    fn what_changes_is_put_on_record_at_once_and_the_rest_every_hour() {
        let mut clock = begun(NOON, 0);
        let record = clock.to_record().unwrap();
        clock.recorded(&record);
        let _ = clock.look(reading(NOON + HOUR - 1, HOUR - 1));
        assert_eq!(clock.to_record(), None);
        let _ = clock.look(reading(NOON + HOUR, HOUR));
        let record = clock.to_record().unwrap();
        assert_eq!((record.wall, record.running_us), (at(NOON + HOUR), HOUR));
        clock.recorded(&record);
        let _ = clock.look(reading(NOON + DAY, HOUR + 1));
        assert_eq!(clock.to_record().unwrap().lead_us, DAY - HOUR - 1);
        // What is noted late does not pass for what was found meanwhile.
        clock.recorded(&record);
        assert!(clock.to_record().is_some());
    }
}
