//! Members that get each partition by itself: each is read by one of them, and handed over when what was read is stored.

use std::collections::BTreeMap;
use std::time::Duration;

use galgo::{
    ActiveMember, Client, ConsumeError, ConsumerIdentity, Credentials, MemberChange, Message,
    OffsetOf, PartitionReader, TopicOptions,
};
use tokio::sync::mpsc;

use crate::place::{
    Carrier, PASSWORD, Place, USERNAME, fill, named, number, run, run_with, s, soon, t,
};

/// Hand-overs that wait for nobody's timeout.
const PATIENT: &[(&str, &str)] = &[("GALGO_CONSUMER_GROUP_REBALANCING_TIMEOUT", "1h")];

async fn member(client: &Client) -> ActiveMember {
    client.group_member(&s(), &t()).group("g").join().await.unwrap()
}

async fn gained(member: &mut ActiveMember) -> PartitionReader {
    match soon(member.next_change()).await.unwrap() {
        MemberChange::Gained(reader) => reader,
        other => panic!("{other:?}"),
    }
}

async fn lost(member: &mut ActiveMember) -> u32 {
    match soon(member.next_change()).await.unwrap() {
        MemberChange::Lost(partition) => partition,
        other => panic!("{other:?}"),
    }
}

/// The partitions a member gets at once.
async fn all_gained(member: &mut ActiveMember, count: usize) -> BTreeMap<u32, PartitionReader> {
    let mut readers = BTreeMap::new();
    while readers.len() < count {
        let reader = gained(member).await;
        assert!(readers.insert(reader.partition(), reader).is_none(), "one reader for each");
    }
    readers
}

/// Reads until `count` messages are there.
async fn read(reader: &mut PartitionReader, count: usize) -> Vec<u32> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        numbers.extend(soon(reader.next_batch()).await.unwrap().iter().map(number));
    }
    numbers
}

async fn is_lost(reader: &mut PartitionReader) -> bool {
    matches!(soon(reader.next_batch()).await, Err(ConsumeError::Lost { .. }))
}

async fn stored(client: &Client, partition: u32) -> Option<u64> {
    let consumer = ConsumerIdentity::group(named("g"));
    let of = OffsetOf { stream: s(), topic: t(), partition, consumer };
    client.get_offset(&of).await.unwrap().map(|stored| stored.stored_offset.get())
}

pub(crate) async fn members_get_their_partitions_and_give_up_some_for_one_that_joins(
    place: &Place,
) {
    let client = place.with_topic(4).await;
    for partition in 0..4 {
        fill(&client, partition, partition * 100..partition * 100 + 10).await;
    }
    let (one, two) = (place.root().await, place.root().await);
    let mut first = member(&one).await;
    let mut readers = all_gained(&mut first, 4).await;
    for (partition, reader) in &mut readers {
        reader.seek(0);
        assert_eq!(read(reader, 10).await, Vec::from_iter(partition * 100..partition * 100 + 10));
    }
    let mut second = member(&two).await;
    for _ in 0..2 {
        let partition = lost(&mut first).await;
        let mut reader = readers.remove(&partition).unwrap();
        assert!(is_lost(&mut reader).await);
        // What was processed meanwhile is stored, and only then the other one gets it.
        assert_eq!(stored(&client, partition).await, None);
        reader.store(9).await.unwrap();
        drop(reader);
        let mut next = gained(&mut second).await;
        assert_eq!((next.partition(), next.stored_offset().await.unwrap()), (partition, Some(9)));
        fill(&client, partition, 900..901).await;
        assert_eq!(read(&mut next, 1).await, [900], "behind the stored offset");
        next.store(10).await.unwrap();
        next.release();
    }
    for (partition, reader) in &mut readers {
        fill(&client, *partition, 900..901).await;
        assert_eq!(read(reader, 1).await, [900]);
        reader.store(10).await.unwrap();
    }
    drop(readers);
    first.close().await.unwrap();
    // Those it had are gained by the other one, beside its own, whose readers were dropped.
    assert_eq!(all_gained(&mut second, 4).await.len(), 4);
    second.close().await.unwrap();
}

pub(crate) async fn a_member_reads_on_after_a_restart_with_new_readers(place: &Place) {
    let client = place.with_topic(2).await;
    let own = place.root().await;
    let mut member = member(&own).await;
    for round in 0..2 {
        let mut readers = all_gained(&mut member, 2).await;
        for (partition, reader) in &mut readers {
            fill(&client, *partition, round..round + 1).await;
            assert_eq!(read(reader, 1).await, [round]);
            reader.store(u64::from(round)).await.unwrap();
        }
        place.restart();
        client.ping().await.unwrap();
        // Somebody else may have had them in between.
        for (partition, reader) in &mut readers {
            assert!(is_lost(reader).await, "partition {partition}");
            let refused = reader.store(u64::from(round)).await.unwrap_err();
            assert!(matches!(refused, ConsumeError::Lost { .. }), "{refused}");
        }
        assert_eq!([lost(&mut member).await, lost(&mut member).await], [0, 1]);
    }
    drop(all_gained(&mut member, 2).await);
    member.close().await.unwrap();
}

pub(crate) async fn readers_that_wait_are_woken_each_by_its_own_message(place: &Place) {
    const ROUNDS: u32 = 10;
    let client = place.with_topic(4).await;
    let own = place.root().await;
    let mut member = member(&own).await;
    let (shown, mut seen) = mpsc::unbounded_channel();
    for (partition, mut reader) in all_gained(&mut member, 4).await {
        let shown = shown.clone();
        tokio::spawn(async move {
            while let Ok(batch) = reader.next_batch().await {
                // One of them is so slow that it never asks again.
                if partition == 3 {
                    std::future::pending::<()>().await;
                }
                for message in batch {
                    reader.store(message.offset()).await.unwrap();
                    shown.send((partition, number(&message))).unwrap();
                }
            }
        });
    }
    fill(&client, 3, 0..10).await;
    for round in 0..ROUNDS {
        for partition in 0..3 {
            fill(&client, partition, round..round + 1).await;
            assert_eq!(soon(seen.recv()).await, Some((partition, round)));
        }
    }
    member.close().await.unwrap();
}

/// INV-HOLD: readers see their partition end, and nobody else's.
#[test]
fn a_member_that_was_stopped_loses_its_partitions_and_is_told_so() {
    run(Carrier::Tcp, async |place| {
        let client = place.with_topic(1).await;
        fill(&client, 0, 0..10).await;
        let builder = place.builder().credentials(Credentials::password(USERNAME, PASSWORD));
        let (go_on, stopped) = std::sync::mpsc::channel();
        let (shown, mut seen) = mpsc::unbounded_channel();
        let program = std::thread::spawn(move || {
            // Nothing of it runs, pings included, while nothing is waited for on it.
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let (mut member, mut reader) = runtime.block_on(async {
                let client = builder.connect().await.unwrap();
                let member = client.group_member(&s(), &t()).group("g");
                let mut member =
                    member.session_timeout(Duration::from_secs(1)).join().await.unwrap();
                let mut reader = gained(&mut member).await;
                assert_eq!(read(&mut reader, 10).await.len(), 10);
                (member, reader)
            });
            shown.send(()).unwrap();
            stopped.recv().unwrap();
            runtime.block_on(async {
                let refused = soon(reader.store(9)).await.unwrap_err();
                assert!(matches!(refused, ConsumeError::Lost { partition: 0 }), "{refused}");
                assert!(is_lost(&mut reader).await);
                assert_eq!(lost(&mut member).await, 0);
                drop(reader);
                member.close().await.unwrap();
            });
        });
        assert_eq!(soon(seen.recv()).await, Some(()));
        let mut other = member(&client).await;
        let mut reader = gained(&mut other).await;
        assert_eq!(read(&mut reader, 10).await, Vec::from_iter(0..10), "nothing of it is stored");
        reader.store(4).await.unwrap();
        go_on.send(()).unwrap();
        program.join().unwrap();
        assert_eq!(stored(&client, 0).await, Some(4), "not what was stored too late");
        drop(reader);
        other.close().await.unwrap();
    });
}

#[test]
fn a_member_that_is_dropped_leaves_its_partitions_to_the_others() {
    run_with(Carrier::Tcp, PATIENT, async |place| {
        let client = place.with_topic(3).await;
        let (one, two) = (place.root().await, place.root().await);
        let mut first = member(&one).await;
        let mut readers = all_gained(&mut first, 3).await;
        fill(&client, 0, 0..5).await;
        assert_eq!(read(readers.get_mut(&0).unwrap(), 5).await.len(), 5);
        drop((first, one));
        let mut second = member(&two).await;
        let mut theirs = all_gained(&mut second, 3).await;
        assert_eq!(read(theirs.get_mut(&0).unwrap(), 5).await.len(), 5, "what was not stored");
        for (partition, mut reader) in readers {
            assert!(is_lost(&mut reader).await);
            let refused = soon(reader.store(0)).await.unwrap_err();
            assert!(matches!(refused, ConsumeError::Lost { .. }), "{partition}: {refused}");
        }
        drop(theirs);
        second.close().await.unwrap();
    });
}

#[test]
fn a_reader_that_is_dropped_without_a_loss_is_given_out_anew() {
    run(Carrier::Tcp, async |place| {
        let client = place.with_topic(1).await;
        let mut member = member(&client).await;
        fill(&client, 0, 0..5).await;
        let mut reader = gained(&mut member).await;
        assert_eq!(read(&mut reader, 5).await.len(), 5);
        reader.store(1).await.unwrap();
        drop(reader);
        assert_eq!(read(&mut gained(&mut member).await, 3).await, [2, 3, 4]);
        member.close().await.unwrap();
    });
}

#[test]
fn a_purge_is_told_until_the_reader_is_told_where_to_go_on() {
    run(Carrier::Tcp, async |place| {
        let client = place.with_topic(1).await;
        let own = place.root().await;
        let mut member = member(&own).await;
        let mut reader = gained(&mut member).await;
        fill(&client, 0, 0..5).await;
        let before = reader.extent().await.unwrap();
        assert_eq!((before.first, before.end, before.stored), (0, 5, None));
        let fourth = reader.message_at(4).await.unwrap().unwrap();
        assert_eq!((number(&fourth), reader.message_at(5).await.unwrap()), (4, None));
        reader.seek(3);
        assert_eq!(read(&mut reader, 2).await, [3, 4]);
        client.purge_topic(&s(), &t()).await.unwrap();
        // More than there were: only the life tells.
        fill(&client, 0, 100..120).await;
        for _ in 0..2 {
            let told = soon(reader.next_batch()).await.unwrap_err();
            assert!(
                matches!(told, ConsumeError::Rewound { partition: 0, expected: 5 }),
                "{told:?}"
            );
        }
        let after = reader.extent().await.unwrap();
        assert!(after.life.differs_from(before.life));
        assert_eq!((after.first, after.end, after.stored), (0, 20, None));
        reader.seek(0);
        assert_eq!(read(&mut reader, 20).await, Vec::from_iter(100..120));
        reader.store(19).await.unwrap();
        client.purge_topic(&s(), &t()).await.unwrap();
        let outlived = reader.store(19).await.unwrap_err();
        assert!(matches!(outlived, ConsumeError::Outlived { offset: 19, .. }), "{outlived:?}");
        assert!(matches!(reader.message_at(19).await, Err(ConsumeError::Rewound { .. })));
        drop(reader);
        member.close().await.unwrap();
    });
}

#[test]
fn a_topic_that_is_deleted_is_told_and_one_that_is_made_again_is_read() {
    run(Carrier::Tcp, async |place| {
        let client = place.with_topic(1).await;
        let own = place.root().await;
        let mut member = member(&own).await;
        let mut reader = gained(&mut member).await;
        fill(&client, 0, 0..5).await;
        assert_eq!(read(&mut reader, 5).await.len(), 5);
        client.delete_topic(&s(), &t()).await.unwrap();
        assert!(is_lost(&mut reader).await);
        assert_eq!(lost(&mut member).await, 0);
        let told = soon(member.next_change()).await.unwrap_err();
        assert!(matches!(told, ConsumeError::NoTopic { .. }), "{told:?}");
        let options = TopicOptions::default().partitions(2);
        client.create_topic(&s(), "t", options).await.unwrap();
        fill(&client, 0, 10..12).await;
        drop(reader);
        let mut readers = all_gained(&mut member, 2).await;
        assert_eq!(read(readers.get_mut(&0).unwrap(), 2).await, [10, 11]);
        member.close().await.unwrap();
    });
}

#[test]
fn messages_that_are_gone_are_told_and_not_skipped() {
    const SMALL: &[(&str, &str)] = &[("GALGO_STORAGE_SEGMENT_BYTES", "1 MiB")];
    run_with(Carrier::Tcp, SMALL, async |place| {
        let client = place.with_topic(1).await;
        let own = place.root().await;
        let large = [Message::new(vec![7; 600 << 10])];
        for _ in 0..6 {
            let first = galgo::Partitioning::PartitionId(0.into());
            client.send(&s(), &t(), first, &large).await.unwrap();
        }
        client.delete_segments(&s(), &t(), 0, 1).await.unwrap();
        let mut member = member(&own).await;
        let mut reader = gained(&mut member).await;
        let extent = reader.extent().await.unwrap();
        assert!(extent.first > 0 && extent.end == 6, "{extent:?}");
        reader.seek(0);
        for _ in 0..2 {
            let told = soon(reader.next_batch()).await.unwrap_err();
            let is_gap = matches!(told, ConsumeError::Gap { expected: 0, first, .. } if first == extent.first);
            assert!(is_gap, "{told:?}");
        }
        reader.seek(extent.first);
        assert_eq!(soon(reader.next_batch()).await.unwrap()[0].offset(), extent.first);
        drop(reader);
        member.close().await.unwrap();
    });
}

#[test]
fn a_reader_outside_of_groups_reads_and_stores_nothing() {
    run(Carrier::Tcp, async |place| {
        let client = place.with_topic(1).await;
        let own = place.root().await;
        let mut reader = own.partition_reader(&s(), &t(), 0).batch_size(2);
        fill(&client, 0, 0..5).await;
        assert_eq!(read(&mut reader, 5).await, Vec::from_iter(0..5));
        let (polled, ()) =
            soon(async { tokio::join!(reader.next_batch(), fill(&client, 0, 5..6)) }).await;
        assert_eq!(number(&polled.unwrap()[0]), 5);
        assert!(matches!(reader.store(1).await, Err(ConsumeError::Setup(_))));
        assert_eq!(reader.stored_offset().await.unwrap(), None);
        reader.seek(100);
        assert!(matches!(soon(reader.next_batch()).await, Err(ConsumeError::Rewound { .. })));
    });
}

#[test]
fn a_group_is_created_only_when_it_may_be() {
    run(Carrier::Tcp, async |place| {
        let client = place.with_topic(1).await;
        let builder = client.group_member(&s(), &t()).group("g").create_group(false);
        let refused = builder.clone().join().await.unwrap_err();
        assert!(matches!(refused, ConsumeError::Poll(_)), "{refused:?}");
        client.create_consumer_group(&s(), &t(), "g").await.unwrap();
        let mut member = builder.join().await.unwrap();
        let reader = gained(&mut member).await;
        client.delete_consumer_group(&s(), &t(), &named("g")).await.unwrap();
        assert_eq!(lost(&mut member).await, 0);
        let told = soon(member.next_change()).await.unwrap_err();
        assert!(matches!(told, ConsumeError::Poll(_)), "{told:?}");
        drop(reader);
        client.create_consumer_group(&s(), &t(), "g").await.unwrap();
        assert_eq!(gained(&mut member).await.partition(), 0);
        member.close().await.unwrap();
        let nameless = client.group_member(&s(), &t()).join().await.unwrap_err();
        assert!(matches!(nameless, ConsumeError::Setup(_)));
    });
}
