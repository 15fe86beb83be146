//! Whole pipelines between a scripted origin and a topic in memory: killed, refused, overtaken.

mod world;

use std::collections::BTreeSet;

use bytes::Bytes;
use galgo::MESSAGE_PAYLOAD_BYTES_MAX;
use proptest::prelude::*;
use serde_json::json;

use self::world::{CHUNK, World};
use super::*;
use crate::source::Cursor;

const LONG: Duration = Duration::from_secs(3_600);

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread();
    { runtime }.enable_time().start_paused(true).build().unwrap().block_on(future)
}

/// INV-ACKED-FIRST
#[test]
fn what_is_acknowledged_is_settled_and_the_end_is_told_once() {
    for keeps_cursor in [true, false] {
        let world = World::new(keeps_cursor, 20);
        assert_eq!(block_on(world.run(true, LONG)), Some(PipelineEnd::Complete));
        let memory = world.memory.lock();
        assert!(memory.stored.iter().copied().eq(0..20), "{:?}", memory.stored);
        assert_eq!((memory.settled, memory.repeats, memory.finished), (20, 0, 1));
        let records = world.partition.lock().messages.len();
        assert_eq!(records > 0, keeps_cursor);
    }
}

#[test]
fn a_stop_settles_what_was_sent_and_finishes_the_origin() {
    let world = World::new(true, 2_000);
    block_on(async {
        let stop = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            world.stop.send_replace(true);
        };
        let (end, ()) = tokio::join!(world.run(false, LONG), stop);
        assert_eq!(end, Some(PipelineEnd::Stopped));
    });
    let memory = world.memory.lock();
    assert!(memory.settled > 0 && memory.settled < 2_000);
    assert_eq!((memory.stored.len() as u64, memory.finished), (memory.settled, 1));
}

#[test]
fn the_end_is_not_told_before_the_last_chunk_is_stored() {
    for keeps_cursor in [true, false] {
        // The last acknowledgement fails after the origin has said that there is no more.
        let world = World::new(keeps_cursor, 1);
        world.memory.lock().acks_fail = 1;
        assert_eq!(block_on(world.run(true, LONG)), Some(PipelineEnd::Complete));
        let memory = world.memory.lock();
        assert_eq!((memory.stored.len(), memory.settled), (1, 1));
    }
}

/// INV-ONE-LEADER: one that has lost the partition stops, also when it does not hear of that.
#[test]
fn an_old_leader_settles_nothing_more() {
    for is_frozen in [false, true] {
        let world = World::new(true, 2_000);
        let inbound = world.inbound(false);
        block_on(async {
            let took_over = async {
                tokio::time::sleep(Duration::from_millis(1_500)).await;
                world.partition.lock().owner += 1;
                world.memory.lock().settled
            };
            let old = world.attempt(&inbound, is_frozen);
            let (ended, settled) =
                tokio::time::timeout(LONG, async { tokio::join!(old, took_over) }).await.unwrap();
            assert_eq!(ended, Err(Failure::away("another process reads the origin now")));
            assert!(settled > 0);
            assert_eq!(world.memory.lock().settled, settled, "INV-ONE-LEADER");
            assert!(world.memory.lock().finished == 0);
        });
        assert_eq!(block_on(world.run(true, LONG)), Some(PipelineEnd::Complete));
        let memory = world.memory.lock();
        assert!(memory.stored.len() == 2_000 && memory.stored.is_sorted());
    }
}

/// INV-ONE-LEADER: what an older leader wrote behind the record of a later one is not believed.
#[test]
fn records_of_an_older_epoch_are_not_believed() {
    let world = World::new(true, 100);
    world.memory.lock().stored = (0..100).collect();
    block_on(async {
        let mut old = world.leader(true).await.unwrap();
        old.store(Cursor(10.into())).await.unwrap();
        world.partition.lock().owner += 1;
        let mut new = world.leader(false).await.unwrap();
        assert_eq!(new.cursor(), Some(&Cursor(10.into())));
        new.store(Cursor(20.into())).await.unwrap();
        old.store(Cursor(15.into())).await.unwrap_err();
        let last = world.partition.lock().messages.last_key_value().unwrap().1.payload.clone();
        let last: serde_json::Value = serde_json::from_slice(&last).unwrap();
        assert_eq!((&last["epoch"], &last["cursor"]), (&json!(1), &json!(15)), "it is written");
        let newest = world.leader(false).await.unwrap();
        assert_eq!(newest.cursor(), Some(&Cursor(20.into())));
    });
}

#[test]
fn a_message_that_is_none_of_galgo_is_bad() {
    let large = Bytes::from(format!("4 {}", "x".repeat(MESSAGE_PAYLOAD_BYTES_MAX as usize)));
    for on_bad in [BadChoice::Pause, BadChoice::Skip, BadChoice::DeadLetter] {
        let mut world = World::new(true, 10);
        world.on_bad = on_bad;
        world.memory.lock().messages[4] = large.clone();
        if on_bad == BadChoice::Skip {
            world.memory.lock().skipped.insert(4);
        }
        let end = block_on(world.run(true, LONG)).unwrap();
        let memory = world.memory.lock();
        match on_bad {
            BadChoice::Pause => {
                let PipelineEnd::Stands(why) = end else { unreachable!("{end:?}") };
                assert!(why.contains("over the limit of 64000000"), "{why}");
                assert_eq!(memory.settled, CHUNK, "the chunk of the message is not settled");
            }
            _ => {
                assert_eq!(end, PipelineEnd::Complete);
                assert_eq!((memory.stored.len(), memory.settled), (9, 10));
                let dead = usize::from(on_bad == BadChoice::DeadLetter);
                assert_eq!(memory.dead.len(), dead);
            }
        }
    }
}

#[test]
fn what_is_too_much_at_once_is_split_and_a_message_that_is_too_much_alone_is_bad() {
    // What is on its way is refused when it is acknowledged; of more than a batch, while what comes behind it is sent.
    for (filler, request_bytes) in [(30_000, 70_000), (100_000, 230_000)] {
        let mut world = World::new(true, 60);
        world.on_bad = BadChoice::DeadLetter;
        {
            let mut memory = world.memory.lock();
            let filler = "x".repeat(filler);
            for number in 0..60 {
                memory.messages[number] = format!("{number} {filler}").into();
            }
            memory.messages[10] = format!("10 {}", filler.repeat(3)).into();
            memory.messages[50] = format!("50 {}", filler.repeat(3)).into();
            memory.request_bytes = Some(request_bytes);
        }
        assert_eq!(block_on(world.run(true, LONG)), Some(PipelineEnd::Complete));
        let memory = world.memory.lock();
        let dead: BTreeSet<u64> = memory.dead.iter().map(|(number, _)| *number).collect();
        assert_eq!(dead, BTreeSet::from([10, 50]));
        assert!(memory.dead.iter().all(|(_, reason)| reason == "the request is too large"));
        assert_eq!((memory.stored.len(), memory.settled), (58, 60));
        assert!(memory.stored.is_sorted(), "order is kept");
    }
}

/// A mishap of the origin, the server or the process.
#[derive(Clone, Debug)]
enum Mishap {
    KilledAfter(u64),
    AcksFail(u32),
    ReadsFail(u32),
    CursorsFail(u32),
    Overtaken,
}

fn mishap() -> impl Strategy<Value = Mishap> {
    prop_oneof![
        3 => (0..3_000_u64).prop_map(Mishap::KilledAfter),
        1 => (1..4_u32).prop_map(Mishap::AcksFail),
        1 => (1..4_u32).prop_map(Mishap::ReadsFail),
        1 => (1..4_u32).prop_map(Mishap::CursorsFail),
        1 => Just(Mishap::Overtaken),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// INV-ACKED-FIRST and INV-ONE-LEADER: whatever breaks, each message is stored, in order, and settled in the end.
    #[test]
    fn everything_is_stored_in_order_whatever_breaks(
        count in 0..600_u64,
        keeps_cursor in any::<bool>(),
        mishaps in prop::collection::vec(mishap(), 0..8),
    ) {
        let world = World::new(keeps_cursor, count);
        for mishap in mishaps {
            match mishap {
                Mishap::KilledAfter(millis) => {
                    drop(block_on(world.run(true, Duration::from_millis(millis))));
                }
                Mishap::AcksFail(times) => world.memory.lock().acks_fail = times,
                Mishap::ReadsFail(times) => world.memory.lock().reads_fail = times,
                Mishap::CursorsFail(times) => world.partition.lock().away = times,
                Mishap::Overtaken => world.partition.lock().owner += 1,
            }
        }
        prop_assert_eq!(block_on(world.run(true, LONG)), Some(PipelineEnd::Complete));
        let memory = world.memory.lock();
        prop_assert!(memory.stored.iter().copied().eq(0..count), "in order");
        prop_assert_eq!(memory.settled, count);
    }
}
