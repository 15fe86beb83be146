//! Fetches the partitions a consumer group gives to this connection.
//!
//! The server says by its answers which partitions those are, in turn, and keeps the group's place
//! in each. What was handed out and is not committed yet it would hand out again, so the place
//! reached here is kept too, and the rest of a partition is asked for from there.
//!
//! Part of INV-HOLD: what is handed out is tagged with the hold it was asked for under; a place reached under another
//! one is not gone on from.
//! P-ORDER: the place in a partition moves only past messages that are handed out.
//! One batch waits in the channel and one at its door, no more.

use std::collections::BTreeMap;

use galgo_wire::id::Offset;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::consumer::ConsumeError;
use crate::consumer::appetite::Appetite;
use crate::consumer::commit::LifePosition;
use crate::consumer::fetch::{DamagedNext, ERROR_PAUSE, Fetched, FetchedBatch};
use crate::consumer::holdings::{Holdings, Tag};
use crate::consumer::idle::Idle;
use crate::consumer::membership::{GroupMembership, JOIN_PAUSE, is_no_group, is_no_member};
use crate::{CallError, PollRequest, PolledMessages, PollingStrategy};

/// Fetches as a member of a group.
pub(super) struct GroupFetch {
    pub(super) membership: GroupMembership,
    /// The connection that is a member.
    pub(super) generation: u64,
    pub(super) appetite: Appetite,
    pub(super) idle: Idle,
    pub(super) verify: bool,
    pub(super) skip_damaged: bool,
    pub(super) out: mpsc::Sender<Fetched>,
    /// What is to be handed out next, by partition.
    pub(super) next: BTreeMap<u32, Next>,
}

/// What is to be handed out next of a partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Next {
    position: LifePosition,
    /// Under what it was reached.
    tag: Option<Tag>,
}

impl GroupFetch {
    /// Fetches until nobody listens any longer.
    pub(super) async fn run(mut self) {
        let out = self.out.clone();
        tokio::select! {
            () = self.fetch() => {}
            () = out.closed() => {}
        }
    }

    async fn fetch(&mut self) {
        // Partitions take turns, and some may be empty: a pause is due only after a whole round.
        let mut empty_in_a_row = 0;
        loop {
            if self.generation != self.membership.client.connection.generation() {
                self.rejoin().await;
            }
            let begun = Instant::now();
            match self.take_turn().await {
                Ok(true) => {
                    self.idle.fed();
                    empty_in_a_row = 0;
                }
                Ok(false) if empty_in_a_row < self.next.len() => empty_in_a_row += 1,
                Ok(false) => {
                    self.idle.rest(begun).await;
                    empty_in_a_row = 0;
                }
                Err(error) => self.report(error).await,
            }
        }
    }

    /// Reads from the partition whose turn it is; `false` when it has nothing new.
    async fn take_turn(&mut self) -> Result<bool, CallError> {
        // Where something was handed out, this only finds out which partition it is.
        let count = if self.next.is_empty() { self.appetite.count() } else { 1 };
        let request = self.request().count(count).wait_if(self.idle.wait());
        let version = self.holdings().map(Holdings::version);
        let polled = self.membership.client.poll_once(request).await?;
        let (partition, life) = (polled.partition(), polled.life());
        if let Some(expected) = self.begins_anew(&polled) {
            tracing::warn!(partition, expected, "partition begins anew");
            self.next.remove(&partition);
            self.hand_out(Err(ConsumeError::Rewound { partition, expected })).await;
            return Ok(true);
        }
        let has_any = !polled.is_empty() || polled.damaged().is_some();
        let tag = version.and_then(|version| self.holdings()?.tag(partition, version));
        if has_any && version.is_some() && tag.is_none() {
            // It came to this member since it was told what it holds.
            self.membership.enter().await?;
            return Ok(self.holdings().is_some_and(|it| it.tag(partition, it.version()).is_some()));
        }
        let next = self.next.get(&partition).filter(|next| next.tag == tag);
        let next = next.map(|next| next.position.offset);
        let first = match (polled.messages().first(), polled.damaged()) {
            (Some(message), _) => message.offset(),
            // What was left out stays the group's next until something behind it is committed.
            (None, Some(damaged)) if next.is_some_and(|next| next >= damaged.end) => damaged.end,
            (None, Some(_)) => return Ok(self.take(partition, tag, polled).await),
            (None, None) => return Ok(false),
        };
        let from = next.map_or(first, |next| next.max(first));
        if !polled.is_empty() && from == first && count > 1 {
            return Ok(self.take(partition, tag, polled).await);
        }
        if from > polled.current_offset() {
            return Ok(false);
        }
        let request = self
            .request()
            .partition(partition)
            .strategy(PollingStrategy::Offset(Offset::new(from)))
            .count(self.appetite.count())
            .life(life);
        let polled = self.membership.client.poll_once(request).await?;
        // The partition may have gone to another member meanwhile, or have begun anew, which the next
        // turn tells; then there is nothing.
        Ok(!polled.is_of_other_life() && self.take(partition, tag, polled).await)
    }

    fn holdings(&self) -> Option<&Holdings> {
        self.membership.session.as_ref().map(|session| &*session.holdings)
    }

    /// The offset that was to come next in the partition of an answer, if it begins anew.
    fn begins_anew(&self, polled: &PolledMessages) -> Option<u64> {
        let next = self.next.get(&polled.partition())?.position;
        let end = polled.extent().map_or(polled.current_offset().saturating_add(1), |it| it.end);
        // Without messages and without a life nobody knows which partition it is.
        let is_shorter = next.offset > end && (!polled.is_empty() || polled.life().is_known());
        (next.life.differs_from(polled.life()) || is_shorter).then_some(next.offset)
    }

    fn request(&self) -> PollRequest {
        let GroupMembership { stream, topic, group, .. } = &self.membership;
        PollRequest::group(stream, topic, group)
    }

    async fn take(&mut self, partition: u32, tag: Option<Tag>, mut polled: PolledMessages) -> bool {
        self.appetite.fed(polled.len(), polled.bytes_len());
        if let Some(damage) = DamagedNext::before(&mut polled, self.verify) {
            let told = damage.error(&self.request(), partition, self.skip_damaged);
            self.hand_out(Err(told)).await;
            if self.skip_damaged {
                let position = LifePosition { offset: damage.offsets.end, life: polled.life() };
                self.next.insert(partition, Next { position, tag });
                return true;
            }
            sleep(ERROR_PAUSE).await;
            return false;
        }
        let Some(last) = polled.messages().last() else { return false };
        let LifePosition { offset, life } = LifePosition::of(last);
        self.hand_out(Ok(FetchedBatch { messages: polled.into_messages(), tag })).await;
        let position = LifePosition { offset: offset.saturating_add(1), life };
        self.next.insert(partition, Next { position, tag });
        true
    }

    /// Becomes a member again; gives up only with the reader.
    async fn rejoin(&mut self) {
        loop {
            match self.membership.join().await {
                Ok(generation) => {
                    tracing::debug!(group = self.membership.name, "joined the group again");
                    self.generation = generation;
                    return;
                }
                Err(error) if error.is_timeout() => {}
                Err(error) => self.hand_out(Err(ConsumeError::Poll(error))).await,
            }
            sleep(JOIN_PAUSE).await;
        }
    }

    /// A lost membership or connection is put right here; of the rest the reader hears.
    async fn report(&mut self, error: CallError) {
        if error.is_reply_too_large() && self.appetite.choked() {
            return;
        }
        if is_no_member(&error) || is_no_group(&error) {
            tracing::debug!(group = self.membership.name, %error, "no member of the group any longer");
            self.rejoin().await;
            return;
        }
        if error.is_timeout() {
            tracing::warn!(group = self.membership.name, %error, "poll failed, will be repeated");
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
