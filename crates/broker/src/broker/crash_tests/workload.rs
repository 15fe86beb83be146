//! A mixed workload from a seed: topics come and go, batches of all sizes, offsets, rounds of the
//! committer and the sync workers in any order, checkpoints.

use galgo_storage::disk::sim::{SimDisk, SplitMix};
use galgo_storage::retention::RetentionLimits;
use galgo_wire::command::Durability;
use galgo_wire::id::{Offset, Timestamp};
use std::sync::Arc;

use super::model::{Fate, Model};
use super::rig::{JOURNAL_BATCH_BYTES_MAX, PARTITIONS, Rig};
use crate::environment::Clock as _;
use crate::offset_book::Hold;
use crate::outcome::{Answer, Outcome, Reply};
use crate::partition::{Droppable, Partition};
use crate::upkeep::Times;

const STEPS: u64 = 28;
/// How long topics keep messages that do not keep all; a step takes half a millisecond on average.
const EXPIRY_US: u64 = 4_000;
/// Largest size of the topics that have one: a few segments.
const TOPIC_BYTES_MAX: u64 = 1_500;

/// Runs until done or until the disk stops; gives the broker back when it was not shut down.
pub(super) fn run_workload(disk: &SimDisk, model: &mut Model, seed: u64) -> Option<Rig> {
    let mut rig = Rig::try_open(disk, seed)?;
    let mut random = SplitMix::new(seed);
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
            0..52 => send(disk, &mut rig, model, &mut random, (&topic, partition, step)),
            52..62 => store(&mut rig, model, &mut random, (&topic, partition)),
            62..75 => rig.commit_round(),
            75..81 => {
                rig.broker.shards().first().sync_round();
            }
            81..86 => {
                let _ = rig.broker.shards().first().checkpoint();
            }
            86..88 => {
                let answer = rig.purge_topic(&topic);
                model.purged(&topic, answer);
            }
            88 => {
                let answer = rig.delete_topic(&topic);
                model.deleted(&topic, answer);
            }
            89..94 => {
                let count = 1 + random.below(3) as u32;
                let act = |rig: &mut Rig| drop(rig.delete_segments(&topic, partition, count));
                checked(&mut rig, model, None, act);
            }
            _ => {
                let now = rig.environment.now();
                checked(&mut rig, model, Some(now), |rig| rig.broker.tick());
                rig.broker.shards().first().rescue_round();
            }
        }
        model.note_starts(&rig);
    }
    if !disk.stopped() && random.chance(50) {
        let _ = rig.broker.shutdown();
        return None;
    }
    Some(rig)
}

fn create(rig: &mut Rig, model: &mut Model, random: &mut SplitMix, names: &mut u32) {
    *names += 1;
    let name = format!("t{names}");
    let durability = if random.chance(25) { Durability::Os } else { Durability::Fsync };
    let limits = match random.below(3) {
        0 => (EXPIRY_US, u64::MAX),
        1 => (u64::MAX, TOPIC_BYTES_MAX),
        _ => (u64::MAX, u64::MAX),
    };
    let answer = rig.create_limited(&name, durability, limits);
    // With most of these, all that is stored expires in the end.
    if answer.is_ok() && limits.0 == EXPIRY_US && random.chance(75) {
        let _ = rig.configure(&name, "segment.max_age", "1ms");
    }
    model.created(&name, durability, answer);
}

fn send(
    disk: &SimDisk,
    rig: &mut Rig,
    model: &mut Model,
    random: &mut SplitMix,
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

fn store(rig: &mut Rig, model: &mut Model, random: &mut SplitMix, (topic, partition): (&str, u32)) {
    let offset = random.below(6);
    let fate = fate(rig.store_offset(topic, partition, offset));
    if !matches!(fate, Fate::Failed) {
        model.stored(topic, partition, offset, fate);
    }
}

/// One partition before segments may go.
struct Before {
    topic: String,
    partition: Arc<Partition>,
    start: Offset,
    droppable: Droppable,
    rules: RetentionLimits,
    topic_bytes: u64,
    /// The newest message, which is in the segment that is written.
    newest: Timestamp,
    end: Offset,
}

/// Lets `act` remove segments and checks each that goes: sealed and published, committed by everybody
/// who holds messages, and, when retention does it at `now`, too old or of a topic that is too large.
fn checked(rig: &mut Rig, model: &Model, now: Option<Timestamp>, act: impl FnOnce(&mut Rig)) {
    let mut before = Vec::new();
    // Whose stored offset it is, is a consumer's: it holds back who asks, and not retention.
    let hold = Hold { consumers: now.is_none(), ..Hold::ALL };
    for topic in model.topics() {
        let partitions = rig.partitions(topic);
        let topic_bytes = partitions.iter().map(|partition| partition.stats().bytes).sum();
        before.extend(partitions.into_iter().map(|partition| Before {
            topic: topic.to_owned(),
            start: partition.staged_start(),
            droppable: Droppable::of(
                &partition,
                Times { wall: rig.environment.now(), steady: rig.environment.now() },
                hold,
            ),
            rules: rig.rules(topic),
            newest: partition.newest_time(),
            end: partition.high_watermark(),
            partition,
            topic_bytes,
        }));
    }
    act(rig);
    for before in before {
        let Before { topic, partition, start, droppable, rules, topic_bytes, newest, end } = before;
        let moved = partition.staged_start();
        assert!(moved >= start, "{topic}: the start went back from {start} to {moved}");
        assert!(moved <= partition.high_watermark(), "{topic}: unpublished messages went");
        let gone: Vec<_> =
            droppable.sealed.iter().take_while(|kept| kept.segment.base < moved).collect();
        // The one that was written is sealed when it is old, and goes in the same look.
        let barrier = droppable.barrier();
        let all = now.is_some_and(|now| moved == end && rules.is_expired(now, newest))
            && barrier.is_none_or(|barrier| end <= barrier);
        assert!(
            moved == start || all || gone.last().is_some_and(|last| last.segment.end == moved),
            "{topic}: something else than whole sealed segments went: {start} to {moved}"
        );
        for kept in gone {
            let held = barrier.is_some_and(|barrier| kept.segment.end > barrier);
            assert!(!held, "{topic}: a segment went that somebody has not committed");
            let due = now.is_none_or(|now| {
                rules.is_expired(now, kept.stored_by) || rules.is_full(topic_bytes)
            });
            assert!(due, "{topic}: a segment went that was not due");
        }
    }
}

fn fate(outcome: Outcome) -> Fate {
    match outcome {
        Outcome::Answer(Answer { after: None, reply: Reply::Error(_) }) => Fate::Failed,
        Outcome::Answer(Answer { after: None, .. }) => Fate::Done,
        Outcome::Answer(Answer { after: Some(ticket), .. }) => Fate::Waiting(ticket),
        other => panic!("unexpected outcome {other:?}"),
    }
}
