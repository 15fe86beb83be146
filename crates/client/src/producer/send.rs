//! What all clones of a producer share: accepting messages, flushing, closing.
//!
//! INV-PINNED: a message has its id, and a batch its partition, before it is sent for the first time.
//! INV-BOUND: a message takes its room in the buffer before it is accepted, and gives it back when
//! it is settled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::extensions::DEDUPLICATION;
use crate::message::EncodedMessage;
use crate::messages::now;
use crate::producer::batcher::{Batch, Batcher, Entry, Lane, Limits, Tracking};
use crate::producer::builder::{PartitionBy, ProducerBuilder};
use crate::producer::partitioner::Partitioner;
use crate::producer::receipt::{FlushError, ProduceError, Receipt};
use crate::{CallError, Deduplication, Message, SendError};

/// A producer without its task.
pub(super) struct Shared {
    pub(super) settings: ProducerBuilder,
    partitioner: Arc<Partitioner>,
    room: Semaphore,
    state: Mutex<State>,
    /// Wakes the driver.
    wake: Notify,
    /// Wakes whoever waits for batches to settle.
    settled: Notify,
    acknowledged: AtomicU64,
    pending: AtomicU64,
    /// Whether the topic drops messages a partition has stored lately.
    deduplicates: AtomicBool,
    /// The partition the next balanced batch goes to, when it is chosen here.
    turn: AtomicU32,
}

struct State {
    batcher: Batcher,
    /// The first failure since the last flush.
    failure: Option<SendError>,
    /// Messages accepted and not acknowledged since the last flush.
    failed: u64,
    closed: bool,
}

impl Shared {
    pub(super) fn new(settings: ProducerBuilder) -> Self {
        let limits = Limits {
            messages: settings.batch_messages,
            bytes: settings.batch_bytes,
            linger: settings.linger,
        };
        let batcher = Batcher::new(limits);
        let partitioner = Partitioner::new(
            settings.client.clone(),
            settings.stream.clone(),
            settings.topic.clone(),
        );
        Self {
            partitioner: Arc::new(partitioner),
            room: Semaphore::new(settings.buffer_bytes),
            state: Mutex::new(State { batcher, failure: None, failed: 0, closed: false }),
            wake: Notify::new(),
            settled: Notify::new(),
            acknowledged: AtomicU64::new(0),
            pending: AtomicU64::new(0),
            deduplicates: AtomicBool::new(false),
            turn: AtomicU32::new(rand::random()),
            settings,
        }
    }

    /// Finds out what must be known before the first message.
    pub(super) async fn prepare(&self) -> Result<(), ProduceError> {
        match &self.settings.partition_by {
            PartitionBy::Key(key) => self.partitioner.partition(key).await.map(drop),
            PartitionBy::Balance if self.settings.is_ordered() => {
                let deduplicates = self.ask_for_deduplication().await?;
                if deduplicates {
                    self.partitioner.count().await?;
                }
                self.deduplicates.store(deduplicates, Ordering::Relaxed);
                Ok(())
            }
            PartitionBy::Balance | PartitionBy::Id(_) => Ok(()),
        }
    }

    /// Whether the topic drops what its partitions have stored lately. That is worth nothing to
    /// whoever may not know; a server that does not say does not do it.
    async fn ask_for_deduplication(&self) -> Result<bool, ProduceError> {
        let ProducerBuilder { client, stream, topic, .. } = &self.settings;
        let answer = match client.has(&DEDUPLICATION).await {
            Ok(true) => client.topic_outline(stream, topic).await,
            Ok(false) => return Ok(false),
            Err(error) => Err(error),
        };
        match answer {
            Ok(outline) => {
                Ok(outline.is_some_and(|it| it.settings.deduplication == Deduplication::On))
            }
            Err(CallError::Server(_)) => Ok(false),
            Err(error) => Err(ProduceError::Lookup(error)),
        }
    }

    /// The partition of a balanced batch, or `None`: the server chooses.
    ///
    /// INV-PINNED: where a partition drops what it has stored lately, a batch that is sent again must
    /// go where it went before, so its partition is chosen here, once.
    pub(super) async fn balance(&self) -> Option<u32> {
        if !self.deduplicates.load(Ordering::Relaxed) {
            return None;
        }
        let partitions = self.partitioner.count().await.ok()?;
        self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(partitions)
    }

    /// Takes a message when there is room for it.
    pub(super) async fn accept(
        &self,
        key: Option<&[u8]>,
        message: Message,
        tracking: Tracking,
    ) -> Result<Option<Receipt>, ProduceError> {
        let mut encoded = message.encode()?;
        if encoded.id == 0 {
            encoded.id = rand::random::<u128>().max(1);
        }
        let lane = self.lane(key).await?;
        // A message over the bound goes alone.
        let room = encoded.len().min(self.settings.buffer_bytes);
        let permits = u32::try_from(room).unwrap_or(u32::MAX);
        let permit = self.room.acquire_many(permits).await.map_err(|_| ProduceError::Closed)?;
        let receipt = self.push(lane, &encoded, room, tracking)?;
        permit.forget();
        Ok(receipt)
    }

    async fn lane(&self, key: Option<&[u8]>) -> Result<Lane, ProduceError> {
        let key = match (key, &self.settings.partition_by) {
            (Some(key), _) => key,
            (None, PartitionBy::Key(key)) => key,
            (None, PartitionBy::Balance) => return Ok(Lane::Balanced),
            (None, PartitionBy::Id(partition)) => return Ok(Lane::Partition(*partition)),
        };
        self.partitioner.partition(key).await.map(Lane::Partition)
    }

    fn push(
        &self,
        lane: Lane,
        message: &EncodedMessage<'_>,
        room: usize,
        tracking: Tracking,
    ) -> Result<Option<Receipt>, ProduceError> {
        let (origin_timestamp, at) = (now(), Instant::now());
        let mut state = self.state.lock();
        if state.closed {
            return Err(ProduceError::Closed);
        }
        if let Some(failure) = &state.failure
            && self.settings.is_ordered()
        {
            return Err(ProduceError::Failed(failure.clone()));
        }
        let entry = Entry { lane, message, origin_timestamp, now: at, room, tracking };
        let pushed = state.batcher.push(&entry)?;
        self.pending.fetch_add(1, Ordering::Relaxed);
        drop(state);
        if pushed.news {
            self.wake.notify_one();
        }
        Ok(pushed.receipt)
    }

    /// Sends what is there, waits until it is settled, and reports what went wrong.
    pub(super) async fn flush(&self) -> Result<(), FlushError> {
        let upto = self.state.lock().batcher.close_all();
        self.wake.notify_one();
        self.settled_below(upto).await;
        let mut state = self.state.lock();
        let unacknowledged = std::mem::take(&mut state.failed);
        match state.failure.take() {
            Some(cause) => Err(FlushError { unacknowledged, cause: ProduceError::Failed(cause) }),
            None => Ok(()),
        }
    }

    async fn settled_below(&self, upto: u64) {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            // From here on no notification is missed.
            settled.as_mut().enable();
            if self.state.lock().batcher.is_settled_below(upto) {
                return;
            }
            settled.await;
        }
    }

    /// Takes no more messages, and flushes.
    pub(super) async fn close(&self) -> Result<(), FlushError> {
        self.refuse();
        self.flush().await
    }

    /// Takes no more messages; what was accepted is still sent.
    pub(super) fn refuse(&self) {
        self.state.lock().closed = true;
        self.room.close();
        self.wake.notify_one();
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Acquire)
    }

    pub(super) fn pending(&self) -> u64 {
        self.pending.load(Ordering::Acquire)
    }

    /// The next batch that is full or due.
    pub(super) fn take(&self) -> Option<Batch> {
        self.state.lock().batcher.take(Instant::now())
    }

    /// When there will be a next batch, as far as is known now.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.state.lock().batcher.next_due()
    }

    /// Whether nothing will ever come again.
    pub(super) fn is_finished(&self) -> bool {
        let state = self.state.lock();
        state.closed && state.batcher.is_settled_below(u64::MAX)
    }

    /// Resolves when there may be a batch to take.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Everything that was not taken yet.
    pub(super) fn drain(&self) -> Vec<Batch> {
        self.state.lock().batcher.drain().collect()
    }

    /// Notes what became of a batch, and tells those who wait for it.
    pub(super) fn settle(&self, mut batch: Batch, verdict: Result<(), SendError>) {
        let count = u64::from(batch.count);
        let mut state = self.state.lock();
        match &verdict {
            Ok(()) => {
                self.acknowledged.fetch_add(count, Ordering::Release);
            }
            Err(error) => {
                state.failed += count;
                state.failure.get_or_insert_with(|| error.clone());
            }
        }
        state.batcher.settle(batch.number);
        self.pending.fetch_sub(count, Ordering::Release);
        drop(state);
        batch.judge(verdict.map_err(ProduceError::Failed));
        self.room.add_permits(batch.room);
        self.settled.notify_waiters();
    }
}
