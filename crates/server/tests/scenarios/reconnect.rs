//! A server that goes and comes back: nothing is lost, and nobody has to do anything.

use futures_util::StreamExt;
use galgo::{Message, Start};

use crate::place::{Place, fill, number, s, soon, t};

pub(crate) async fn a_restart_of_the_server_is_survived(place: &Place) {
    let client = place.with_topic(1).await;
    let producer = client.producer(&s(), &t()).build().await.unwrap();
    let mut consumer = client.consumer(&s(), &t()).start(Start::First).build().await.unwrap();
    for round in 0..3 {
        for place in 0..100 {
            producer.send(Message::new((round * 100 + place).to_string())).await.unwrap();
        }
        place.restart();
        producer.flush().await.unwrap();
        let mut next = round * 100;
        while next < round * 100 + 100 {
            let number = number(&soon(consumer.next()).await.unwrap().unwrap());
            // What was sent and not answered before the stop may have been stored twice.
            assert!(number <= next, "{number} instead of {next}");
            next = next.max(number + 1);
        }
    }
}

pub(crate) async fn members_of_a_group_come_back(place: &Place) {
    let client = place.with_topic(2).await;
    let own = place.root().await;
    let mut member = own.consumer(&s(), &t()).group("g").build().await.unwrap();
    for round in 0..2 {
        let first = round * 10;
        fill(&client, round % 2, first..first + 10).await;
        for wanted in first..first + 10 {
            assert_eq!(number(&soon(member.next()).await.unwrap().unwrap()), wanted);
        }
        place.restart();
        client.ping().await.unwrap();
    }
    fill(&client, 1, 100..101).await;
    assert_eq!(number(&soon(member.next()).await.unwrap().unwrap()), 100);
    member.close().await.unwrap();
}
