//! What all clones of a producer share: accepting messages, flushing, closing.
//!
//! Part of INV-PINNED: a message has its id, and a batch its partition, before it is sent for the first time.
//! INV-TOLD: after a failure nothing is accepted until a flush has reported it, and a flush that does so leaves
//! nothing in flight.
//! A message takes its room in the buffer before it is accepted, and gives it back when
//! it is settled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use galgo_wire::command::extensions::{DeduplicationWindow, TopicSettings};
use galgo_wire::index::to_u32;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::extensions::{DEDUPLICATION, SEND_WITH};
use crate::message::EncodedMessage;
use crate::messages::now;
use crate::producer::batcher::{BatchLimits, Batcher, BatcherEntry, SendBatch, SendLane, Tracking};
use crate::producer::builder::{PartitionBy, ProducerBuilder};
use crate::producer::partitioner::Partitioner;
use crate::producer::receipt::{FlushError, ProduceError, Receipt};
use crate::topics::path;
use crate::{CallError, Deduplication, Message, SendError, SendRetry};

/// A producer without its task.
pub(super) struct ProducerShared {
    pub(super) settings: ProducerBuilder,
    partitioner: Arc<Partitioner>,
    room: Semaphore,
    state: Mutex<ProducerState>,
    /// Wakes the driver.
    wake: Notify,
    /// Wakes whoever waits for batches to settle.
    settled: Notify,
    acknowledged: AtomicU64,
    /// Of those, how many the topic had stored before.
    stored_before: AtomicU64,
    pending: AtomicU64,
    /// Whether the topic drops messages a partition has stored lately.
    deduplicates: AtomicBool,
    /// The partition the next balanced batch goes to, when it is chosen here.
    turn: AtomicU32,
}

/// Where the caller wants a message.
#[derive(Debug, Clone, Copy)]
pub(super) enum MessageTarget<'a> {
    /// Where the settings of the producer say.
    Any,
    /// In the partition of a key.
    Key(&'a [u8]),
    /// In this partition.
    Partition(u32),
}

struct ProducerState {
    batcher: Batcher,
    /// The first failure since the last flush.
    failure: Option<SendError>,
    /// Messages accepted and not acknowledged since the last flush.
    failed: u64,
    closed: bool,
}

impl ProducerShared {
    pub(super) fn new(settings: ProducerBuilder) -> Self {
        let limits = BatchLimits {
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
            state: Mutex::new(ProducerState { batcher, failure: None, failed: 0, closed: false }),
            wake: Notify::new(),
            settled: Notify::new(),
            acknowledged: AtomicU64::new(0),
            stored_before: AtomicU64::new(0),
            pending: AtomicU64::new(0),
            deduplicates: AtomicBool::new(false),
            turn: AtomicU32::new(rand::random()),
            settings,
        }
    }

    /// Finds out what must be known before the first message. Gives the number of the producer's chain, when
    /// the server knows chains.
    pub(super) async fn prepare(&self) -> Result<Option<u32>, ProduceError> {
        let client = &self.settings.client;
        let chained = client.has(&SEND_WITH).await.map_err(ProduceError::Lookup)?;
        let settings = self.ask_for_settings().await?;
        let deduplicates = settings.is_some_and(|it| it.deduplication == Some(Deduplication::On));
        if let (true, Some(settings)) = (deduplicates, settings) {
            self.check_window(settings.window);
        }
        match &self.settings.partition_by {
            PartitionBy::Key(key) => drop(self.partitioner.partition(key).await?),
            PartitionBy::Balance if deduplicates => {
                self.partitioner.count().await?;
                self.deduplicates.store(true, Ordering::Relaxed);
            }
            PartitionBy::Balance | PartitionBy::Id(_) => {}
        }
        Ok(chained.then(|| client.connection.next_lane()))
    }

    /// How the topic wants its messages; `None` when the server does not tell, or not this user.
    async fn ask_for_settings(&self) -> Result<Option<TopicSettings>, ProduceError> {
        let ProducerBuilder { client, stream, topic, .. } = &self.settings;
        let answer = match client.has(&DEDUPLICATION).await {
            Ok(true) => client.topic_outline(stream, topic).await,
            Ok(false) => return Ok(None),
            Err(error) => Err(error),
        };
        match answer {
            Ok(Some(outline)) => Ok(Some(outline.settings)),
            Ok(None) => Err(ProduceError::NoTopic { topic: path(stream, topic) }),
            Err(CallError::Server(_)) => Ok(None),
            Err(error) => Err(ProduceError::Lookup(error)),
        }
    }

    /// Warns when a message that is sent again may have been forgotten by the server.
    fn check_window(&self, window: DeduplicationWindow) {
        let ProducerBuilder { stream, topic, delivery_timeout, .. } = &self.settings;
        let batches = self.settings.max_in_flight as u64;
        let in_flight = batches.saturating_mul(self.settings.batch_messages.into());
        let remembered = Duration::from_secs(window.seconds.into());
        let may_repeat = self.settings.retry == SendRetry::AtLeastOnce;
        if may_repeat && forgets_too_soon(window, *delivery_timeout, in_flight) {
            tracing::warn!(
                %stream, %topic, ?delivery_timeout, in_flight, ?remembered, ids = window.entries,
                "the topic forgets message ids before this producer gives up sending them again, so it may store \
                 messages twice: lower the delivery timeout or the batches in flight, or raise \
                 deduplication.expiry or deduplication.max_entries of the server"
            );
        }
    }

    /// The partition of a balanced batch, or `None`: the server chooses.
    ///
    /// INV-PINNED: where a partition drops what it has stored lately, a batch that is sent again must
    /// go where it went before, so its partition is chosen here, once.
    pub(super) async fn balance(&self) -> Option<u32> {
        if !self.deduplicates() {
            return None;
        }
        let partitions = self.partitioner.count().await.ok()?;
        self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(partitions)
    }

    fn deduplicates(&self) -> bool {
        self.deduplicates.load(Ordering::Relaxed)
    }

    /// Takes a message when there is room for it.
    pub(super) async fn accept(
        &self,
        to: MessageTarget<'_>,
        message: Message,
        tracking: Tracking,
    ) -> Result<Option<Receipt>, ProduceError> {
        let mut encoded = message.encode()?;
        let lane = self.lane(to, encoded.id).await?;
        if encoded.id == 0 {
            encoded.id = rand::random::<u128>().max(1);
        }
        // A message over the bound goes alone.
        let room = encoded.len().min(self.settings.buffer_bytes);
        // The limits of a message keep it far below 32 bits; as much is given back as was taken.
        let permit =
            self.room.acquire_many(to_u32(room)).await.map_err(|_| ProduceError::Closed)?;
        let receipt = self.push(lane, &encoded, room, tracking)?;
        permit.forget();
        Ok(receipt)
    }

    /// Where a message goes; `id` is 0 when the caller has none for it.
    async fn lane(&self, to: MessageTarget<'_>, id: u128) -> Result<SendLane, ProduceError> {
        let id_bytes = id.to_le_bytes();
        let key = match (to, &self.settings.partition_by) {
            (MessageTarget::Partition(partition), _) => return Ok(SendLane::Partition(partition)),
            (MessageTarget::Key(key), _) => key,
            (MessageTarget::Any, PartitionBy::Key(key)) => key,
            // INV-PINNED: whoever sends the same id again finds it where it was stored.
            (MessageTarget::Any, PartitionBy::Balance) if id != 0 && self.deduplicates() => {
                &id_bytes
            }
            (MessageTarget::Any, PartitionBy::Balance) => return Ok(SendLane::Balanced),
            (MessageTarget::Any, PartitionBy::Id(partition)) => {
                return Ok(SendLane::Partition(*partition));
            }
        };
        self.partitioner.partition(key).await.map(SendLane::Partition)
    }

    fn push(
        &self,
        lane: SendLane,
        message: &EncodedMessage<'_>,
        room: usize,
        tracking: Tracking,
    ) -> Result<Option<Receipt>, ProduceError> {
        let (origin_timestamp, at) = (now(), Instant::now());
        let mut state = self.state.lock();
        if state.closed {
            return Err(ProduceError::Closed);
        }
        if let Some(failure) = &state.failure {
            return Err(ProduceError::Failed(failure.clone()));
        }
        let entry = BatcherEntry { lane, message, origin_timestamp, now: at, room, tracking };
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
        if self.state.lock().failure.is_some() {
            // INV-TOLD: what was on its way behind the failure is decided before anything else is taken.
            self.settled_below(u64::MAX).await;
        }
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

    pub(super) fn stored_before(&self) -> u64 {
        self.stored_before.load(Ordering::Acquire)
    }

    pub(super) fn pending(&self) -> u64 {
        self.pending.load(Ordering::Acquire)
    }

    /// The next batch that is full or due, of a lane that is not busy.
    pub(super) fn take(&self, is_busy: impl Fn(SendLane) -> bool) -> Option<SendBatch> {
        self.state.lock().batcher.take(Instant::now(), is_busy)
    }

    /// When there will be a next batch of a lane that is not busy, as far as is known now.
    pub(super) fn next_due(&self, is_busy: impl Fn(SendLane) -> bool) -> Option<Instant> {
        self.state.lock().batcher.next_due(is_busy)
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
    pub(super) fn drain(&self) -> Vec<SendBatch> {
        self.state.lock().batcher.drain().collect()
    }

    /// Notes what became of a batch, and tells those who wait for it. Of one that is acknowledged it is told how
    /// many of its messages had been stored before.
    pub(super) fn settle(&self, mut batch: SendBatch, verdict: Result<u64, SendError>) {
        let count = u64::from(batch.count);
        let mut state = self.state.lock();
        match &verdict {
            Ok(before) => {
                assert!(*before <= count, "INV-TOLD: no more was stored before than was sent");
                self.stored_before.fetch_add(*before, Ordering::Release);
                self.acknowledged.fetch_add(count, Ordering::Release);
            }
            Err(error) => {
                state.failed += count;
                state.failure.get_or_insert_with(|| error.clone());
            }
        }
        state.batcher.settle(batch.number);
        let pending = self.pending.fetch_sub(count, Ordering::Release);
        assert!(pending >= count, "INV-TOLD: more is settled than was accepted");
        drop(state);
        // Receipts first, then room, then flushes: whoever a flush lets go on finds its receipts decided, and room.
        batch.judge(verdict.map(drop).map_err(ProduceError::Failed));
        self.room.add_permits(batch.room);
        self.settled.notify_waiters();
    }
}

/// Whether a message may be forgotten while it can still be sent again.
fn forgets_too_soon(window: DeduplicationWindow, sent_for: Duration, in_flight: u64) -> bool {
    let remembered = Duration::from_secs(window.seconds.into());
    // The largest number stands for longer times, too; 0 for a server that does not tell.
    let is_short = (1..u16::MAX).contains(&window.seconds) && sent_for >= remembered;
    let is_small = window.entries > 0 && in_flight > window.entries.into();
    is_short || is_small
}

#[cfg(test)]
mod tests {
    use galgo_wire::limits::{
        DEDUPLICATION_ENTRIES_DEFAULT, DEDUPLICATION_SECONDS_DEFAULT, DELIVERY_SECONDS_DEFAULT,
        PRODUCER_MESSAGES_IN_FLIGHT_DEFAULT,
    };

    use super::*;

    /// A producer went on for two minutes with what the server forgot after one, and had 8,000 messages in flight of
    /// 10,000 that were remembered for all: what it sent again was stored twice.
    #[test]
    fn the_defaults_fit_and_others_that_do_not_are_warned_of() {
        let seconds = u16::try_from(DEDUPLICATION_SECONDS_DEFAULT).unwrap();
        let usual = DeduplicationWindow { entries: DEDUPLICATION_ENTRIES_DEFAULT, seconds };
        let sent_for = Duration::from_secs(DELIVERY_SECONDS_DEFAULT);
        let in_flight = u64::from(PRODUCER_MESSAGES_IN_FLIGHT_DEFAULT);
        for (window, sent_for, in_flight, warns) in [
            (usual, sent_for, in_flight, false),
            (DeduplicationWindow { seconds: 60, ..usual }, sent_for, in_flight, true),
            (usual, Duration::from_secs(300), in_flight, true),
            (usual, sent_for, 100_001, true),
            (DeduplicationWindow { entries: 7_999, ..usual }, sent_for, in_flight, true),
            (DeduplicationWindow { seconds: u16::MAX, ..usual }, Duration::MAX, in_flight, false),
            (DeduplicationWindow::default(), Duration::MAX, u64::MAX, false),
        ] {
            let found = forgets_too_soon(window, sent_for, in_flight);
            assert_eq!(found, warns, "{window:?} {sent_for:?} {in_flight}");
        }
    }
}
