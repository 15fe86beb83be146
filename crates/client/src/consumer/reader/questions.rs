//! What a reader can be asked besides messages: how far its partition reaches, what is at an offset, what is stored.

use galgo_wire::id::Life;

use crate::consumer::ConsumeError;
use crate::consumer::membership::{is_no_group, is_no_member};
use crate::consumer::reader::PartitionReader;
use crate::extensions::LIVES;
use crate::message::ReceivedMessage;
use crate::{CallError, ErrorCode, InvalidRequest, PollingStrategy};

/// How often is asked again when a partition begins anew in the middle of the questions.
const ATTEMPTS_MAX: u32 = 3;

/// How far a partition reaches, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionExtent {
    /// Its life; unknown on servers that do not tell.
    pub life: Life,
    /// The offset of the oldest message there is; the end when there is none.
    pub first: u64,
    /// The offset that the next message gets.
    pub end: u64,
    /// The offset that the reader's group has stored, that of the last message processed.
    pub stored: Option<u64>,
}

impl PartitionReader {
    /// Returns how far the partition reaches.
    ///
    /// On a classic server a partition of which everything was removed looks like one that never had a message.
    ///
    /// # Errors
    /// [`ConsumeError::Lost`], [`ConsumeError::Poll`].
    pub async fn extent(&mut self) -> Result<PartitionExtent, ConsumeError> {
        self.check()?;
        let mut extent = self.reach().await?;
        for _ in 0..ATTEMPTS_MAX {
            extent.stored = self.stored_offset().await?;
            let after = self.reach().await?;
            if !after.life.differs_from(extent.life) {
                break;
            }
            extent = after;
        }
        if !self.life.is_known() {
            self.life = extent.life;
        }
        Ok(extent)
    }

    /// Life, oldest offset and end.
    async fn reach(&self) -> Result<PartitionExtent, ConsumeError> {
        let newest = self.at(0).strategy(PollingStrategy::Last);
        if self.client.has(&LIVES).await? {
            let told = self.client.poll_once(newest.count(0)).await?;
            let range = told.extent().unwrap_or_default();
            let (life, first, end) = (told.life(), range.start, range.end);
            return Ok(PartitionExtent { life, first, end, stored: None });
        }
        let newest = self.client.poll_once(newest.count(1)).await?;
        let end = newest.messages().last().map_or(0, |last| last.offset().saturating_add(1));
        let oldest = self.client.poll_once(self.at(0).count(1)).await?;
        let first = oldest.messages().first().map_or(end, ReceivedMessage::offset);
        Ok(PartitionExtent { life: Life::UNKNOWN, first, end, stored: None })
    }

    /// Returns the message at `offset`, if it is still there.
    ///
    /// # Errors
    /// [`ConsumeError::Rewound`] when the partition is in another life than the reader by now; [`ConsumeError::Lost`],
    /// [`ConsumeError::Unreadable`], [`ConsumeError::Damaged`], [`ConsumeError::Poll`].
    pub async fn message_at(&self, offset: u64) -> Result<Option<ReceivedMessage>, ConsumeError> {
        self.check()?;
        let mut polled = self.client.poll_once(self.at(offset).count(1).life(self.life)).await?;
        if self.life.differs_from(polled.life()) {
            return Err(ConsumeError::Rewound { partition: self.partition(), expected: offset });
        }
        if polled.damaged().is_none_or(|damaged| damaged.contains(&offset)) {
            self.check_damage(offset, &mut polled)?;
        }
        Ok(polled.into_messages().into_iter().find(|message| message.offset() == offset))
    }

    /// Returns the offset that the group has stored, that of the last message processed; `None` when it has stored none,
    /// and outside of groups.
    ///
    /// # Errors
    /// [`ConsumeError::Lost`], [`ConsumeError::Poll`].
    pub async fn stored_offset(&self) -> Result<Option<u64>, ConsumeError> {
        self.check()?;
        if self.chair.is_none() {
            return Ok(None);
        }
        let stored = self.client.get_offset(&self.of).await?;
        Ok(stored.map(|stored| stored.stored_offset.get()))
    }

    /// Stores `offset` for the group as that of the last message processed; returns when the server has acknowledged it.
    ///
    /// Still possible when the partition is to go to another member, [`ConsumeError::Lost`], as long as that one does not have it.
    ///
    /// # Errors
    /// [`ConsumeError::Lost`] when the partition is this member's no longer, [`ConsumeError::Outlived`] when it was purged or made
    /// again since the reader learned of its [life](Self::life), [`ConsumeError::Setup`] outside of groups, [`ConsumeError::Commit`] when the
    /// server refuses for another reason. In all of these cases nothing is stored.
    pub async fn store(&self, offset: u64) -> Result<(), ConsumeError> {
        let Some(chair) = &self.chair else { return Err(InvalidRequest::NoGroup.into()) };
        let partition = self.partition();
        chair.confirm_held().await?;
        match self.client.store_offset_in(&self.of, offset, self.life).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(ConsumeError::Outlived { partition, offset }),
            Err(error) if is_not_held(&error) => {
                chair.ask();
                Err(ConsumeError::Lost { partition })
            }
            Err(error) => Err(ConsumeError::Commit(error)),
        }
    }

    /// Gives the partition back, as dropping the reader does.
    pub fn release(self) {}
}

/// Whether an error says that the partition is not the caller's.
fn is_not_held(error: &CallError) -> bool {
    let is_others = error.code() == Some(ErrorCode::NotResolvedConsumer);
    is_others || is_no_member(error) || is_no_group(error)
}
