//! Recovery, case by case: what it takes, what it cuts, what it keeps.

use crate::rig::{DIR, Journaled, Rig, append, message, messages, read_all, sync};
use galgo_storage::checkpoint::{ActiveSegment, LogCheckpoint};
use galgo_storage::disk::sim::SplitMix;
use galgo_storage::disk::{Disk, OpenMode};
use galgo_storage::log::{FencedRange, Log, LogRecoverError};
use galgo_wire::id::{Offset, Timestamp};

const FIRST: &str = "00000000000000000000.log";

fn journaled(batch: &[Vec<u8>], base: u64, high_watermark: u64) -> Journaled {
    Journaled { base, high_watermark, bytes: batch.concat() }
}

fn names(rig: &Rig) -> Vec<String> {
    let entries = rig.disk.read_dir(std::path::Path::new(DIR)).unwrap();
    let names = entries.into_iter().map(|entry| entry.name);
    names.filter(|name| !name.ends_with(".index")).collect()
}

fn range(from: u64, to: u64) -> FencedRange {
    FencedRange { from: Offset::new(from), to: Offset::new(to) }
}

/// A log with a durable start, and unsynced messages behind it.
fn half_durable(seed: u64) -> (Rig, LogCheckpoint, Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let mut rig = Rig::new(seed);
    rig.options.segment_bytes = 1 << 20;
    let mut log = rig.create();
    let mut random = SplitMix::new(seed);
    let durable = messages(&mut random, 0, 5, (20, 200));
    append(&mut log, &durable).unwrap();
    sync(&mut log).unwrap();
    let known = log.checkpoint();
    let tail = messages(&mut random, 20, 6, (5, 100));
    append(&mut log, &tail).unwrap();
    (rig, known, durable, tail)
}

/// INV-TAIL.
#[test]
fn a_tail_torn_at_any_length_keeps_its_whole_messages() {
    let (rig, known, durable, tail) = half_durable(1);
    let (durable_len, tail_len) = (durable.concat().len() as u64, tail.concat().len() as u64);
    for keep in 0..=tail_len {
        let mut other = Rig::on(rig.disk.kill_image());
        let file = other.disk.open(&other.path(FIRST), OpenMode::ReadWrite).unwrap();
        file.set_len(durable_len + keep).unwrap();
        let (mut whole, mut bytes) = (0, 0);
        while whole < tail.len() && bytes + tail[whole].len() as u64 <= keep {
            bytes += tail[whole].len() as u64;
            whole += 1;
        }
        let (log, report) = other.recover(&known, &[]);
        let expected = [durable.clone(), tail[..whole].to_vec()].concat();
        assert_eq!(read_all(&log.reader(), log.end()), (expected, vec![]), "kept {keep}");
        assert_eq!(report.accepted_messages, whole as u64);
        assert_eq!(report.cut_bytes, keep - bytes);
        assert_eq!(report.kept_aside, Vec::<std::path::PathBuf>::new());
        assert_eq!(log.last_timestamp(), Timestamp::new(if whole > 0 { 6 } else { 5 }));
    }
}

#[test]
fn zeros_and_garbage_after_the_end_are_cut() {
    let (rig, known, durable, _) = half_durable(2);
    let durable_len = durable.concat().len() as u64;
    let mut random = SplitMix::new(2);
    let garbage: Vec<u8> = (0..3_000).map(|_| random.below(256) as u8).collect();
    for tail in [vec![0; 3_000], garbage] {
        let mut other = Rig::on(rig.disk.kill_image());
        let file = other.disk.open(&other.path(FIRST), OpenMode::ReadWrite).unwrap();
        file.write_at(&tail, durable_len).unwrap();
        let (log, report) = other.recover(&known, &[]);
        assert_eq!(read_all(&log.reader(), log.end()), (durable.clone(), vec![]));
        assert_eq!((report.cut_bytes, report.kept_aside.len()), (3_000, 0));
    }
}

/// INV-KEEP.
#[test]
fn a_cut_tail_with_a_whole_message_in_it_is_kept_aside() {
    let (mut rig, known, durable, tail) = half_durable(3);
    let durable_len = durable.concat().len() as u64;
    rig.disk.flip_bit(&rig.path(FIRST), durable_len + 30, 0).unwrap();
    let (log, report) = rig.recover(&known, &[]);
    assert_eq!(read_all(&log.reader(), log.end()), (durable, vec![]));
    assert_eq!(report.cut_bytes, tail.concat().len() as u64);
    let kept = rig.path(&format!("{FIRST}.cut-{durable_len}"));
    assert_eq!(report.kept_aside, vec![kept.clone()]);
    let mut expected = tail.concat();
    expected[30] ^= 1;
    assert_eq!(rig.disk.contents(&kept), Some(expected));
}

/// With a thousand names taken the last of them was taken once more, and what had been kept under it was gone.
///
/// INV-KEEP.
#[test]
fn what_is_kept_takes_the_place_of_nothing_that_was_kept_before() {
    let (mut rig, known, durable, _) = half_durable(3);
    let durable_len = durable.concat().len() as u64;
    rig.disk.flip_bit(&rig.path(FIRST), durable_len + 30, 0).unwrap();
    let name = format!("{FIRST}.cut-{durable_len}");
    let others = (1..1_000).map(|number| format!("{name}.{number}"));
    for taken in [name.clone()].into_iter().chain(others) {
        let file = rig.disk.open(&rig.path(&taken), OpenMode::CreateNew).unwrap();
        file.write_at(taken.as_bytes(), 0).unwrap();
    }
    let refused = rig.try_recover(&known, &[]).err().expect("no name is left");
    assert!(format!("{refused:?}").contains("AlreadyExists"), "{refused:?}");
    for taken in [name.clone(), format!("{name}.999")] {
        assert_eq!(rig.disk.contents(&rig.path(&taken)).as_deref(), Some(taken.as_bytes()));
    }
    rig.disk.remove_file(&rig.path(&format!("{name}.7"))).unwrap();
    let (_, report) = rig.recover(&known, &[]);
    assert_eq!(report.kept_aside, [rig.path(&format!("{name}.7"))]);
}

/// INV-REDO.
#[test]
fn the_journal_is_written_again_over_what_the_file_says() {
    // After a failed writeback the page cache shows the right bytes and the platter holds others;
    // so bytes that are in the journal are written whatever a read says.
    let (mut rig, known, durable, tail) = half_durable(4);
    let (first, second) = tail.split_at(2);
    let journal = [journaled(first, 20, 20), journaled(second, 22, 22)];
    let (log, report) = rig.recover(&known, &journal);
    assert_eq!((report.replayed_messages, report.accepted_messages), (5, 0));
    drop(log);
    rig.disk.crash(9);
    let (log, _) = rig.recover(&known, &[]);
    let expected = [durable, tail].concat();
    assert_eq!(read_all(&log.reader(), log.end()), (expected, vec![]), "durable without a journal");
}

#[test]
fn journal_and_file_take_turns() {
    let (mut rig, known, durable, tail) = half_durable(5);
    let journal = [journaled(&tail[1..2], 21, 21), journaled(&tail[3..5], 23, 22)];
    let (log, report) = rig.recover(&known, &journal);
    assert_eq!((report.replayed_messages, report.accepted_messages), (3, 2));
    assert_eq!(read_all(&log.reader(), log.end()), ([durable, tail].concat(), vec![]));
}

#[test]
fn a_batch_staged_again_takes_the_place_of_the_first() {
    let (mut rig, known, durable, _) = half_durable(6);
    let old = [message(20, 7, b"old"), message(21, 7, b"old")];
    let new = [message(20, 8, b"new")];
    let journal =
        [journaled(&old[..1], 20, 20), journaled(&old[1..], 21, 20), journaled(&new, 20, 20)];
    let (log, _) = rig.recover(&known, &journal);
    assert_eq!(read_all(&log.reader(), log.end()), ([durable, new.to_vec()].concat(), vec![]));
}

/// A log over several segments of which no checkpoint knows.
fn unknown_segments(rig: &mut Rig) -> (Log, Vec<Vec<u8>>) {
    rig.options.segment_bytes = 1_000;
    let mut log = rig.create();
    let mut all = Vec::new();
    for at in 0..40 {
        let one = message(at, at, &[at as u8; 60]);
        append(&mut log, std::slice::from_ref(&one)).unwrap();
        all.push(one);
    }
    (log, all)
}

#[test]
fn segments_made_since_the_checkpoint_are_found_one_after_the_other() {
    let mut rig = Rig::new(7);
    let (log, all) = unknown_segments(&mut rig);
    let segments = log.stats().segments;
    drop(log);
    rig.disk.kill();
    let (log, report) = rig.recover(&LogCheckpoint::default(), &[]);
    assert_eq!(report.accepted_messages, 40);
    assert_eq!(log.stats().segments, segments);
    assert_eq!(read_all(&log.reader(), log.end()), (all, vec![]));
}

#[test]
fn a_segment_that_cannot_be_reached_is_set_aside() {
    let mut rig = Rig::new(8);
    let (log, all) = unknown_segments(&mut rig);
    let second = log.sealed()[1].base.get();
    let third = log.sealed()[2].base.get();
    drop(log);
    rig.disk.kill();
    let removed = rig.path(&format!("{second:020}.log"));
    rig.disk.remove_file(&removed).unwrap();
    let (mut log, report) = rig.recover(&LogCheckpoint::default(), &[]);
    assert_eq!(log.end().get(), second);
    assert!(names(&rig).contains(&format!("{third:020}.log.cut")), "{:?}", names(&rig));
    assert_eq!(report.kept_aside.len() as u64, names(&rig).len() as u64 - 1);
    append(&mut log, &[message(second, 99, b"again")]).unwrap();
    let (found, _) = read_all(&log.reader(), log.end());
    assert_eq!(found[..second as usize], all[..second as usize]);
}

#[test]
fn acknowledged_messages_that_are_missing_are_fenced_and_later_ones_kept() {
    // The file lost what a sync had acknowledged, and the journal proves that it was.
    let mut rig = Rig::new(9);
    rig.options.segment_bytes = 1 << 20;
    let mut log = rig.create();
    let all: Vec<_> = (0..10).map(|at| message(at, at, &[at as u8; 90])).collect();
    append(&mut log, &all[..8]).unwrap();
    append(&mut log, &all[8..]).unwrap();
    drop(log);
    rig.disk.kill();
    let position = all[0].len() as u64 * 3 + 70;
    rig.disk.flip_bit(&rig.path(FIRST), position, 0).unwrap();
    let journal = [journaled(&all[8..], 8, 8)];
    for _ in 0..2 {
        let (log, report) = rig.recover(&LogCheckpoint::default(), &journal);
        assert!(report.acknowledged_missing());
        assert_eq!(
            (report.missing.clone(), report.fenced.clone()),
            (vec![range(3, 4)], vec![range(3, 4)])
        );
        let (found, fences) = read_all(&log.reader(), log.end());
        assert_eq!(fences, vec![(3, 4)]);
        assert_eq!(found, [&all[..3], &all[4..]].concat());
    }
}

#[test]
fn a_lost_file_is_fenced_up_to_what_the_journal_still_has() {
    let mut rig = Rig::new(10);
    let kept: Vec<_> = (8..10).map(|at| message(at, at, &[at as u8; 90])).collect();
    let (mut log, report) = rig.recover(&LogCheckpoint::default(), &[journaled(&kept, 8, 8)]);
    assert_eq!(report.missing, vec![range(0, 8)]);
    assert_eq!(read_all(&log.reader(), log.end()), (kept.clone(), vec![(0, 8)]));
    append(&mut log, &[message(10, 20, b"next")]).unwrap();
    sync(&mut log).unwrap();
    let known = log.checkpoint();
    drop(log);
    let (log, report) = rig.recover(&known, &[]);
    assert_eq!(report.fenced, vec![range(0, 8)]);
    assert_eq!(read_all(&log.reader(), log.end()).0[..2], kept);
}

#[test]
fn a_journaled_batch_that_was_not_acknowledged_goes_when_its_neighbor_did() {
    // Its high watermark does not cover what came before it, so nothing proves a loss.
    let mut rig = Rig::new(11);
    let later = [message(8, 9, b"later")];
    let (log, report) = rig.recover(&LogCheckpoint::default(), &[journaled(&later, 8, 0)]);
    assert!(!report.acknowledged_missing());
    assert_eq!(log.end(), Offset::ZERO);
}

/// Below the start a whole message that is earlier than the one before it was found, not taken, and found again: the start
/// never ended.
#[test]
fn a_message_that_is_too_early_is_stepped_over_below_the_start() {
    let mut rig = Rig::new(13);
    let times = [5, 6, 3, 7, 8, 9];
    let all: Vec<_> = (0..6).zip(times).map(|(at, time)| message(at, time, b"m")).collect();
    rig.disk.create_dir_all(std::path::Path::new(DIR)).unwrap();
    let file = rig.disk.open(&rig.path(FIRST), OpenMode::Create).unwrap();
    file.write_at(&all.concat(), 0).unwrap();
    let active = ActiveSegment {
        base: Offset::ZERO,
        durable_bytes: all[0].len() as u64,
        durable_end: Offset::new(1),
        last_timestamp: Timestamp::new(5),
        running_checksum: None,
    };
    let start = Offset::new(4);
    let known = LogCheckpoint { start, sealed: Vec::new(), active: Some(active) };
    let (log, report) = rig.recover(&known, &[]);
    assert_eq!((log.end(), report.missing), (Offset::new(6), vec![]));
    assert_eq!(read_all(&log.reader(), log.end()), (all[4..].to_vec(), vec![]));
}

/// INV-BOUNDARY.
#[test]
fn segments_below_the_start_go_whatever_the_checkpoint_lists() {
    let mut rig = Rig::new(12);
    let (mut log, all) = unknown_segments(&mut rig);
    sync(&mut log).unwrap();
    let mut known = log.checkpoint();
    let start = known.sealed[1].end;
    drop(log);
    // The move of the start is on record; the removal had only begun.
    rig.disk.remove_file(&rig.path(FIRST)).unwrap();
    known.start = start;
    let (log, report) = rig.recover(&known, &[]);
    assert_eq!(report.fenced, vec![]);
    assert_eq!(log.reader().start(), start);
    assert_eq!(read_all(&log.reader(), log.end()).0, all[start.get() as usize..]);
    assert!(!names(&rig).iter().any(|name| name.as_str() < &*format!("{:020}", start.get())));
}

#[test]
fn retention_past_everything_the_checkpoint_knew_loses_nothing() {
    let mut rig = Rig::new(13);
    rig.options.segment_bytes = 1_000;
    let mut log = rig.create();
    append(&mut log, &[message(0, 0, b"x")]).unwrap();
    sync(&mut log).unwrap();
    let mut known = log.checkpoint();
    for at in 1..40 {
        append(&mut log, &[message(at, at, &[at as u8; 60])]).unwrap();
    }
    sync(&mut log).unwrap();
    let start = log.sealed()[1].end;
    log.drop_before(start).unwrap();
    let kept = read_all(&log.reader(), log.end());
    drop(log);
    known.start = start;
    rig.disk.crash(1);
    let (log, report) = rig.recover(&known, &[]);
    assert_eq!((log.end(), report.fenced), (Offset::new(40), vec![]));
    assert_eq!(read_all(&log.reader(), log.end()), kept);
}

#[test]
fn journaled_messages_below_the_start_are_not_missed() {
    // Retention had removed segments that the last checkpoint did not know yet, while the journal
    // still held a part of their messages. Recovery took the rest of them for lost, reported
    // acknowledged messages missing and wrote the journal's part anew; now it begins at the start.
    let mut rig = Rig::new(16);
    rig.options.segment_bytes = 300;
    let mut log = rig.create();
    let all: Vec<_> = (0..12).map(|at| message(at, at, &[at as u8; 100])).collect();
    for one in &all {
        append(&mut log, std::slice::from_ref(one)).unwrap();
    }
    sync(&mut log).unwrap();
    let start = log.sealed()[2].end;
    log.drop_before(start).unwrap();
    drop(log);
    rig.disk.kill();
    let known = LogCheckpoint { start, ..LogCheckpoint::default() };
    let first = start.get() as usize;
    let journal = [journaled(&all[2..4], 2, 2), journaled(&all[5..6], 5, 5)];
    let before = names(&rig);
    let (log, report) = rig.recover(&known, &journal);
    assert!(!report.acknowledged_missing(), "{report:?}");
    assert_eq!(report.replayed_messages, 0);
    assert_eq!(read_all(&log.reader(), log.end()), (all[first..].to_vec(), vec![]));
    assert_eq!(names(&rig), before);
}

#[test]
fn a_checkpoint_that_contradicts_itself_is_refused() {
    let mut rig = Rig::new(14);
    let (mut log, _) = unknown_segments(&mut rig);
    sync(&mut log).unwrap();
    let mut known = log.checkpoint();
    known.sealed.remove(1);
    let refused = rig.try_recover(&known, &[]).err();
    assert!(matches!(refused, Some(LogRecoverError::Checkpoint { .. })), "{refused:?}");
}

/// INV-REPEAT.
#[test]
fn a_start_with_nothing_to_do_opens_no_file_and_writes_nothing() {
    let (mut rig, known, durable, tail) = half_durable(15);
    let (log, _) = rig.recover(&known, &[]);
    let known = log.checkpoint();
    drop(log);
    rig.disk.plan(Default::default());
    let (log, report) = rig.recover(&known, &[]);
    assert_eq!(rig.disk.operations(), 0);
    assert_eq!(report, Default::default());
    assert_eq!(read_all(&log.reader(), log.end()).0, [durable, tail].concat());
}
