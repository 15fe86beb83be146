//! Consumer groups: messages are shared, and a member that goes takes nothing with it.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt, future};
use galgo::{Client, Commit, ConsumeError, Consumer, Credentials};

use crate::place::{Carrier, PASSWORD, Place, USERNAME, fill, named, number, run_with, s, soon, t};

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

pub(crate) async fn what_is_not_committed_comes_again_but_not_to_the_same_member(place: &Place) {
    let client = place.with_topic(2).await;
    fill(&client, 0, 0..10).await;
    fill(&client, 1, 10..20).await;
    let by_hand = client.consumer(&s(), &t()).group("g").commit(Commit::Manual).batch_size(3);
    let mut first = by_hand.clone().build().await.unwrap();
    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        let message = soon(first.next()).await.unwrap().unwrap();
        assert!(seen.insert(number(&message)), "nothing comes twice");
        if [4, 16].contains(&number(&message)) {
            first.commit(&message).await.unwrap();
        }
    }
    first.close().await.unwrap();
    let mut second = by_hand.build().await.unwrap();
    let mut again = BTreeSet::new();
    while again.len() < 8 {
        again.insert(next(&mut second).await);
    }
    assert_eq!(again, (5..10).chain(17..20).collect());
    second.close().await.unwrap();
}

pub(crate) async fn a_member_goes_on_after_a_purge_and_after_its_group_is_gone(place: &Place) {
    let client = place.with_topic(1).await;
    let own = place.root().await;
    let mut only = member(&own).await;
    fill(&client, 0, 0..5).await;
    for wanted in 0..5 {
        assert_eq!(next(&mut only).await, wanted);
    }
    client.purge_topic(&s(), &t()).await.unwrap();
    fill(&client, 0, 100..102).await;
    assert_eq!(next_in_spite(&mut only).await, 100);
    assert_eq!(next_in_spite(&mut only).await, 101);
    client.delete_consumer_group(&s(), &t(), &named("g")).await.unwrap();
    fill(&client, 0, 200..201).await;
    // The group begins anew, and the member with it; what it had is its own to know.
    assert_eq!(next_in_spite(&mut only).await, 200);
    assert_eq!(members_count(&client).await, 1);
    only.close().await.unwrap();
}

/// The next message; that places vanished under the consumer is told before.
async fn next_in_spite(consumer: &mut Consumer) -> u32 {
    loop {
        match soon(consumer.next()).await.unwrap() {
            Ok(message) => return number(&message),
            Err(ConsumeError::Rewound { .. } | ConsumeError::Commit(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// A program that was stopped for a while kept its partitions from the others, or, when they had been given
/// away, went on with what it had fetched of them: messages that others had processed meanwhile.
#[test]
fn a_member_that_was_stopped_loses_its_partitions_and_what_it_had_fetched() {
    run_with(Carrier::Tcp, &[], async |place| {
        let client = place.with_topic(1).await;
        fill(&client, 0, 0..10).await;
        let builder = place.builder().credentials(Credentials::password(USERNAME, PASSWORD));
        let (go_on, stopped) = std::sync::mpsc::channel();
        let (shown, mut seen) = tokio::sync::mpsc::unbounded_channel();
        let program = std::thread::spawn(move || {
            // Nothing of it runs, pings included, while nothing is waited for on it.
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let mut consumer = runtime.block_on(async {
                let client = builder.connect().await.unwrap();
                let consumer = client.consumer(&s(), &t()).group("g");
                consumer.session_timeout(Duration::from_secs(1)).build().await.unwrap()
            });
            for _ in 0..2 {
                shown.send(runtime.block_on(next_in_spite(&mut consumer))).unwrap();
                stopped.recv().unwrap();
            }
            runtime.block_on(consumer.close()).unwrap();
        });
        assert_eq!(soon(seen.recv()).await, Some(0));
        let mut other = member(&client).await;
        for expected in 0..10 {
            assert_eq!(next_in_spite(&mut other).await, expected, "nothing of it is committed");
        }
        other.close().await.unwrap();
        fill(&client, 0, 100..101).await;
        go_on.send(()).unwrap();
        assert_eq!(soon(seen.recv()).await, Some(100));
        go_on.send(()).unwrap();
        program.join().unwrap();
        assert_eq!(members_count(&client).await, 0, "nothing joins behind the end");
    });
}

const HEARTBEATS: &[(&str, &str)] =
    &[("GALGO_HEARTBEAT_ENABLED", "true"), ("GALGO_HEARTBEAT_INTERVAL", "1s")];

#[test]
fn members_that_ping_stay_and_those_that_do_not_come_back() {
    run_with(Carrier::Tcp, HEARTBEATS, async |place| {
        let client = place.with_topic(1).await;
        let with_pings = async |interval: Duration| {
            let root = Credentials::password(USERNAME, PASSWORD);
            place.builder().credentials(root).heartbeat_interval(interval).connect().await.unwrap()
        };
        let (lively, silent) = (
            with_pings(Duration::from_millis(50)).await,
            with_pings(Duration::from_secs(3600)).await,
        );
        let mut member = member(&lively).await;
        silent.join_consumer_group(&s(), &t(), &named("g")).await.unwrap();
        soon(async {
            while members_count(&client).await != 1 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        fill(&client, 0, 0..1).await;
        assert_eq!(next(&mut member).await, 0);
        member.close().await.unwrap();

        // A consumer that reads keeps its membership by renewing it, however seldom its client pings.
        let mut member = silent.consumer(&s(), &t()).group("g").build().await.unwrap();
        let begun = silent.me().await.unwrap().client.client_id;
        for number in 1..40 {
            fill(&client, 0, number..number + 1).await;
            assert_eq!(next(&mut member).await, number);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(silent.me().await.unwrap().client.client_id, begun);
        member.close().await.unwrap();
    });
}
