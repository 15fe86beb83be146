//! Damaged files: wrong bytes are never served, and whatever is not damaged still is.

use crate::rig::{Rig, append, message, messages, offset_of, read, read_all, sync};
use galgo_storage::checkpoint::LogCheckpoint;
use galgo_storage::disk::sim::{SimDisk, SplitMix};
use galgo_storage::disk::{Disk, OpenMode};
use galgo_storage::log::{Log, ReadError};
use galgo_wire::id::{Offset, Timestamp};
use std::path::PathBuf;

/// A log of a few segments, all of it durable and in the checkpoint, and its messages.
fn written(seed: u64) -> (Rig, LogCheckpoint, Vec<Vec<u8>>) {
    let rig = Rig::new(seed);
    let mut random = SplitMix::new(seed);
    let mut log = rig.create();
    let mut all = Vec::new();
    for batch in 0..40 {
        let batch = messages(&mut random, all.len() as u64, 100 + batch, (6, 120));
        append(&mut log, &batch).unwrap();
        all.extend(batch);
    }
    sync(&mut log).unwrap();
    let known = log.checkpoint();
    assert!(known.sealed.len() >= 3);
    (rig, known, all)
}

fn log_files(disk: &SimDisk) -> Vec<(PathBuf, u64)> {
    disk.files().into_iter().filter(|(path, _)| path.to_string_lossy().ends_with(".log")).collect()
}

/// Reads everything there is; checks that it is true and returns how many messages are fenced.
fn check(log: &Log, all: &[Vec<u8>]) -> u64 {
    assert_eq!(log.end().get(), all.len() as u64);
    let (found, fences) = read_all(&log.reader(), log.end());
    let mut fenced = 0;
    for (from, to) in &fences {
        fenced += to - from;
    }
    for message in &found {
        let offset = offset_of(message);
        assert_eq!(*message, all[offset as usize], "offset {offset} is what was appended");
        let inside = fences.iter().any(|(from, to)| (*from..*to).contains(&offset));
        assert!(!inside, "offset {offset} is read although it is fenced");
    }
    assert_eq!(found.len() as u64 + fenced, all.len() as u64, "what is not read is fenced");
    fenced
}

/// INV-DAMAGED.
#[test]
fn a_flipped_bit_costs_one_message_and_no_other() {
    for (with_index, step) in [(true, 3), (false, 11)] {
        let (mut rig, known, all) = written(7);
        let pristine = rig.disk.kill_image();
        let mut random = SplitMix::new(1);
        for (path, len) in log_files(&rig.disk) {
            for position in (0..len).step_by(step) {
                rig.disk = pristine.kill_image();
                if !with_index {
                    rig.disk.remove_file(&path.with_extension("index")).unwrap();
                }
                let bit = random.below(8) as u8;
                rig.disk.flip_bit(&path, position, bit).unwrap();
                let (log, _) = rig.recover(&known, &[]);
                let fenced = check(&log, &all);
                let place = format!("{} byte {position} bit {bit}", path.display());
                assert_eq!(fenced, 1, "{place}, index {with_index}");
                assert_eq!(log.reader().damaged_ranges(), 1, "{place}");
                // By time, too, nothing wrong comes out.
                for timestamp in [100, 110, 139] {
                    let expected =
                        all.iter().position(|m| crate::rig::timestamp_of(m) >= timestamp);
                    match log.reader().offset_at(Timestamp::new(timestamp), log.end()) {
                        Ok(found) => {
                            assert_eq!(
                                found.map(|found| found.get() as usize),
                                expected,
                                "{place}"
                            );
                        }
                        Err(error) => {
                            assert!(matches!(error, ReadError::Damaged { .. }), "{place}")
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn several_damaged_ranges_leave_the_rest_readable() {
    for seed in 0..300 {
        let (mut rig, known, all) = written(seed);
        let mut random = SplitMix::new(seed);
        if random.chance(50) {
            for (path, _) in log_files(&rig.disk) {
                rig.disk.remove_file(&path.with_extension("index")).unwrap();
            }
        }
        let flips = 1 + random.below(6);
        for _ in 0..flips {
            rig.disk.flip_random_bit(".log", random.next_u64());
        }
        let (log, _) = rig.recover(&known, &[]);
        let fenced = check(&log, &all);
        // Two damaged headers close to each other may cost the messages between them.
        assert!(fenced <= flips * 20, "seed {seed}: {flips} flips cost {fenced} messages");
    }
}

/// INV-RESUME.
#[test]
fn a_message_inside_a_message_is_never_taken_for_one() {
    // A producer stored a whole message, with an offset to come, in its payload; then the header
    // of the outer message was damaged.
    let mut rig = Rig::new(1);
    let mut log = rig.create();
    let decoy = message(3, 5, b"never appended");
    let all = vec![
        message(0, 5, &[0; 10]),
        message(1, 5, &[decoy.clone(), decoy].concat()),
        message(2, 5, &[2; 20]),
        message(3, 5, &[3; 30]),
        message(4, 5, &[4; 40]),
    ];
    append(&mut log, &all).unwrap();
    sync(&mut log).unwrap();
    let known = log.checkpoint();
    for with_index in [true, false] {
        for byte in 0..64 {
            let position = all[0].len() as u64 + byte;
            let mut other = Rig::on(rig.disk.kill_image());
            let path = rig.path("00000000000000000000.log");
            if !with_index {
                other.disk.remove_file(&path.with_extension("index")).unwrap();
            }
            other.disk.flip_bit(&path, position, (byte % 8) as u8).unwrap();
            let (log, _) = other.recover(&known, &[]);
            assert_eq!(check(&log, &all), 1, "byte {byte}, index {with_index}");
        }
    }
    rig.restart();
}

#[test]
fn a_missing_sealed_segment_is_fenced_and_the_others_are_read() {
    let (mut rig, known, all) = written(9);
    for missing in &known.sealed {
        let mut other = Rig::on(rig.disk.kill_image());
        let name = format!("{:020}.log", missing.base.get());
        other.disk.remove_file(&other.path(&name)).unwrap();
        let (mut log, report) = other.recover(&known, &[]);
        assert_eq!(report.fenced.len(), 1);
        assert_eq!((report.fenced[0].from, report.fenced[0].to), (missing.base, missing.end));
        assert!(!report.acknowledged_missing());
        assert_eq!(check(&log, &all), missing.end.get() - missing.base.get());
        append(&mut log, &[message(all.len() as u64, 1_000, b"on")]).unwrap();
    }
    rig.restart();
}

#[test]
fn a_segment_removed_while_the_server_runs_is_fenced() {
    let (mut rig, known, all) = written(9);
    let (log, _) = rig.recover(&known, &[]);
    rig.disk.remove_file(&rig.path("00000000000000000000.log")).unwrap();
    assert_eq!(check(&log, &all), known.sealed[0].end.get());
}

#[test]
fn a_short_segment_of_any_length_is_fenced_from_its_first_missing_message() {
    let (rig, known, all) = written(5);
    for (path, len) in log_files(&rig.disk) {
        for keep in (0..len).step_by(13) {
            let mut other = Rig::on(rig.disk.kill_image());
            let file = other.disk.open(&path, OpenMode::ReadWrite).unwrap();
            file.set_len(keep).unwrap();
            let (mut log, report) = other.recover(&known, &[]);
            let base: u64 = path.file_stem().unwrap().to_string_lossy().parse().unwrap();
            let (mut whole, mut bytes) = (base, 0);
            while bytes + all[whole as usize].len() as u64 <= keep {
                bytes += all[whole as usize].len() as u64;
                whole += 1;
            }
            let fence = report.fenced.first().expect("the lost part is fenced");
            assert_eq!(fence.from.get(), whole, "{} kept {keep}", path.display());
            assert_eq!(check(&log, &all), fence.to.get() - whole);
            // Appending goes on behind what is lost, never over it.
            append(&mut log, &[message(all.len() as u64, 1_000, b"on")]).unwrap();
            sync(&mut log).unwrap();
            let known = log.checkpoint();
            drop(log);
            let (log, again) = other.recover(&known, &[]);
            assert_eq!(again.fenced, report.fenced);
            assert_eq!(log.end().get(), all.len() as u64 + 1);
        }
    }
}

#[test]
fn a_read_error_is_an_error_and_no_fence() {
    let (mut rig, known, all) = written(3);
    let (log, _) = rig.recover(&known, &[]);
    let part = "00000000000000000000.log".to_owned();
    let plan =
        galgo_storage::disk::sim::FaultPlan { fail_reads_of: Some(part), ..Default::default() };
    rig.disk.plan(plan);
    let refused = read(&log.reader(), 0, (1, 1), log.end());
    assert!(matches!(refused, Err(ReadError::Disk { base: Offset::ZERO, .. })), "{refused:?}");
    rig.disk.plan(Default::default());
    assert_eq!(check(&log, &all), 0);
}

/// INV-VERIFIED.
#[test]
fn a_range_is_verified_once_it_was_read() {
    let (mut rig, known, all) = written(3);
    let (log, _) = rig.recover(&known, &[]);
    let reader = log.reader();
    let request = galgo_storage::log::LocateRequest {
        from: Offset::ZERO,
        count_max: 5,
        bytes_max: 1 << 20,
        upto: log.end(),
    };
    let slice = reader.locate(request).unwrap().slices.remove(0);
    assert!(!slice.verified, "after a restart nothing is");
    assert_eq!(reader.read_verified(&slice).unwrap(), all[..5].concat());
    let slice = reader.locate(request).unwrap().slices.remove(0);
    assert!(slice.verified);
}
