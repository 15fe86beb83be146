//! A mixed workload from a seed: topics come and go, batches of all sizes, offsets, rounds of the
//! committer and the sync workers in any order, checkpoints.

use galgo_storage::disk::sim::{Random, SimDisk};
use galgo_wire::command::Durability;

use super::model::{Fate, Model};
use super::rig::{JOURNAL_BATCH_BYTES_MAX, PARTITIONS, Rig};
use crate::outcome::{Outcome, Reply};

const STEPS: u64 = 28;

/// Runs until done or until the disk stops.
pub(super) fn run_workload(disk: &SimDisk, model: &mut Model, seed: u64) {
    let Some(mut rig) = Rig::try_open(disk, seed) else { return };
    let mut random = Random::new(seed);
    let mut names = 0;
    for step in 0..STEPS {
        if disk.stopped() {
            break;
        }
        rig.environment.advance_us(random.below(1000));
        let usable = model.usable();
        if usable.is_empty() || random.chance(4) {
            create(&mut rig, model, &mut random, &mut names);
            continue;
        }
        let topic = usable[random.below_usize(usable.len())].clone();
        let partition = random.below(u64::from(PARTITIONS)) as u32;
        match random.below(100) {
            0..55 => send(disk, &mut rig, model, &mut random, (&topic, partition, step)),
            55..67 => store(&mut rig, model, &mut random, (&topic, partition)),
            67..79 => rig.commit_round(),
            79..86 => {
                rig.broker.shard().sync_round();
            }
            86..91 => {
                let _ = rig.broker.shard().checkpoint();
            }
            91..94 => {
                let answer = rig.purge_topic(&topic);
                model.purged(&topic, answer);
            }
            94..96 => {
                let answer = rig.delete_topic(&topic);
                model.deleted(&topic, answer);
            }
            _ => rig.broker.tick(),
        }
    }
    if !disk.stopped() && random.chance(50) {
        let _ = rig.broker.shutdown();
    }
}

fn create(rig: &mut Rig, model: &mut Model, random: &mut Random, names: &mut u32) {
    *names += 1;
    let name = format!("t{names}");
    let durability = if random.chance(25) { Durability::Os } else { Durability::Fsync };
    let answer = rig.create_topic(&name, durability);
    model.created(&name, durability, answer);
}

fn send(
    disk: &SimDisk,
    rig: &mut Rig,
    model: &mut Model,
    random: &mut Random,
    (topic, partition, step): (&str, u32, u64),
) {
    let large = random.chance(20);
    let count = 1 + random.below(4);
    let payloads: Vec<Vec<u8>> = (0..count)
        .map(|number| {
            let bytes = if large { u64::from(JOURNAL_BATCH_BYTES_MAX) } else { 90 };
            let mut payload = format!("{topic}/{partition} step {step} message {number} ");
            payload.extend((0..random.below(bytes)).map(|_| 'x'));
            payload.into_bytes()
        })
        .collect();
    let outcome = rig.send(topic, partition, &payloads);
    let fate = match fate(outcome) {
        Fate::Failed if disk.stopped() => Fate::Cut,
        fate => fate,
    };
    model.sent(topic, partition, payloads, fate);
}

fn store(rig: &mut Rig, model: &mut Model, random: &mut Random, (topic, partition): (&str, u32)) {
    let offset = random.below(6);
    let fate = fate(rig.store_offset(topic, partition, offset));
    if !matches!(fate, Fate::Failed) {
        model.stored(topic, partition, offset, fate);
    }
}

fn fate(outcome: Outcome) -> Fate {
    match outcome {
        Outcome::Done(Reply::Error(_)) => Fate::Failed,
        Outcome::Done(_) => Fate::Done,
        Outcome::Commit(ticket) => Fate::Waiting(ticket),
        other => panic!("unexpected outcome {other:?}"),
    }
}
