//! Fetches one partition ahead of its reader.
//!
//! One batch waits in the channel and one at its door, no more.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::consumer::ConsumeError;
use crate::consumer::appetite::Appetite;
use crate::consumer::cursor::{PartitionCursor, Step};
use crate::consumer::holdings::Tag;
use crate::consumer::idle::Idle;
use crate::message::ReceivedMessage;
use crate::topics::path;
use crate::{CallError, Client, PollRequest, PolledMessages};

/// Messages fetched at once, or what went wrong.
pub(super) type Fetched = Result<FetchedBatch, ConsumeError>;

/// Messages of one partition.
#[derive(Debug)]
pub(super) struct FetchedBatch {
    pub(super) messages: Vec<ReceivedMessage>,
    /// Of a member of a group that knows what it holds.
    pub(super) tag: Option<Tag>,
}

impl From<Vec<ReceivedMessage>> for FetchedBatch {
    fn from(messages: Vec<ReceivedMessage>) -> Self {
        Self { messages, tag: None }
    }
}

/// Pause after an error was handed out.
pub(super) const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// What to fetch, and how.
pub(super) struct Fetch {
    pub(super) client: Client,
    pub(super) partition: u32,
    /// Topic, partition and consumer; strategy and count come from cursor and appetite.
    pub(super) request: PollRequest,
    pub(super) cursor: PartitionCursor,
    pub(super) appetite: Appetite,
    pub(super) idle: Idle,
    /// Whether no other partition is read over the connection: several polls that wait there would cut
    /// each other's waits short.
    pub(super) alone: Arc<AtomicBool>,
    pub(super) verify: bool,
    pub(super) skip_damaged: bool,
    pub(super) out: mpsc::Sender<Fetched>,
}

impl Fetch {
    /// Fetches until the end, if there is one, or until nobody listens any longer.
    pub(super) async fn run(mut self) {
        let out = self.out.clone();
        tokio::select! {
            () = self.fetch() => {}
            () = out.closed() => {}
        }
    }

    async fn fetch(&mut self) {
        while !self.cursor.is_done() {
            let (strategy, count) = (self.cursor.strategy(), self.appetite.count());
            let request = self.request.clone().strategy(strategy).count(count);
            let request = request.life(self.cursor.life());
            let begun = Instant::now();
            match self.client.poll_once(request.wait_if(self.wait())).await {
                Ok(polled) => match self.take(polled).await {
                    FetchTaken::Some => self.idle.fed(),
                    FetchTaken::Nothing => self.idle.rest(begun).await,
                    FetchTaken::Last => return,
                },
                Err(error) => self.report(error).await,
            }
        }
    }

    /// How long the server is to wait for messages; not at all for one who reads what is there.
    fn wait(&self) -> Option<Duration> {
        self.idle.wait().filter(|_| !self.cursor.has_end() && self.alone.load(Ordering::Relaxed))
    }

    async fn take(&mut self, mut polled: PolledMessages) -> FetchTaken {
        self.appetite.fed(polled.len(), polled.bytes_len());
        if let Some(damage) = DamagedNext::before(&mut polled, self.verify) {
            return self.come_upon(damage).await;
        }
        match self.cursor.advance(polled) {
            Step::Messages(messages) => {
                self.hand_out(Ok(messages.into())).await;
                FetchTaken::Some
            }
            Step::LastMessages(messages) => {
                if !messages.is_empty() {
                    self.hand_out(Ok(messages.into())).await;
                }
                FetchTaken::Last
            }
            Step::Nothing => FetchTaken::Nothing,
            Step::Rewound { expected } => {
                let partition = self.partition;
                tracing::warn!(partition, expected, "partition begins anew");
                self.hand_out(Err(ConsumeError::Rewound { partition, expected })).await;
                FetchTaken::Some
            }
        }
    }

    /// Leaves out what is damaged, or stops in front of it.
    async fn come_upon(&mut self, damage: DamagedNext) -> FetchTaken {
        let error = damage.error(&self.request, self.partition, self.skip_damaged);
        self.hand_out(Err(error)).await;
        if self.skip_damaged {
            self.cursor.skip_to(damage.offsets.end);
            return FetchTaken::Some;
        }
        sleep(ERROR_PAUSE).await;
        FetchTaken::Nothing
    }

    /// A lost connection is the client's to restore; only when it gave up, or the server refused,
    /// the reader hears of it.
    async fn report(&mut self, error: CallError) {
        let partition = self.partition;
        if error.is_reply_too_large() && self.appetite.choked() {
            return;
        }
        if error.is_timeout() {
            tracing::warn!(partition, %error, "poll failed, will be repeated");
            return;
        }
        self.hand_out(Err(ConsumeError::Poll(error))).await;
        sleep(ERROR_PAUSE).await;
    }

    async fn hand_out(&self, fetched: Fetched) {
        // When nobody listens any longer, `run` ends.
        let _ = self.out.send(fetched).await;
    }
}

/// Messages that are next and cannot be read.
#[derive(Debug, Clone)]
pub(super) struct DamagedNext {
    pub(super) offsets: Range<u64>,
    /// Whether the server found it, not this client.
    by_server: bool,
}

impl DamagedNext {
    /// What stands before the first message of `polled`, once those behind damage are taken off.
    pub(super) fn before(polled: &mut PolledMessages, verify: bool) -> Option<Self> {
        if let Some(offsets) = polled.damaged() {
            return Some(Self { offsets, by_server: true });
        }
        let offset = if verify { polled.cut_damaged() } else { None };
        let offset = offset.filter(|_| polled.is_empty())?;
        Some(Self { offsets: offset..offset.saturating_add(1), by_server: false })
    }

    /// How the reader is told.
    pub(super) fn error(
        &self,
        request: &PollRequest,
        partition: u32,
        skipped: bool,
    ) -> ConsumeError {
        let topic = path(&request.stream, &request.topic);
        let offsets = self.offsets.clone();
        match (skipped, self.by_server) {
            (true, _) => ConsumeError::Skipped { topic, partition, offsets },
            (false, true) => ConsumeError::Unreadable { topic, partition, offsets },
            (false, false) => ConsumeError::Damaged { partition, offset: offsets.start },
        }
    }
}

enum FetchTaken {
    Some,
    Nothing,
    Last,
}
