//! The index is a hint: whatever happens to its file, reads are right, and it is made anew.

use crate::rig::{Rig, append, messages, read_all, sync, timestamp_of};
use galgo_storage::checkpoint::LogCheckpoint;
use galgo_storage::disk::sim::SplitMix;
use galgo_storage::disk::{Disk, OpenMode};
use galgo_storage::log::LocateRequest;
use galgo_wire::id::Timestamp;
use std::path::{Path, PathBuf};

fn written(seed: u64) -> (Rig, LogCheckpoint, Vec<Vec<u8>>) {
    let rig = Rig::new(seed);
    let mut random = SplitMix::new(seed);
    let mut log = rig.create();
    let mut all = Vec::new();
    for batch in 0..30 {
        let batch = messages(&mut random, all.len() as u64, 100 + batch / 2, (6, 150));
        append(&mut log, &batch).unwrap();
        all.extend(batch);
    }
    sync(&mut log).unwrap();
    let known = log.checkpoint();
    (rig, known, all)
}

fn index_files(rig: &Rig) -> Vec<(PathBuf, u64)> {
    let files = rig.disk.files().into_iter();
    files.filter(|(path, _)| path.to_string_lossy().ends_with(".index")).collect()
}

/// Everything is read as it was written, by offset and by time, and nothing is fenced.
fn check(rig: &mut Rig, known: &LogCheckpoint, all: &[Vec<u8>], what: &str) {
    let (log, report) = rig.recover(known, &[]);
    assert_eq!(report.fenced, vec![], "{what}");
    let reader = log.reader();
    for timestamp in 99..117 {
        let found = reader.offset_at(Timestamp::new(timestamp), log.end()).unwrap();
        let expected = all.iter().position(|message| timestamp_of(message) >= timestamp);
        assert_eq!(found.map(|found| found.get() as usize), expected, "{what} time {timestamp}");
    }
    let (found, fences) = read_all(&reader, log.end());
    assert_eq!(fences, vec![], "{what}");
    assert!(found == all, "{what}");
    assert_eq!(reader.damaged_ranges(), 0, "{what}");
}

#[test]
fn a_deleted_index_is_made_anew() {
    let (mut rig, known, all) = written(1);
    let before: Vec<_> = index_files(&rig)
        .iter()
        .map(|(path, _)| (path.clone(), rig.disk.contents(path).unwrap()))
        .collect();
    assert!(before.len() >= 3);
    for (path, _) in &before {
        rig.disk.remove_file(path).unwrap();
    }
    check(&mut rig, &known, &all, "deleted");
    // Those of sealed segments are back, the same as they were.
    let active = rig.path(&format!("{:020}.index", known.active.as_ref().unwrap().base.get()));
    for (path, contents) in before.iter().filter(|(path, _)| *path != active) {
        assert_eq!(rig.disk.contents(path).as_ref(), Some(contents), "{}", path.display());
    }
}

#[test]
fn an_index_cut_anywhere_is_completed() {
    let (mut rig, known, all) = written(2);
    let pristine = rig.disk.kill_image();
    for (path, len) in index_files(&rig) {
        for keep in 0..len {
            rig.disk = pristine.kill_image();
            rig.disk.open(&path, OpenMode::ReadWrite).unwrap().set_len(keep).unwrap();
            check(&mut rig, &known, &all, &format!("{} cut at {keep}", path.display()));
        }
    }
}

/// INV-INDEX.
#[test]
fn a_flipped_bit_in_an_index_changes_nothing() {
    let (mut rig, known, all) = written(3);
    let pristine = rig.disk.kill_image();
    for (path, len) in index_files(&rig) {
        for position in 0..len {
            rig.disk = pristine.kill_image();
            rig.disk.flip_bit(&path, position, (position % 8) as u8).unwrap();
            check(&mut rig, &known, &all, &format!("{} byte {position}", path.display()));
        }
    }
}

#[test]
fn garbage_in_place_of_an_index_is_replaced() {
    let (mut rig, known, all) = written(4);
    let mut random = SplitMix::new(4);
    for (path, _) in index_files(&rig) {
        let garbage: Vec<u8> = (0..5_000).map(|_| random.below(256) as u8).collect();
        overwrite(&rig, &path, &garbage);
    }
    check(&mut rig, &known, &all, "garbage");
}

#[test]
fn an_index_of_another_log_is_not_believed() {
    // Entries with right checksums, of a log with other messages at the same offsets: what a crash
    // after a rewind can leave.
    let (mut rig, known, all) = written(5);
    let (stranger, _, _) = written(6);
    for (path, _) in index_files(&rig) {
        if let Some(contents) = stranger.disk.contents(&path) {
            overwrite(&rig, &path, &contents);
        }
    }
    check(&mut rig, &known, &all, "another log");
}

#[test]
fn an_unreadable_index_is_done_without() {
    let (mut rig, known, all) = written(7);
    let plan = galgo_storage::disk::sim::FaultPlan {
        fail_reads_of: Some(".index".to_owned()),
        ..Default::default()
    };
    rig.disk.plan(plan);
    check(&mut rig, &known, &all, "unreadable");
}

fn overwrite(rig: &Rig, path: &Path, bytes: &[u8]) {
    let file = rig.disk.open(path, OpenMode::Create).unwrap();
    file.set_len(0).unwrap();
    file.write_at(bytes, 0).unwrap();
}

#[test]
fn a_search_that_may_not_wait_gives_up_where_the_disk_is_needed() {
    let (mut rig, known, _) = written(9);
    let (log, _) = rig.recover(&known, &[]);
    let reader = log.reader();
    let oldest = known.sealed.first().unwrap().base;
    let wanted = LocateRequest { from: oldest, count_max: 2, bytes_max: 1 << 20, upto: log.end() };
    assert!(reader.locate_cached(wanted).unwrap().is_none(), "the index is not in memory");
    let located = reader.locate(wanted).unwrap();
    let again = reader.locate_cached(wanted).unwrap().unwrap();
    assert_eq!((again.count, again.bytes), (located.count, located.bytes));
    rig.disk.drop_caches();
    assert!(reader.locate_cached(wanted).unwrap().is_none(), "no header is in the page cache");
    assert_eq!(reader.locate(wanted).unwrap().count, 2);
    assert!(reader.locate_cached(wanted).unwrap().is_some());
    let nothing = LocateRequest { from: log.end(), ..wanted };
    assert_eq!(reader.locate_cached(nothing).unwrap().unwrap().count, 0, "nothing is read there");
}
