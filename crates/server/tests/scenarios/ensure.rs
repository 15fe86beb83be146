//! Topics that are made when they are not there, and sends to a partition of them.

use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use galgo::{Deduplication, ErrorCode, Identifier, Message, TopicOptions};

use crate::place::{Carrier, named, run, s, soon, t};

#[test]
fn of_many_who_make_a_topic_at_once_one_makes_it_and_all_get_it() {
    run(Carrier::Tcp, async |place| {
        let clients = join_all((0..8).map(|_| place.root())).await;
        let options = || TopicOptions::default().partitions(3);
        let (s, t) = (s(), t());
        let all = clients.iter().map(|client| client.ensure_topic(&s, &t, options()));
        let all = soon(try_join_all(all)).await.unwrap();
        assert_eq!(all.iter().filter(|ensured| ensured.was_made).count(), 1);
        let details = clients[0].topic(&s, &t).await.unwrap().unwrap();
        let made_at = clients[0].topic_made_at(&s, &t).await.unwrap();
        assert_eq!(made_at, Some(details.topic.created_at));
        for ensured in &all {
            assert_eq!((ensured.partitions_count, ensured.made_at), (3, made_at));
            assert_eq!(ensured.differences, []);
        }
        clients[0].delete_topic(&s, &t).await.unwrap();
        assert_eq!(clients[0].topic_made_at(&s, &t).await.unwrap(), None);
        let again = clients[0].ensure_topic(&s, &t, options()).await.unwrap();
        assert!(again.was_made && again.made_at > made_at);
    });
}

#[test]
fn what_is_not_as_it_was_asked_for_is_told_and_not_changed() {
    run(Carrier::Tcp, async |place| {
        let client = place.with_topic(2).await;
        let other = TopicOptions::default()
            .partitions(4)
            .expiry(Duration::from_secs(60))
            .deduplication(Deduplication::On)
            .set("retention.hold_for", "3days");
        let ensured = client.ensure_topic(&s(), &t(), other.clone()).await.unwrap();
        let told: Vec<_> = ensured.differences.iter().map(|it| it.setting.as_str()).collect();
        assert_eq!(told, ["deduplication", "message_expiry", "partitions", "retention.hold_for"]);
        let partitions = &ensured.differences[2];
        assert_eq!((partitions.wanted.as_str(), partitions.found.as_str()), ("4", "2"));
        assert!(!ensured.was_made && ensured.partitions_count == 2);
        let made = client.ensure_topic(&s(), &named("u"), other.clone()).await.unwrap();
        assert!(made.was_made);
        let found = client.ensure_topic(&s(), &named("u"), other).await.unwrap();
        assert_eq!((found.differences, found.made_at), (vec![], made.made_at));
        let nameless = Identifier::Numeric(9);
        let refused = client.ensure_topic(&s(), &nameless, TopicOptions::default()).await;
        assert!(refused.unwrap_err().to_string().contains("number 9"));
    });
}

#[test]
fn a_message_has_the_partition_and_the_id_it_was_given_and_is_stored_once() {
    run(Carrier::Tcp, async |place| {
        let client = place.root().await;
        let options = TopicOptions::default().partitions(4).deduplication(Deduplication::On);
        client.ensure_topic(&s(), &t(), options).await.unwrap();
        for _ in 0..2 {
            let producer = client.producer(&s(), &t()).build().await.unwrap();
            let mut receipts = Vec::new();
            for number in 0..100_u32 {
                let message = Message::new(number.to_string()).id(1_000 + u128::from(number));
                receipts.push(producer.send_to_with_receipt(number % 3, message).await.unwrap());
            }
            soon(try_join_all(receipts)).await.unwrap();
            producer.close().await.unwrap();
        }
        for partition in 0..3 {
            let mut reader = client.partition_reader(&s(), &t(), partition);
            let batch = soon(reader.next_batch()).await.unwrap();
            let ids: Vec<_> = batch.iter().map(galgo::ReceivedMessage::id).collect();
            let sent = (0..100).filter(|number| number % 3 == partition);
            assert_eq!(ids, sent.map(|number| 1_000 + u128::from(number)).collect::<Vec<_>>());
        }
        let producer = client.producer(&s(), &t()).build().await.unwrap();
        producer.send_to(9, Message::new("nowhere")).await.unwrap();
        let refused = producer.close().await.unwrap_err();
        let galgo::ProduceError::Failed(galgo::SendError::Server(refusal)) = refused.cause else {
            panic!("{refused:?}");
        };
        assert!(refusal.is(ErrorCode::PartitionNotFound));
    });
}
