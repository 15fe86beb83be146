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

use crate::consumer::group::is_no_member;
use crate::offsets::OffsetOf;
use crate::{CallError, Client, ErrorCode};

/// Failed stores that may wait to be told; older ones say the same.
const FAILURES_KEPT: usize = 4;

/// Whose offsets are stored, in every partition.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) client: Client,
    /// The partition in it is replaced.
    pub(super) of: OffsetOf,
}

impl Identity {
    /// Stores `offset` in `partition` now.
    pub(super) async fn store(&self, partition: u32, offset: u64) -> Result<(), CallError> {
        let of = OffsetOf { partition, ..self.of.clone() };
        self.client.store_offset(&of, offset).await
    }

    /// As [`Identity::store`], but what a group has given to another member in the meantime is for
    /// that one to store.
    async fn store_if_owned(&self, partition: u32, offset: u64) -> Result<(), CallError> {
        let stored = self.store(partition, offset).await;
        match stored {
            Err(error) if self.is_group() && is_not_owned(&error) => {
                tracing::warn!(partition, offset, %error, "offset not stored, others will go on");
                Ok(())
            }
            stored => stored,
        }
    }

    fn is_group(&self) -> bool {
        self.of.consumer.kind == ConsumerKind::Group
    }
}

/// Takes offsets to be stored. Dropping it stores what it has taken, in the background.
pub(super) struct Committer {
    shared: Arc<Shared>,
    task: JoinHandle<Result<(), CallError>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Default)]
struct State {
    /// The last processed offset, by partition.
    due: BTreeMap<u32, u64>,
    closed: bool,
}

impl Committer {
    /// Starts a committer that stores at once, or every `pace`. Failures go to the receiver.
    pub(super) fn start(
        identity: Identity,
        pace: Option<Duration>,
    ) -> (Self, mpsc::Receiver<CallError>) {
        let shared = Arc::<Shared>::default();
        let (sender, failures) = mpsc::channel(FAILURES_KEPT);
        let task = tokio::spawn(run(Arc::clone(&shared), identity, pace, sender));
        (Self { shared, task }, failures)
    }

    /// Notes that the messages of `partition` up to `offset` are processed.
    pub(super) fn note(&self, partition: u32, offset: u64) {
        self.shared.state.lock().due.insert(partition, offset);
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

impl Shared {
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
    shared: Arc<Shared>,
    identity: Identity,
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
        let (due, closed) = {
            let mut state = shared.state.lock();
            (std::mem::take(&mut state.due), state.closed)
        };
        let stores =
            due.into_iter().map(|(partition, offset)| identity.store_if_owned(partition, offset));
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
