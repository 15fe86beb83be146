//! A lane: one partition of a topic on its way into a target, in order.
//!
//! It looks where the target is ([`begin`]), reads and shapes what comes behind that ([`fill`]), and delivers it
//! ([`deliver`]), the one while the other goes on. Whatever takes it off its way, it begins again at the first step, so there is
//! one way to go on and not one for each kind of mishap.

pub mod begin;
pub mod deliver;
mod fill;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use crate::backoff::Backoff;
use crate::batch::Batch;
use crate::budget::{MemoryBudget, TakenMemory};
use crate::config::file::{BadChoice, BatchSettings, GalgoOrigin};
use crate::dead_letter::{DeadTopic, LaneLetters};
use crate::failure::Failure;
use crate::gate::Gate;
use crate::lane::begin::{Begin, NoBegin, Standstill};
use crate::log::{LaneLog, LogMessage, ReadEnd};
use crate::place::LaneName;
use crate::shape::Shape;
use crate::sink::Sinks;
use crate::status::{Delivered, LaneActivity, LaneStatus};

pub use deliver::{Delivery, DeliveryEnd, OnBad, RowCounts};

/// Between two looks at what somebody has to mend.
const LONG_PAUSE: Duration = Duration::from_secs(60);

/// What the lanes of a pipeline share.
pub struct LaneSettings {
    /// The topics, and what to do about their mishaps.
    pub from: GalgoOrigin,
    /// What ends a batch.
    pub batch: BatchSettings,
    /// What is made of messages.
    pub shape: Arc<dyn Shape>,
    /// The connections to the target.
    pub sinks: Arc<Sinks>,
    /// Whether it is there.
    pub gate: Arc<Gate>,
    /// What is done with messages that it does not take.
    pub on_bad: BadChoice,
    /// Where they go then.
    pub dead: Option<Arc<dyn DeadTopic>>,
    /// For how long a batch is tried.
    pub retry_for: Option<Duration>,
    /// How much may be in memory.
    pub budget: MemoryBudget,
}

/// Why a lane is over.
#[derive(Debug, PartialEq, Eq)]
pub enum LaneEnd {
    /// Another process has the partition.
    Lost,
    /// The pipeline stops.
    Stopped,
    /// It has come to where it was to end.
    Reached,
    /// It was tried for as long as the pipeline tries.
    GaveUp(Failure),
    /// It stands in front of something that somebody has to mend, and is not to wait for that.
    Stands(Standstill),
}

/// A partition on its way.
pub struct Lane {
    /// Which.
    pub name: LaneName,
    /// What it reads.
    pub log: Box<dyn LaneLog>,
    /// What it shares with others.
    pub settings: Arc<LaneSettings>,
    /// What it tells.
    pub status: Arc<LaneStatus>,
    /// Turns true when the pipeline stops.
    pub stop: watch::Receiver<bool>,
    /// Where it ends; never if it is not said.
    pub upto: Option<u64>,
}

/// A batch with what has to be known of it beside what is delivered.
struct Filled {
    batch: Batch,
    /// The messages it is made of, for the topic of dead letters.
    originals: Vec<LogMessage>,
    /// Those of which no row could be made, in order.
    refused: Vec<Refused>,
    filtered: u64,
    bytes: u64,
    _memory: TakenMemory,
}

/// A message of which no row could be made.
struct Refused {
    offset: u64,
    reason: String,
}

/// Why a lane leaves its way.
enum Detour {
    /// It looks again where it is.
    Again,
    /// The server is away.
    Away(String),
    /// It waits for somebody.
    Stands(Standstill),
    End(LaneEnd),
}

impl From<ReadEnd> for Detour {
    fn from(end: ReadEnd) -> Self {
        match end {
            ReadEnd::Lost => Self::End(LaneEnd::Lost),
            // Looking again finds what it means for the target.
            ReadEnd::BegunAnew | ReadEnd::Gap(_) => Self::Again,
            ReadEnd::Away(reason) => Self::Away(reason),
        }
    }
}

impl Lane {
    /// Runs it to its end.
    pub async fn run(mut self) -> LaneEnd {
        let mut backoff = Backoff::default();
        loop {
            let detour = match self.begin().await {
                Ok(begin) => {
                    let at = Instant::now();
                    let detour = self.go(begin).await;
                    // Whoever was on the way for a while begins with short pauses again.
                    if at.elapsed() > Duration::from_secs(5) {
                        backoff.reset();
                    }
                    detour
                }
                Err(detour) => detour,
            };
            let pause = match detour {
                Detour::End(end) => {
                    self.status.ends();
                    return end;
                }
                Detour::Again => backoff.pause(None),
                Detour::Away(reason) => {
                    tracing::debug!(lane = %self.name, reason, "lane waits");
                    self.status.holds(LaneActivity::Waiting, reason);
                    backoff.pause(None)
                }
                Detour::Stands(why) if self.upto.is_some() => {
                    self.status.holds(LaneActivity::Paused, why.to_string());
                    return LaneEnd::Stands(why);
                }
                Detour::Stands(why) => {
                    tracing::error!(lane = %self.name, "lane stands: {why}");
                    self.status.holds(LaneActivity::Paused, why.to_string());
                    LONG_PAUSE
                }
            };
            if self.stopped_within(pause).await {
                self.status.ends();
                return LaneEnd::Stopped;
            }
        }
    }

    /// Looks where to go on.
    async fn begin(&mut self) -> Result<Begin, Detour> {
        let settings = Arc::clone(&self.settings);
        let mut stop = self.stop.clone();
        let found = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return Err(Detour::End(LaneEnd::Stopped)),
            found = async {
                let _probe = settings.gate.pass().await;
                let found = begin::find(&self.name, &mut *self.log, &settings.sinks, &settings.from).await;
                match &found {
                    Err(NoBegin::Target(_)) => {}
                    Ok(_) | Err(_) => drop(settings.gate.open()),
                }
                found
            } => found,
        };
        match found {
            Ok(begin) => {
                let extent = begin.extent;
                if begin.gone > 0 {
                    let count = begin.gone;
                    tracing::warn!(lane = %self.name, count, "messages were gone before they were delivered");
                }
                self.status.begins(begin.at.next, extent.end, begin.gone);
                // The group's offset follows the target, wherever it was (INV-TARGET-TRUTH).
                if let Some(last) = begin.at.next.checked_sub(1)
                    && extent.stored != Some(last)
                {
                    self.log.store(last).await?;
                }
                Ok(begin)
            }
            Err(NoBegin::Log(end)) => Err(end.into()),
            Err(NoBegin::Stands(why)) => Err(Detour::Stands(why)),
            Err(NoBegin::Target(failure)) => {
                if self.settings.gate.close() {
                    tracing::warn!(lane = %self.name, reason = %failure, "target is away; it is tried until it is back");
                }
                Err(Detour::Away(failure.to_string()))
            }
        }
    }

    /// Reads and delivers until something takes it off its way.
    async fn go(&mut self, begin: Begin) -> Detour {
        let (settings, name) = (Arc::clone(&self.settings), self.name.clone());
        // One batch waits while one is written.
        let (filled, batches) = mpsc::channel(1);
        let (halt, halted) = watch::channel(false);
        let (done, delivered) = watch::channel(begin.at.next);
        let letters =
            settings.dead.as_ref().map(|topic| Arc::new(LaneLetters::new(Arc::clone(topic))));
        let deliverer = Deliverer {
            delivery: Delivery {
                lane: name,
                sinks: Arc::clone(&settings.sinks),
                gate: Arc::clone(&settings.gate),
                on_bad: match (settings.on_bad, &letters) {
                    (BadChoice::DeadLetter, Some(letters)) => {
                        OnBad::DeadLetter(Arc::clone(letters) as _)
                    }
                    (BadChoice::Skip, _) => OnBad::Skip,
                    (BadChoice::Pause | BadChoice::DeadLetter, _) => OnBad::Pause,
                },
                retry_for: settings.retry_for,
                waits_for_people: self.upto.is_none(),
                stop: halted,
                counts: RowCounts::default(),
                status: Arc::clone(&self.status),
                done,
            },
            letters,
            batches,
        };
        let mut filler = fill::Filler::new(self, begin, filled, delivered);
        let delivering = deliverer.run();
        tokio::pin!(delivering);
        let ended = tokio::select! {
            detour = filler.run() => Ok(detour),
            ended = &mut delivering => Err(ended),
        };
        let (detour, ended) = match ended {
            Err(ended) => (Detour::Again, ended),
            Ok(detour) => {
                filler.close();
                // Who loses the partition or stops finishes what is being written, and begins nothing more.
                if matches!(detour, Detour::End(LaneEnd::Lost | LaneEnd::Stopped)) {
                    halt.send_replace(true);
                }
                (detour, delivering.await)
            }
        };
        // Also of a partition that goes to another member, which waits for just that.
        filler.store_delivered().await;
        match ended {
            Ok(()) | Err(DeliveryEnd::Stopped) => detour,
            Err(DeliveryEnd::Elsewhere(_)) if matches!(detour, Detour::End(LaneEnd::Reached)) => {
                Detour::Again
            }
            Err(DeliveryEnd::Elsewhere(_)) => detour,
            Err(DeliveryEnd::GaveUp(failure)) => Detour::End(LaneEnd::GaveUp(failure)),
            Err(DeliveryEnd::Stands(why)) => Detour::Stands(why),
        }
    }

    async fn stopped_within(&mut self, pause: Duration) -> bool {
        tokio::select! {
            biased;
            _ = self.stop.wait_for(|stop| *stop) => true,
            () = tokio::time::sleep(pause) => false,
        }
    }
}

/// The half of a lane that delivers what the other half fills.
struct Deliverer {
    delivery: Delivery,
    letters: Option<Arc<LaneLetters>>,
    batches: mpsc::Receiver<Filled>,
}

impl Deliverer {
    /// Delivers until there is nothing more, or it is told to stop.
    async fn run(mut self) -> Result<(), DeliveryEnd> {
        loop {
            let mut stop = self.delivery.stop.clone();
            let filled = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return Err(DeliveryEnd::Stopped),
                filled = self.batches.recv() => filled,
            };
            let Some(filled) = filled else { return Ok(()) };
            self.deliver(filled).await?;
        }
    }

    async fn deliver(&mut self, filled: Filled) -> Result<(), DeliveryEnd> {
        let Filled { batch, originals, refused, filtered, bytes, _memory } = filled;
        let begun = Instant::now();
        assert_eq!(
            *self.delivery.done.borrow(),
            batch.begin(),
            "INV-PREFIX: a batch begins where the last one ended"
        );
        if let Some(letters) = &self.letters {
            letters.keep(originals);
        }
        for message in &refused {
            assert!(
                batch.offsets().contains(&message.offset),
                "INV-PREFIX: what is set aside with a batch is in its range"
            );
            // Before the position passes it: INV-DELIVERED.
            self.delivery.set_message_aside(message.offset, &message.reason).await?;
        }
        let end = *batch.end();
        let ended = self.delivery.deliver(batch).await;
        self.delivery.status.count(std::mem::take(&mut self.delivery.counts));
        ended?;
        assert_eq!(
            *self.delivery.done.borrow(),
            end.next,
            "INV-DELIVERED: a batch is delivered to its end"
        );
        let took = begun.elapsed();
        let (next, last_time) = (end.next, end.last_time);
        self.delivery.status.delivered(Delivered { next, last_time, bytes, filtered, took });
        Ok(())
    }
}
