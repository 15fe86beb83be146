//! Readers over purges and topics that are made again: each life from its first message.
//!
//! A reader went on behind the offset it had reached, left out as many messages of the new log as it had
//! read of the old one, and committed what it had left out.

use futures_util::StreamExt;
use galgo::{Client, Commit, ConsumeError, Consumer, ConsumerIdentity, OffsetOf, TopicOptions};

use crate::place::{Place, fill, named, number, s, soon, t};

/// How often the topic begins anew.
const LIVES: u32 = 12;
/// Messages of the last life.
const LAST: u32 = 40;

/// A message tells its life and its place in it.
fn of_life(life: u32, count: u32) -> std::ops::Range<u32> {
    life * 1_000..life * 1_000 + count
}

async fn begin_anew(client: &Client, way: u32) {
    match way % 3 {
        0 => client.purge_topic(&s(), &t()).await.unwrap(),
        1 => client.purge_stream(&s()).await.unwrap(),
        _ => {
            client.delete_topic(&s(), &t()).await.unwrap();
            let options = TopicOptions::default().partitions(1);
            client.create_topic(&s(), "t", options).await.unwrap();
        }
    }
}

/// Reads to the last message; of every life a reader sees anything of, it sees the first messages, in their
/// order.
async fn read(mut consumer: Consumer) {
    let (mut life, mut next) = (0, 0);
    while (life, next) != (LIVES, LAST) {
        match consumer.next().await.unwrap() {
            Ok(message) => {
                let (of, place) = (number(&message) / 1_000, number(&message) % 1_000);
                if of != life {
                    assert!(of > life, "a message of life {of} after one of life {life}");
                    (life, next) = (of, 0);
                }
                assert_eq!((place, message.offset()), (next, u64::from(next)), "of life {life}");
                next += 1;
            }
            // Told while the topic is not there, or begins anew.
            Err(ConsumeError::Rewound { .. } | ConsumeError::Poll(_) | ConsumeError::Commit(_)) => {
            }
            Err(error) => panic!("{error}"),
        }
    }
    consumer.close().await.unwrap();
}

pub(crate) async fn readers_see_each_life_from_its_first_message(place: &Place) {
    let client = place.with_topic(1).await;
    let (one, two) = (place.root().await, place.root().await);
    let alone = one.consumer(&s(), &t()).name("alone").commit(Commit::PerMessage);
    let alone = alone.build().await.unwrap();
    let member = two.consumer(&s(), &t()).group("g").build().await.unwrap();
    let write = async {
        for life in 0..LIVES {
            // Now fewer, now more than the life before had.
            let range = of_life(life, 5 + life * 37 % 60);
            fill(&client, 0, range.start..range.start + 3).await;
            fill(&client, 0, range.start + 3..range.end).await;
            begin_anew(&client, life).await;
        }
        fill(&client, 0, of_life(LIVES, LAST)).await;
    };
    soon(async { tokio::join!(write, read(alone), read(member)) }).await;
    for consumer in [ConsumerIdentity::new(named("alone")), ConsumerIdentity::group(named("g"))] {
        let of = OffsetOf { stream: s(), topic: t(), partition: 0, consumer };
        let stored = client.get_offset(&of).await.unwrap().unwrap().stored_offset.get();
        assert_eq!(stored, u64::from(LAST) - 1);
    }
}
