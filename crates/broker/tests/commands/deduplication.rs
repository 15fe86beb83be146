//! Deduplication by message id.
//!
//! INV-NO-HOLE: dropped messages leave no holes, and a send that is dropped as a whole succeeds.
//! P-ACK: the acknowledgement of a message that was sent before promises as much as the first one.

use std::sync::Barrier;

use galgo_broker::{Answer, Outcome};
use galgo_storage::disk::sim::FaultPlan;
use galgo_wire::batch::NewMessage;
use galgo_wire::command::{CommandCode, Deduplication, Durability};
use galgo_wire::{ErrorCode, PartitioningRef, PollingStrategy, id::PartitionId};

use crate::requests::{
    Polled, chosen, create_partitions, create_stream, create_topic, poll, purge_topic, rechosen,
    topic_settings, update_topic,
};
use crate::rig::{Connection, JOURNAL_BATCH_BYTES_MAX, Rig, send_payload};

const FIRST: PartitioningRef<'static> = PartitioningRef::PartitionId(PartitionId::new(0));

fn rig(durability: Durability) -> (Rig, Connection) {
    let rig = Rig::new();
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    let deduplication = Deduplication::On;
    let topic = create_topic("s", "t", 1);
    root.call(&chosen(topic, durability, deduplication)).unwrap();
    (rig, root)
}

fn payload(ids: &[u128], bytes: usize) -> Vec<u8> {
    let text = vec![b'x'; bytes];
    let messages: Vec<_> =
        ids.iter().map(|id| NewMessage { id: *id, payload: &text, ..Default::default() }).collect();
    send_payload("t", FIRST, &messages)
}

fn submit(connection: &mut Connection, ids: &[u128]) -> Outcome {
    connection.submit_bytes(CommandCode::SendMessages, &payload(ids, 9))
}

fn send(connection: &mut Connection, ids: &[u128]) -> Result<(), ErrorCode> {
    connection.call_bytes(CommandCode::SendMessages, &payload(ids, 9))
}

fn stored(connection: &mut Connection) -> Vec<u128> {
    let polled: Polled = connection.poll(&poll("t", 0, PollingStrategy::First)).unwrap();
    let offsets: Vec<u64> = (0..polled.messages.len() as u64).collect();
    assert_eq!(polled.offsets(), offsets, "P-ORDER");
    polled.messages.iter().map(|message| message.id).collect()
}

fn switch(connection: &mut Connection, durability: Durability, deduplication: Deduplication) {
    let topic = update_topic("s", "t", "t");
    connection.call(&rechosen(topic, durability, deduplication)).unwrap();
    let settings = connection.call(&topic_settings("s", "t")).unwrap().unwrap();
    assert_eq!(settings.deduplication, Some(deduplication));
}

#[test]
fn duplicates_leave_no_holes_within_a_batch_and_across_batches() {
    for durability in [Durability::Os, Durability::Fsync] {
        let (_rig, mut root) = rig(durability);
        send(&mut root, &[1, 2, 1]).unwrap();
        send(&mut root, &[2, 3, 3, 4, 1]).unwrap();
        send(&mut root, &[4, 3]).unwrap();
        send(&mut root, &[5]).unwrap();
        assert_eq!(stored(&mut root), [1, 2, 3, 4, 5]);
    }
}

/// What was refused when a sync failed is no duplicate when it is sent again to a partition that takes writes again,
/// and what was stored is.
#[test]
fn what_a_failed_sync_refused_is_stored_once_when_it_comes_again() {
    let (mut rig, mut root) = rig(Durability::Fsync);
    send(&mut root, &[1, 2]).unwrap();
    let large = payload(&[3, 4], JOURNAL_BATCH_BYTES_MAX as usize);
    let journaled = submit(&mut root, &[5]);
    let refused = root.submit_bytes(CommandCode::SendMessages, &large);
    rig.disk.plan(FaultPlan { fail_sync: Some(1), ..FaultPlan::default() });
    rig.sync_round();
    rig.disk.plan(FaultPlan::default());
    for outcome in [journaled, refused] {
        let Outcome::Answer(Answer { after: Some(ticket), .. }) = outcome else {
            panic!("not waiting")
        };
        assert_eq!(ticket.outcome(), Some(Err(ErrorCode::CannotSyncFile)));
    }
    for _ in 0..2 {
        rig.environment.advance_us(2_000_000);
        rig.broker.tick();
        rig.commit_round();
        rig.broker.shards().first().rescue_round();
    }
    for _ in 0..2 {
        send(&mut root, &[1, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!(stored(&mut root), [1, 2, 3, 4, 5, 6]);
    }
    let rig = rig.kill();
    let mut root = rig.root();
    send(&mut root, &[6, 5, 7]).unwrap();
    assert_eq!(stored(&mut root), [1, 2, 3, 4, 5, 6, 7]);
}

/// The id of a message that came without one follows from its offset, which is another one when messages before it
/// are dropped.
#[test]
fn ids_that_are_made_behind_dropped_messages_are_made_once() {
    let (_rig, mut root) = rig(Durability::Os);
    send(&mut root, &[1]).unwrap();
    for _ in 0..3 {
        send(&mut root, &[1, 0, 1, 0, 0]).unwrap();
        send(&mut root, &[0]).unwrap();
    }
    let ids = stored(&mut root);
    let different: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!((ids.len(), different.len()), (13, 13), "no time has passed");
    assert!(!different.contains(&0));
}

#[test]
fn messages_without_an_id_are_never_duplicates() {
    let (_rig, mut root) = rig(Durability::Fsync);
    send(&mut root, &[0, 0]).unwrap();
    send(&mut root, &[0]).unwrap();
    assert_eq!(stored(&mut root).len(), 3);
}

#[test]
fn a_duplicate_is_acknowledged_only_once_the_first_one_is_durable() {
    let (mut rig, mut root) = rig(Durability::Fsync);
    for bytes in [9, 2 * JOURNAL_BATCH_BYTES_MAX as usize] {
        let ids = [bytes as u128];
        let mut outcomes = Vec::new();
        for _ in 0..2 {
            match root.submit_bytes(CommandCode::SendMessages, &payload(&ids, bytes)) {
                Outcome::Answer(Answer { after: Some(ticket), .. }) => outcomes.push(ticket),
                other => panic!("acknowledged at once: {other:?}"),
            }
        }
        assert!(outcomes.iter().all(|ticket| ticket.outcome().is_none()));
        while rig.commit_round() || rig.sync_round() {}
        assert!(outcomes.iter().all(|ticket| ticket.outcome() == Some(Ok(()))));
        let again = submit(&mut root, &ids);
        assert!(
            matches!(again, Outcome::Answer(Answer { after: None, .. })),
            "there is nothing to wait for"
        );
    }
}

#[test]
fn a_duplicate_of_a_message_that_is_taken_back_fails_with_it() {
    let (mut rig, mut root) = rig(Durability::Fsync);
    send(&mut root, &[9]).unwrap();
    let tickets: Vec<_> = (0..2)
        .map(|_| match submit(&mut root, &[1]) {
            Outcome::Answer(Answer { after: Some(ticket), .. }) => ticket,
            other => panic!("acknowledged at once: {other:?}"),
        })
        .collect();
    rig.disk.plan(FaultPlan { fail_sync: Some(1), ..FaultPlan::default() });
    while rig.commit_round() || rig.sync_round() {}
    for ticket in tickets {
        assert_eq!(ticket.outcome(), Some(Err(ErrorCode::CannotSyncFile)));
    }
    assert_eq!(send(&mut root, &[1]), Err(ErrorCode::CannotSyncFile));
}

/// A message sent while the topic was `os` is acknowledged from the page cache. Sent again after the
/// topic became `fsync`, its acknowledgement has to survive a power cut.
#[test]
fn a_duplicate_is_as_durable_as_the_topic_is_now() {
    let (rig, mut root) = rig(Durability::Os);
    send(&mut root, &[1]).unwrap();
    switch(&mut root, Durability::Fsync, Deduplication::On);
    send(&mut root, &[1]).unwrap();
    drop(root);
    let rig = rig.cut_power(3);
    assert_eq!(stored(&mut rig.root()), [1]);
}

#[test]
fn a_send_that_is_tried_again_after_a_restart_stores_nothing_twice() {
    for durability in [Durability::Os, Durability::Fsync] {
        let (mut rig, mut root) = rig(durability);
        send(&mut root, &(1..40).collect::<Vec<_>>()).unwrap();
        for next in 40..44 {
            send(&mut root, &[next]).unwrap();
            drop(root);
            rig = if next % 2 == 0 { rig.kill() } else { rig.restart() };
            root = rig.root();
            let first = submit(&mut root, &[next, 7]);
            assert!(matches!(first, Outcome::Offload(_)), "the log is read off the thread");
            root.finish(first).unwrap();
            send(&mut root, &[1, next]).unwrap();
        }
        assert_eq!(stored(&mut root), (1..44).collect::<Vec<_>>());
    }
}

#[test]
fn only_the_last_ids_are_remembered_and_only_for_a_while() {
    let (rig, mut root) = rig(Durability::Os);
    send(&mut root, &(1..=101).collect::<Vec<_>>()).unwrap();
    send(&mut root, &[2, 1]).unwrap();
    assert_eq!(stored(&mut root).len(), 102, "the first of 101 ids was forgotten");
    rig.environment.advance_us(60_000_000);
    send(&mut root, &[2]).unwrap();
    assert_eq!(stored(&mut root).len(), 103);
}

/// Ids of the last moments were forgotten when the clock was set forward, and a send that was tried again
/// stored its messages twice.
#[test]
fn a_clock_that_is_set_makes_no_id_older() {
    const DAY_US: i64 = 86_400_000_000;
    for by_us in [DAY_US, -DAY_US] {
        for (killed, looks) in [(false, true), (true, false), (true, true)] {
            let (mut rig, mut root) = rig(Durability::Fsync);
            rig.broker.tick();
            send(&mut root, &[1]).unwrap();
            rig.environment.step_wall_us(by_us);
            send(&mut root, &[2]).unwrap();
            if looks {
                rig.broker.tick();
            }
            if killed {
                rig = rig.kill_alone();
                root = rig.root();
            }
            rig.environment.advance_us(30_000_000);
            send(&mut root, &[1, 2, 3]).unwrap();
            let at = format!("by {by_us}, killed: {killed}, looks: {looks}");
            assert_eq!(stored(&mut root), [1, 2, 3], "{at}");
            rig.environment.advance_us(60_000_000);
            send(&mut root, &[1, 2, 3]).unwrap();
            assert_eq!(stored(&mut root), [1, 2, 3, 1, 2, 3], "{at}");
        }
    }
}

#[test]
fn deduplication_can_be_turned_on_and_off() {
    let (_rig, mut root) = rig(Durability::Fsync);
    send(&mut root, &[1]).unwrap();
    switch(&mut root, Durability::Fsync, Deduplication::Off);
    send(&mut root, &[1, 2]).unwrap();
    switch(&mut root, Durability::Fsync, Deduplication::On);
    send(&mut root, &[1, 2, 3]).unwrap();
    assert_eq!(stored(&mut root), [1, 1, 2, 3]);
}

#[test]
fn a_purge_forgets_and_later_partitions_are_covered() {
    let (_rig, mut root) = rig(Durability::Fsync);
    send(&mut root, &[1]).unwrap();
    root.call(&purge_topic("s", "t")).unwrap();
    send(&mut root, &[1, 1]).unwrap();
    assert_eq!(stored(&mut root), [1]);
    root.call(&create_partitions("s", "t", 1)).unwrap();
    let message = NewMessage { id: 1, payload: b"x", ..Default::default() };
    let second = PartitioningRef::PartitionId(PartitionId::new(1));
    let batch = send_payload("t", second, &[message, message]);
    root.call_bytes(CommandCode::SendMessages, &batch).unwrap();
    let polled = root.poll(&poll("t", 1, PollingStrategy::First)).unwrap();
    assert_eq!(polled.messages.len(), 1, "each partition has a window of its own");
}

#[test]
fn a_malformed_batch_is_refused_whatever_is_in_it() {
    let (_rig, mut root) = rig(Durability::Fsync);
    send(&mut root, &[1, 2]).unwrap();
    let mut batch = payload(&[1, 2, 3], 9);
    let end = batch.len() - 1;
    batch.truncate(end);
    assert!(root.call_bytes(CommandCode::SendMessages, &batch).is_err());
    send(&mut root, &[3]).unwrap();
    assert_eq!(stored(&mut root), [1, 2, 3]);
}

#[test]
fn senders_of_the_same_ids_at_once_store_each_once() {
    let (rig, mut root) = rig(Durability::Os);
    let start = Barrier::new(4);
    std::thread::scope(|scope| {
        for sender in 0..4_u128 {
            let (mut connection, start) = (rig.root(), &start);
            scope.spawn(move || {
                start.wait();
                for step in 0..50 {
                    send(&mut connection, &[1 + step, 1 + (step + sender) % 50]).unwrap();
                }
            });
        }
    });
    let mut ids = stored(&mut root);
    ids.sort_unstable();
    assert_eq!(ids, (1..=50).collect::<Vec<_>>());
}
