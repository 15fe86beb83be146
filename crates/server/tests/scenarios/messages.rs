//! Messages: sent, read by every strategy, large ones, and the places consumers store.

use futures_util::StreamExt;
use galgo::{
    ConsumerIdentity, Deduplication, ErrorCode, InvalidRequest, Message, OffsetOf, Partitioning,
    PollRequest, PollingStrategy, SendError, Start, TopicOptions,
};
use galgo_wire::id::{Offset, Timestamp};
use galgo_wire::limits::MESSAGE_PAYLOAD_BYTES_MAX;

use crate::place::{Place, fill, number, s, soon, t};

pub(crate) async fn every_strategy_reads_what_it_says(place: &Place) {
    let client = place.with_topic(1).await;
    fill(&client, 0, 0..5).await;
    fill(&client, 0, 5..10).await;
    let all = client.poll(PollRequest::new(&s(), &t(), 0)).await.unwrap();
    let times: Vec<u64> = all.messages().iter().map(|message| message.timestamp()).collect();
    let since = times.iter().filter(|time| **time < times[5]).count() as u32;
    for (strategy, wanted) in [
        (PollingStrategy::First, 0..4),
        (PollingStrategy::Offset(Offset::new(3)), 3..7),
        (PollingStrategy::Offset(Offset::new(8)), 8..10),
        (PollingStrategy::Offset(Offset::new(10)), 0..0),
        (PollingStrategy::Last, 6..10),
        (PollingStrategy::Next, 0..4),
        (PollingStrategy::Timestamp(Timestamp::new(times[5])), since..since + 4),
    ] {
        let request = PollRequest::new(&s(), &t(), 0).strategy(strategy).count(4);
        let polled = client.poll(request).await.unwrap();
        let numbers: Vec<u32> = polled.messages().iter().map(number).collect();
        assert_eq!(numbers, wanted.collect::<Vec<_>>(), "{strategy:?}");
        assert_eq!(polled.current_offset(), 9);
    }
}

pub(crate) async fn the_largest_message_arrives_and_a_larger_one_is_refused(place: &Place) {
    let client = place.with_topic(1).await;
    let max = MESSAGE_PAYLOAD_BYTES_MAX as usize;
    assert_eq!(max, 64_000_000);
    let payload: Vec<u8> = (0..max).map(|place| (place % 251) as u8).collect();
    let message = Message::new(payload.clone());
    client.send(&s(), &t(), Partitioning::Balanced, &[message]).await.unwrap();
    let polled = client.poll(PollRequest::new(&s(), &t(), 0)).await.unwrap();
    assert!(polled.messages().first().unwrap().payload() == payload.as_slice());
    let larger = [Message::new(vec![0; max + 1])];
    let refused = client.send(&s(), &t(), Partitioning::Balanced, &larger).await.unwrap_err();
    assert!(matches!(refused, SendError::Invalid(InvalidRequest::TooLarge { .. })));
    client.ping().await.unwrap();
}

pub(crate) async fn offsets_are_stored_by_consumer(place: &Place) {
    let client = place.with_topic(2).await;
    fill(&client, 1, 0..10).await;
    let consumer = ConsumerIdentity::new("billing".parse().unwrap());
    let of = OffsetOf { stream: s(), topic: t(), partition: 1, consumer };
    assert!(client.get_offset(&of).await.unwrap().is_none());
    client.store_offset(&of, 4).await.unwrap();
    let stored = client.get_offset(&of).await.unwrap().unwrap();
    assert_eq!((stored.stored_offset.get(), stored.current_offset.get()), (4, 9));
    let beyond = client.store_offset(&of, 10).await.unwrap_err();
    assert_eq!(beyond.code(), Some(ErrorCode::InvalidOffset));
    let next = PollRequest::new(&s(), &t(), 1)
        .strategy(PollingStrategy::Next)
        .consumer(of.consumer.id.clone())
        .auto_commit(true)
        .count(2);
    for first in [5, 7] {
        let polled = client.poll(next.clone()).await.unwrap();
        assert_eq!(polled.messages().first().unwrap().offset(), first);
    }
    client.delete_offset(&of).await.unwrap();
    assert!(client.get_offset(&of).await.unwrap().is_none());
    let nothing = client.delete_offset(&of).await.unwrap_err();
    assert_eq!(nothing.code(), Some(ErrorCode::ConsumerOffsetNotFound));
}

pub(crate) async fn a_producer_and_a_consumer_meet(place: &Place) {
    const COUNT: u32 = 5_000;
    let client = place.with_topic(3).await;
    let producer = client.producer(&s(), &t()).batch_messages(100).build().await.unwrap();
    let mut consumer = client.consumer(&s(), &t()).start(Start::First).build().await.unwrap();
    let sending = tokio::spawn(async move {
        for number in 0..COUNT {
            let key = (number % 7).to_string();
            producer.send_keyed(key, Message::new(number.to_string())).await.unwrap();
        }
        producer.close().await.unwrap();
    });
    let mut last = [None; 7];
    for _ in 0..COUNT {
        let number = number(&soon(consumer.next()).await.unwrap().unwrap());
        let before = last[number as usize % 7].replace(number);
        assert_eq!(before.map_or(number % 7, |before| before + 7), number, "order of a key");
    }
    sending.await.unwrap();
}

pub(crate) async fn a_message_sent_again_is_stored_once_where_the_topic_asks_for_it(place: &Place) {
    let client = place.root().await;
    client.create_stream("s").await.unwrap();
    let options = TopicOptions::default().deduplication(Deduplication::On);
    client.create_topic(&s(), "t", options).await.unwrap();
    let settings = client.topic_settings(&s(), &t()).await.unwrap().unwrap();
    assert_eq!(settings.deduplication, Some(Deduplication::On));
    for ids in [1..4, 2..6, 1..6] {
        let messages: Vec<Message> = ids.map(|id| Message::new(id.to_string()).id(id)).collect();
        client.send(&s(), &t(), Partitioning::Balanced, &messages).await.unwrap();
    }
    let polled = client.poll(PollRequest::new(&s(), &t(), 0)).await.unwrap();
    assert_eq!(polled.messages().iter().map(number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
}
