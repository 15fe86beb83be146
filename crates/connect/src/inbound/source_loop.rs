//! Reads an origin, sends what comes, and settles what is acknowledged.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::{FuturesOrdered, StreamExt as _};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::budget::TakenMemory;
use crate::failure::Failure;
use crate::inbound::Inbound;
use crate::inbound::leader::Leader;
use crate::inbound::send::{ChunkNotSent, Sender};
use crate::inbound::topic::NotStored;
use crate::lane::RowCounts;
use crate::source::{Beginning, Chunk, Cursor, Source};
use crate::status::{Delivered, LaneStatus};

/// How often a cursor is stored.
const STORED_EVERY: Duration = Duration::from_secs(1);
/// Chunks on their way.
pub(super) const CHUNKS_MAX: usize = 64;

/// Why reading ended without a failure.
pub(super) enum LoopEnd {
    Stopped,
    Complete,
    Stands(String),
}

/// An origin that is read.
pub(super) struct SourceLoop<'a> {
    pub(super) pipeline: &'a Inbound,
    pub(super) lane: &'a LaneStatus,
    pub(super) source: Box<dyn Source>,
    pub(super) sender: Sender<'a>,
    pub(super) leader: Option<&'a mut Leader>,
    pub(super) has_run: &'a mut bool,
}

/// A chunk that is acknowledged.
struct Acknowledged {
    cursor: Cursor,
    messages: u64,
    filtered: u64,
    bad: u64,
    bytes: u64,
    _memory: TakenMemory,
}

type OnItsWay = FuturesOrdered<BoxFuture<'static, Result<Acknowledged, Failure>>>;

/// What there is to do.
enum SourceWake {
    Stop,
    Lost(Failure),
    Acknowledged(Result<Acknowledged, Failure>),
    Store,
    Chunk(Result<Option<Chunk>, Failure>),
}

impl SourceLoop<'_> {
    /// Reads until something fails, it is to stop, or there is no more.
    pub(super) async fn run(mut self) -> Result<LoopEnd, Failure> {
        let cursor = self.leader.as_ref().and_then(|leader| leader.cursor().cloned());
        self.source.begin(Beginning { cursor, once: self.pipeline.once }).await?;
        *self.has_run = true;
        self.pipeline.status.set_there(true);
        self.pipeline.status.set_trouble(None);
        self.lane.begins(0, 0, 0);
        let mut waiting = OnItsWay::new();
        let mut unstored = None;
        let mut count = 0;
        let mut store = interval(STORED_EVERY);
        store.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = loop {
            let wake = self.wake(&mut waiting, &mut store, unstored.is_some()).await;
            self.pipeline.status.set_in_flight(self.pipeline.budget.used());
            match wake {
                SourceWake::Stop => break Ok(LoopEnd::Stopped),
                SourceWake::Lost(failure) => return Err(failure),
                SourceWake::Acknowledged(acknowledged) => {
                    let acknowledged = acknowledged?;
                    count += acknowledged.messages;
                    self.tell(&acknowledged, count);
                    match self.leader {
                        // Before the origin forgets it.
                        Some(_) => unstored = Some(acknowledged.cursor),
                        None => self.source.settled(&acknowledged.cursor).await?,
                    }
                }
                SourceWake::Store => {
                    self.settle(&mut unstored).await?;
                    self.pipeline.status.set_slot_retained(self.source.retained_bytes());
                }
                SourceWake::Chunk(chunk) => match chunk? {
                    None => break Ok(LoopEnd::Complete),
                    Some(chunk) => match self.send(chunk).await {
                        Ok(sent) => waiting.push_back(sent),
                        Err(ChunkNotSent::Failed(failure)) => break Err(failure),
                        Err(ChunkNotSent::Stands(why)) => break Ok(LoopEnd::Stands(why)),
                    },
                },
            }
        };
        // What is on its way is waited for, so that the next process repeats as little as can be.
        let drained = self.drain(&mut waiting, &mut unstored).await;
        assert!(
            drained.is_err() || waiting.is_empty(),
            "INV-ACKED-FIRST: all that was on its way is waited for"
        );
        self.settle(&mut unstored).await?;
        assert!(unstored.is_none(), "INV-ACKED-FIRST: the last cursor is stored before the end");
        self.sender.flush().await;
        let end = match drained {
            // Not all of it is in the topic.
            Err(failure) if matches!(end, Ok(LoopEnd::Complete)) => Err(failure),
            _ => end,
        }?;
        self.finish().await;
        Ok(end)
    }

    /// Waits for what is on its way, up to the first that fails: what is behind that is sent again.
    async fn drain(
        &mut self,
        waiting: &mut OnItsWay,
        unstored: &mut Option<Cursor>,
    ) -> Result<(), Failure> {
        while let Some(acknowledged) = waiting.next().await {
            let acknowledged = acknowledged?;
            match self.leader {
                Some(_) => *unstored = Some(acknowledged.cursor),
                None => self.source.settled(&acknowledged.cursor).await?,
            }
        }
        Ok(())
    }

    /// Tells the origin that nothing more is read.
    async fn finish(&mut self) {
        let finishing =
            tokio::time::timeout(self.pipeline.stop_timeout, self.source.finish()).await;
        let pipeline = &self.pipeline.name;
        match finishing {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => {
                tracing::warn!(pipeline, reason = %failure, "origin is left as after a kill");
            }
            Err(_) => tracing::warn!(pipeline, "origin takes too long to end and is left"),
        }
    }

    async fn wake(
        &mut self,
        waiting: &mut OnItsWay,
        store: &mut Interval,
        has_unstored: bool,
    ) -> SourceWake {
        let mut stop = self.pipeline.stop.clone();
        assert!(
            waiting.len() <= CHUNKS_MAX,
            "INV-CONNECT-BUDGET: so many chunks are on their way at most"
        );
        let has_room = waiting.len() < CHUNKS_MAX && self.pipeline.budget.try_take(1).is_some();
        let Self { leader, source, .. } = self;
        let lost = async {
            match leader {
                Some(leader) => leader.lost().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => SourceWake::Stop,
            failure = lost => SourceWake::Lost(failure),
            Some(acknowledged) = waiting.next() => SourceWake::Acknowledged(acknowledged),
            // In front of the chunks: an origin that always has more must not keep the cursor from being stored.
            _ = store.tick(), if has_unstored => SourceWake::Store,
            chunk = source.next(), if has_room => SourceWake::Chunk(chunk),
        }
    }

    /// Sends a chunk; what is returned resolves when it is acknowledged.
    async fn send(
        &mut self,
        chunk: Chunk,
    ) -> Result<BoxFuture<'static, Result<Acknowledged, Failure>>, ChunkNotSent> {
        let bytes = chunk.messages.iter().map(|message| message.payload.len() + 64).sum();
        // The chunk is here already; what is behind it waits.
        let memory = self.pipeline.budget.take(bytes).await;
        let messages = chunk.messages.len() as u64;
        let sent = self.sender.send(chunk.messages).await?;
        let cursor = chunk.cursor;
        let pace = Arc::clone(&self.sender.pace);
        let wait = async move {
            for receipt in sent.receipts {
                receipt.await.map_err(|error| match error {
                    NotStored::Failed(failure) => failure,
                    // Which one that is, the next attempt finds out.
                    NotStored::Unfit(reason) | NotStored::BehindUnfit(reason) => {
                        pace.was_refused();
                        Failure::away(reason)
                    }
                })?;
            }
            let (filtered, bad, bytes) = (sent.filtered, sent.bad, sent.bytes);
            Ok(Acknowledged { cursor, messages, filtered, bad, bytes, _memory: memory })
        };
        Ok(wait.boxed())
    }

    /// Stores the cursor, and tells the origin.
    async fn settle(&mut self, unstored: &mut Option<Cursor>) -> Result<(), Failure> {
        let Some(cursor) = unstored.take() else { return Ok(()) };
        let Some(leader) = &mut self.leader else {
            unreachable!("INV-ONE-LEADER: only a pipeline that keeps a cursor has one to store")
        };
        leader.store(cursor.clone()).await?;
        self.source.settled(&cursor).await
    }

    fn tell(&self, acknowledged: &Acknowledged, next: u64) {
        let Acknowledged { messages, filtered, bad, bytes, .. } = *acknowledged;
        assert!(
            filtered + bad <= messages,
            "INV-ACKED-FIRST: a message is stored, filtered or set aside"
        );
        let delivered = messages - filtered - bad;
        let counts = match self.pipeline.dead {
            Some(_) => RowCounts { delivered, dead: bad, ..RowCounts::default() },
            None => RowCounts { delivered, skipped: bad, ..RowCounts::default() },
        };
        self.lane.count(counts);
        let took = Duration::ZERO;
        self.lane.delivered(Delivered { next, last_time: 0, bytes, filtered, took });
    }
}
