//! What damage does to a metadata log: in one place it is repaired from the other, in both it is told.

use super::*;
use crate::metadata_log::format::encode_snapshot;
use crate::metadata_log::side::log_path;
use crate::replace_file::replace_file;

/// Without padding, which no checksum covers.
const RECORDS: [&[u8]; 3] = [b"record 1", b"record 2", b"the third record is the last one"];

/// Ways in which a disk loses what it held.
const KINDS: [&str; 4] = ["flip", "cut", "zeros to the end", "zeroed sector"];

/// A log with a snapshot and records behind it, closed.
fn disk_with_log() -> SimDisk {
    let disk = SimDisk::new(1);
    let mut log = log_of(&disk, &[b"before"]);
    log.snapshot(b"state").unwrap();
    RECORDS.iter().for_each(|record| log.append(record).unwrap());
    disk
}

fn damage(disk: &SimDisk, path: &Path, position: u64, kind: &str) {
    let file = disk.open(path, OpenMode::ReadWrite).unwrap();
    let len = file.len().unwrap();
    match kind {
        "flip" => disk.flip_bit(path, position, 2).unwrap(),
        "cut" => file.set_len(position).unwrap(),
        "zeros to the end" => {
            file.write_at(&vec![0; (len - position) as usize], position).unwrap();
        }
        _ => file.write_at(&vec![0; len as usize], 0).unwrap(),
    }
    file.sync_data().unwrap();
}

fn files(disk: &SimDisk) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    disk.files().into_iter().map(|(path, _)| (path.clone(), disk.contents(&path))).collect()
}

fn assert_whole(recovered: &RecoveredMetadata, what: &str) {
    assert_eq!(recovered.snapshot.as_deref(), Some(&b"state"[..]), "{what}");
    assert_eq!(recovered.records, RECORDS, "{what}");
}

/// One flipped bit of the last record looked like an append that had not come to its end: the topic it
/// had created was gone, "never acknowledged", and the next topic got its partition and its messages.
#[test]
fn damage_anywhere_in_one_place_is_repaired_from_the_other() {
    let tail = "00000000000000000002.log";
    for (dir, name) in [(DIR, tail), (DIR, "snapshot"), (COPY, tail), (COPY, "snapshot")] {
        let path = Path::new(dir).join(name);
        let len = disk_with_log().contents(&path).unwrap().len() as u64;
        for (position, kind) in (0..len).flat_map(|at| KINDS.map(|kind| (at, kind))) {
            let what = format!("{kind} at byte {position} of {}", path.display());
            let disk = disk_with_log();
            let sound = disk.contents(&path).unwrap();
            damage(&disk, &path, position, kind);
            let changed = disk.contents(&path).unwrap() != sound;
            let (mut log, recovered) = open(&disk).expect(&what);
            assert_whole(&recovered, &what);
            // The last record of the copy may also be an append that was cut short there.
            if changed && dir == DIR && recovered.repaired.is_empty() {
                assert!(position < 32, "{what}: not told");
            }
            log.append(b"next").unwrap();
            drop(log);
            // Both places are whole again: losing either as a whole loses nothing.
            for lost in [DIR, COPY] {
                let image = disk.power_cut_image(position);
                image.remove_dir_all(Path::new(lost)).unwrap();
                let (_, again) = open(&image).expect(&what);
                let (last, before) = again.records.split_last().unwrap();
                assert_eq!((before, &last[..]), (&recovered.records[..], &b"next"[..]), "{what}");
            }
        }
    }
}

#[test]
fn repair_that_stops_at_any_operation_is_done_again() {
    let path = Path::new(DIR).join("00000000000000000002.log");
    for stop_at in 1..40 {
        for position in [4, 40, 100] {
            let disk = disk_with_log();
            damage(&disk, &path, position, "flip");
            damage(&disk, &Path::new(COPY).join("snapshot"), 44, "flip");
            disk.plan(FaultPlan { stop_at: Some(stop_at), ..FaultPlan::default() });
            let _ = open(&disk);
            disk.crash(stop_at);
            disk.plan(FaultPlan::default());
            let (_, recovered) = open(&disk).unwrap();
            assert_whole(&recovered, "INV-META-WHOLE");
        }
    }
}

#[test]
fn the_same_record_damaged_in_both_places_is_an_error_and_changes_nothing() {
    let tail = "00000000000000000002.log";
    for position in 32..32 + 3 * 32 {
        let disk = disk_with_log();
        for dir in [DIR, COPY] {
            disk.flip_bit(&Path::new(dir).join(tail), position, 2).unwrap();
        }
        let before = files(&disk);
        match open(&disk).map(|(_, recovered)| recovered) {
            Err(MetadataLogError::Damaged { path, position: at }) => {
                assert_eq!(path, Path::new(DIR).join(tail));
                assert!(at <= position && position < at + 56, "{at} named, {position} flipped");
                assert_eq!(files(&disk), before);
            }
            // Padding is covered by nothing.
            Ok(recovered) => assert_whole(&recovered, "padding"),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn what_is_lost_in_both_places_is_given_up_only_when_that_is_accepted() {
    let tail = "00000000000000000002.log";
    let disk = disk_with_log();
    for dir in [DIR, COPY] {
        // In the second of the three.
        disk.flip_bit(&Path::new(dir).join(tail), 32 + 32 + 2, 2).unwrap();
    }
    let read = |doubt| FoundLog::read(Arc::new(disk.clone()), &dirs(), doubt);
    assert!(read(Doubt::Refuse).is_err());
    let (mut log, recovered) = read(Doubt::GiveUp).unwrap().settle().unwrap();
    assert_eq!(recovered.records, RECORDS[..1]);
    assert_eq!(recovered.given_up.len(), 2);
    log.append(b"next").unwrap();
    let (_, again) = open(&disk).unwrap();
    assert_eq!(again.records, [RECORDS[0], b"next"]);
    // What was given up is kept for people to look at.
    for dir in [DIR, COPY] {
        let aside = Path::new(dir).join(format!("{tail}.damaged"));
        assert!(disk.contents(&aside).unwrap().ends_with(b"last one"));
    }
}

/// A place whose old file a stop left there is damaged in what the snapshot covers: what is behind it in that
/// file is in the other place, too, unless that is lost as well.
#[test]
fn damage_in_what_the_snapshot_covers_is_repaired_from_the_other_place() {
    let tail = "00000000000000000002.log";
    for dir in [DIR, COPY] {
        let disk = disk_with_log();
        let (old, new) = (Path::new(dir).join(FIRST), Path::new(dir).join(tail));
        disk.remove_file(&new).unwrap();
        put_log(&disk, dir, 1, &[b"before", RECORDS[0], RECORDS[1], RECORDS[2]]);
        let (_, recovered) = open(&SimDisk::clone(&disk.kill_image())).unwrap();
        assert_whole(&recovered, "undamaged");
        // In the record that the snapshot covers, behind the header of the file.
        disk.flip_bit(&old, 32 + 4, 2).unwrap();
        let one_alone = disk.kill_image();
        let (_, recovered) = open(&disk).unwrap();
        assert_whole(&recovered, dir);
        assert_eq!(recovered.repaired, std::slice::from_ref(&old));
        let aside = old.with_extension("log.damaged");
        assert!(disk.contents(&aside).unwrap().ends_with(b"last one"));
        // Another time: the first damaged file is kept as well.
        replace_file(&disk, &old, &one_alone.contents(&old).unwrap()).unwrap();
        disk.remove_file(&new).unwrap();
        disk.flip_bit(&old, 32 + 4, 3).unwrap();
        assert_whole(&open(&disk).unwrap().1, dir);
        assert!(disk.exists(&old.with_extension("log.damaged-2")).unwrap());

        let other = Path::new(if dir == DIR { COPY } else { DIR }).join(tail);
        one_alone.remove_file(&other).unwrap();
        let read = |doubt| FoundLog::read(Arc::new(one_alone.clone()), &dirs(), doubt);
        assert!(matches!(read(Doubt::Refuse), Err(MetadataLogError::Damaged { .. })), "{dir}");
        let (_, recovered) = read(Doubt::GiveUp).unwrap().settle().unwrap();
        assert_eq!(recovered.records, Vec::<Vec<u8>>::new());
        assert_eq!(recovered.given_up, [(old, 32)], "{dir}");
    }
}

/// The log file of a place, with these records from `first` on.
fn put_log(disk: &SimDisk, dir: &str, first: u64, records: &[&[u8]]) -> PathBuf {
    let mut bytes = encode_log_header(first).to_vec();
    for (sequence, record) in (first..).zip(records) {
        bytes.extend_from_slice(&encode_record(sequence, record));
    }
    let path = log_path(Path::new(dir), first);
    replace_file(disk, &path, &bytes).unwrap();
    path
}

/// What was acknowledged last is sound in a file that is given up for an older record, and lost in the place
/// that goes on: not an append that was not finished.
#[test]
fn the_last_record_that_only_a_file_given_up_holds_refuses() {
    for (dir, lost) in [(COPY, DIR), (DIR, COPY)] {
        let disk = disk_with_log();
        disk.remove_file(&log_path(Path::new(dir), 2)).unwrap();
        let records = [b"before", RECORDS[0], RECORDS[1], RECORDS[2], b"one more"];
        let old = put_log(&disk, dir, 1, &records);
        put_log(&disk, lost, 2, &RECORDS);
        disk.flip_bit(&old, 32 + 4, 2).unwrap();
        let found = open(&disk).map(|(_, recovered)| recovered);
        if dir == COPY {
            assert!(matches!(found, Err(MetadataLogError::Damaged { .. })), "in the copy");
            let found = FoundLog::read(Arc::new(disk), &dirs(), Doubt::GiveUp).unwrap();
            assert_eq!(found.recovered().given_up, [(old, 32)]);
        } else {
            // The first place may be ahead by one that was not acknowledged.
            assert_whole(&found.unwrap(), "in the first");
        }
    }
}

/// The place that is whole goes on in the middle of what the snapshot covers.
#[test]
fn covered_damage_is_passed_over_to_where_the_other_place_goes_on() {
    let disk = disk_with_log();
    for (dir, first) in [(DIR, 1), (COPY, 2)] {
        replace_file(
            &disk,
            &Path::new(dir).join("snapshot"),
            &encode_snapshot(if dir == DIR { 4 } else { 1 }, b"state"),
        )
        .unwrap();
        disk.remove_file(&log_path(Path::new(dir), 2)).unwrap();
        let records = [b"before", RECORDS[0], RECORDS[1], RECORDS[2]];
        let path = put_log(&disk, dir, first, &records[first as usize - 1..]);
        if dir == DIR {
            disk.flip_bit(&path, 32 + 4, 2).unwrap();
        }
    }
    let (mut log, recovered) = open(&disk).unwrap();
    assert_eq!((recovered.snapshot.as_deref(), recovered.records.len()), (Some(&b"state"[..]), 0));
    log.append(b"next").unwrap();
    drop(log);
    assert_eq!(open(&disk).unwrap().1.records, [b"next"]);
}

/// An append is durable in the first place before it is begun in the copy, so bytes in the copy alone are
/// the remains of a record that was acknowledged.
#[test]
fn torn_record_in_the_copy_alone_is_damage_in_both() {
    let disk = disk_with_log();
    let tail = "00000000000000000002.log";
    let (first, copy) = (Path::new(DIR).join(tail), Path::new(COPY).join(tail));
    let len = disk.contents(&first).unwrap().len() as u64;
    damage(&disk, &first, len - 56, "cut");
    disk.flip_bit(&copy, len - 20, 2).unwrap();
    assert!(matches!(open(&disk), Err(MetadataLogError::Damaged { .. })));
}

#[test]
fn a_log_that_has_no_copy_yet_gets_one() {
    let disk = disk_with_log();
    disk.remove_dir_all(Path::new(COPY)).unwrap();
    let (_, recovered) = open(&disk).unwrap();
    assert_whole(&recovered, "without a copy");
    assert_eq!(recovered.repaired, Vec::<PathBuf>::new());
    for name in ["snapshot", "00000000000000000002.log"] {
        let contents = |dir: &str| disk.contents(&Path::new(dir).join(name)).unwrap();
        assert_eq!(contents(DIR), contents(COPY), "{name}");
    }
}

#[test]
fn a_log_and_a_copy_of_another_one_are_refused() {
    let disk = disk_with_log();
    let other = SimDisk::new(2);
    let mut log = log_of(&other, &[b"before"]);
    log.snapshot(b"state").unwrap();
    log.append(b"ONE").unwrap();
    let tail = "00000000000000000002.log";
    let foreign = other.contents(&Path::new(COPY).join(tail)).unwrap();
    let file = disk.open(&Path::new(COPY).join(tail), OpenMode::ReadWrite).unwrap();
    file.write_at(&foreign, 0).unwrap();
    let before = files(&disk);
    assert!(matches!(open(&disk), Err(MetadataLogError::Differ { sequence: 2, .. })));
    assert_eq!(files(&disk), before);
}
