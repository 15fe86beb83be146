//! A clock that was ahead and was set right. Every later message had the time of the last one before, for
//! ever: nothing expired, and every search by time began at the first message. Now times start over in
//! a new segment, and what is ahead counts as stored with what comes after it.

use crate::rig::{Journaled, Rig, append, message, read_all, sync};
use galgo_storage::checkpoint::LogCheckpoint;
use galgo_storage::log::Log;
use galgo_wire::id::{Offset, Timestamp};

const DAY: u64 = 86_400_000_000;
const NOW: u64 = 100 * DAY;
const SECOND: u64 = 1_000_000;

/// Appends a message at this time as the clock has it.
fn store(log: &mut Log, now: u64) -> Vec<u8> {
    log.start_over_if_ahead(Timestamp::new(now));
    let timestamp = now.max(log.last_timestamp().get());
    let stored = message(log.end().get(), timestamp, &[7; 1_900]);
    append(log, std::slice::from_ref(&stored)).unwrap();
    stored
}

/// Two messages of yesterday, three that were stored when the clock was a day ahead, six of now.
fn stored_by_a_clock_that_was_ahead(log: &mut Log) -> Vec<Vec<u8>> {
    let times = [NOW - DAY, NOW - DAY, NOW + DAY, NOW + DAY, NOW + DAY];
    let right = (0..6).map(|second| NOW + second * SECOND);
    times.into_iter().chain(right).map(|time| store(log, time)).collect()
}

fn found_at(log: &Log, time: u64) -> Option<u64> {
    let found = log.reader().offset_at(Timestamp::new(time), log.end()).unwrap();
    found.map(Offset::get)
}

/// INV-CHAIN.
#[test]
fn times_start_over_in_a_new_segment_and_small_steps_stand_still() {
    let rig = Rig::new(1);
    let mut log = rig.create();
    store(&mut log, NOW);
    store(&mut log, NOW - SECOND);
    assert_eq!(log.last_timestamp(), Timestamp::new(NOW), "a second is nothing");
    assert_eq!(log.stats().segments, 1);
    store(&mut log, NOW - DAY);
    assert_eq!(log.last_timestamp(), Timestamp::new(NOW - DAY));
    assert_eq!(log.stats().segments, 2);
}

#[test]
fn a_search_by_time_does_not_stop_at_what_is_ahead() {
    let mut rig = Rig::new(2);
    let mut log = rig.create();
    stored_by_a_clock_that_was_ahead(&mut log);
    sync(&mut log).unwrap();
    let known = log.checkpoint();
    for log in [log, rig.recover(&known, &[]).0] {
        assert_eq!(found_at(&log, 0), Some(0));
        assert_eq!(found_at(&log, NOW + 3 * SECOND), Some(8));
        assert_eq!(found_at(&log, NOW + 9 * SECOND), None, "what is ahead is not that late");
        // What was stored with a time that is ahead was stored before the first message behind it, and
        // nothing tells how long.
        assert_eq!(found_at(&log, NOW), Some(2));
        assert_eq!(found_at(&log, NOW - DAY + 1), Some(2));
        assert_eq!(found_at(&log, NOW - DAY), Some(0));
    }
}

#[test]
fn what_is_ahead_is_as_old_as_what_comes_after_it() {
    let rig = Rig::new(3);
    let mut log = rig.create();
    stored_by_a_clock_that_was_ahead(&mut log);
    let reader = log.reader();
    let now = Timestamp::new(NOW + 6 * SECOND);
    let stored_by = |now| -> Vec<u64> {
        let kept = reader.droppable(log.end(), now).into_iter();
        kept.map(|kept| kept.stored_by.get()).collect()
    };
    let right = NOW + 2 * SECOND;
    let times = stored_by(now);
    assert!(times[0] <= right && times.is_sorted(), "{times:?}");
    assert_eq!(times.len() + 1, log.stats().segments as usize);
    assert_eq!(reader.oldest_sealed(now).unwrap().stored_by.get(), times[0]);
    // Once the clock has caught up with them, their own times count again: no message goes too early.
    assert!(stored_by(Timestamp::new(NOW + DAY)).contains(&(NOW + DAY)));
}

#[test]
fn what_is_ahead_with_nothing_after_it_is_as_old_as_it_is_known() {
    let rig = Rig::new(4);
    let mut log = rig.create();
    for _ in 0..4 {
        store(&mut log, NOW + DAY);
    }
    let reader = log.reader();
    assert_eq!(reader.note_ahead(Timestamp::new(NOW + DAY)), None);
    assert_eq!(reader.note_ahead(Timestamp::new(NOW)), Some(DAY));
    let later = Timestamp::new(NOW + 60 * SECOND);
    assert_eq!(reader.note_ahead(later), Some(DAY - 60 * SECOND));
    assert_eq!(reader.oldest_sealed(later).unwrap().stored_by, Timestamp::new(NOW));
}

/// Recovery took the first message with an earlier time for the end of the log.
#[test]
fn messages_behind_a_step_back_are_recovered_from_files_and_from_the_journal() {
    for checkpointed in [false, true] {
        let rig = Rig::new(5);
        let mut log = rig.create();
        let mut all = vec![store(&mut log, NOW + DAY)];
        sync(&mut log).unwrap();
        let known = if checkpointed { log.checkpoint() } else { LogCheckpoint::default() };
        all.extend((0..5).map(|second| store(&mut log, NOW + second * SECOND)));
        let mut killed = Rig::on(rig.disk.kill_image());
        let (log, report) = killed.recover(&known, &[]);
        assert_eq!(read_all(&log.reader(), log.end()), (all.clone(), vec![]), "{report:?}");
        assert_eq!(log.last_timestamp(), Timestamp::new(NOW + 4 * SECOND));
        // The new segment's file is not there: the journal's batches make it again.
        let journal: Vec<Journaled> = (1..)
            .zip(&all[1..])
            .map(|(base, bytes)| Journaled { base, high_watermark: base, bytes: bytes.clone() })
            .collect();
        for seed in 0..8 {
            let mut cut = Rig::on(rig.disk.power_cut_image(seed));
            let (log, _) = cut.recover(&known, &journal);
            assert_eq!(read_all(&log.reader(), log.end()), (all.clone(), vec![]), "seed {seed}");
            assert_eq!(found_at(&log, NOW + 2 * SECOND), Some(3), "seed {seed}");
        }
    }
}
