//! A producer that sends everything unacknowledged again after each crash, with the same ids.
//!
//! P-ACK and deduplication together: in the end every message is there exactly once.

use galgo_storage::disk::sim::{FaultPlan, SimDisk, SplitMix};
use galgo_wire::command::{Deduplication, Durability};

use super::End;
use super::rig::{JOURNAL_BATCH_BYTES_MAX, Rig};
use crate::outcome::{Answer, Outcome, Reply};
use crate::ticket::Ticket;

const MESSAGES: u128 = 12;
const CRASHES: u64 = 3;

/// Messages without an acknowledgement, in order.
struct Producer {
    unacknowledged: Vec<u128>,
}

impl Producer {
    /// Sends what is not acknowledged, in batches of any size, until done or the disk stops.
    fn run(&mut self, disk: &SimDisk, rig: &mut Rig, random: &mut SplitMix) {
        let mut waiting: Vec<(Ticket, Vec<u128>)> = Vec::new();
        let mut left = self.unacknowledged.clone();
        while !left.is_empty() && !disk.stopped() {
            let size = (1 + random.below_usize(3)).min(left.len());
            let mut batch: Vec<u128> = left.drain(..size).collect();
            if random.chance(20) {
                batch.push(batch[0]);
            }
            let large = random.chance(20);
            let bytes = if large { JOURNAL_BATCH_BYTES_MAX as usize } else { 20 };
            let mut outcome = rig.send_ids("t", 0, &batch, bytes);
            while let Outcome::Offload(job) = outcome {
                outcome = job.run(&rig.broker, &mut rig.session);
            }
            match outcome {
                Outcome::Answer(Answer { after: Some(ticket), .. }) => {
                    waiting.push((ticket, batch))
                }
                Outcome::Answer(Answer { after: None, reply: Reply::Empty }) => {
                    self.acknowledged(&batch)
                }
                _ => {}
            }
            match random.below(6) {
                0..3 => rig.commit_round(),
                3 => {
                    rig.broker.shards().first().sync_round();
                }
                4 => {
                    let _ = rig.broker.shards().first().checkpoint();
                }
                _ => {}
            }
        }
        if !disk.stopped() {
            rig.broker.drain();
        }
        for (ticket, batch) in waiting {
            if ticket.outcome() == Some(Ok(())) {
                self.acknowledged(&batch);
            }
        }
    }

    fn acknowledged(&mut self, batch: &[u128]) {
        self.unacknowledged.retain(|id| !batch.contains(id));
    }
}

/// Crashes at operation `stop_at` of each of the first runs; then runs to the end and counts.
fn run_one(template: &SimDisk, seed: u64, stop_at: u64, end: End) -> bool {
    let mut disk = template.kill_image();
    let mut random = SplitMix::new(seed);
    let mut producer = Producer { unacknowledged: (1..=MESSAGES).collect() };
    let mut crashed = false;
    for crash in 0..CRASHES {
        disk.plan(FaultPlan { stop_at: Some(stop_at + crash), ..FaultPlan::default() });
        if let Some(mut rig) = Rig::try_open(&disk, seed + crash) {
            producer.run(&disk, &mut rig, &mut random);
        }
        crashed |= disk.stopped();
        disk = end.image(&disk, seed ^ stop_at ^ crash);
    }
    let mut rig = Rig::open(&disk, seed + CRASHES);
    producer.run(&disk, &mut rig, &mut random);
    let story = format!("seed {seed}, stopped at operation {stop_at} by {end:?}");
    assert!(producer.unacknowledged.is_empty(), "{story}: {:?}", producer.unacknowledged);
    let mut ids = rig.read_ids("t", 0);
    ids.sort_unstable();
    assert_eq!(ids, (1..=MESSAGES).collect::<Vec<_>>(), "{story}: lost or stored twice");
    crashed
}

#[test]
fn a_producer_that_tries_again_after_each_crash_stores_every_message_once() {
    super::rig::encrypt_every_other();
    for (durability, end) in [
        (Durability::Fsync, End::PowerCut),
        (Durability::Fsync, End::Kill),
        (Durability::Os, End::Kill),
    ] {
        let template = Rig::template();
        let mut rig = Rig::open(&template, 1);
        rig.create_topic_with("t", durability, Deduplication::On).unwrap();
        rig.broker.shutdown().unwrap();
        drop(rig);
        for seed in 0..super::number_from_env("GALGO_CRASH_SEEDS", 100) {
            let mut stop_at = 1;
            while run_one(&template, seed, stop_at, end) && stop_at < 200 {
                stop_at += 1 + seed % 3;
            }
        }
    }
}

#[test]
fn a_partition_nobody_sends_to_lets_go_of_its_message_ids() {
    let mut rig = Rig::open(&Rig::template(), 1);
    rig.create_topic_with("t", Durability::Os, Deduplication::On).unwrap();
    let sent = rig.send_ids("t", 0, &[1, 2], 20);
    rig.finish(sent).unwrap();
    let partition = rig.partitions("t").remove(0);
    rig.broker.tick();
    assert_eq!(partition.window_len(), 2);
    rig.environment.advance_us(60_000_000);
    rig.broker.tick();
    assert_eq!(partition.window_len(), 0);
}

#[test]
fn an_offset_the_journal_refused_is_where_it_was() {
    let mut rig = Rig::open(&Rig::template(), 1);
    rig.create_topic_with("t", Durability::Os, Deduplication::Off).unwrap();
    let sent = rig.send_ids("t", 0, &[1, 2, 3, 4], 20);
    rig.finish(sent).unwrap();
    let refused = |rig: &mut Rig, offsets: &[u64]| {
        let staged: Vec<_> = offsets.iter().map(|at| rig.store_offset("t", 0, *at)).collect();
        rig.broker.shards().first().refuse_round();
        for outcome in staged {
            rig.finish(outcome).unwrap_err();
        }
    };
    refused(&mut rig, &[1]);
    assert_eq!(rig.stored_offset("t", 0), None);
    let stored = rig.store_offset("t", 0, 1);
    rig.finish(stored).unwrap();
    refused(&mut rig, &[2, 3, 1]);
    assert_eq!(rig.stored_offset("t", 0), Some(1));
}

/// A topic `t` with eight messages, of which a consumer has processed those up to offset 6.
fn eight_and_a_position(rig: &mut Rig) {
    rig.create_topic_with("t", Durability::Fsync, Deduplication::Off).unwrap();
    for id in 1..=8 {
        let sent = rig.send_ids("t", 0, &[id], 250);
        rig.finish(sent).unwrap();
    }
    let stored = rig.store_offset("t", 0, 6);
    rig.finish(stored).unwrap();
}

/// A checkpoint that came between a change and its refusal wrote the change down: after a crash it had
/// taken effect, though its sender was told that it did not.
///
/// INV-SETTLED.
#[test]
fn a_checkpoint_makes_nothing_durable_that_the_journal_then_refuses() {
    let disk = Rig::template();
    let mut rig = Rig::open(&disk, 1);
    eight_and_a_position(&mut rig);
    let staged = [rig.store_offset("t", 0, 7), rig.delete_segments("t", 0, 1)];
    let partition = rig.partitions("t").remove(0);
    assert!(partition.staged_start().get() > 0);
    rig.broker.shards().first().checkpoint().unwrap();
    rig.broker.shards().first().refuse_round();
    for outcome in staged {
        rig.finish(outcome).unwrap_err();
    }
    for rig in [&mut rig, &mut Rig::open(&disk.kill_image(), 2)] {
        assert_eq!(rig.stored_offset("t", 0), Some(6));
        assert_eq!(rig.read_ids("t", 0), (1..=8).collect::<Vec<_>>());
    }
}

#[test]
fn a_checkpoint_before_a_commit_does_not_keep_the_next_one_from_seeing_it() {
    let disk = Rig::template();
    let mut rig = Rig::open(&disk, 1);
    rig.create_topic_with("t", Durability::Fsync, Deduplication::Off).unwrap();
    let sent = rig.send_ids("t", 0, &[1, 2, 3], 20);
    rig.finish(sent).unwrap();
    let stored = rig.store_offset("t", 0, 1);
    rig.broker.shards().first().checkpoint().unwrap();
    rig.finish(stored).unwrap();
    rig.broker.shards().first().checkpoint().unwrap();
    assert_eq!(Rig::open(&disk.kill_image(), 2).stored_offset("t", 0), Some(1));
}

/// A position whose commit failed was served until the restart, which might then bring an older one.
#[test]
fn a_position_of_unknown_fate_is_not_served() {
    let disk = Rig::template();
    let mut rig = Rig::open(&disk, 1);
    rig.create_topic_with("t", Durability::Fsync, Deduplication::Off).unwrap();
    let sent = rig.send_ids("t", 0, &[1, 2, 3], 20);
    rig.finish(sent).unwrap();
    let stored = rig.store_offset("t", 0, 0);
    rig.finish(stored).unwrap();
    let staged = [rig.store_offset("t", 0, 1), rig.store_offset("t", 0, 2)];
    disk.plan(FaultPlan { fail_sync: Some(1), ..FaultPlan::default() });
    rig.commit_round();
    for outcome in staged {
        rig.finish(outcome).unwrap_err();
    }
    assert_eq!(rig.stored_offset("t", 0), Some(0));
}

/// A purge comes between what was staged and the journal's refusal of it. A batch, a position and the move of a start go
/// with the old life of the partition: everybody is answered, and nothing of it is seen in the new one, whose positions
/// and messages come back after any end.
#[test]
fn what_the_journal_refuses_after_a_purge_touches_nothing_of_the_new_life() {
    for files_removed in [false, true] {
        let disk = Rig::template().kill_image();
        let mut rig = Rig::open(&disk, 1);
        eight_and_a_position(&mut rig);
        let staged = [
            rig.send_ids("t", 0, &[9], 20),
            rig.store_offset("t", 0, 7),
            rig.delete_segments("t", 0, 1),
        ];
        rig.purge_topic("t").unwrap();
        if files_removed {
            rig.broker.tick();
        }
        let sent = rig.send_ids("t", 0, &[21], 20);
        rig.broker.shards().first().refuse_round();
        rig.broker.drain();
        for outcome in staged {
            let Outcome::Answer(Answer { after: Some(ticket), .. }) = outcome else {
                panic!("it was staged: {outcome:?}")
            };
            assert!(ticket.outcome().is_some(), "INV-TICKET: {files_removed}");
        }
        // The segment of the new life is synced in place of the journal.
        rig.finish(sent).unwrap();
        assert_eq!((rig.read_ids("t", 0), rig.stored_offset("t", 0)), (vec![21], None));
        let stored = rig.store_offset("t", 0, 0);
        rig.finish(stored).unwrap();
        rig.broker.shards().first().checkpoint().unwrap();
        let sent = rig.send_ids("t", 0, &[22], 20);
        rig.finish(sent).unwrap();
        for image in [disk.kill_image(), disk.power_cut_image(3)] {
            let mut rig = Rig::open(&image, 2);
            assert_eq!((rig.read_ids("t", 0), rig.stored_offset("t", 0)), (vec![21, 22], Some(0)));
        }
    }
}
