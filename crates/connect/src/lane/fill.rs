//! The half of a lane that reads, shapes and fills batches.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use crate::batch::{Batch, Row};
use crate::budget::TakenMemory;
use crate::config::file::BadChoice;
use crate::lane::begin::{Begin, Standstill};
use crate::lane::{Detour, Filled, Lane, LaneEnd, LaneSettings, Refused};
use crate::log::{LaneLog, LogMessage, ReadEnd};
use crate::place::{LaneName, Place, Position};
use crate::shape::Shaped;
use crate::status::LaneStatus;

/// How often the group's offset follows what was delivered.
const STORED_EVERY: Duration = Duration::from_secs(1);

/// Reads messages and makes batches of them.
pub(super) struct Filler<'a> {
    log: &'a mut dyn LaneLog,
    lane: &'a LaneName,
    settings: &'a Arc<LaneSettings>,
    status: &'a LaneStatus,
    stop: watch::Receiver<bool>,
    upto: Option<u64>,
    filled: Option<mpsc::Sender<Filled>>,
    delivered: watch::Receiver<u64>,
    /// What the group's offset says, one behind the message.
    stored: u64,
    filling: Filling,
}

/// A batch that is being filled.
struct Filling {
    begin: u64,
    end: Position,
    rows: Vec<Row>,
    originals: Vec<LogMessage>,
    refused: Vec<Refused>,
    filtered: u64,
    messages: u32,
    bytes: usize,
    memory: TakenMemory,
    since: Option<Instant>,
}

/// What there is to do.
enum FillWake {
    Stop,
    /// The batch has waited for long enough.
    Due,
    /// It is time for the group's offset.
    Follow,
    Messages(Result<Vec<LogMessage>, ReadEnd>),
}

impl Filling {
    fn at(end: Position) -> Self {
        Self {
            begin: end.next,
            end,
            rows: Vec::new(),
            originals: Vec::new(),
            refused: Vec::new(),
            filtered: 0,
            messages: 0,
            bytes: 0,
            memory: TakenMemory::default(),
            since: None,
        }
    }
}

impl<'a> Filler<'a> {
    pub(super) fn new(
        lane: &'a mut Lane,
        begin: Begin,
        filled: mpsc::Sender<Filled>,
        delivered: watch::Receiver<u64>,
    ) -> Self {
        Self {
            log: &mut *lane.log,
            lane: &lane.name,
            settings: &lane.settings,
            status: &lane.status,
            stop: lane.stop.clone(),
            upto: lane.upto,
            filled: Some(filled),
            stored: begin.at.next,
            delivered,
            filling: Filling::at(begin.at),
        }
    }

    /// Fills batches until there is a reason not to.
    pub(super) async fn run(&mut self) -> Detour {
        match self.fill().await {
            Ok(never) => match never {},
            Err(detour) => detour,
        }
    }

    async fn fill(&mut self) -> Result<std::convert::Infallible, Detour> {
        let mut store = interval(STORED_EVERY);
        store.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if self.upto.is_some_and(|upto| self.filling.end.next >= upto) {
                self.hand_over().await?;
                return Err(Detour::End(LaneEnd::Reached));
            }
            match self.wake(&mut store).await {
                FillWake::Stop => return Err(Detour::End(LaneEnd::Stopped)),
                FillWake::Due => self.hand_over().await?,
                FillWake::Follow => self.follow().await?,
                FillWake::Messages(messages) => self.take(messages?).await?,
            }
        }
    }

    /// Waits for whatever comes first.
    async fn wake(&mut self, store: &mut Interval) -> FillWake {
        let due = self.filling.since.map(|since| since + self.settings.batch.linger.0);
        let due = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = self.stop.wait_for(|stop| *stop) => FillWake::Stop,
            () = due => FillWake::Due,
            _ = store.tick() => FillWake::Follow,
            messages = self.log.next() => FillWake::Messages(messages),
        }
    }

    /// Shapes messages and puts them into batches.
    async fn take(&mut self, mut messages: Vec<LogMessage>) -> Result<(), Detour> {
        if let Some(upto) = self.upto {
            messages.retain(|message| message.offset < upto);
        }
        let bytes = messages.iter().map(LogMessage::bytes).sum();
        let memory = match self.settings.budget.try_take(bytes) {
            Some(memory) => memory,
            None => {
                // What is held here may be what others wait for (INV-CONNECT-BUDGET).
                self.hand_over().await?;
                assert!(
                    self.filling.messages == 0,
                    "INV-CONNECT-BUDGET: who waits for memory holds no batch"
                );
                tokio::select! {
                    _ = self.stop.wait_for(|stop| *stop) => return Err(Detour::End(LaneEnd::Stopped)),
                    memory = self.settings.budget.take(bytes) => memory,
                }
            }
        };
        self.filling.memory.add(memory);
        if let Some(last) = messages.last() {
            self.status.ends_at(last.offset + 1);
        }
        let shaped = self.settings.shape.shape(self.lane, &messages).await;
        assert_eq!(shaped.len(), messages.len(), "INV-PREFIX: each message has a fate");
        for (message, shaped) in messages.into_iter().zip(shaped) {
            self.put(message, shaped).await?;
        }
        Ok(())
    }

    async fn put(&mut self, message: LogMessage, shaped: Shaped) -> Result<(), Detour> {
        let offset = message.offset;
        match shaped {
            Err(bad) if self.settings.on_bad == BadChoice::Pause => {
                // What is in front is delivered by itself, so that the lane stands at the message and nowhere else.
                self.hand_over().await?;
                return Err(Detour::Stands(Standstill::Bad { offset, reason: bad.reason }));
            }
            Err(bad) => self.filling.refused.push(Refused { offset, reason: bad.reason }),
            Ok(parts) if parts.is_empty() => self.filling.filtered += 1,
            Ok(parts) => {
                for (part, (form, payload)) in (0..).zip(parts) {
                    let row = Row {
                        place: Place { offset, part },
                        id: message.id,
                        time: message.time,
                        origin_time: message.origin_time,
                        headers_block: message.headers_block.clone(),
                        form,
                        payload,
                    };
                    self.filling.rows.push(row);
                }
            }
        }
        let filling = &mut self.filling;
        filling.since.get_or_insert_with(Instant::now);
        filling.end = Position {
            next: offset + 1,
            last_id: message.id,
            last_time: message.time,
            topic_made_at: filling.end.topic_made_at,
        };
        filling.messages += 1;
        filling.bytes += message.bytes();
        if self.settings.dead.is_some() {
            filling.originals.push(message);
        }
        let batch = &self.settings.batch;
        if filling.messages >= batch.messages || filling.bytes as u64 >= batch.bytes.0 {
            self.hand_over().await?;
        }
        Ok(())
    }

    /// Gives what was filled to the half that delivers; waits until it takes it.
    async fn hand_over(&mut self) -> Result<(), Detour> {
        let next = Filling::at(self.filling.end);
        let filling = std::mem::replace(&mut self.filling, next);
        if filling.begin == filling.end.next {
            return Ok(());
        }
        assert!(filling.messages > 0, "INV-PREFIX: only messages move a position");
        let without_rows = filling.refused.len() as u64 + filling.filtered;
        assert!(
            without_rows <= u64::from(filling.messages),
            "INV-DELIVERED: a message is refused or filtered once"
        );
        assert!(
            filling.originals.is_empty() || filling.originals.len() == filling.messages as usize,
            "INV-DELIVERED: where there are dead letters each message can become one"
        );
        let filled = Filled {
            batch: Batch::new(filling.begin, filling.end, filling.rows),
            originals: filling.originals,
            refused: filling.refused,
            filtered: filling.filtered,
            bytes: filling.bytes as u64,
            _memory: filling.memory,
        };
        let Some(sender) = &self.filled else { unreachable!("it is closed at the end only") };
        tokio::select! {
            biased;
            _ = self.stop.wait_for(|stop| *stop) => Err(Detour::End(LaneEnd::Stopped)),
            // Nobody takes it when delivering has ended, which says why.
            sent = sender.send(filled) => sent.map_err(|_| Detour::Again),
        }
    }

    /// Says that there will be no more batches.
    pub(super) fn close(&mut self) {
        self.filled = None;
    }

    /// Has the group's offset follow what was delivered.
    async fn follow(&mut self) -> Result<(), Detour> {
        let delivered = *self.delivered.borrow_and_update();
        assert!(delivered >= self.stored, "INV-PREFIX: the group's offset never moves back");
        assert!(
            delivered <= self.filling.begin,
            "INV-DELIVERED: what is delivered was handed over before"
        );
        let Some(last) = delivered.checked_sub(1).filter(|_| delivered != self.stored) else {
            return Ok(());
        };
        match self.log.store(last).await {
            Ok(()) => self.stored = delivered,
            // The target has it; the group's offset can wait.
            Err(ReadEnd::Away(reason)) => {
                tracing::debug!(lane = %self.lane, reason, "the offset of the group is not stored yet");
            }
            Err(end) => return Err(end.into()),
        }
        Ok(())
    }

    /// Stores the group's offset a last time.
    pub(super) async fn store_delivered(&mut self) {
        // A lane that leaves does so whether this works or not: the target knows better, or repeats a batch.
        let _ = self.follow().await;
    }
}
