//! Delivering a batch, whatever the target does.
//!
//! Part of INV-PREFIX: what is delivered is a prefix of the batch at any time: a part is written only when all in front of it is
//! delivered, dead-lettered or skipped.

use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::backoff::Backoff;
use crate::batch::Batch;
use crate::failure::Failure;
use crate::gate::Gate;
use crate::lane::begin::Standstill;
use crate::place::{LaneName, Place};
use crate::sink::Sinks;
use crate::status::{LaneActivity, LaneStatus};

/// Between two tries of what was refused, and of messages that are not taken.
const LONG_PAUSE: Duration = Duration::from_secs(60);

/// Where messages go that the target does not take.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// Stores the messages at these offsets of the batch that is being delivered, with what is wrong with them; returns
    /// when they are durable.
    ///
    /// # Errors
    /// What to say of it; it is tried again.
    async fn bury(&self, lane: &LaneName, offsets: &[u64], reason: &str) -> Result<(), String>;
}

/// What is done with messages that the target does not take.
#[derive(Clone)]
pub enum OnBad {
    /// The lane stops in front of them and tries again each minute: nothing is lost, and it goes on when somebody has mended
    /// the target.
    Pause,
    /// They go to another topic.
    DeadLetter(Arc<dyn DeadLetters>),
    /// They are left out, and counted.
    Skip,
}

/// How a batch ended that was not delivered to its end.
#[derive(Debug, PartialEq, Eq)]
pub enum DeliveryEnd {
    /// The pipeline stops.
    Stopped,
    /// The target is somewhere else: the lane goes on from this offset.
    Elsewhere(u64),
    /// It was tried for as long as the pipeline tries.
    GaveUp(Failure),
    /// A message is not taken, and nobody is to be waited for.
    Stands(Standstill),
}

/// What became of rows, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RowCounts {
    /// Delivered.
    pub delivered: u64,
    /// In the topic of dead letters.
    pub dead: u64,
    /// Left out.
    pub skipped: u64,
    /// Tries that failed.
    pub retries: u64,
    /// How often the target was somewhere else than expected.
    pub moved: u64,
}

impl AddAssign for RowCounts {
    fn add_assign(&mut self, more: Self) {
        self.delivered += more.delivered;
        self.dead += more.dead;
        self.skipped += more.skipped;
        self.retries += more.retries;
        self.moved += more.moved;
    }
}

/// Delivers the batches of a lane, one after the other.
pub struct Delivery {
    /// Which lane.
    pub lane: LaneName,
    /// The connections to the target.
    pub sinks: Arc<Sinks>,
    /// Whether it is there.
    pub gate: Arc<Gate>,
    /// What is done with messages that it does not take.
    pub on_bad: OnBad,
    /// For how long a batch is tried; for ever if it is not said.
    pub retry_for: Option<Duration>,
    /// Whether a lane that stands in front of a message waits until somebody has mended what is wrong.
    pub waits_for_people: bool,
    /// Turns true when the pipeline stops.
    pub stop: watch::Receiver<bool>,
    /// What became of the rows.
    pub counts: RowCounts,
    /// What the lane tells of itself.
    pub status: Arc<LaneStatus>,
    /// How far it is delivered: the offset of the next message.
    pub done: watch::Sender<u64>,
}

/// What is to be done after a try.
enum AfterTry {
    /// The next part.
    Go,
    /// This part once more, after a pause.
    Pause(Duration),
    End(DeliveryEnd),
}

impl Delivery {
    /// Delivers a batch. What it is not interrupted in is a write: that is waited for to its end.
    ///
    /// # Errors
    /// [`DeliveryEnd`].
    pub async fn deliver(&mut self, batch: Batch) -> Result<(), DeliveryEnd> {
        let begun = Instant::now();
        let mut backoff = Backoff::default();
        // What is left, the next part last.
        let mut parts = vec![batch];
        while let Some(part) = parts.last_mut() {
            let failure = match self.write(part).await? {
                Ok(()) => {
                    if let Some(part) = parts.pop() {
                        self.note_delivered(&part, &parts);
                    }
                    backoff.reset();
                    continue;
                }
                Err(failure) => failure,
            };
            self.counts.retries += 1;
            self.status.holds(LaneActivity::Waiting, failure.to_string());
            let next = match &failure {
                Failure::Away { reason, retry_after } => {
                    if self.gate.close() {
                        tracing::warn!(lane = %self.lane, reason, "target is away; it is tried until it is back");
                    }
                    AfterTry::Pause(backoff.pause(*retry_after))
                }
                Failure::Refused { reason, advice } => {
                    self.gate.close();
                    tracing::error!(lane = %self.lane, reason, advice, "target refuses; it is tried again each minute");
                    AfterTry::Pause(LONG_PAUSE)
                }
                Failure::Bad { places, reason } => {
                    self.set_aside(&mut parts, places, reason, &mut backoff).await
                }
                Failure::Batch { reason } => self.halve(&mut parts, reason, &mut backoff).await,
                Failure::Moved | Failure::Unknown { .. } => {
                    self.look(&mut parts, matches!(failure, Failure::Moved), &mut backoff).await
                }
            };
            match next {
                AfterTry::Go => {}
                AfterTry::End(end) => return Err(end),
                AfterTry::Pause(_)
                    if self.retry_for.is_some_and(|limit| begun.elapsed() >= limit) =>
                {
                    return Err(DeliveryEnd::GaveUp(failure));
                }
                AfterTry::Pause(pause) => self.wait(pause).await?,
            }
        }
        Ok(())
    }

    /// Writes a part once the target may be asked.
    async fn write(&mut self, part: &Batch) -> Result<Result<(), Failure>, DeliveryEnd> {
        let mut stop = self.stop.clone();
        let probe = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return Err(DeliveryEnd::Stopped),
            probe = self.gate.pass() => probe,
        };
        let mut sink = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return Err(DeliveryEnd::Stopped),
            sink = self.sinks.borrow() => sink,
        };
        let written = sink.write(&self.lane, part).await;
        drop(sink);
        // Whatever it says of the messages, it is there.
        if !matches!(
            written,
            Err(Failure::Away { .. } | Failure::Refused { .. } | Failure::Unknown { .. })
        ) && self.gate.open()
        {
            tracing::info!(lane = %self.lane, "target is back");
        }
        drop(probe);
        Ok(written)
    }

    /// Does with bad messages as the pipeline says. One that is set aside has no row in the target: it is delivered whole when it is
    /// mended.
    async fn set_aside(
        &mut self,
        parts: &mut Vec<Batch>,
        places: &[Place],
        reason: &str,
        backoff: &mut Backoff,
    ) -> AfterTry {
        let Some(first) = places.first().map(|place| place.offset) else {
            unreachable!("INV-PREFIX: bad messages are named")
        };
        let Some(part) = parts.last_mut() else { unreachable!("a part was written") };
        match &self.on_bad {
            OnBad::Pause => {
                let Some(part) = parts.pop() else { unreachable!("a part was written") };
                match part.split_before(first) {
                    // What is in front is delivered by itself, so that the lane stands at the message and nowhere else.
                    Ok((before, from)) => {
                        parts.extend([from, before]);
                        return AfterTry::Go;
                    }
                    Err(part) => parts.push(part),
                }
                self.status
                    .holds(LaneActivity::Paused, format!("message {first} is not taken: {reason}"));
                tracing::error!(
                    lane = %self.lane,
                    offset = first,
                    reason,
                    "message is not taken: the lane stands here and tries again each minute; mend the target, or \
                     set errors.on_bad"
                );
                return AfterTry::Pause(LONG_PAUSE);
            }
            OnBad::DeadLetter(letters) => {
                let mut offsets: Vec<u64> = places.iter().map(|place| place.offset).collect();
                offsets.dedup();
                // Before the position passes them: INV-DELIVERED.
                if let Err(error) = letters.bury(&self.lane, &offsets, reason).await {
                    tracing::warn!(lane = %self.lane, error, "dead letters not stored; that is tried again");
                    return AfterTry::Pause(backoff.pause(None));
                }
                self.counts.dead += offsets.len() as u64;
                let count = part.leave_out(places);
                assert!(count > 0, "INV-DELIVERED: what is set aside was in the batch");
            }
            OnBad::Skip => {
                let count = part.leave_out(places);
                assert!(count > 0, "INV-DELIVERED: what is skipped was in the batch");
                self.counts.skipped += count as u64;
                tracing::warn!(lane = %self.lane, offset = first, count, reason, "messages skipped");
            }
        }
        AfterTry::Go
    }

    /// Does with a message of which no row could be made as the pipeline says; the lane has been stopped in front of it if it is to
    /// pause.
    ///
    /// # Errors
    /// [`DeliveryEnd::Stopped`].
    pub async fn set_message_aside(
        &mut self,
        offset: u64,
        reason: &str,
    ) -> Result<(), DeliveryEnd> {
        let mut backoff = Backoff::default();
        match &self.on_bad {
            OnBad::Pause => {
                unreachable!("INV-PREFIX: a lane that pauses stands in front of the message")
            }
            OnBad::Skip => {
                self.counts.skipped += 1;
                tracing::warn!(lane = %self.lane, offset, reason, "message skipped");
                Ok(())
            }
            OnBad::DeadLetter(letters) => {
                let letters = Arc::clone(letters);
                while let Err(error) = letters.bury(&self.lane, &[offset], reason).await {
                    tracing::warn!(lane = %self.lane, error, "dead letters not stored; that is tried again");
                    self.wait(backoff.pause(None)).await?;
                }
                self.counts.dead += 1;
                Ok(())
            }
        }
    }

    /// Delivers halves of the part by themselves; a message that is alone is the bad one.
    async fn halve(
        &mut self,
        parts: &mut Vec<Batch>,
        reason: &str,
        backoff: &mut Backoff,
    ) -> AfterTry {
        let Some(part) = parts.pop() else { unreachable!("a part was written") };
        match part.split() {
            Ok((first, second)) => {
                parts.extend([second, first]);
                AfterTry::Go
            }
            Err(alone) => {
                let places: Vec<_> = alone.rows().iter().map(|row| row.place).collect();
                parts.push(alone);
                match places.is_empty() {
                    // Nothing in it can be to blame.
                    true => AfterTry::Pause(backoff.pause(None)),
                    false => self.set_aside(parts, &places, reason, backoff).await,
                }
            }
        }
    }

    /// Looks where the target is, and leaves out what it has.
    async fn look(
        &mut self,
        parts: &mut Vec<Batch>,
        moved: bool,
        backoff: &mut Backoff,
    ) -> AfterTry {
        let position = self.sinks.borrow().await.position(&self.lane).await;
        let position = match position {
            Ok(Some(position)) => position,
            // A target without positions cannot tell: the batch is written again, which is what it promises.
            Ok(None) if !moved => return AfterTry::Pause(backoff.pause(None)),
            Ok(None) | Err(_) => return AfterTry::Pause(backoff.pause(None)),
        };
        if moved {
            self.counts.moved += 1;
        }
        // Parts lie one behind the other, so those in front of the position are there.
        let next = position.next;
        while let Some(part) = parts.pop_if(|part| part.end().next <= next) {
            self.note_delivered(&part, parts);
            if parts.is_empty() && part.end().next < next {
                return AfterTry::End(DeliveryEnd::Elsewhere(next));
            }
        }
        match parts.last_mut() {
            Some(part) if next < part.begin() => AfterTry::End(DeliveryEnd::Elsewhere(next)),
            Some(part) => {
                part.skip_to(next);
                AfterTry::Go
            }
            None => AfterTry::Go,
        }
    }

    /// Notes that the target has a part; `left` are those behind it, the next one last.
    fn note_delivered(&mut self, part: &Batch, left: &[Batch]) {
        assert!(
            left.last().is_none_or(|next| next.begin() == part.end().next),
            "INV-PREFIX: parts lie one behind the other"
        );
        self.counts.delivered += part.rows().len() as u64;
        self.done.send_replace(part.end().next);
    }

    async fn wait(&mut self, pause: Duration) -> Result<(), DeliveryEnd> {
        let mut stop = self.stop.clone();
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => Err(DeliveryEnd::Stopped),
            () = sleep(pause) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
