//! Waiting for messages on behalf of readers.
//!
//! Only one poll can wait on a connection, as what else is asked there ends its wait. A single reader's poll waits at
//! its place. For several, a poll in turn waits for what is behind the group's offsets; while readers have not stored
//! what they read, that is there already, and each place is looked at now and then instead.

use std::sync::Arc;

use futures_util::future::try_join_all;
use galgo_wire::id::{Life, Offset};
use tokio::time::{Instant, sleep};

use crate::consumer::fetch::ERROR_PAUSE;
use crate::consumer::idle::Idle;
use crate::consumer::membership::GroupMembership;
use crate::consumer::seats::{Seat, Seats};
use crate::{CallError, PollRequest, PolledMessages, PollingStrategy};

/// A reader that waits, with its place.
type Waiter = (Arc<Seat>, u64, Life);

/// Wakes readers whose messages come, for as long as it is polled.
pub(super) async fn wait_for_readers(seats: &Seats, idle: &mut Idle) {
    loop {
        let waiting = seats.waiting();
        tokio::select! {
            () = wait_once(&seats.membership, &waiting, idle), if !waiting.is_empty() => {}
            () = seats.waiters_changed() => {}
        }
    }
}

async fn wait_once(membership: &GroupMembership, waiting: &[Waiter], idle: &mut Idle) {
    let begun = Instant::now();
    let woken = match waiting {
        [only] => wait_at_place(membership, only, idle).await,
        several => wait_in_turn(membership, several, idle).await,
    };
    match woken {
        Ok(true) => idle.fed(),
        Ok(false) => idle.rest(begun).await,
        Err(error) => {
            // Who waits finds out by itself what is wrong, and is told.
            tracing::debug!(%error, "waiting for messages failed");
            sleep(ERROR_PAUSE).await;
            waiting.iter().for_each(|(seat, ..)| seat.wake());
        }
    }
}

/// A poll of nobody's in particular, so that nothing counts as given to this member.
fn at_place(membership: &GroupMembership, (seat, next, life): &Waiter) -> PollRequest {
    PollRequest::new(&membership.stream, &membership.topic, seat.partition)
        .strategy(PollingStrategy::Offset(Offset::new(*next)))
        .life(*life)
}

/// Whether an answer is a reason to look.
fn has_news(polled: &PolledMessages, next: u64) -> bool {
    let is_elsewhere = polled.extent().is_some_and(|extent| extent.end != next);
    !polled.is_empty() || polled.is_of_other_life() || is_elsewhere
}

async fn wait_at_place(
    membership: &GroupMembership,
    waiter: &Waiter,
    idle: &Idle,
) -> Result<bool, CallError> {
    let request = at_place(membership, waiter).count(1).wait_if(idle.wait());
    let polled = membership.client.poll_once(request).await?;
    Ok(wake_if(waiter, &polled))
}

async fn wait_in_turn(
    membership: &GroupMembership,
    waiting: &[Waiter],
    idle: &Idle,
) -> Result<bool, CallError> {
    let GroupMembership { client, stream, topic, group, .. } = membership;
    let request = PollRequest::group(stream, topic, group).count(1).wait_if(idle.wait());
    let turn = client.poll_once(request).await?;
    let has_any = !turn.is_empty() || turn.damaged().is_some();
    if !has_any {
        return Ok(false);
    }
    let polls =
        waiting.iter().map(|waiter| client.poll_once(at_place(membership, waiter).count(0)));
    let found = try_join_all(polls).await?;
    let woken = waiting.iter().zip(&found).filter(|(waiter, polled)| wake_if(waiter, polled));
    Ok(woken.count() > 0)
}

fn wake_if(waiter: &Waiter, polled: &PolledMessages) -> bool {
    let (seat, next, _) = waiter;
    let is_news = has_news(polled, *next);
    if is_news {
        seat.wake();
    }
    is_news
}
