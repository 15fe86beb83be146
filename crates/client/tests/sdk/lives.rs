//! What readers are told of the life of a partition, of answers that are cut, and of damage.

use std::time::Duration;

use futures_util::StreamExt;
use galgo::{
    CallError, Client, Commit, ConsumeError, Consumer, ConsumerBuilder, Message, OffsetOf,
    Partitioning, PollRequest, PollingStrategy, Start,
};

use crate::support::{Server, eventually, numbered, stream, topic};

async fn server() -> (Server, Client) {
    let server = Server::start(1).await;
    server.shared.world.lock().tells_lives = true;
    let client = server.client().await;
    (server, client)
}

fn consumer(client: &Client) -> ConsumerBuilder {
    client.consumer(&stream(), &topic()).poll_interval(Duration::from_millis(5))
}

async fn fill(client: &Client, range: std::ops::Range<usize>) {
    let partitioning = Partitioning::PartitionId(0.into());
    client.send(&stream(), &topic(), partitioning, &numbered(range)).await.unwrap();
}

async fn next(consumer: &mut Consumer) -> Result<String, ConsumeError> {
    let next = tokio::time::timeout(Duration::from_secs(5), consumer.next()).await;
    let message = next.unwrap().unwrap()?;
    Ok(String::from_utf8(message.payload().to_vec()).unwrap())
}

async fn expect(consumer: &mut Consumer, numbers: std::ops::Range<usize>) {
    for number in numbers {
        assert_eq!(next(consumer).await.unwrap(), number.to_string());
    }
}

fn stored(server: &Server, name: &str) -> Option<u64> {
    server.shared.world.lock().offsets.get(&(name.to_owned(), 0)).copied()
}

/// A consumer that had read to the end went on behind its offset in the new log: as many new messages as it
/// had read old ones were skipped without a word, and committed.
#[tokio::test]
async fn a_longer_new_life_is_told_and_read_from_its_first_message() {
    let (server, client) = server().await;
    fill(&client, 0..10).await;
    let builder = consumer(&client).name("reader").commit(Commit::PerMessage);
    let mut consumer = builder.build().await.unwrap();
    expect(&mut consumer, 0..10).await;
    server.shared.world.lock().purge(0);
    fill(&client, 100..130).await;
    let told = next(&mut consumer).await.unwrap_err();
    assert!(matches!(told, ConsumeError::Rewound { partition: 0, expected: 10 }), "{told:?}");
    expect(&mut consumer, 100..130).await;
    consumer.close().await.unwrap();
    assert_eq!(stored(&server, "reader"), Some(29));
}

#[tokio::test]
async fn offsets_of_a_life_that_is_over_are_not_stored() {
    let (server, client) = server().await;
    fill(&client, 0..10).await;
    let mut each = consumer(&client).name("each").commit(Commit::PerBatch).build().await.unwrap();
    let mut by_hand = consumer(&client).name("hand").build().await.unwrap();
    expect(&mut each, 0..5).await;
    let message = by_hand.next().await.unwrap().unwrap();
    server.shared.world.lock().purge(0);
    fill(&client, 100..130).await;
    // The rest of the batch was fetched before the purge, and is handed out.
    expect(&mut each, 5..10).await;
    let told = next(&mut each).await.unwrap_err();
    assert!(matches!(told, ConsumeError::Rewound { .. }), "{told:?}");
    let refused = by_hand.commit(&message).await.unwrap_err();
    assert!(matches!(refused, ConsumeError::Outlived { partition: 0, offset: 0 }), "{refused:?}");
    expect(&mut each, 100..101).await;
    assert_eq!((stored(&server, "each"), stored(&server, "hand")), (None, None));
    let consumer = galgo::ConsumerIdentity::new("other".parse().unwrap());
    let of = OffsetOf { stream: stream(), topic: topic(), partition: 0, consumer };
    assert!(!client.store_offset_in(&of, 3, message.life()).await.unwrap());
    each.close().await.unwrap();
    assert_eq!(stored(&server, "each"), Some(0));
}

#[tokio::test]
async fn a_purge_between_two_runs_of_a_consumer_is_seen_by_its_place() {
    let (server, client) = server().await;
    fill(&client, 0..10).await;
    let life = client.poll(PollRequest::new(&stream(), &topic(), 0)).await.unwrap().life();
    server.shared.world.lock().purge(0);
    fill(&client, 100..130).await;
    let builder = consumer(&client).start(Start::Offset(10)).life(life);
    let mut consumer = builder.clone().build().await.unwrap();
    assert!(matches!(next(&mut consumer).await, Err(ConsumeError::Rewound { expected: 10, .. })));
    expect(&mut consumer, 100..130).await;
    // One that ends is told, too, and ends where the new life ends.
    let mut ending = builder.until_end().build().await.unwrap();
    assert!(next(&mut ending).await.is_err());
    expect(&mut ending, 100..130).await;
    assert!(ending.next().await.is_none());
}

#[tokio::test]
async fn a_poll_goes_on_where_its_answer_was_cut() {
    let (server, client) = server().await;
    fill(&client, 0..100).await;
    server.shared.world.lock().answer_max = 7;
    let all = PollRequest::new(&stream(), &topic(), 0);
    for (request, first, len) in [
        (all.clone(), 0, 100),
        (all.clone().count(50), 0, 50),
        (all.clone().strategy(PollingStrategy::Offset(90.into())), 90, 10),
        (all.clone().strategy(PollingStrategy::Last).count(40), 60, 40),
    ] {
        let mut polled = client.poll(request).await.unwrap();
        let offsets: Vec<u64> = polled.messages().iter().map(|it| it.offset()).collect();
        assert_eq!(offsets, (first..first + len).collect::<Vec<_>>());
        assert!(!polled.is_cut());
        assert_eq!((polled.cut_damaged(), polled.extent()), (None, Some(0..100)));
    }
}

#[tokio::test]
async fn damage_is_told_with_its_place_and_left_out_when_asked_for() {
    let (server, client) = server().await;
    fill(&client, 0..20).await;
    server.shared.world.lock().lose(0, 5..8);
    let mut stops = consumer(&client).start(Start::First).build().await.unwrap();
    expect(&mut stops, 0..5).await;
    for _ in 0..2 {
        let told = next(&mut stops).await.unwrap_err();
        let text = told.to_string();
        assert!(matches!(&told, ConsumeError::Unreadable { partition: 0, .. }), "{told:?}");
        assert!(text.contains("topic t of stream s") && text.contains("5 to 7"), "{text}");
    }
    let mut goes_on = consumer(&client).start(Start::First).skip_damaged().build().await.unwrap();
    expect(&mut goes_on, 0..5).await;
    let told = next(&mut goes_on).await.unwrap_err();
    assert!(
        matches!(&told, ConsumeError::Skipped { offsets, .. } if *offsets == (5..8)),
        "{told:?}"
    );
    expect(&mut goes_on, 8..20).await;

    let at = |offset: u64| {
        let request = PollRequest::new(&stream(), &topic(), 0);
        request.strategy(PollingStrategy::Offset(offset.into()))
    };
    assert_eq!(client.poll(at(0)).await.unwrap().len(), 5, "what is before it");
    let error = client.poll(at(6)).await.unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(&error, CallError::Damaged { damaged, .. } if *damaged == (5..8)),
        "{error:?}"
    );
    assert!(
        text.contains("partition 0 of topic t of stream s") && text.contains("offset 8"),
        "{text}"
    );
    assert_eq!(client.poll(at(6).tell_damage()).await.unwrap().damaged(), Some(5..8));
}

#[tokio::test]
async fn a_server_that_does_not_tell_lives_is_read_as_before() {
    let server = Server::start(1).await;
    server.shared.world.lock().is_classic = true;
    let client = server.client().await;
    fill(&client, 0..10).await;
    let mut consumer =
        consumer(&client).name("c").commit(Commit::PerMessage).build().await.unwrap();
    expect(&mut consumer, 0..10).await;
    eventually("stored", || stored(&server, "c") == Some(8)).await;
    let polled = client.poll(PollRequest::new(&stream(), &topic(), 0)).await.unwrap();
    assert!(!polled.life().is_known() && polled.extent().is_none() && !polled.is_cut());
}

#[tokio::test]
async fn a_header_block_is_sent_as_it_is() {
    let (_server, client) = server().await;
    for block in [&b"\x00\x01\x02\x03"[..], b"", &[7; 100_000]] {
        let message = Message::new("x").header("left", "out").unwrap().header_block(block.to_vec());
        let partitioning = Partitioning::PartitionId(0.into());
        client.send(&stream(), &topic(), partitioning, &[message]).await.unwrap();
        let last =
            PollRequest::new(&stream(), &topic(), 0).strategy(PollingStrategy::Last).count(1);
        let polled = client.poll(last).await.unwrap();
        assert_eq!(polled.messages()[0].user_headers(), block);
    }
    let message = Message::new("x").header_block(vec![7; 100_001]);
    let partitioning = Partitioning::PartitionId(0.into());
    assert!(client.send(&stream(), &topic(), partitioning, &[message]).await.is_err());
}
