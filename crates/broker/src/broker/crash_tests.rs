//! P-ACK, P-ORDER and P-TRUTH under power cuts and kills: a mixed workload on the simulated disk,
//! stopped at its every operation, opened again, cut again while it opens, and compared with what was
//! acknowledged.
//!
//! `GALGO_CRASH_SEEDS` sets the number of seeds, `GALGO_CRASH_FIRST_SEED` the first one.

mod damage;
mod model;
mod retry;
mod rig;
mod workload;

use std::path::Path;
use std::sync::Arc;

use galgo_storage::data_dir::{DataDir, Identity};
use galgo_storage::disk::Disk;
use galgo_storage::disk::sim::{FaultPlan, SimDisk};
use galgo_storage::metadata_log::Doubt;
use galgo_wire::command::Durability;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{ShardId, StreamId, Timestamp, TopicId};

use super::OpenError;
use super::stored::{ReadOptions, StoredMetadata, append};
use crate::metadata::TopicPlace;
use crate::vault::KeyRing;
use model::Model;
use rig::Rig;
use workload::run_workload;

/// Seeds in one of the parallel parts of the suite; all parts together run 1,000.
const SEEDS_PER_PART: u64 = 250;

fn number_from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    PowerCut,
    Kill,
}

impl End {
    fn image(self, disk: &SimDisk, seed: u64) -> SimDisk {
        match self {
            Self::PowerCut => disk.power_cut_image(seed),
            Self::Kill => disk.kill_image(),
        }
    }

    /// The weakest durability whose acknowledgements survive this end.
    fn survivors(self) -> &'static [Durability] {
        match self {
            Self::PowerCut => &[Durability::Fsync],
            Self::Kill => &[Durability::Fsync, Durability::Os],
        }
    }
}

/// Stops the workload of `seed` at operation `stop_at` and checks what comes back; tells how many logs were offline on
/// the way.
fn run_one(template: &SimDisk, seed: u64, stop_at: u64, end: End) -> u64 {
    let disk = template.kill_image();
    let mut model = Model::default();
    disk.plan(FaultPlan { stop_at: Some(stop_at), ..FaultPlan::default() });
    run_workload(&disk, &mut model, seed);

    let story = format!("seed {seed}, stopped at operation {stop_at} by {end:?}");
    let survived = end.image(&disk, seed ^ stop_at);
    let first = check_twice(&survived, &model, end, &story);

    // The same end again, this time while the recovery writes.
    let during = survived.kill_image();
    let recovery_stop = 1 + (seed.wrapping_mul(31).wrapping_add(stop_at)) % 12;
    during.plan(FaultPlan { stop_at: Some(recovery_stop), ..FaultPlan::default() });
    drop(Rig::try_open(&during, seed));
    let story = format!("{story}, recovery stopped at operation {recovery_stop}");
    let again = end.image(&during, seed.rotate_left(7) ^ stop_at);
    let second = check_twice(&again, &model, end, &story);
    // And with a log in between that cannot be read for a while.
    let mut were_offline = 0;
    if (seed + stop_at).is_multiple_of(3)
        && let Some((left, offline)) = after_an_offline_start(&survived, (seed ^ stop_at, end))
    {
        were_offline = offline;
        let story = format!("{story}, offline in between");
        let third = check_twice(&left, &model, end, &story);
        if end == End::Kill {
            assert_eq!(first, third, "{story}: a log that was offline came back as another");
        }
    }
    if end == End::Kill {
        assert_eq!(first, second, "{story}: a recovery that is cut short changed the outcome");
    }
    were_offline
}

/// What is left by a start that could not read a log, with checkpoints behind it, when it ends the same way; `None` where
/// there is no log yet.
fn after_an_offline_start(survived: &SimDisk, (seed, end): (u64, End)) -> Option<(SimDisk, u64)> {
    let is_log = |path: &Path| path.extension().is_some_and(|extension| extension == "log");
    let files = survived.files().into_iter().map(|(path, _)| path);
    let logs = files.filter(|path| path.starts_with("/data/partitions") && is_log(path));
    let logs: Vec<_> = logs.collect();
    let chosen = logs.get(usize::try_from(seed).ok()? % logs.len().max(1))?;
    let disk = survived.kill_image();
    let fail_reads_of = Some(chosen.parent()?.to_str()?.to_owned());
    disk.plan(FaultPlan { fail_reads_of, ..FaultPlan::default() });
    let mut offline = 0;
    if let Some(rig) = Rig::try_open(&disk, seed) {
        offline = rig.broker.totals().offline_partitions;
        for _ in 0..seed % 4 {
            let _ = rig.broker.shards().first().checkpoint();
        }
    }
    let left = end.image(&disk, seed);
    left.plan(FaultPlan::default());
    Some((left, offline))
}

/// Opens, checks, opens again: the second recovery must find what the first one left.
fn check_twice(disk: &SimDisk, model: &Model, end: End, story: &str) -> Vec<String> {
    let rig = Rig::open(disk, 1);
    let first = model.check(&rig, end.survivors(), story);
    drop(rig);
    let second_disk = end.image(disk, 99);
    let rig = Rig::open(&second_disk, 2);
    let second = model.check(&rig, end.survivors(), story);
    assert_eq!(first, second, "{story}: recovery of a recovery changed something");
    rig.goes_on(model, story);
    first
}

fn run_part(part: u64) {
    let template = Rig::template();
    let seeds = number_from_env("GALGO_CRASH_SEEDS", 4 * SEEDS_PER_PART) / 4;
    let first = number_from_env("GALGO_CRASH_FIRST_SEED", 1) + part * seeds;
    let (mut stops, mut moves, mut offline) = (0, 0, 0);
    for seed in first..first + seeds {
        let disk = template.kill_image();
        disk.plan(FaultPlan::default());
        let mut model = Model::default();
        run_workload(&disk, &mut model, seed);
        let operations = disk.operations();
        moves += model.starts_moved();
        let end = if seed % 4 == 0 { End::Kill } else { End::PowerCut };
        for stop_at in 1..=operations {
            offline += run_one(&template, seed, stop_at, end);
        }
        stops += operations;
    }
    assert!(offline > seeds, "logs are hardly ever offline: {offline} times");
    assert!(stops > seeds * 20, "the workload hardly touches the disk: {stops} operations");
    assert!(moves > seeds / 10, "the workload hardly ever removes segments: {moves} times");
}

/// P-ACK.
#[test]
fn nothing_acknowledged_is_lost_whatever_operation_is_the_last_part_1() {
    run_part(0);
}

/// INV-RECYCLE.
#[test]
fn nothing_acknowledged_is_lost_whatever_operation_is_the_last_part_2() {
    run_part(1);
}

/// INV-REPEAT.
#[test]
fn nothing_acknowledged_is_lost_whatever_operation_is_the_last_part_3() {
    run_part(2);
}

#[test]
fn nothing_acknowledged_is_lost_whatever_operation_is_the_last_part_4() {
    run_part(3);
}

#[test]
fn nothing_acknowledged_is_lost_while_encryption_is_turned_on_and_off() {
    rig::encrypt_every_other();
    let template = Rig::template();
    for seed in 0..number_from_env("GALGO_CRASH_SEEDS", 40).min(40) {
        let end = if seed % 4 == 0 { End::Kill } else { End::PowerCut };
        let disk = template.kill_image();
        disk.plan(FaultPlan::default());
        run_workload(&disk, &mut Model::default(), seed);
        for stop_at in 1..=disk.operations() {
            run_one(&template, seed, stop_at, end);
        }
    }
}

#[test]
fn failed_sync_is_never_acknowledged_and_the_rest_survives() {
    let template = Rig::template();
    for seed in 0..200 {
        let disk = template.kill_image();
        let mut model = Model::default();
        let fail_sync = Some(1 + seed % 17);
        disk.plan(FaultPlan { fail_sync, ..FaultPlan::default() });
        run_workload(&disk, &mut model, seed);
        let story = format!("seed {seed}, {fail_sync:?} failed");
        check_twice(&disk.power_cut_image(seed), &model, End::PowerCut, &story);
    }
}

/// The record of a deletion may be durable although its sync failed; the next start then deletes the
/// topic. Whatever the topic acknowledged after that error would be lost without a word.
///
/// INV-META-ORDER.
#[test]
fn nothing_is_acknowledged_once_the_fate_of_a_metadata_record_is_unknown() {
    for durability in [Durability::Fsync, Durability::Os] {
        let disk = Rig::template().kill_image();
        let mut rig = Rig::open(&disk, 1);
        rig.create_topic("t", durability).unwrap();
        let stored = rig.send("t", 0, &[b"before".to_vec()]);
        rig.finish(stored).unwrap();
        disk.plan(FaultPlan { fail_sync: Some(1), ..FaultPlan::default() });
        rig.delete_topic("t").unwrap_err();
        for bytes in [10, 2 * rig::JOURNAL_BATCH_BYTES_MAX as usize] {
            let sent = rig.send("t", 1, &[vec![b'x'; bytes]]);
            assert_eq!(rig.finish(sent), Err(ErrorCode::CannotSyncFile));
        }
        let offset = rig.store_offset("t", 0, 0);
        assert_eq!(rig.finish(offset), Err(ErrorCode::CannotSyncFile));
        assert_eq!(rig.read_from("t", 0, 0).unwrap().len(), 1, "reads go on");
    }
}

/// A record that found no room was never written: it is taken back, and changes go on once there is.
#[test]
fn metadata_goes_on_after_a_full_disk() {
    let disk = Rig::template().kill_image();
    let mut rig = Rig::open(&disk, 1);
    let used: u64 = disk.files().iter().map(|(_, len)| len).sum();
    disk.plan(FaultPlan { bytes_max: Some(used + 7), ..FaultPlan::default() });
    rig.create_topic("t", Durability::Fsync).unwrap_err();
    disk.plan(FaultPlan::default());
    rig.create_topic("u", Durability::Fsync).unwrap();
    let sent = rig.send("u", 0, &[b"x".to_vec()]);
    rig.finish(sent).unwrap();
    drop(rig);
    let rig = Rig::open(&disk.power_cut_image(3), 2);
    assert!(rig.has_topic("u") && !rig.has_topic("t"));
}

#[test]
fn full_disk_refuses_and_loses_nothing() {
    let template = Rig::template();
    for seed in 0..200 {
        let disk = template.kill_image();
        let mut model = Model::default();
        let used: u64 = disk.files().iter().map(|(_, len)| len).sum();
        let bytes_max = Some(used + 500 + seed * 97);
        disk.plan(FaultPlan { bytes_max, ..FaultPlan::default() });
        run_workload(&disk, &mut model, seed);
        disk.plan(FaultPlan::default());
        let story = format!("seed {seed}, disk full at {bytes_max:?}");
        check_twice(&disk.power_cut_image(seed), &model, End::PowerCut, &story);
    }
}

/// P-TRUTH.
#[test]
fn flipped_bit_is_never_served() {
    let template = Rig::template();
    for seed in 0..400 {
        let disk = template.kill_image();
        let mut model = Model::default();
        disk.plan(FaultPlan::default());
        run_workload(&disk, &mut model, seed);
        let survived = disk.power_cut_image(seed);
        if survived.flip_random_bit("partitions/", seed).is_none() {
            continue;
        }
        survived.drop_caches();
        let Some(rig) = Rig::try_open(&survived, seed) else { continue };
        model.check_bytes(&rig, &format!("seed {seed}"));
    }
}

/// A disk without room for one more journal file fenced the whole shard: until the next start, nothing
/// was taken any more, although the journal had written nothing and room may come back.
#[test]
fn a_disk_too_full_for_a_journal_file_stops_nothing_for_good() {
    let disk = Rig::template().kill_image();
    let mut rig = Rig::open(&disk, 1);
    rig.create_topic("t", Durability::Fsync).unwrap();
    let used: u64 = disk.files().iter().map(|(_, len)| len).sum();
    disk.plan(FaultPlan { bytes_max: Some(used + (4 << 10)), ..FaultPlan::default() });
    let outcome = rig.send("t", 0, &[b"while full".to_vec()]);
    rig.finish(outcome).unwrap();
    disk.plan(FaultPlan::default());
    let outcome = rig.send("t", 0, &[b"later".to_vec()]);
    rig.finish(outcome).unwrap();
    assert!(!rig.broker.shards().first().is_fenced());
    drop(rig);
    let mut rig = Rig::open(&disk.power_cut_image(1), 2);
    let expected = [(0, b"while full".to_vec()), (1, b"later".to_vec())];
    assert_eq!(rig.read_from("t", 0, 0).unwrap(), expected);
}

/// INV-SHARDS: what this node does not have is not taken for its own, and the directory stays as it is.
#[test]
fn a_directory_with_partitions_on_another_shard_is_refused() {
    let disk = Rig::template().kill_image();
    let mut rig = Rig::open(&disk, 1);
    rig.create_topic("t", Durability::Fsync).unwrap();
    let random = Arc::clone(&rig.environment);
    let sent = rig.send("t", 0, &[b"in the journal".to_vec()]);
    rig.finish(sent).unwrap();
    drop(rig);
    let disk = disk.kill_image();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let fresh = Identity { cluster_id: 1, node_id: 1 };
    let data_dir = DataDir::open(&disk, Path::new("/data"), fresh).unwrap();
    let reading = ReadOptions { keys: KeyRing::default(), random: &*random, doubt: Doubt::Refuse };
    let stored = StoredMetadata::read_for_server(&shared, &data_dir, reading).unwrap();
    let mut state = stored.state;
    let (mut log, _) = stored.log.settle().unwrap();
    let place = TopicPlace::new(StreamId::new(0), TopicId::new(0));
    let mut record = state.prepare_add_partitions(place, 1, Timestamp::new(9)).unwrap();
    record.partitions_mut().unwrap().shards = vec![ShardId::new(3)];
    append(&mut log, None, &mut state, &record).unwrap();
    drop((log, data_dir));
    let before = disk.files();
    let refused = Rig::open_result(&disk, 2).err();
    assert!(matches!(refused, Some(OpenError::NotHere { shard: 3 })), "{refused:?}");
    assert_eq!(disk.files(), before);
}
