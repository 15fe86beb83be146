//! The consumer: a stream of messages with their offsets.

mod appetite;
mod builder;
mod commit;
mod cursor;
mod fetch;
mod group;
mod holdings;
mod idle;
mod member;
mod membership;
mod merge;
mod reader;
mod seats;
mod start;

use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::error::OffsetSpan;
use crate::message::ReceivedMessage;
use crate::{CallError, InvalidRequest};

pub use crate::consumer::builder::{Commit, ConsumerBuilder, Start};
pub use crate::consumer::member::{ActiveMember, GroupMemberBuilder, MemberChange};
pub use crate::consumer::reader::{PartitionExtent, PartitionReader};

/// Why a consumer has no next message.
///
/// Except for [`ConsumeError::Setup`] and [`ConsumeError::Lost`] it can be asked again: it goes on where it was.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumeError {
    /// The settings make no sense or the topic is not there.
    #[error("cannot consume: {0}")]
    Setup(#[from] InvalidRequest),
    /// The topic does not exist.
    #[error("cannot consume: there is no topic {topic}; create it first")]
    NoTopic {
        /// The topic and its stream.
        topic: String,
    },
    /// Reading failed; the next call tries again from the same place.
    #[error(transparent)]
    Poll(#[from] CallError),
    /// Storing the offset failed; messages since the last stored one will come again to the next
    /// consumer of this name.
    #[error("the consumer's offset was not stored: {0}")]
    Commit(CallError),
    /// A message arrived whose bytes do not match their checksum; it is not delivered.
    #[error(
        "partition {partition}: a message near offset {offset} is damaged; if the server encrypts \
         what it stores, switch the verification off"
    )]
    Damaged {
        /// The partition.
        partition: u32,
        /// The offset that was asked for.
        offset: u64,
    },
    /// The server found messages damaged and does not serve them; the next call asks for them again.
    #[error(
        "partition {partition} of topic {topic}: messages {} are damaged on the server's disk; restore them \
         from a copy, or let the consumer skip what is damaged",
        OffsetSpan(offsets)
    )]
    Unreadable {
        /// The topic and its stream.
        topic: String,
        /// The partition.
        partition: u32,
        /// The damaged offsets, the end not among them.
        offsets: Range<u64>,
    },
    /// Damaged messages were left out, as [`ConsumerBuilder::skip_damaged`] asks. The next call goes on
    /// behind them.
    #[error(
        "partition {partition} of topic {topic}: damaged messages {} are left out",
        OffsetSpan(offsets)
    )]
    Skipped {
        /// The topic and its stream.
        topic: String,
        /// The partition.
        partition: u32,
        /// The offsets left out, the end not among them.
        offsets: Range<u64>,
    },
    /// The partition begins anew: it was purged or made again, or it lost its end. The next call goes on
    /// with its first message; that of a [`PartitionReader`] tells it again, until the reader is told where to
    /// [go on](PartitionReader::seek).
    ///
    /// A Galgo server tells the [life](ReceivedMessage::life) of the partition with every answer, so that
    /// this is told however many messages the new life has, and none of them is skipped. A classic server
    /// does not: there it is noticed only while the partition is shorter than it was.
    #[error(
        "partition {partition} begins anew, before offset {expected}: it was purged, made again or lost \
         its end; going on with its first message"
    )]
    Rewound {
        /// The partition.
        partition: u32,
        /// The offset that was to come next.
        expected: u64,
    },
    /// Messages that were to come next are gone, by retention or by hand. A [`PartitionReader`] tells it until it is
    /// told where to [go on](PartitionReader::seek); a [`Consumer`] goes on with the oldest message by itself.
    #[error(
        "partition {partition}: the messages {} are gone, removed by retention or by hand; go on with offset {first} \
         if they can be done without",
        OffsetSpan(&(*expected..*first))
    )]
    Gap {
        /// The partition.
        partition: u32,
        /// The offset that was to come next.
        expected: u64,
        /// The offset of the oldest message there is.
        first: u64,
    },
    /// The partition is this member's no longer, or is to be given to another one: finish what is being processed, store
    /// its offset, and drop the [`PartitionReader`].
    #[error(
        "partition {partition} goes to another member of the group; finish what is under way and drop its reader"
    )]
    Lost {
        /// The partition.
        partition: u32,
    },
    /// The offset of a message was not stored, because the partition was purged or made again since the
    /// message was read: it would be that of another message.
    #[error(
        "offset {offset} of partition {partition} was not stored: the partition was purged or made again \
         since the message was read"
    )]
    Outlived {
        /// The partition.
        partition: u32,
        /// The offset.
        offset: u64,
    },
}

/// A stream of the messages of one topic.
///
/// Implements [`Stream`]: use `futures_util::StreamExt` for `next`. Batches are fetched ahead of
/// what the program has taken, by one or two per partition. Messages of a partition come in the
/// order of their offsets, none is skipped, but for those that retention took before their turn came and
/// those that [`ConsumerBuilder::skip_damaged`] leaves out. A partition that is purged, or whose topic is
/// deleted and made again, is told by [`ConsumeError::Rewound`] and read from its first message; offsets of
/// messages from before are not stored any more. Partitions take turns.
///
/// ```no_run
/// # async fn run(client: galgo::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use futures_util::StreamExt;
/// use galgo::{Commit, Start};
///
/// let mut consumer = client
///     .consumer(&"shop".parse()?, &"orders".parse()?)
///     .name("billing")
///     .start(Start::Next)
///     .commit(Commit::Manual)
///     .build()
///     .await?;
/// while let Some(message) = consumer.next().await {
///     let message = message?;
///     println!("{}: {:?}", message.offset(), message.payload());
///     consumer.commit(&message).await?;
/// }
/// # Ok(())
/// # }
/// ```
pub struct Consumer {
    inner: merge::PartitionMerge,
}

impl Consumer {
    /// Stores the offset of `message` as the last one processed in its partition; returns when the
    /// server has acknowledged it.
    ///
    /// # Errors
    /// [`ConsumeError::Commit`]; [`ConsumeError::Outlived`] when the partition was purged or made again
    /// since the message was read.
    pub async fn commit(&self, message: &ReceivedMessage) -> Result<(), ConsumeError> {
        self.inner.commit(message).await
    }

    /// Stores the offsets of what has been taken, as the commit mode asks, leaves the group if it is
    /// in one, and stops.
    ///
    /// The message taken last counts as processed.
    ///
    /// # Errors
    /// [`ConsumeError::Commit`].
    pub async fn close(self) -> Result<(), ConsumeError> {
        self.inner.close().await
    }

    /// The partitions this consumer reads; none for a member of a group, whose partitions change.
    pub fn partitions(&self) -> Vec<u32> {
        self.inner.partitions().to_vec()
    }
}

impl Stream for Consumer {
    type Item = Result<ReceivedMessage, ConsumeError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.inner.poll_next(context)
    }
}
