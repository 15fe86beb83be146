//! The consumer: where it begins and ends, what it commits, and that it skips nothing.

use std::time::{Duration, UNIX_EPOCH};

use futures_util::StreamExt;
use galgo::{
    Client, Commit, ConsumeError, Consumer, ConsumerBuilder, Message, Partitioning,
    ReceivedMessage, Start,
};
use galgo_wire::command::CommandCode;
use galgo_wire::error_code::ErrorCode;

use crate::support::{Act, Server, eventually, numbered, stream, texts, topic};

fn consumer(client: &Client) -> ConsumerBuilder {
    client.consumer(&stream(), &topic()).poll_interval(Duration::from_millis(5))
}

async fn fill(client: &Client, partition: u32, range: std::ops::Range<usize>) {
    let partitioning = Partitioning::PartitionId(partition.into());
    client.send(&stream(), &topic(), partitioning, &numbered(range)).await.unwrap();
}

async fn next(consumer: &mut Consumer) -> ReceivedMessage {
    let next = tokio::time::timeout(Duration::from_secs(5), consumer.next()).await;
    next.unwrap().unwrap().unwrap()
}

async fn rest(consumer: &mut Consumer) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(message) = consumer.next().await {
        all.push(String::from_utf8(message.unwrap().payload().to_vec()).unwrap());
    }
    all
}

fn stored(server: &Server, name: &str, partition: u32) -> Option<u64> {
    server.shared.world.lock().offsets.get(&(name.to_owned(), partition)).copied()
}

#[tokio::test]
async fn it_begins_where_it_is_told() {
    let server = Server::start(1).await;
    let client = server.client().await;
    fill(&client, 0, 0..10).await;
    server.shared.world.lock().offsets.insert(("late".into(), 0), 6);
    // The small server's clock says 1,000 at offset 0 and ticks once per batch at its first offset.
    fill(&client, 0, 10..12).await;
    for (start, name, first) in [
        (Start::First, "new", 0),
        (Start::Offset(4), "new", 4),
        (Start::Next, "new", 0),
        (Start::Next, "late", 7),
        (Start::Last(3), "new", 9),
        (Start::Last(100), "new", 0),
        (Start::Time(UNIX_EPOCH + Duration::from_micros(1_010)), "new", 10),
        (Start::Time(UNIX_EPOCH), "new", 0),
    ] {
        let mut consumer = consumer(&client)
            .start(start)
            .name(name)
            .until_end()
            .batch_size(4)
            .build()
            .await
            .unwrap();
        assert_eq!(rest(&mut consumer).await, texts(first..12), "{start:?} as {name}");
    }
    for start in [Start::Last(0), Start::Offset(12)] {
        let mut consumer = consumer(&client).start(start).until_end().build().await.unwrap();
        assert!(consumer.next().await.is_none(), "{start:?}");
        let mut consumer = self::consumer(&client).start(start).build().await.unwrap();
        let waiting = tokio::time::timeout(Duration::from_millis(30), consumer.next()).await;
        assert!(waiting.is_err(), "{start:?}");
    }
}

#[tokio::test]
async fn it_waits_for_what_comes_next() {
    let server = Server::start(2).await;
    let client = server.client().await;
    let mut consumer = consumer(&client).start(Start::Last(0)).build().await.unwrap();
    let sending = tokio::spawn({
        let client = client.clone();
        async move {
            for number in 0..20 {
                tokio::time::sleep(Duration::from_millis(3)).await;
                fill(&client, number % 2, number as usize..number as usize + 1).await;
            }
        }
    });
    let mut numbers = Vec::new();
    for _ in 0..20 {
        let message = next(&mut consumer).await;
        let number: u32 = std::str::from_utf8(message.payload()).unwrap().parse().unwrap();
        assert_eq!(message.partition(), number % 2);
        numbers.push(number);
    }
    sending.await.unwrap();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn partitions_take_turns_and_keep_their_order() {
    let server = Server::start(3).await;
    let client = server.client().await;
    for partition in 0..3 {
        fill(&client, partition, 0..100).await;
    }
    let builder = consumer(&client).start(Start::First).until_end().batch_size(10);
    let mut consumer = builder.build().await.unwrap();
    assert_eq!(consumer.partitions(), [0, 1, 2]);
    let mut next_of = [0; 3];
    let mut turns = vec![];
    while let Some(message) = consumer.next().await {
        let message = message.unwrap();
        let partition = message.partition() as usize;
        assert_eq!(message.offset(), next_of[partition]);
        next_of[partition] += 1;
        turns.push(partition);
        // A program that works on its messages gives the fetchers time to keep up.
        tokio::task::yield_now().await;
    }
    assert_eq!(next_of, [100; 3]);
    turns.dedup();
    assert!(turns.len() > 10, "{turns:?}");
}

#[tokio::test]
async fn only_the_partitions_asked_for_are_read() {
    let server = Server::start(3).await;
    let client = server.client().await;
    for partition in 0..3_u32 {
        fill(&client, partition, partition as usize..partition as usize + 1).await;
    }
    let builder = consumer(&client).start(Start::First).until_end();
    let mut one = builder.clone().partition(1).build().await.unwrap();
    assert_eq!(rest(&mut one).await, ["1"]);
    let mut two = builder.clone().partitions([0, 2]).build().await.unwrap();
    let mut read = rest(&mut two).await;
    read.sort();
    assert_eq!(read, ["0", "2"]);
    assert!(matches!(builder.partitions([]).build().await, Err(ConsumeError::Setup(_))));
}

#[tokio::test]
async fn until_end_ends_at_what_was_there_at_the_start() {
    let server = Server::start(3).await;
    let client = server.client().await;
    fill(&client, 0, 0..10).await;
    fill(&client, 1, 0..1).await;
    let builder = consumer(&client).start(Start::First).until_end().batch_size(3);
    let mut consumer = builder.build().await.unwrap();
    fill(&client, 0, 10..20).await;
    fill(&client, 2, 0..5).await;
    let read = rest(&mut consumer).await;
    assert_eq!(read.len(), 11, "{read:?}");
    assert!(consumer.next().await.is_none(), "it stays ended");
}

#[tokio::test]
async fn by_hand_only_what_is_told_is_committed() {
    let server = Server::start(1).await;
    let client = server.client().await;
    fill(&client, 0, 0..10).await;
    let builder = consumer(&client).start(Start::First).name("hand");
    let mut consumer = builder.build().await.unwrap();
    let first = next(&mut consumer).await;
    let second = next(&mut consumer).await;
    next(&mut consumer).await;
    assert_eq!(stored(&server, "hand", 0), None);
    consumer.commit(&second).await.unwrap();
    assert_eq!(stored(&server, "hand", 0), Some(1));
    consumer.commit(&first).await.unwrap();
    assert_eq!(stored(&server, "hand", 0), Some(0), "also backwards");
    consumer.close().await.unwrap();
    assert_eq!(stored(&server, "hand", 0), Some(0));
}

#[tokio::test]
async fn per_message_commits_what_is_processed_and_not_what_is_being_processed() {
    let server = Server::start(1).await;
    let client = server.client().await;
    fill(&client, 0, 0..10).await;
    let builder = consumer(&client).start(Start::First).name("each").commit(Commit::PerMessage);
    let mut consumer = builder.build().await.unwrap();
    next(&mut consumer).await;
    server.settle().await;
    assert_eq!(stored(&server, "each", 0), None);
    next(&mut consumer).await;
    eventually("the first is committed", || stored(&server, "each", 0) == Some(0)).await;
    for _ in 0..3 {
        next(&mut consumer).await;
    }
    consumer.close().await.unwrap();
    assert_eq!(stored(&server, "each", 0), Some(4));
}

#[tokio::test]
async fn per_batch_commits_at_the_end_of_each_batch() {
    let server = Server::start(1).await;
    let client = server.client().await;
    fill(&client, 0, 0..10).await;
    let builder = consumer(&client).start(Start::First).name("batch").commit(Commit::PerBatch);
    let mut consumer = builder.batch_size(4).build().await.unwrap();
    for _ in 0..4 {
        next(&mut consumer).await;
    }
    server.settle().await;
    assert_eq!(stored(&server, "batch", 0), None);
    next(&mut consumer).await;
    eventually("the first batch is committed", || stored(&server, "batch", 0) == Some(3)).await;
    next(&mut consumer).await;
    consumer.close().await.unwrap();
    assert_eq!(stored(&server, "batch", 0), Some(5), "what was taken counts at the end");
}

#[tokio::test]
async fn by_interval_commits_are_few_and_the_last_is_not_forgotten() {
    let server = Server::start(2).await;
    let client = server.client().await;
    fill(&client, 0, 0..500).await;
    fill(&client, 1, 0..500).await;
    let every = Commit::Every(Duration::from_millis(50));
    let builder = consumer(&client).start(Start::First).name("clock").commit(every).until_end();
    let mut consumer = builder.build().await.unwrap();
    assert_eq!(rest(&mut consumer).await.len(), 1000);
    eventually("both partitions are committed", || {
        (0..2).all(|partition| stored(&server, "clock", partition) == Some(499))
    })
    .await;
    let stores =
        server.log().iter().filter(|code| **code == CommandCode::StoreConsumerOffset).count();
    assert!(stores <= 100, "{stores} stores");
    drop(consumer);
}

#[tokio::test]
async fn dropped_it_commits_what_was_processed() {
    let server = Server::start(1).await;
    let client = server.client().await;
    fill(&client, 0, 0..10).await;
    let every = Commit::Every(Duration::from_secs(60));
    let builder = consumer(&client).start(Start::First).name("drop").commit(every);
    let mut consumer = builder.build().await.unwrap();
    for _ in 0..3 {
        next(&mut consumer).await;
    }
    drop(consumer);
    eventually("the first two are committed", || stored(&server, "drop", 0) == Some(1)).await;
}

#[tokio::test]
async fn a_failed_commit_is_told_and_reading_goes_on() {
    let server = Server::start(1).await;
    let client = server.client().await;
    fill(&client, 0, 0..10).await;
    server.once(CommandCode::StoreConsumerOffset, 0, Act::Refuse(ErrorCode::Unauthorized));
    let builder = consumer(&client).start(Start::First).commit(Commit::PerMessage);
    let mut consumer = builder.build().await.unwrap();
    let (mut read, mut failures) = (0, 0);
    while read < 10 || failures == 0 {
        match consumer.next().await.unwrap() {
            Ok(_) => read += 1,
            Err(ConsumeError::Commit(error)) => {
                assert_eq!(error.code(), Some(ErrorCode::Unauthorized));
                failures += 1;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!((read, failures), (10, 1));
}

#[tokio::test]
async fn lost_connections_skip_and_repeat_nothing() {
    let server = Server::start(2).await;
    let client = server.client().await;
    fill(&client, 0, 0..300).await;
    fill(&client, 1, 0..300).await;
    let mut polls = 0;
    server.on_request(move |_, code| {
        polls += usize::from(code == CommandCode::PollMessages);
        match (code, polls % 5) {
            (CommandCode::PollMessages, 2) => Act::CloseMidReply,
            (CommandCode::PollMessages, 4) => Act::Dribble,
            _ => Act::Answer,
        }
    });
    let builder = consumer(&client).start(Start::First).until_end().batch_size(20);
    let mut consumer = builder.build().await.unwrap();
    let mut next_of = [0, 0];
    while let Some(message) = consumer.next().await {
        let message = message.unwrap();
        let next = &mut next_of[message.partition() as usize];
        assert_eq!(message.offset(), *next);
        *next += 1;
    }
    assert_eq!(next_of, [300, 300]);
    assert!(server.connections() > 3);
}

#[tokio::test]
async fn what_is_fetched_ahead_is_bounded() {
    let server = Server::start(1).await;
    let client = server.client().await;
    fill(&client, 0, 0..1000).await;
    let builder = consumer(&client).start(Start::First).batch_size(10);
    let mut consumer = builder.build().await.unwrap();
    let polls = || server.shared.world.lock().polls;
    eventually("a batch waits, and one behind it", || polls() == 2).await;
    server.settle().await;
    assert_eq!(polls(), 2);
    next(&mut consumer).await;
    eventually("the next is fetched", || polls() == 3).await;
    server.settle().await;
    assert_eq!(polls(), 3);
}

#[tokio::test]
async fn it_goes_on_with_the_oldest_message_when_its_place_is_gone() {
    let server = Server::start(1).await;
    let client = server.client().await;
    fill(&client, 0, 0..10).await;
    server.shared.world.lock().forget_before(0, 5);
    let mut consumer = consumer(&client).start(Start::Offset(2)).until_end().build().await.unwrap();
    assert_eq!(rest(&mut consumer).await, texts(5..10));
}

#[tokio::test]
async fn a_purge_is_told_and_reading_begins_anew() {
    let server = Server::start(1).await;
    let client = server.client().await;
    fill(&client, 0, 0..10).await;
    let mut consumer = consumer(&client).start(Start::First).build().await.unwrap();
    for _ in 0..10 {
        next(&mut consumer).await;
    }
    server.shared.world.lock().purge(0);
    let told = consumer.next().await.unwrap().unwrap_err();
    assert!(matches!(told, ConsumeError::Rewound { partition: 0, expected: 10 }), "{told:?}");
    fill(&client, 0, 20..22).await;
    assert_eq!(next(&mut consumer).await.payload(), "20");
    assert_eq!(next(&mut consumer).await.offset(), 1);
}

#[tokio::test]
async fn a_damaged_message_is_not_handed_out() {
    let server = Server::start(1).await;
    let client = server.client().await;
    fill(&client, 0, 0..10).await;
    server.shared.world.lock().damage(0, 4);
    let builder = consumer(&client).start(Start::First);
    let mut consumer = builder.clone().build().await.unwrap();
    for offset in 0..4 {
        assert_eq!(next(&mut consumer).await.offset(), offset);
    }
    for _ in 0..2 {
        let error = consumer.next().await.unwrap().unwrap_err();
        assert!(matches!(error, ConsumeError::Damaged { partition: 0, offset: 4 }), "{error:?}");
    }
    let unchecked = builder.verify_checksums(false).until_end().build().await.unwrap();
    assert_eq!(unchecked.count().await, 10);
}

#[tokio::test]
async fn a_refused_poll_is_told_and_tried_again() {
    let server = Server::start(1).await;
    let client = server.client().await;
    fill(&client, 0, 0..3).await;
    server.once(CommandCode::PollMessages, 0, Act::Refuse(ErrorCode::Unauthorized));
    let mut consumer = consumer(&client).start(Start::First).build().await.unwrap();
    let error = consumer.next().await.unwrap().unwrap_err();
    assert!(matches!(error, ConsumeError::Poll(_)), "{error:?}");
    let text = error.to_string();
    assert!(
        text.starts_with("could not poll partition 0 of topic t of stream s from offset 0: "),
        "{text}"
    );
    assert_eq!(next(&mut consumer).await.offset(), 0);
}

#[tokio::test]
async fn a_missing_topic_is_told_at_once() {
    let server = Server::start(1).await;
    let client = server.client().await;
    let missing = client.consumer(&stream(), &"nowhere".parse().unwrap()).build().await;
    assert!(matches!(missing, Err(ConsumeError::NoTopic { .. })));
    let nameless = consumer(&client).name("").build().await;
    assert!(matches!(nameless, Err(ConsumeError::Setup(_))));
}

#[tokio::test]
async fn a_slow_reader_of_one_message_keeps_the_others_waiting_in_the_server() {
    let server = Server::start(1).await;
    let client = server.client().await;
    let message = [Message::new(vec![0; 1 << 20])];
    let partitioning = || Partitioning::PartitionId(0.into());
    for _ in 0..20 {
        client.send(&stream(), &topic(), partitioning(), &message).await.unwrap();
    }
    let builder = consumer(&client).start(Start::First).batch_size(2).until_end();
    let mut consumer = builder.build().await.unwrap();
    next(&mut consumer).await;
    server.settle().await;
    assert!(server.shared.world.lock().polls <= 4);
    assert_eq!(rest_count(&mut consumer).await, 19);
}

async fn rest_count(consumer: &mut Consumer) -> usize {
    let mut count = 0;
    while let Some(message) = consumer.next().await {
        message.unwrap();
        count += 1;
    }
    count
}

#[tokio::test]
async fn partitions_added_later_are_read_from_their_beginning() {
    let server = Server::start(1).await;
    let client = server.client().await;
    let consumer = client.consumer(&stream(), &topic()).start(Start::Last(0));
    let interval = Duration::from_millis(20);
    let mut consumer = consumer.partitions_interval(interval).build().await.unwrap();
    server.shared.world.lock().logs.push(Default::default());
    fill(&client, 1, 0..3).await;
    for number in 0..3 {
        let message = consumer.next().await.unwrap().unwrap();
        assert_eq!((message.partition(), message.offset()), (1, number));
    }
    assert_eq!(consumer.partitions(), [0, 1]);
}
