//! Consumer groups: messages are shared, and a member that goes takes nothing with it.

use std::collections::BTreeSet;

use futures_util::{StreamExt, future};
use galgo::{Client, Consumer};

use crate::place::{Place, fill, named, number, s, soon, t};

async fn member(client: &Client) -> Consumer {
    client.consumer(&s(), &t()).group("g").build().await.unwrap()
}

async fn members_count(client: &Client) -> u32 {
    client.consumer_group(&s(), &t(), &named("g")).await.unwrap().unwrap().group.members_count
}

async fn next(consumer: &mut Consumer) -> u32 {
    number(&soon(consumer.next()).await.unwrap().unwrap())
}

pub(crate) async fn two_members_share_a_topic(place: &Place) {
    let client = place.with_topic(4).await;
    let (one, two) = (place.root().await, place.root().await);
    let (mut one, mut two) = (member(&one).await, member(&two).await);
    assert_eq!(members_count(&client).await, 2);
    for partition in 0..4 {
        fill(&client, partition, partition * 100..partition * 100 + 100).await;
    }
    let mut seen = BTreeSet::new();
    for _ in 0..400 {
        let (either, _) = soon(future::select(one.next(), two.next())).await.factor_first();
        assert!(seen.insert(number(&either.unwrap().unwrap())), "nothing comes twice");
    }
    assert_eq!(seen, (0..400).collect());
    one.close().await.unwrap();
    two.close().await.unwrap();
    assert_eq!(members_count(&client).await, 0);

    // The places of the group outlive its members.
    fill(&client, 3, 1_000..1_001).await;
    let mut three = member(&client).await;
    assert_eq!(next(&mut three).await, 1_000);
    three.close().await.unwrap();
}

pub(crate) async fn a_member_that_goes_leaves_its_partitions_to_the_other(place: &Place) {
    let client = place.with_topic(2).await;
    let first_client = place.root().await;
    let mut first = member(&first_client).await;
    fill(&client, 0, 0..10).await;
    fill(&client, 1, 10..20).await;
    let mut seen = BTreeSet::new();
    for _ in 0..15 {
        seen.insert(next(&mut first).await);
    }
    // It dies: what it was about to process comes to the other one.
    drop((first, first_client));
    let mut second = member(&client).await;
    while seen.len() < 20 {
        seen.insert(next(&mut second).await);
    }
    second.close().await.unwrap();
}
