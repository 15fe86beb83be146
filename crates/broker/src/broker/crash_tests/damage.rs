//! Damage of every kind in every kind of file, after clean stops and after kills: nothing wrong is
//! served, only what was in the damaged place is lost and reading it is an error, and no offset is given
//! twice.
//!
//! `GALGO_DAMAGE_ROUNDS` sets the number of rounds (the full form is 10,000), `GALGO_DAMAGE_FIRST_SEED`
//! the first seed. A round that fails names its seed.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use galgo_storage::disk::sim::{FaultPlan, SimDisk, SplitMix};
use galgo_storage::disk::{Disk, OpenMode};
use galgo_wire::batch::MessageHeader;
use galgo_wire::limits::MESSAGE_HEADER_BYTES;

use super::model::Model;
use super::number_from_env;
use super::rig::{PARTITIONS, Rig};
use super::workload::run_workload;

/// Rounds of one run unless told otherwise.
const ROUNDS: u64 = 300;
const SECTOR: u64 = 512;

/// What was done to a file.
#[derive(Clone, Debug)]
struct Damage {
    path: PathBuf,
    /// The bytes that are not what they were.
    bytes: Range<u64>,
    what: &'static str,
}

/// What became of an offset.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Message(Vec<u8>),
    /// Reading it is an error.
    Error,
    /// The log ends before it, or starts behind it.
    Nothing,
}

/// P-TRUTH.
#[test]
fn damage_costs_what_was_in_its_place_and_is_never_silent() {
    let template = Rig::template();
    let first = number_from_env("GALGO_DAMAGE_FIRST_SEED", 1);
    let rounds = number_from_env("GALGO_DAMAGE_ROUNDS", ROUNDS);
    println!("GALGO_DAMAGE_FIRST_SEED={first} GALGO_DAMAGE_ROUNDS={rounds}");
    let mut outcomes: BTreeMap<(String, &str, &str), u64> = BTreeMap::new();
    for seed in first..first + rounds {
        let (damage, outcome) = round(&template, seed);
        let kind = damage.path.extension().or(damage.path.file_name()).unwrap_or_default();
        let kind = kind.to_string_lossy().into_owned();
        *outcomes.entry((kind, damage.what, outcome)).or_default() += 1;
    }
    for ((kind, what, outcome), count) in &outcomes {
        println!("{kind:12} {what:16} {outcome:10} {count:6}");
    }
}

fn round(template: &SimDisk, seed: u64) -> (Damage, &'static str) {
    let disk = template.kill_image();
    disk.plan(FaultPlan::default());
    let mut model = Model::default();
    let rig = run_workload(&disk, &mut model, seed);
    if let Some(mut rig) = rig {
        // As a tick does a second later: the evidence of what is in no batch of the journal.
        rig.broker.shards().first().note_ends();
        rig.commit_round();
    }
    let survived = disk.kill_image();
    let pristine = survived.kill_image();
    let mut random = SplitMix::new(seed.wrapping_mul(0x9E37_79B9));
    let damage = damage(&survived, &mut random);
    let story = format!("seed {seed}, {damage:?}");
    let Some(rig) = Rig::try_open(&survived, 1) else { return (damage, "refused") };
    let lost = check(&rig, &pristine, &model, &damage, &story);
    drop(rig);
    // Killed and opened again: the same, and it goes on.
    let again = survived.kill_image();
    let Some(rig) = Rig::try_open(&again, 2) else {
        panic!("{story}: a start that was not refused is refused the second time")
    };
    check(&rig, &pristine, &model, &damage, &format!("{story}, opened again"));
    goes_on(rig, &model, &story);
    (damage, if lost > 0 { "fenced" } else { "whole" })
}

/// Flips a bit, cuts or zeroes a sector of a file of a random kind.
fn damage(disk: &SimDisk, random: &mut SplitMix) -> Damage {
    let files = disk.files();
    let files: Vec<_> = files.into_iter().filter(|(_, len)| *len > 0).collect();
    let kind = |path: &Path| match path.extension() {
        Some(extension) => extension.to_os_string(),
        None => path.file_name().unwrap_or_default().to_os_string(),
    };
    let mut kinds: Vec<_> = files.iter().map(|(path, _)| kind(path)).collect();
    kinds.sort();
    kinds.dedup();
    // Every third round in a log: that is where most can go wrong.
    let wanted = if random.below(3) == 0 && kinds.contains(&"log".into()) {
        "log".into()
    } else {
        kinds[random.below_usize(kinds.len())].clone()
    };
    let files: Vec<_> = files.into_iter().filter(|(path, _)| kind(path) == wanted).collect();
    let (path, len) = files[random.below_usize(files.len())].clone();
    let file = disk.open(&path, OpenMode::ReadWrite).unwrap();
    let at = random.below(len);
    let (bytes, what) = match random.below(3) {
        0 => {
            disk.flip_bit(&path, at, u8::try_from(random.below(8)).unwrap_or(0)).unwrap();
            (at..at + 1, "flipped bit")
        }
        1 => {
            file.set_len(at).unwrap();
            (at..len, "cut")
        }
        _ => {
            let from = at / SECTOR * SECTOR;
            let to = (from + SECTOR).min(len);
            file.write_at(&vec![0; usize::try_from(to - from).unwrap()], from).unwrap();
            (from..to, "zeroed sector")
        }
    };
    file.sync_data().unwrap();
    Damage { path, bytes, what }
}

/// Offsets of the messages in a log file that have a byte in `bytes`.
fn hit(pristine: &SimDisk, path: &Path, bytes: &Range<u64>) -> Vec<u64> {
    let contents = pristine.contents(path).unwrap_or_default();
    let (mut at, mut hit) = (0, Vec::new());
    while let Some(header) = contents.get(at..).and_then(MessageHeader::read) {
        let len = MESSAGE_HEADER_BYTES
            + header.payload_length as usize
            + header.user_headers_length as usize;
        let end = at + len;
        if (at as u64) < bytes.end && bytes.start < end as u64 {
            hit.push(header.offset.get());
        }
        at = end;
    }
    hit
}

/// Checks every partition; returns how many acknowledged messages cannot be read.
fn check(rig: &Rig, pristine: &SimDisk, model: &Model, damage: &Damage, story: &str) -> u64 {
    let mut rig = Rig::reading(rig);
    let mut lost = 0;
    for topic in model.usable() {
        assert!(rig.has_topic(&topic), "{story}: topic {topic} is lost");
        for number in 0..PARTITIONS {
            let place = format!("{story}: {topic}/{number}");
            let partition = rig.partitions(&topic).swap_remove(number as usize);
            let dir = format!("/data/partitions/{:016x}", partition.uid().get());
            let may_be_lost = if damage.path.starts_with(&dir) && is_log(&damage.path) {
                hit(pristine, &damage.path, &damage.bytes)
            } else {
                Vec::new()
            };
            let expected = model.messages(&topic, number);
            // Where the journal lost that the start had moved, what retention removed is missed and fenced.
            let start = partition.start().get().max(model.start_seen(&topic, number));
            for (offset, (payload, acknowledged)) in (0..).zip(&expected) {
                if offset < start {
                    continue;
                }
                let seen = see(&mut rig, &topic, number, offset);
                if let Seen::Message(found) = &seen {
                    assert_eq!(found, payload, "{place}: another message at {offset}");
                    continue;
                }
                if *acknowledged {
                    lost += 1;
                    assert_eq!(seen, Seen::Error, "{place}: {offset} is missing without a word");
                    assert!(may_be_lost.contains(&offset), "{place}: {offset} was not damaged");
                }
            }
            let acknowledged = expected.iter().rposition(|(_, acknowledged)| *acknowledged);
            let end = acknowledged.map_or(0, |last| last as u64 + 1);
            let next = partition.high_watermark().get();
            assert!(next >= end, "{place}: offset {next} is given twice, {end} were acknowledged");
        }
    }
    lost
}

fn is_log(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "log")
}

fn see(rig: &mut Rig, topic: &str, partition: u32, offset: u64) -> Seen {
    match rig.read_one(topic, partition, offset) {
        Err(_) => Seen::Error,
        Ok(Some((found, payload))) if found == offset => Seen::Message(payload),
        Ok(_) => Seen::Nothing,
    }
}

/// New messages are taken behind everything, and read back.
fn goes_on(mut rig: Rig, model: &Model, story: &str) {
    for topic in model.usable() {
        for number in 0..PARTITIONS {
            let next = rig.partitions(&topic)[number as usize].high_watermark().get();
            let sent = rig.send(&topic, number, &[b"after".to_vec()]);
            let sent = rig.finish(sent);
            assert!(sent.is_ok(), "{story}: {topic}/{number} takes nothing: {sent:?}");
            let seen = see(&mut rig, &topic, number, next);
            assert_eq!(seen, Seen::Message(b"after".to_vec()), "{story}: {topic}/{number} {next}");
        }
    }
}
