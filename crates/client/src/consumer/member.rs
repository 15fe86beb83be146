//! A member of a consumer group that gets each of its partitions by itself.

mod builder;
mod listed;
mod waits;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::consumer::ConsumeError;
use crate::consumer::idle::Idle;
use crate::consumer::reader::{PartitionReader, ReaderSettings};
use crate::consumer::seats::{Chair, SeatChange, Seats};

use watch::MemberWatch;

pub use builder::GroupMemberBuilder;

/// What happened to the partitions of a member.
#[derive(Debug)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "changes are few, and moved once")]
pub enum MemberChange {
    /// A partition is this member's to read.
    Gained(PartitionReader),
    /// The partition with this number goes to another member: its [`PartitionReader`] says [`ConsumeError::Lost`] from
    /// now on. Finish what is under way, store its offset, and drop the reader.
    Lost(u32),
}

/// A member of a consumer group, for programs that process each partition for itself.
///
/// The server shares the partitions of a topic out among the members of the group. This member tells which ones it
/// [gained](MemberChange::Gained) and [lost](MemberChange::Lost); each one is read by a [`PartitionReader`] of its own, which can be
/// moved to a task of its own and waits for no other. Where reading begins is up to the program: it may keep its place
/// elsewhere, such as in the database that it writes to, and [store](PartitionReader::store) the group's offset behind.
///
/// **Hand-over.** A partition that another member is to have is lost within a few seconds. The other one gets it when
/// the offset of the last message that was read here is stored, and otherwise when the server has waited for long enough
/// (`consumer_group.rebalancing_timeout`, 30 s): so store what was processed, then drop the reader. Of a partition without
/// unstored messages nobody waits for anything. A partition that comes back is gained anew, once its reader of before is
/// dropped; so is one whose reader the program dropped without having lost it, a few seconds later.
///
/// **Silence.** The membership is renewed in the background. A program that was stopped, or cut off from the network, for longer
/// than its [session](GroupMemberBuilder::session_timeout) loses its partitions to the others, and is told so when it goes on.
/// No message is handed out and no offset stored of a partition that somebody else may have.
///
/// **Reconnects.** A lost connection is restored, and the group joined again; the partitions are lost and
/// gained anew then, because others may have had them in between.
///
/// **Waiting.** Where the server can wait for messages, one poll waits for all readers, so that idle ones cost nothing and a message comes at
/// once. What else is sent on the connection cuts the wait short, so give the member a client of its own.
///
/// On a classic server, which does not tell what a member holds, partitions that moved are noticed a few seconds later, and a
/// program that was stopped notices only then.
///
/// ```no_run
/// # async fn run(client: galgo::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use galgo::{ConsumeError, MemberChange, PartitionReader};
///
/// async fn lane(mut reader: PartitionReader) -> Result<(), ConsumeError> {
///     let next = 0; // as the database says
///     reader.seek(next);
///     loop {
///         match reader.next_batch().await {
///             Ok(batch) => {
///                 // Written to the database together with the place behind it.
///                 if let Some(last) = batch.last() {
///                     reader.store(last.offset()).await?;
///                 }
///             }
///             Err(ConsumeError::Lost { .. }) => return Ok(()),
///             Err(error) => return Err(error),
///         }
///     }
/// }
///
/// let mut member =
///     client.group_member(&"shop".parse()?, &"orders".parse()?).group("warehouse").join().await?;
/// loop {
///     match member.next_change().await? {
///         MemberChange::Gained(reader) => drop(tokio::spawn(lane(reader))),
///         MemberChange::Lost(partition) => println!("partition {partition} goes"),
///         _ => {}
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct ActiveMember {
    seats: Arc<Seats>,
    watch: JoinHandle<()>,
    reading: ReaderSettings,
    has_left: bool,
}

impl ActiveMember {
    fn start(
        seats: Arc<Seats>,
        generation: u64,
        wait: Option<Duration>,
        reading: ReaderSettings,
    ) -> Self {
        let idle = Idle::new(reading.poll_interval, wait);
        let watch = MemberWatch { seats: Arc::clone(&seats), generation: Some(generation), idle };
        Self { seats, watch: tokio::spawn(watch.run()), reading, has_left: false }
    }

    /// Waits for the next change of what this member reads. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`ConsumeError::NoTopic`] when the topic is deleted, [`ConsumeError::Poll`] when the server refuses the member for another reason. All
    /// partitions are lost then; each trouble is told once. The next call waits for its end: the member goes on when the topic is made again.
    pub async fn next_change(&mut self) -> Result<MemberChange, ConsumeError> {
        match self.seats.next_change().await {
            SeatChange::Gained(seat) => {
                let chair = Chair::new(Arc::clone(&self.seats), seat);
                let reader = PartitionReader::seated(chair, &self.seats.membership, self.reading);
                Ok(MemberChange::Gained(reader))
            }
            SeatChange::Lost(partition) => Ok(MemberChange::Lost(partition)),
            SeatChange::Trouble(error) => Err(error),
        }
    }

    /// Leaves the group; readers that are still there say [`ConsumeError::Lost`]. Drop them before, when they have stored
    /// what they processed.
    ///
    /// # Errors
    /// [`ConsumeError::Poll`] when the server could not be told; the partitions go to others when the connection ends.
    pub async fn close(mut self) -> Result<(), ConsumeError> {
        self.stop();
        self.has_left = true;
        let membership = self.seats.membership.clone();
        drop(self);
        membership.leave().await.map_err(ConsumeError::Poll)
    }

    fn stop(&self) {
        self.watch.abort();
        self.seats.close();
    }
}

impl Drop for ActiveMember {
    fn drop(&mut self) {
        self.stop();
        // A member that is gone must not keep its partitions from the others.
        if !self.has_left
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let membership = self.seats.membership.clone();
            runtime.spawn(async move { membership.leave().await });
        }
    }
}
