//! Streams, topics and partitions: made, changed, emptied, deleted.

use std::time::Duration;

use galgo::{ErrorCode, PollRequest, TopicOptions};

use crate::place::{Place, fill, named, s, t};

pub(crate) async fn streams_and_topics_come_change_and_go(place: &Place) {
    let client = place.root().await;
    let made = client.create_stream("shop").await.unwrap();
    let shop = named("shop");
    let again = client.create_stream("shop").await.unwrap_err();
    assert_eq!(again.code(), Some(ErrorCode::StreamNameAlreadyExists));
    client.update_stream(&shop, "store").await.unwrap();
    assert!(client.stream(&shop).await.unwrap().is_none());
    let store = named("store");
    assert_eq!(client.stream(&store).await.unwrap().unwrap().stream.id, made.stream.id);

    let options = TopicOptions::default().partitions(3).expiry(Duration::from_secs(60));
    let topic = client.create_topic(&store, "orders", options).await.unwrap();
    assert_eq!(topic.partitions.len(), 3);
    assert_eq!(topic.topic.message_expiry.get(), 60_000_000);
    let orders = named("orders");
    client.update_topic(&store, &orders, "sales", TopicOptions::default()).await.unwrap();
    let names: Vec<_> = client.topics(&store).await.unwrap();
    assert_eq!(names.iter().map(|topic| topic.name.as_str()).collect::<Vec<_>>(), ["sales"]);

    client.delete_topic(&store, &named("sales")).await.unwrap();
    assert!(client.topics(&store).await.unwrap().is_empty());
    client.delete_stream(&store).await.unwrap();
    let gone = client.delete_stream(&store).await.unwrap_err();
    assert_eq!(gone.code(), Some(ErrorCode::StreamIdNotFound));
    assert!(client.streams().await.unwrap().is_empty());
}

pub(crate) async fn partitions_come_and_go(place: &Place) {
    let client = place.with_topic(1).await;
    client.create_partitions(&s(), &t(), 2).await.unwrap();
    fill(&client, 2, 0..3).await;
    client.delete_partitions(&s(), &t(), 1).await.unwrap();
    let topic = client.topic(&s(), &t()).await.unwrap().unwrap();
    assert_eq!((topic.partitions.len(), topic.topic.messages_count), (2, 0));
    let gone = client.poll(PollRequest::new(&s(), &t(), 2)).await.unwrap_err();
    assert_eq!(gone.code(), Some(ErrorCode::PartitionNotFound));
    let too_many = client.delete_partitions(&s(), &t(), 3).await.unwrap_err();
    assert_eq!(too_many.code(), Some(ErrorCode::InvalidPartitionsCount));
}

pub(crate) async fn a_purge_leaves_nothing_but_the_topic(place: &Place) {
    let client = place.with_topic(2).await;
    fill(&client, 0, 0..10).await;
    fill(&client, 1, 0..10).await;
    client.purge_topic(&s(), &t()).await.unwrap();
    let topic = client.topic(&s(), &t()).await.unwrap().unwrap();
    assert_eq!((topic.topic.messages_count, topic.topic.size), (0, 0));
    fill(&client, 1, 5..6).await;
    let polled = client.poll(PollRequest::new(&s(), &t(), 1)).await.unwrap();
    assert_eq!(polled.messages().first().unwrap().offset(), 0, "offsets begin anew");
    client.purge_stream(&s()).await.unwrap();
    assert!(client.poll(PollRequest::new(&s(), &t(), 1)).await.unwrap().is_empty());
    client.delete_segments(&s(), &t(), 1, 5).await.unwrap();
}
