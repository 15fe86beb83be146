//! Polls that wait: woken by what is sent, and in nobody's way.

use std::time::Duration;

use futures_util::StreamExt;
use galgo::{Commit, PollRequest, PollingStrategy, Start};
use galgo_wire::id::Offset;

use crate::place::{Carrier, Place, fill, number, s, soon, t};

/// Longer than a scenario may take: whoever is not woken fails it.
const LONG: Duration = Duration::from_secs(60);

fn from(offset: u64) -> PollRequest {
    let strategy = PollingStrategy::Offset(Offset::new(offset));
    PollRequest::new(&s(), &t(), 0).strategy(strategy).wait(LONG)
}

pub(crate) async fn a_poll_that_waits_is_woken_by_what_is_sent(place: &Place) {
    const ROUNDS: u32 = 50;
    let client = place.with_topic(1).await;
    let reader = place.root().await;
    for round in 0..ROUNDS {
        let poll = reader.poll(from(round.into()));
        let (polled, ()) =
            soon(async { tokio::join!(poll, fill(&client, 0, round..round + 1)) }).await;
        let numbers: Vec<u32> = polled.unwrap().messages().iter().map(number).collect();
        assert_eq!(numbers, [round]);
    }
    let short = from(ROUNDS.into()).wait(Duration::from_millis(1));
    assert!(soon(reader.poll(short)).await.unwrap().is_empty(), "the time is over");
}

/// INV-WAIT-ALONE.
pub(crate) async fn a_wait_ends_with_whatever_is_asked_next(place: &Place) {
    let client = place.with_topic(1).await;
    if place.carrier == Carrier::Quic {
        // The SDK asks one thing after the other over QUIC.
        return;
    }
    // Known before, so that the poll is the first of the two.
    client.features().await.unwrap();
    let (polled, pinged) = soon(async { tokio::join!(client.poll(from(0)), client.ping()) }).await;
    assert!(polled.unwrap().is_empty());
    pinged.unwrap();
    // A wait that nobody wants any more leaves the answers in step.
    tokio::select! {
        biased;
        _ = client.poll(from(0)) => panic!("nothing was sent"),
        () = tokio::task::yield_now() => {}
    }
    fill(&client, 0, 0..1).await;
    assert_eq!(soon(client.poll(from(0))).await.unwrap().len(), 1);
}

pub(crate) async fn consumers_that_wait_get_everything_once(place: &Place) {
    const COUNT: u32 = 30;
    let client = place.with_topic(1).await;
    let alone = place.root().await.consumer(&s(), &t()).start(Start::First).build().await.unwrap();
    let group = place.root().await.consumer(&s(), &t()).group("g");
    let group = group.commit(Commit::PerMessage).build().await.unwrap();
    for mut consumer in [alone, group] {
        for round in 0..COUNT {
            // The first consumer brings about what the second finds there already.
            let sent = async {
                if !consumer.partitions().is_empty() {
                    fill(&client, 0, round..round + 1).await;
                }
            };
            sent.await;
            assert_eq!(number(&soon(consumer.next()).await.unwrap().unwrap()), round);
        }
        soon(consumer.close()).await.unwrap();
    }
    let mut late = place.root().await.consumer(&s(), &t()).group("g").build().await.unwrap();
    fill(&client, 0, COUNT..COUNT + 1).await;
    assert_eq!(number(&soon(late.next()).await.unwrap().unwrap()), COUNT, "nothing comes twice");
    soon(late.close()).await.unwrap();
}

pub(crate) async fn a_server_that_stops_does_not_wait(place: &Place) {
    let client = place.with_topic(1).await;
    let reader = place.root().await;
    let poll = tokio::spawn(async move { reader.poll(from(0)).await });
    place.restart();
    fill(&client, 0, 0..1).await;
    // Answered by the stop, or asked again of the server that came.
    let _ = soon(poll).await.unwrap();
}
