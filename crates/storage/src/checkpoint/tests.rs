//! Checkpoints round-trip, survive every stop, and a damaged one is told.

use std::path::Path;
use std::sync::Arc;

use galgo_wire::id::{Epoch, Offset, PartitionUid, Timestamp};
use proptest::prelude::*;

use super::format::{Invalid, decode, encode};
use super::*;
use crate::disk::Disk;
use crate::disk::sim::{FaultPlan, SimDisk};
use crate::features::{Feature, UsedFeatures};
use crate::twin::Twin;

fn sample(number: u64) -> ShardCheckpoint {
    let mut checkpoint = ShardCheckpoint { lsn: Lsn::new(number), ..Default::default() };
    for uid in 0..number % 5 {
        let sealed = SealedSegment {
            base: Offset::new(uid),
            end: Offset::new(uid + 10),
            bytes: 1000 + number,
            checksum: number,
            last_timestamp: Timestamp::new(5),
        };
        let active = ActiveSegment {
            base: Offset::new(uid + 10),
            durable_bytes: number,
            durable_end: Offset::new(uid + 12),
            last_timestamp: Timestamp::new(7),
            running_checksum: (uid % 2 == 0).then_some(number),
        };
        let log = LogCheckpoint {
            start: Offset::new(uid),
            sealed: vec![sealed; (uid % 3) as usize],
            active: (uid % 4 != 3).then_some(active),
        };
        checkpoint.logs.insert(PartitionUid::new(uid), log);
        let (uid, offset) = (PartitionUid::new(uid), Offset::new(number));
        checkpoint.offsets.push(CheckpointedOffset { uid, kind: 1, id: 9, offset, note: None });
    }
    checkpoint
}

/// As [`sample`], with notes of its offsets but the first.
fn noted(number: u64) -> ShardCheckpoint {
    let mut checkpoint = sample(number);
    for stored in checkpoint.offsets.iter_mut().skip(1) {
        stored.note = Some(OffsetNote {
            stored_at: Timestamp::new(number),
            active_at: Timestamp::new(number + 5),
            user: if number.is_multiple_of(2) { 3 } else { OffsetNote::NOBODY },
        });
    }
    checkpoint
}

/// A file of version 2 with one more section in front.
fn with_section(file: &[u8], (tag, flags): (u16, u16)) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.extend_from_slice(&tag.to_le_bytes());
    payload.extend_from_slice(&flags.to_le_bytes());
    payload.extend_from_slice(&3_u32.to_le_bytes());
    payload.extend_from_slice(b"new");
    payload.extend_from_slice(&file[48..]);
    let mut out = file[..32].to_vec();
    out.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(&payload).to_le_bytes());
    let crc = crc32fast::hash(&out).to_le_bytes();
    out.extend_from_slice(&crc);
    out.extend_from_slice(&payload);
    out
}

proptest! {
    #[test]
    fn checkpoint_survives_its_bytes(sequence in 0..=crate::COUNTER_MAX, number in 0..1_000_000_u64) {
        let bytes = encode(sequence, &sample(number));
        prop_assert_eq!(decode(&bytes), Ok((sequence, sample(number))));
        let bytes = encode(sequence, &noted(number));
        prop_assert_eq!(decode(&bytes), Ok((sequence, noted(number))));
    }

    #[test]
    fn damaged_checkpoint_is_never_taken_for_one(number in 1..1000_u64, at: prop::sample::Index, bit in 0..8_u8) {
        let mut bytes = encode(3, &if number.is_multiple_of(2) { sample(number) } else { noted(number) });
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(decode(&bytes).is_err());
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decode(&bytes).is_err());
    }
}

/// A journal that was to go on behind the highest number there is stopped a start.
#[test]
fn a_checkpoint_with_a_number_that_nothing_can_follow_is_damaged() {
    let of = |sequence, lsn| encode(sequence, &ShardCheckpoint { lsn: Lsn::new(lsn), ..sample(3) });
    let max = crate::COUNTER_MAX;
    assert!(decode(&of(max, max)).is_ok());
    for (sequence, lsn) in [(max + 1, 1), (1, max + 1), (u64::MAX, u64::MAX)] {
        assert_eq!(decode(&of(sequence, lsn)), Err(Invalid::Damaged), "{sequence} {lsn}");
    }
    let of = |epoch| encode(1, &ShardCheckpoint { epoch: Epoch::new(epoch), ..sample(3) });
    let read = decode(&of(crate::EPOCH_MAX - 1)).map(|(_, checkpoint)| checkpoint.epoch.get());
    assert_eq!(read, Ok(crate::EPOCH_MAX - 1));
    assert_eq!(decode(&of(crate::EPOCH_MAX)), Err(Invalid::Damaged));
}

#[test]
fn truncated_checkpoint_is_refused() {
    for bytes in [encode(3, &sample(4)), encode(3, &noted(4))] {
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "{len} bytes");
        }
    }
}

fn features(disk: &SimDisk) -> Arc<UsedFeatures> {
    let twin = Twin { path: "/c/features".into(), copy: "/c/copy/features".into() };
    Arc::new(UsedFeatures::read(disk, twin).unwrap())
}

/// An older program that meets such a checkpoint has to refuse the directory before it opens anything.
#[test]
fn a_checkpoint_in_sections_is_named_before_it_is_saved() {
    for stop_at in 1..40 {
        let disk = SimDisk::new(stop_at);
        let (mut store, _) = open(&disk);
        store.save(&sample(3)).unwrap();
        assert!(!features(&disk).has(Feature::Checkpoint2), "version 1 needs nothing");
        disk.plan(FaultPlan { stop_at: Some(stop_at), ..FaultPlan::default() });
        let saved = store.save(&noted(4)).is_ok();
        disk.crash(stop_at);
        let named = features(&disk).has(Feature::Checkpoint2);
        let found = open(&disk).1.checkpoint.unwrap();
        assert!(named || found == sample(3), "INV-FEATURE-FIRST, stopped at {stop_at}");
        assert!(!saved || (named && found == noted(4)));
    }
}

fn open(disk: &SimDisk) -> (CheckpointStore, FoundCheckpoint) {
    CheckpointStore::open(Arc::new(disk.clone()), Path::new("/c"), &features(disk)).unwrap()
}

#[test]
fn saved_checkpoint_survives_a_stop_at_any_operation() {
    for stop_at in 1..200 {
        let disk = SimDisk::new(stop_at);
        disk.create_dir_all(Path::new("/")).ok();
        let features = features(&disk);
        disk.plan(FaultPlan { stop_at: Some(stop_at), ..FaultPlan::default() });
        let mut saved = 0;
        let opened = CheckpointStore::open(Arc::new(disk.clone()), Path::new("/c"), &features);
        if let Ok((mut store, _)) = opened {
            for number in 1..10 {
                if store.save(&sample(number)).is_err() {
                    break;
                }
                saved = number;
            }
        }
        if !disk.stopped() {
            return;
        }
        disk.crash(stop_at);
        let (_, found) = open(&disk);
        let (_, again) = open(&disk);
        assert_eq!(found, again);
        assert!(!found.newest_damaged, "stopped at {stop_at}");
        let lsn = found.checkpoint.map_or(0, |checkpoint| checkpoint.lsn.get());
        assert!(lsn == saved || lsn == saved + 1, "stopped at {stop_at}: {lsn}, saved {saved}");
    }
    panic!("the workload has more operations than the test looks at");
}

/// A killed process had renamed the file and not yet synced the directory. The next one loaded the
/// checkpoint and recycled the journal up to it; a power cut then brought the one before back.
#[test]
fn checkpoint_once_loaded_survives_a_power_cut() {
    for (seed, stop_at) in (0..20).flat_map(|seed| (1..20).map(move |stop| (seed, stop))) {
        let disk = SimDisk::new(seed);
        let (mut store, _) = open(&disk);
        store.save(&sample(1)).unwrap();
        disk.plan(FaultPlan { stop_at: Some(stop_at), ..FaultPlan::default() });
        for number in 2..5 {
            let _ = store.save(&sample(number));
        }
        disk.kill();
        let (_, found) = open(&disk);
        disk.crash(seed);
        assert_eq!(open(&disk).1, found, "seed {seed}, stopped at {stop_at}");
    }
}

/// Written by version 1; a reader of today must read it for ever.
#[test]
fn version_1_bytes_are_golden() {
    let hex: String = encode(2, &sample(4)).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, include_str!("../../fixtures/v1/checkpoint.hex").trim());
}

/// Written by version 2, when an offset has a note.
#[test]
fn version_2_bytes_are_golden() {
    let hex: String = encode(2, &noted(4)).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, include_str!("../../fixtures/v2/checkpoint.hex").trim());
}

#[test]
fn a_section_nobody_knows_is_skipped_unless_it_is_needed() {
    let file = encode(5, &noted(4));
    assert_eq!(decode(&with_section(&file, (77, 0))), Ok((5, noted(4))));
    assert_eq!(decode(&with_section(&file, (77, 1))), Err(Invalid::Unknown));
    assert_eq!(decode(&with_section(&file, (77, 3))), Err(Invalid::Unknown));
}

/// INV-TWO.
#[test]
fn one_before_is_used_when_the_last_is_damaged() {
    let disk = SimDisk::new(1);
    let (mut store, found) = open(&disk);
    assert_eq!(found, FoundCheckpoint::default());
    for number in 1..=4 {
        store.save(&sample(number)).unwrap();
    }
    disk.flip_bit(Path::new("/c/b.ckpt"), 60, 1).unwrap();
    let (_, found) = open(&disk);
    assert!(found.newest_damaged);
    assert_eq!(found.checkpoint, Some(sample(3)));
}

/// `UPDATE_DOCS=1 cargo test -p galgo-storage --lib checkpoint` writes it anew.
#[test]
fn the_table_of_sections_is_that_of_the_code() {
    let sealed = "base `u64`, end `u64`, generation `u32`, kind `u8`, place `u8`, flags `u16`, file bytes `u64`, \
                  bytes of messages `u64`, messages `u64`, checksum `u64`, first timestamp `u64`, last timestamp `u64`";
    let active = "base `u64`, durable bytes `u64`, durable end `u64`, last timestamp `u64`, has running checksum `u8`, \
                  running checksum `u64`";
    let logs = format!(
        "count `u32`; of each log uid `u64`, start `u64`, next generation `u32`, count of sealed segments `u32`; of each of \
         these {sealed}; then has active `u8`, and if it is 1 {active}"
    );
    let offsets =
        "count `u32`; of each uid `u64`, consumer kind `u8`, consumer id `u32`, offset `u64`";
    let notes = "count `u32`; of each offset of section 2, in its order, stored at `u64`, last seen `u64`, mark of the user `u64`";
    // One of everything.
    let mut checkpoint = noted(6);
    checkpoint.logs.values_mut().for_each(|log| log.sealed.clear());
    let (uid, mut log) = checkpoint.logs.pop_first().unwrap();
    log.sealed = sample(4).logs.remove(&PartitionUid::new(1)).unwrap().sealed;
    checkpoint.logs = [(uid, log)].into();
    checkpoint.offsets[0].note =
        Some(OffsetNote { stored_at: Timestamp::new(1), active_at: Timestamp::new(1), user: 1 });
    checkpoint.offsets.truncate(1);
    let file = encode(1, &checkpoint);
    let mut table = "| section | flags | | bytes |\n|---|---|---|---|\n".to_owned();
    let mut rest = &file[48..];
    for (title, fields) in [("logs", logs.as_str()), ("offsets", offsets), ("notes", notes)] {
        let (head, behind) = rest.split_first_chunk::<8>().unwrap();
        let len = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        assert_eq!(len, galgo_testkit::docs::bytes_of(fields), "{title}: {fields}");
        table += &format!("| {} | {} | {title} | {fields} |\n", head[0], head[2]);
        rest = &behind[len..];
    }
    assert!(rest.is_empty());
    let test = "cargo test -p galgo-storage --lib checkpoint";
    galgo_testkit::docs::check("format.md", test, &[("checkpoint sections", table)]);
}
