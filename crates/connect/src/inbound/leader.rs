//! The one process that reads an origin, and its cursor.
//!
//! INV-ONE-LEADER: processes of a pipeline are a group on a topic with one partition, and who has the partition reads. A process
//! stores a cursor only while the partition is its own: one that has lost it is refused when it stores the offset behind the cursor,
//! and tells its origin nothing more. Records of an epoch in front of a later one are not believed.

use async_trait::async_trait;
use galgo::{
    ActiveMember, Client, ConsumeError, Identifier, MemberChange, Message, PartitionId,
    Partitioning, TopicOptions,
};
use serde::{Deserialize, Serialize};

use crate::clock::now_micros;
use crate::config::file::GalgoServer;
use crate::failure::Failure;
use crate::galgo_log::GalgoLog;
use crate::inbound::CURSOR_STREAM;
use crate::log::{LaneLog, ReadEnd};
use crate::outbound::{Dial, refused_or_away};
use crate::source::Cursor;

/// How many records are looked at for the one of the highest epoch.
const RECORDS: u64 = 100;

const _: () = assert!(RECORDS > 0, "INV-ONE-LEADER: the last record is among those that are read");

/// The right to read an origin.
pub(super) struct Leader {
    seat: Box<dyn CursorSeat>,
    /// The partition of cursors.
    log: Box<dyn LaneLog>,
    epoch: u64,
    cursor: Option<Cursor>,
}

/// A place in the group, which has the partition of cursors until it is lost.
#[async_trait]
pub(super) trait CursorSeat: Send {
    /// Writes a record behind the others, whoever has the partition; returns when it is durable.
    async fn append(&mut self, record: Vec<u8>) -> Result<(), Failure>;

    /// Waits until another has the partition. Dropping the future loses nothing.
    async fn lost(&mut self) -> Failure;

    /// Leaves the group.
    async fn leave(self: Box<Self>);
}

/// A record of the topic.
#[derive(Debug, Serialize, Deserialize)]
struct CursorRecord {
    epoch: u64,
    cursor: Option<Cursor>,
    /// Microseconds since the Unix epoch, for people.
    at: u64,
    /// Which machine, for people.
    host: String,
}

impl Leader {
    /// Waits until this process may read, and finds where to go on.
    pub(super) async fn elect(
        dial: &dyn Dial,
        server: &GalgoServer,
        pipeline: &str,
    ) -> Result<Self, Failure> {
        let name = |text: &str| {
            let parsed = text.parse::<Identifier>();
            parsed
                .map_err(|error| Failure::refused(error.to_string(), "change the name in the file"))
        };
        let (stream, topic) = (name(CURSOR_STREAM)?, name(pipeline)?);
        let (client, side) = tokio::try_join!(dial.dial(server), dial.dial(server))?;
        let ensured = side.ensure_topic(&stream, &topic, TopicOptions::default()).await;
        ensured.map_err(|error| refused_or_away(&error))?;
        let joining = client.group_member(&stream, &topic).group(pipeline).join().await;
        let mut member = joining.map_err(|error| away(&error))?;
        let reader = loop {
            match member.next_change().await.map_err(|error| away(&error))? {
                MemberChange::Gained(reader) => break reader,
                _ => continue,
            }
        };
        let log = GalgoLog::new(side.clone(), stream.clone(), topic.clone(), reader);
        let seat = GalgoSeat { member, client: side, stream, topic };
        Self::begin(Box::new(seat), Box::new(log)).await
    }

    /// Takes the next epoch, and the cursor of the last one.
    pub(super) async fn begin(
        seat: Box<dyn CursorSeat>,
        mut log: Box<dyn LaneLog>,
    ) -> Result<Self, Failure> {
        let last = last_record(&mut *log).await?;
        let (epoch, cursor) = match last {
            Some(last) => {
                let epoch = last.epoch.checked_add(1).ok_or_else(|| {
                    Failure::refused(
                        "the last cursor in the pipeline's topic has an epoch that no leader had",
                        "remove what somebody else wrote there: galgo connect cleanup FILE",
                    )
                })?;
                (epoch, last.cursor)
            }
            None => (1, None),
        };
        let mut leader = Self { seat, log, epoch, cursor };
        leader.record().await?;
        Ok(leader)
    }

    /// Where to go on.
    pub(super) fn cursor(&self) -> Option<&Cursor> {
        self.cursor.as_ref()
    }

    /// Stores a cursor; returns when it is durable.
    pub(super) async fn store(&mut self, cursor: Cursor) -> Result<(), Failure> {
        self.cursor = Some(cursor);
        self.record().await
    }

    /// Waits until another process is to read. Dropping the future loses nothing.
    pub(super) async fn lost(&mut self) -> Failure {
        self.seat.lost().await
    }

    /// Lets another process read.
    pub(super) async fn step_down(self) {
        drop(self.log);
        self.seat.leave().await;
    }

    async fn record(&mut self) -> Result<(), Failure> {
        let record = CursorRecord {
            epoch: self.epoch,
            cursor: self.cursor.clone(),
            at: now_micros(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        };
        let text = serde_json::to_vec(&record);
        let text =
            text.map_err(|error| Failure::away(format!("the cursor cannot be written: {error}")))?;
        self.seat.append(text).await?;
        // The offset behind which it is written: only its owner may store it, so whoever is not the owner any more is found out
        // before anything is told to the origin.
        let extent = self.log.extent().await.map_err(not_read)?;
        if let Some(last) = extent.end.checked_sub(1) {
            self.log.store(last).await.map_err(not_read)?;
        }
        Ok(())
    }
}

/// A member of the group on a Galgo server.
struct GalgoSeat {
    member: ActiveMember,
    client: Client,
    stream: Identifier,
    topic: Identifier,
}

#[async_trait]
impl CursorSeat for GalgoSeat {
    async fn append(&mut self, record: Vec<u8>) -> Result<(), Failure> {
        let to = Partitioning::PartitionId(PartitionId::new(0));
        let sent = self.client.send(&self.stream, &self.topic, to, &[Message::new(record)]).await;
        sent.map_err(|error| Failure::away(error.to_string()))
    }

    async fn lost(&mut self) -> Failure {
        loop {
            match self.member.next_change().await {
                Ok(MemberChange::Lost(_)) => return not_read(ReadEnd::Lost),
                Ok(_) => {}
                Err(error) => return away(&error),
            }
        }
    }

    async fn leave(self: Box<Self>) {
        if let Err(error) = self.member.close().await {
            tracing::debug!(reason = %error, "the group was not told; its server notices");
        }
    }
}

/// The last record of the highest epoch.
async fn last_record(log: &mut dyn LaneLog) -> Result<Option<CursorRecord>, Failure> {
    let extent = log.extent().await.map_err(not_read)?;
    let mut next = extent.end.saturating_sub(RECORDS).max(extent.start);
    log.seek(next);
    let mut last: Option<CursorRecord> = None;
    while next < extent.end {
        for message in log.next().await.map_err(not_read)? {
            next = message.offset + 1;
            let record: CursorRecord = serde_json::from_slice(&message.payload).map_err(|_| {
                Failure::refused(
                    format!("record {} of topic {CURSOR_STREAM} is no cursor", message.offset),
                    "only galgo connect writes there; galgo connect cleanup removes the topic, and the origin is read anew",
                )
            })?;
            // What an older leader wrote behind it is not believed.
            if last.as_ref().is_none_or(|last| last.epoch <= record.epoch) {
                last = Some(record);
            }
        }
    }
    Ok(last)
}

fn not_read(end: ReadEnd) -> Failure {
    match end {
        ReadEnd::Lost => Failure::away("another process reads the origin now"),
        ReadEnd::Away(reason) => Failure::away(reason),
        end => Failure::away(format!("the topic of the cursor cannot be read: {end:?}")),
    }
}

fn away(error: &ConsumeError) -> Failure {
    match error {
        ConsumeError::Poll(error) => refused_or_away(error),
        error => Failure::away(error.to_string()),
    }
}
