//! Keeps a connection going: runs its reader, writer and heartbeat, and opens the next one when it
//! is lost.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

use crate::connection::link::StreamLink;
use crate::connection::{Shared, handshake, reader, writer};
use crate::error::{Loss, NotSent};

/// After writing has failed: how long replies that are on their way are still read.
const LAST_REPLIES: Duration = Duration::from_millis(500);

/// Runs until the last client is dropped.
pub(super) async fn run(shared: Arc<Shared>, first: StreamLink) {
    let mut link = first;
    loop {
        let connected_at = Instant::now();
        let loss = session(&shared, link).await;
        if matches!(loss, Loss::ClientDropped) {
            break;
        }
        tracing::warn!(address = shared.address, reason = %loss, "connection lost");
        shared.queue.lose(&loss);
        let next = tokio::select! {
            next = reopen(&shared, loss, connected_at) => next,
            () = shared.closing() => break,
        };
        tracing::info!(address = shared.address, "connection restored");
        link = next;
    }
    shared.queue.close();
    shared.ended.send_replace(true);
}

/// Runs one connection until it ends; returns how it ended.
async fn session(shared: &Arc<Shared>, link: StreamLink) -> Loss {
    let StreamLink { mut reader, writer, goodbye } = link;
    let writing = Arc::clone(shared);
    let mut writing = tokio::spawn(async move { writer::run(&writing.queue, writer).await });
    let loss = tokio::select! {
        loss = reader::run(shared, &mut reader) => loss,
        ended = &mut writing => {
            // What the server answered before it went is worth having: it settles fates.
            let last = timeout(LAST_REPLIES, reader::run(shared, &mut reader)).await;
            return last.unwrap_or_else(|_| match ended {
                Ok(error) => Loss::Network(Arc::new(error)),
                Err(_) => Loss::Closed,
            });
        }
        loss = heartbeat(shared) => loss,
        () = shared.closing() => Loss::ClientDropped,
    };
    // The writer must not touch the queue while the queue decides about fates.
    writing.abort();
    let _ = writing.await;
    let is_last = *shared.closed.borrow();
    if let Some(goodbye) = goodbye.filter(|_| is_last) {
        drop(reader);
        let _ = goodbye.await;
    }
    loss
}

/// Pings at the interval, but not into a wait of the server's; returns when the server owes an answer for too long without a byte.
async fn heartbeat(shared: &Shared) -> Loss {
    let ping = handshake::ping_frame();
    let (interval, silence_max) = (shared.settings.heartbeat_interval, shared.settings.silence_max);
    let mut pings = ticks(interval);
    let mut looks = ticks((silence_max / 4).max(Duration::from_millis(1)));
    let mut reads = shared.reads.load(Ordering::Relaxed);
    let mut heard_at = Instant::now();
    loop {
        tokio::select! {
            _ = pings.tick() => {
                if !shared.queue.only_waits() {
                    shared.queue.push_unheeded(ping.clone());
                }
            }
            now = looks.tick() => {
                let current = shared.reads.load(Ordering::Relaxed);
                if current != reads || !shared.queue.is_owed() {
                    (reads, heard_at) = (current, now);
                } else if now.duration_since(heard_at) >= silence_max {
                    return Loss::Silent(silence_max);
                }
            }
        }
    }
}

fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Opens the next connection. When the policy gives up, what waits fails, and the next request
/// starts over.
async fn reopen(shared: &Shared, loss: Loss, connected_at: Instant) -> StreamLink {
    let policy = shared.settings.reconnect;
    let mut reason = NotSent::Lost(loss);
    let ready_at = connected_at + policy.reestablish_after;
    tokio::time::sleep_until(ready_at).await;
    loop {
        let mut attempt = 0;
        while policy.allows(attempt) {
            sleep(policy.pause_before(attempt, rand::random())).await;
            let error = match shared.establish().await {
                Ok(link) => return link,
                Err(error) => error,
            };
            tracing::debug!(address = shared.address, attempt, %error, "reconnect failed");
            let is_transient = error.is_transient();
            reason = NotSent::GaveUp(Box::new(error));
            if !is_transient {
                break;
            }
            attempt += 1;
        }
        tracing::warn!(address = shared.address, %reason, "reconnect given up");
        shared.queue.give_up(&reason);
        if policy.allows(0) {
            // A refused login must not become a flood of logins.
            sleep(policy.first_delay).await;
        }
        shared.queue.has_work().await;
    }
}
