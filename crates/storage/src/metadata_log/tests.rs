//! The metadata log keeps every acknowledged record through every kind of stop.

use super::format::encode_log_header;
use super::*;
use crate::disk::OpenMode;
use crate::disk::sim::{FaultPlan, SimDisk, SplitMix};

mod damage;

const DIR: &str = "/data/metadata";
const FIRST: &str = "00000000000000000001.log";
const COPY: &str = "/data/copy/metadata";

fn dirs() -> MetadataDirs {
    MetadataDirs { first: DIR.into(), copy: COPY.into() }
}

fn open(disk: &SimDisk) -> Result<(MetadataLog, RecoveredMetadata), MetadataLogError> {
    MetadataLog::open(Arc::new(disk.clone()), &dirs())
}

/// What a test knows: the state is simply all records so far.
#[derive(Default)]
struct Model {
    acknowledged: Vec<Vec<u8>>,
    /// The record whose fate was not told.
    unknown: Option<Vec<u8>>,
}

impl Model {
    fn step(&mut self, log: &mut MetadataLog, random: &mut SplitMix) -> bool {
        if random.chance(12) {
            return log.snapshot(&encode_state(&self.acknowledged)).is_ok();
        }
        let number = self.acknowledged.len() as u64 + random.below(1000) * 1_000_000;
        let len = if random.chance(10) { 2000 } else { random.below_usize(120) };
        let record: Vec<u8> = number.to_le_bytes().into_iter().cycle().take(8 + len).collect();
        let result = log.append(&record);
        match result {
            Ok(()) => self.acknowledged.push(record),
            Err(_) => self.unknown = Some(record),
        }
        self.unknown.is_none()
    }

    /// What the log holds must be what was acknowledged, and at most the unknown record more.
    fn check(&self, recovered: &RecoveredMetadata) -> Vec<Vec<u8>> {
        assert_eq!(recovered.repaired, Vec::<PathBuf>::new(), "no stop damages anything");
        let mut state = recovered.snapshot.as_deref().map(decode_state).unwrap_or_default();
        state.extend(recovered.records.iter().cloned());
        let (known, more) = state.split_at(self.acknowledged.len().min(state.len()));
        assert_eq!(known, &self.acknowledged[..], "INV-META-ACK");
        match more {
            [] => {}
            [one] => assert_eq!(Some(one), self.unknown.as_ref(), "INV-META-WHOLE"),
            more => panic!("{} records nobody wrote", more.len()),
        }
        state
    }

    fn recover(&mut self, disk: &SimDisk) {
        let (log, recovered) = open(disk).unwrap();
        let state = self.check(&recovered);
        // What was shown once stays, through a power cut right after; twice, with the same result.
        for seed in 0..3 {
            let image = disk.power_cut_image(seed);
            for _ in 0..2 {
                let (_, again) = open(&image).unwrap();
                assert_eq!(self.check(&again), state);
                assert_eq!((again.cut_bytes, again.repaired), (0, Vec::new()), "INV-META-TWICE");
            }
        }
        drop(log);
        self.unknown = None;
        self.acknowledged = state;
    }
}

fn encode_state(records: &[Vec<u8>]) -> Vec<u8> {
    records.iter().flat_map(|r| [&(r.len() as u32).to_le_bytes()[..], r].concat()).collect()
}

fn decode_state(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk() {
        let (record, rest) = rest.split_at(u32::from_le_bytes(*len) as usize);
        records.push(record.to_vec());
        bytes = rest;
    }
    records
}

/// Three lives of a log; each ends by `plan`'s fault or the workload, then by `end`.
fn lives(seed: u64, plan: &FaultPlan, end: fn(&SimDisk, u64)) -> u64 {
    let mut random = SplitMix::new(seed);
    let disk = SimDisk::new(seed);
    let mut model = Model::default();
    let mut operations = 0;
    for life in 0..3 {
        disk.plan(if life == 0 { plan.clone() } else { FaultPlan::default() });
        if let Ok((mut log, recovered)) = open(&disk) {
            model.check(&recovered);
            for _ in 0..25 {
                if !model.step(&mut log, &mut random) {
                    break;
                }
            }
        }
        operations = operations.max(if life == 0 { disk.operations() } else { 0 });
        end(&disk, random.next_u64());
        model.recover(&disk);
    }
    operations
}

fn stopped_everywhere(end: fn(&SimDisk, u64)) {
    for seed in 0..8 {
        let operations = lives(seed, &FaultPlan::default(), end);
        for stop_at in 1..=operations {
            lives(seed, &FaultPlan { stop_at: Some(stop_at), ..FaultPlan::default() }, end);
        }
    }
}

#[test]
fn every_record_survives_a_power_cut_at_every_operation() {
    stopped_everywhere(SimDisk::crash);
}

#[test]
fn every_record_survives_a_kill_at_every_operation() {
    stopped_everywhere(|disk, _| disk.kill());
}

/// After a failed sync the page cache shows a record that is not on the platter: reopening, going on
/// behind it and losing power left a hole in the middle of the log.
#[test]
fn every_record_survives_a_failed_operation_a_restart_and_a_power_cut() {
    for seed in 0..8 {
        let operations = lives(seed, &FaultPlan::default(), |disk, _| disk.kill());
        for nth in 1..=operations {
            let plan = FaultPlan { fail_operation: Some(nth), ..FaultPlan::default() };
            lives(seed, &plan, |disk, _| disk.kill());
        }
    }
}

fn log_of(disk: &SimDisk, records: &[&[u8]]) -> MetadataLog {
    let (mut log, _) = open(disk).unwrap();
    records.iter().for_each(|record| log.append(record).unwrap());
    log
}

#[test]
fn failed_append_fences_the_log() {
    // The sync of the first place, and that of the copy.
    for sync in 1..=2 {
        let disk = SimDisk::new(1);
        let mut log = log_of(&disk, &[b"one"]);
        disk.plan(FaultPlan { fail_sync: Some(sync), ..FaultPlan::default() });
        assert!(matches!(log.append(b"two"), Err(MetadataLogError::Disk { .. })));
        assert!(matches!(log.append(b"three"), Err(MetadataLogError::Fenced)));
        assert!(matches!(log.snapshot(b"state"), Err(MetadataLogError::Fenced)));
    }
}

#[test]
fn missing_log_file_before_another_is_an_error() {
    let disk = SimDisk::new(1);
    drop(log_of(&disk, &[b"one", b"two"]));
    let path = Path::new(DIR).join("00000000000000000007.log");
    disk.open(&path, OpenMode::CreateNew).unwrap().write_at(&encode_log_header(7), 0).unwrap();
    assert!(
        matches!(open(&disk), Err(MetadataLogError::Damaged { path: named, .. }) if named == path)
    );
}

#[test]
fn torn_tail_is_cut_and_told() {
    let disk = SimDisk::new(1);
    drop(log_of(&disk, &[b"one", b"two"]));
    let path = Path::new(DIR).join(FIRST);
    let file = disk.open(&path, OpenMode::ReadWrite).unwrap();
    let torn = encode_record(3, b"three");
    file.write_at(&torn[..29], file.len().unwrap()).unwrap();
    let (mut log, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.records, [b"one", b"two"]);
    assert_eq!(recovered.cut_bytes, 29);
    log.append(b"four").unwrap();
    assert_eq!(open(&disk).unwrap().1.records.last().unwrap(), b"four");
}

#[test]
fn newer_version_is_refused() {
    let disk = SimDisk::new(1);
    drop(log_of(&disk, &[b"one"]));
    let path = Path::new(DIR).join(FIRST);
    let mut header = encode_log_header(1);
    header[8] = 2;
    let crc = crc32fast::hash(&header[..24]);
    header[24..28].copy_from_slice(&crc.to_le_bytes());
    disk.open(&path, OpenMode::ReadWrite).unwrap().write_at(&header, 0).unwrap();
    assert!(matches!(open(&disk), Err(MetadataLogError::Newer { found: 2, .. })));
}

#[test]
fn over_the_limit_is_refused_and_nothing_written() {
    let disk = SimDisk::new(1);
    let mut log = log_of(&disk, &[]);
    let record = vec![0; RECORD_BYTES_MAX as usize + 1];
    assert!(matches!(log.append(&record), Err(MetadataLogError::TooLarge { .. })));
    log.append(b"next").unwrap();
    assert_eq!(open(&disk).unwrap().1.records, [b"next"]);
}
