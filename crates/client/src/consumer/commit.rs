//! Stores the offsets of processed messages in the background.
//!
//! A store covers all messages before it, so stores that come while one is on its way are joined.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use galgo_wire::consumer::ConsumerKind;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::consumer::membership::is_no_member;
use crate::message::ReceivedMessage;
use crate::offsets::OffsetOf;
use crate::{CallError, Client, ErrorCode, Life};

/// Failed stores that may wait to be told; older ones say the same.
const FAILURES_KEPT: usize = 4;
const _: () = assert!(FAILURES_KEPT > 0, "a failed store is told when nobody looks at that moment");

/// A place in a partition: an offset, and the life it is one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LifePosition {
    pub(super) offset: u64,
    pub(super) life: Life,
}

impl LifePosition {
    /// The place of a message.
    pub(super) fn of(message: &ReceivedMessage) -> Self {
        Self { offset: message.offset(), life: message.life() }
    }
}

/// Whose offsets are stored, in every partition.
#[derive(Debug, Clone)]
pub(super) struct OffsetIdentity {
    pub(super) client: Client,
    /// The partition in it is replaced.
    pub(super) of: OffsetOf,
}

impl OffsetIdentity {
    /// Stores a position in `partition` now; `false` when it is one of another life, and not stored.
    pub(super) async fn store(
        &self,
        partition: u32,
        position: LifePosition,
    ) -> Result<bool, CallError> {
        let of = OffsetOf { partition, ..self.of.clone() };
        self.client.store_offset_in(&of, position.offset, position.life).await
    }

    /// As [`OffsetIdentity::store`], but what a group has given to another member in the meantime is for
    /// that one to store, and what belongs to a life that is over is nobody's.
    async fn store_if_owned(
        &self,
        partition: u32,
        position: LifePosition,
    ) -> Result<(), CallError> {
        let offset = position.offset;
        match self.store(partition, position).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                tracing::info!(partition, offset, "offset of a purged partition not stored");
                Ok(())
            }
            Err(error) if self.is_group() && is_not_owned(&error) => {
                tracing::warn!(partition, offset, %error, "offset not stored, others will go on");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn is_group(&self) -> bool {
        self.of.consumer.kind == ConsumerKind::Group
    }
}

/// Takes offsets to be stored. Dropping it stores what it has taken, in the background.
pub(super) struct Committer {
    shared: Arc<CommitShared>,
    task: JoinHandle<Result<(), CallError>>,
}

#[derive(Default)]
struct CommitShared {
    state: Mutex<CommitState>,
    news: Notify,
}

#[derive(Default)]
struct CommitState {
    /// The last processed offset, by partition.
    due: BTreeMap<u32, LifePosition>,
    closed: bool,
}

impl Committer {
    /// Starts a committer that stores at once, or every `pace`. Failures go to the receiver.
    pub(super) fn start(
        identity: OffsetIdentity,
        pace: Option<Duration>,
    ) -> (Self, mpsc::Receiver<CallError>) {
        let shared = Arc::<CommitShared>::default();
        let (sender, failures) = mpsc::channel(FAILURES_KEPT);
        let task = tokio::spawn(run(Arc::clone(&shared), identity, pace, sender));
        (Self { shared, task }, failures)
    }

    /// Notes that the messages of `partition` up to `position` are processed.
    pub(super) fn note(&self, partition: u32, position: LifePosition) {
        let mut state = self.shared.state.lock();
        assert!(!state.closed, "what is noted is noted before the last round, or it would be lost");
        state.due.insert(partition, position);
        drop(state);
        self.shared.news.notify_one();
    }

    /// Stores what was noted, and stops.
    pub(super) async fn close(mut self) -> Result<(), CallError> {
        self.shared.close();
        // A task that is gone took the runtime with it; nothing can be stored then.
        (&mut self.task).await.unwrap_or(Ok(()))
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl CommitShared {
    fn close(&self) {
        self.state.lock().closed = true;
        self.news.notify_one();
    }

    fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    async fn closing(&self) {
        while !self.is_closed() {
            self.news.notified().await;
        }
    }
}

/// Whether an error says that the caller does not have the partition, at least not any longer.
fn is_not_owned(error: &CallError) -> bool {
    error.code() == Some(ErrorCode::NotResolvedConsumer) || is_no_member(error)
}

async fn run(
    shared: Arc<CommitShared>,
    identity: OffsetIdentity,
    pace: Option<Duration>,
    failures: mpsc::Sender<CallError>,
) -> Result<(), CallError> {
    let mut next_at = Instant::now();
    loop {
        match pace {
            None => shared.news.notified().await,
            Some(pace) => {
                next_at += pace;
                tokio::select! {
                    () = sleep_until(next_at) => next_at = next_at.max(Instant::now() - pace),
                    () = shared.closing() => {}
                }
            }
        }
        // Both under one lock: whatever was noted before the end is in the last round.
        let (due, closed) = {
            let mut state = shared.state.lock();
            (std::mem::take(&mut state.due), state.closed)
        };
        let stores = due.into_iter();
        let stores =
            stores.map(|(partition, position)| identity.store_if_owned(partition, position));
        let stored = try_join_all(stores).await.map(drop);
        if closed {
            return stored;
        }
        if let Err(error) = stored {
            tracing::warn!(%error, "offset not stored");
            // When nobody looks, the log has it.
            let _ = failures.try_send(error);
        }
    }
}
