//! A disk that refuses: the end of the log stays where it was, and a failed sync fences.

use crate::rig::{Rig, append, message, read_all, sync};
use galgo_storage::checkpoint::LogCheckpoint;
use galgo_storage::disk::sim::FaultPlan;
use galgo_storage::log::{AppendBatch, AppendError, LocateRequest, Log};
use galgo_wire::id::{Offset, Timestamp};

fn fill(log: &mut Log, count: u64) -> Vec<Vec<u8>> {
    let first = log.end().get();
    let all: Vec<_> = (first..first + count).map(|at| message(at, at, &[at as u8; 50])).collect();
    append(log, &all).unwrap();
    all
}

/// INV-END.
#[test]
fn a_failed_write_is_taken_back_and_the_next_one_works() {
    let mut rig = Rig::new(1);
    let mut log = rig.create();
    let mut all = fill(&mut log, 3);
    rig.disk.plan(FaultPlan { fail_write: Some(1), ..FaultPlan::default() });
    let batch = [message(3, 9, &[1; 3_000]), message(4, 9, &[2; 3_000])];
    let refused = append(&mut log, &batch);
    assert!(matches!(refused, Err(AppendError::Disk { .. })), "{refused:?}");
    assert_eq!(log.end(), Offset::new(3));
    all.extend(fill(&mut log, 2));
    assert_eq!(read_all(&log.reader(), log.end()), (all.clone(), vec![]));
    drop(log);
    rig.disk.kill();
    let (log, _) = rig.recover(&LogCheckpoint::default(), &[]);
    assert_eq!(read_all(&log.reader(), log.end()), (all, vec![]), "no part of the failed batch");
}

/// INV-LOG-FENCE.
#[test]
fn a_write_that_cannot_be_taken_back_fences_the_log() {
    let mut rig = Rig::new(2);
    let mut log = rig.create();
    let all = fill(&mut log, 3);
    // The write stops the disk in the middle, so cutting the file fails as well.
    rig.disk.plan(FaultPlan { stop_at: Some(1), ..FaultPlan::default() });
    assert!(append(&mut log, &[message(3, 9, &[1; 3_000])]).is_err());
    assert!(log.is_fenced());
    rig.disk.kill();
    let refused = append(&mut log, &[message(3, 9, b"x")]);
    assert!(matches!(refused, Err(AppendError::Fenced)), "{refused:?}");
    drop(log);
    let (log, _) = rig.recover(&LogCheckpoint::default(), &[]);
    assert_eq!(read_all(&log.reader(), log.end()).0[..3], all);
}

#[test]
fn a_full_disk_refuses_and_takes_again_when_there_is_room() {
    let rig = Rig::new(3);
    let mut log = rig.create();
    let all = fill(&mut log, 10);
    rig.disk.plan(FaultPlan { bytes_max: Some(1_500), ..FaultPlan::default() });
    for _ in 0..3 {
        let refused = append(&mut log, &[message(10, 50, &[0; 800])]);
        assert!(matches!(refused, Err(AppendError::Disk { .. })), "{refused:?}");
        assert_eq!(log.end(), Offset::new(10));
    }
    assert!(!log.is_fenced());
    rig.disk.plan(FaultPlan::default());
    append(&mut log, &[message(10, 50, &[0; 800])]).unwrap();
    assert_eq!(read_all(&log.reader(), Offset::new(10)), (all, vec![]));
}

#[test]
fn a_directory_that_cannot_be_made_refuses_the_append() {
    let rig = Rig::new(4);
    let mut log = rig.create();
    rig.disk.plan(FaultPlan { read_only: true, ..FaultPlan::default() });
    assert!(matches!(append(&mut log, &[message(0, 1, b"x")]), Err(AppendError::Disk { .. })));
    assert_eq!(log.end(), Offset::ZERO);
    rig.disk.plan(FaultPlan::default());
    append(&mut log, &[message(0, 1, b"x")]).unwrap();
}

#[test]
fn a_segment_that_cannot_be_made_refuses_the_append_and_loses_nothing() {
    // The roll seals the full segment first; when the new file fails, the log has no active one.
    let mut rig = Rig::new(5);
    rig.options.segment_bytes = 1;
    let mut log = rig.create();
    let mut all = fill(&mut log, 2);
    rig.disk.plan(FaultPlan { read_only: true, ..FaultPlan::default() });
    assert!(append(&mut log, &[message(2, 9, b"x")]).is_err());
    assert_eq!(log.end(), Offset::new(2));
    assert_eq!(read_all(&log.reader(), log.end()), (all.clone(), vec![]));
    rig.disk.plan(FaultPlan::default());
    sync(&mut log).unwrap();
    let known = log.checkpoint();
    assert_eq!((known.sealed.len(), &known.active), (1, &None));
    rig.disk.crash(1);
    let (mut log, _) = rig.recover(&known, &[]);
    all.extend(fill(&mut log, 2));
    assert_eq!(read_all(&log.reader(), log.end()), (all, vec![]));
}

/// INV-CHECKPOINT.
#[test]
fn a_failed_sync_fences_the_log_and_makes_nothing_durable() {
    let mut rig = Rig::new(6);
    let mut log = rig.create();
    let all = fill(&mut log, 4);
    sync(&mut log).unwrap();
    let known = log.checkpoint();
    fill(&mut log, 4);
    let dirty = log.dirty();
    rig.disk.plan(FaultPlan { fail_sync: Some(1), ..FaultPlan::default() });
    assert!(dirty.sync().is_err());
    assert!(log.is_fenced());
    assert!(matches!(append(&mut log, &[message(8, 9, b"x")]), Err(AppendError::Fenced)));
    // The next sync of the same file succeeds in the kernel, and means nothing.
    assert!(log.dirty().sync().is_err());
    log.synced(&dirty);
    assert_eq!(log.checkpoint(), known);
    log.rewind(Offset::new(4));
    assert_eq!(log.end(), Offset::new(4));
    assert_eq!(read_all(&log.reader(), log.end()), (all, vec![]));
    rig.restart();
}

/// Messages that were written and never reached the disk went on to be served unchecked, from whatever
/// the disk gave back for them once the page cache had let them go.
#[test]
fn after_a_failed_sync_what_was_written_is_checked_before_it_is_served() {
    let rig = Rig::new(9);
    let mut log = rig.create();
    fill(&mut log, 4);
    let request =
        LocateRequest { from: Offset::ZERO, count_max: 9, bytes_max: 1 << 20, upto: log.end() };
    assert!(log.reader().locate(request).unwrap().slices.iter().all(|slice| slice.verified));
    rig.disk.plan(FaultPlan { fail_sync: Some(1), ..FaultPlan::default() });
    assert!(log.dirty().sync().is_err());
    assert!(log.reader().locate(request).unwrap().slices.iter().all(|slice| !slice.verified));
}

#[test]
fn a_sync_begun_before_a_rewind_counts_for_nothing() {
    let rig = Rig::new(7);
    let mut log = rig.create();
    fill(&mut log, 4);
    sync(&mut log).unwrap();
    fill(&mut log, 4);
    let dirty = log.dirty();
    dirty.sync().unwrap();
    log.rewind(Offset::new(4));
    fill(&mut log, 1);
    log.synced(&dirty);
    assert_eq!(log.checkpoint().active.unwrap().durable_end, Offset::new(4));
}

/// INV-CHECKPOINTED.
#[test]
fn what_a_checkpoint_called_durable_is_not_taken_back() {
    let rig = Rig::new(8);
    let mut log = rig.create();
    let all = fill(&mut log, 4);
    sync(&mut log).unwrap();
    log.checkpoint();
    log.rewind(Offset::new(2));
    assert!(log.is_fenced());
    assert_eq!(read_all(&log.reader(), log.end()), (all, vec![]));
}

#[test]
fn a_batch_that_is_not_what_it_says_is_refused_before_anything_is_written() {
    let rig = Rig::new(9);
    let mut log = rig.create();
    fill(&mut log, 4);
    let operations = rig.disk.operations();
    let try_append = |log: &mut Log, base: u64, count: u32, timestamp: u64, bytes: &[u8]| {
        let (base_offset, timestamp) = (Offset::new(base), Timestamp::new(timestamp));
        log.append(AppendBatch { base_offset, count, timestamp, bytes, walked: None })
    };
    let good = message(4, 9, b"payload");
    let refused = try_append(&mut log, 5, 1, 9, &message(5, 9, b"x"));
    assert!(matches!(refused, Err(AppendError::OutOfOrder { .. })));
    let refused = try_append(&mut log, 4, 1, 2, &message(4, 2, b"x"));
    assert!(matches!(refused, Err(AppendError::TimeWentBack { .. })));
    assert!(matches!(try_append(&mut log, 4, 0, 9, &[]), Err(AppendError::Malformed { .. })));
    for (count, bytes) in [
        (2, good.clone()),
        (1, good[..good.len() - 1].to_vec()),
        (1, [good.clone(), vec![0]].concat()),
        (2, [good.clone(), message(6, 9, b"gap")].concat()),
        (2, [good.clone(), message(5, 2, b"early")].concat()),
        (1, message(7, 9, b"elsewhere")),
    ] {
        let refused = try_append(&mut log, 4, count, 9, &bytes);
        assert!(matches!(refused, Err(AppendError::Malformed { .. })), "{refused:?}");
    }
    assert_eq!(rig.disk.operations(), operations);
    try_append(&mut log, 4, 1, 9, &good).unwrap();
}

#[test]
fn a_segment_removed_by_retention_does_not_fail_a_sync_under_way() {
    let mut rig = Rig::new(10);
    rig.options.segment_bytes = 1;
    let mut log = rig.create();
    for _ in 0..4 {
        fill(&mut log, 1);
    }
    let dirty = log.dirty();
    assert_eq!(log.drop_before(Offset::new(3)).unwrap(), 3);
    dirty.sync().unwrap();
    log.synced(&dirty);
    assert!(log.dirty().is_empty());
    let known = log.checkpoint();
    assert_eq!((known.start, known.sealed.len()), (Offset::new(3), 0));
}
