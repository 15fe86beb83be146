//! A reader of one partition, which fetches when it is asked to.
//!
//! Part of INV-HOLD: what a member of a group reads is handed out only while its partition is held as it was when the
//! reader was given out. Part of P-ORDER: the place moves only past messages that are handed out, so that a future that
//! is dropped loses none.

mod place;
mod questions;

use std::time::Duration;

use galgo_wire::id::{Life, Offset};
use tokio::time::Instant;

use crate::consumer::ConsumeError;
use crate::consumer::appetite::Appetite;
use crate::consumer::fetch::DamagedNext;
use crate::consumer::idle::Idle;
use crate::consumer::membership::{GroupMembership, is_no_group, is_no_member};
use crate::consumer::seats::Chair;
use crate::message::ReceivedMessage;
use crate::offsets::OffsetOf;
use crate::topics::is_gone;
use crate::{
    CallError, Client, ConsumerIdentity, Identifier, PollRequest, PolledMessages, PollingStrategy,
};

use place::{Found, ReadPlace};

pub use questions::PartitionExtent;

/// How a reader fetches.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReaderSettings {
    pub(super) batch_size: u32,
    pub(super) batch_bytes: usize,
    pub(super) poll_interval: Duration,
    pub(super) verify: bool,
}

impl Default for ReaderSettings {
    fn default() -> Self {
        let poll_interval = Duration::from_millis(100);
        Self { batch_size: 1000, batch_bytes: 1 << 20, poll_interval, verify: true }
    }
}

/// Reads one partition from where it is told to, batch by batch.
///
/// Given out by an [`ActiveMember`](crate::ActiveMember) for a partition it gained, or made by [`Client::partition_reader`] outside of groups. It
/// can be moved to a task of its own, and waits for no other reader. Nothing is fetched before it is asked for, and nothing is stored but
/// by [`PartitionReader::store`].
///
/// Messages come in the order of their offsets and none is skipped: what keeps the next one from being read is told as an
/// error. After [`ConsumeError::Rewound`] and [`ConsumeError::Gap`] it says so again until [`PartitionReader::seek`] tells
/// it where to go on; after [`ConsumeError::Lost`] it is to be dropped; after anything else the next call tries
/// again from the same place.
#[derive(Debug)]
pub struct PartitionReader {
    client: Client,
    /// Whose offset is stored; that of nobody outside of groups.
    of: OffsetOf,
    chair: Option<Chair>,
    /// The offset that is to come next; `None`: behind the stored one.
    next: Option<u64>,
    /// The life it is one of, once it is known.
    life: Life,
    /// Why it does not go on before it is told where.
    halt: Option<ConsumeError>,
    appetite: Appetite,
    idle: Idle,
    settings: ReaderSettings,
}

impl PartitionReader {
    pub(crate) fn alone(
        client: Client,
        stream: Identifier,
        topic: Identifier,
        partition: u32,
    ) -> Self {
        let consumer = ConsumerIdentity::new(Identifier::Numeric(0));
        let of = OffsetOf { stream, topic, partition, consumer };
        Self::new(client, of, None, ReaderSettings::default())
    }

    /// A reader of a member of a group.
    pub(super) fn seated(
        chair: Chair,
        membership: &GroupMembership,
        settings: ReaderSettings,
    ) -> Self {
        let GroupMembership { client, stream, topic, group, .. } = membership.clone();
        let consumer = ConsumerIdentity::group(group);
        let of = OffsetOf { stream, topic, partition: chair.partition(), consumer };
        Self::new(client, of, Some(chair), settings)
    }

    fn new(client: Client, of: OffsetOf, chair: Option<Chair>, settings: ReaderSettings) -> Self {
        Self {
            client,
            of,
            life: chair.as_ref().map_or(Life::UNKNOWN, Chair::life),
            chair,
            next: None,
            halt: None,
            appetite: Appetite::new(settings.batch_size, settings.batch_bytes),
            idle: Idle::new(settings.poll_interval, None),
            settings,
        }
    }

    /// Sets the most messages of a batch. Default: that of the member, or 1,000.
    pub fn batch_size(mut self, messages: u32) -> Self {
        self.settings.batch_size = messages.max(1);
        self.appetite = Appetite::new(self.settings.batch_size, self.settings.batch_bytes);
        self
    }

    /// Sets about how many bytes a batch has, by the sizes of the messages seen so far. Default: that of the
    /// member, or 1 MiB.
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.settings.batch_bytes = bytes.max(1);
        self.appetite = Appetite::new(self.settings.batch_size, self.settings.batch_bytes);
        self
    }

    /// The partition.
    pub fn partition(&self) -> u32 {
        self.of.partition
    }

    /// The life the reader reads in; unknown before the first answer, and on servers that do not tell.
    pub fn life(&self) -> Life {
        self.life
    }

    /// The offset that is to come next; `None` before it is known.
    pub fn next_offset(&self) -> Option<u64> {
        self.next
    }

    /// Goes on with the message at `offset`. Without it a member begins behind the group's stored offset, and whoever has
    /// none at the oldest message.
    ///
    /// A place that the partition has not reached is told as [`ConsumeError::Rewound`], because whoever knows it has
    /// seen the message before it.
    pub fn seek(&mut self, offset: u64) {
        self.next = Some(offset);
        self.halt = None;
    }

    /// Waits for the next messages: at least one, from the place on.
    ///
    /// Dropping the future loses nothing: the next call reads the same messages.
    ///
    /// # Errors
    /// [`ConsumeError::Lost`], [`ConsumeError::Rewound`], [`ConsumeError::Gap`]; [`ConsumeError::Unreadable`] and
    /// [`ConsumeError::Damaged`] for a message that is damaged, [`ConsumeError::Poll`] when the server refuses.
    pub async fn next_batch(&mut self) -> Result<Vec<ReceivedMessage>, ConsumeError> {
        self.check()?;
        if let Some(halt) = &self.halt {
            return Err(halt.clone());
        }
        let next = self.begin().await?;
        loop {
            self.confirm().await?;
            let place = ReadPlace { next, life: self.life };
            let begun = Instant::now();
            if let Some(polled) = self.poll(place).await?
                && let Some(batch) = self.take(place, polled).await?
            {
                // It may have been on its way for long.
                self.confirm().await?;
                let ReadPlace { next, life } = place.behind(&batch);
                (self.next, self.life) = (Some(next), life);
                self.idle.fed();
                return Ok(batch);
            }
            self.rest(place, begun).await;
        }
    }

    /// The offset that is to come next, found out if the program did not say.
    async fn begin(&mut self) -> Result<u64, ConsumeError> {
        if let Some(next) = self.next {
            return Ok(next);
        }
        let extent = self.extent().await?;
        let next = extent.stored.map_or(extent.first, |stored| stored.saturating_add(1));
        self.next = Some(next);
        Ok(next)
    }

    /// Whether the partition is not lost.
    fn check(&self) -> Result<(), ConsumeError> {
        self.chair.as_ref().map_or(Ok(()), Chair::check)
    }

    async fn confirm(&self) -> Result<(), ConsumeError> {
        match &self.chair {
            Some(chair) => chair.confirm().await,
            None => Ok(()),
        }
    }

    /// A poll as the member that reads, so that the server knows what it has; `None` when it is to be repeated.
    async fn poll(&mut self, place: ReadPlace) -> Result<Option<PolledMessages>, ConsumeError> {
        let mut request = self.at(place.next).life(place.life);
        match self.chair {
            Some(_) => request.consumer = self.of.consumer.clone(),
            None => {
                let wait = self.client.poll_wait().await?;
                self.idle.set_wait(wait);
                request = request.wait_if(wait);
            }
        }
        loop {
            let polled = self.client.poll_once(request.clone().count(self.appetite.count())).await;
            let error = match polled {
                Ok(polled) => return Ok(Some(polled)),
                Err(error) if error.is_reply_too_large() && self.appetite.choked() => continue,
                Err(error) => error,
            };
            let partition = self.partition();
            return match &self.chair {
                _ if error.is_timeout() => {
                    tracing::warn!(partition, %error, "poll failed, will be repeated");
                    Ok(None)
                }
                // What became of the membership is found out for all readers together.
                Some(chair) if is_about_membership(&error) => {
                    chair.ask();
                    Ok(None)
                }
                _ => Err(error.into()),
            };
        }
    }

    /// Asks nobody's in particular for what is at an offset.
    fn at(&self, offset: u64) -> PollRequest {
        let OffsetOf { stream, topic, partition, .. } = &self.of;
        PollRequest::new(stream, topic, *partition)
            .strategy(PollingStrategy::Offset(Offset::new(offset)))
    }

    /// The messages of an answer; `None` when there is nothing new.
    async fn take(
        &mut self,
        place: ReadPlace,
        mut polled: PolledMessages,
    ) -> Result<Option<Vec<ReceivedMessage>>, ConsumeError> {
        if let Some(chair) = &self.chair
            && polled.is_of_none()
        {
            chair.ask();
            return Ok(None);
        }
        self.appetite.fed(polled.len(), polled.bytes_len());
        self.check_damage(place.next, &mut polled)?;
        let life = polled.life();
        match place.find(polled) {
            Found::Messages(messages) => return Ok(Some(messages)),
            Found::Nothing => {}
            Found::Gap(first) => {
                let (partition, expected) = (self.partition(), place.next);
                self.halt = Some(ConsumeError::Gap { partition, expected, first });
            }
            Found::Rewound if self.is_rewound(place, life).await? => {
                let told = place.rewound(self.partition());
                tracing::warn!(
                    partition = self.partition(),
                    expected = place.next,
                    "partition begins anew"
                );
                (self.life, self.halt) = (life, Some(told));
            }
            Found::Rewound => {}
        }
        match &self.halt {
            Some(halt) => Err(halt.clone()),
            None => {
                self.life = if life.is_known() { life } else { self.life };
                Ok(None)
            }
        }
    }

    /// Whether an answer that looks like a new beginning is one: a classic server answers alike who may not read the partition.
    async fn is_rewound(&self, place: ReadPlace, life: Life) -> Result<bool, ConsumeError> {
        if life.is_known() || self.chair.is_none() {
            return Ok(true);
        }
        let polled = self.client.poll_once(self.at(place.next).count(1)).await?;
        Ok(matches!(place.find(polled), Found::Rewound))
    }

    /// Tells of damage that stands before the first message of an answer.
    fn check_damage(&self, next: u64, polled: &mut PolledMessages) -> Result<(), ConsumeError> {
        match DamagedNext::before(polled, self.settings.verify) {
            Some(damage) if polled.is_empty() => {
                Err(damage.error(&self.at(next), self.partition(), false))
            }
            _ => Ok(()),
        }
    }

    /// Rests after a poll that was begun at `begun` and brought nothing.
    async fn rest(&mut self, place: ReadPlace, begun: Instant) {
        match &self.chair {
            Some(chair) if chair.waits() => chair.wait(place.next, place.life).await,
            _ => self.idle.rest(begun).await,
        }
    }
}

fn is_about_membership(error: &CallError) -> bool {
    is_no_member(error) || is_no_group(error) || is_gone(error)
}
