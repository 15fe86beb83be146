//! The one process that reads an origin, and its cursor.
//!
//! Processes of a pipeline are a group on a topic with one partition; who has the partition reads. The cursor is the last
//! record in it. A process stores a cursor only while the partition is its own, and records of an epoch in front of a later one
//! are not believed.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use galgo::{
    ActiveMember, Client, ConsumeError, Identifier, MemberChange, Message, PartitionId,
    PartitionReader, Partitioning, TopicOptions,
};
use serde::{Deserialize, Serialize};

use crate::config::file::GalgoServer;
use crate::failure::Failure;
use crate::inbound::CURSOR_STREAM;
use crate::outbound::{Dial, refused_or_away};
use crate::source::Cursor;

/// How many records are looked at for the one of the highest epoch.
const RECORDS: u64 = 100;

/// The right to read an origin.
pub(super) struct Leader {
    member: ActiveMember,
    reader: PartitionReader,
    client: Client,
    stream: Identifier,
    topic: Identifier,
    epoch: u64,
    cursor: Option<Cursor>,
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
        let mut reader = loop {
            match member.next_change().await.map_err(|error| away(&error))? {
                MemberChange::Gained(reader) => break reader,
                _ => continue,
            }
        };
        let last = last_record(&mut reader).await?;
        let (epoch, cursor) = match last {
            Some(last) => (last.epoch + 1, last.cursor),
            None => (1, None),
        };
        let mut leader = Self { member, reader, client: side, stream, topic, epoch, cursor };
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
        loop {
            match self.member.next_change().await {
                Ok(MemberChange::Lost(_)) => {
                    return Failure::away("another process reads the origin now");
                }
                Ok(_) => {}
                Err(error) => return away(&error),
            }
        }
    }

    /// Lets another process read.
    pub(super) async fn step_down(self) {
        drop(self.reader);
        if let Err(error) = self.member.close().await {
            tracing::debug!(reason = %error, "the group was not told; its server notices");
        }
    }

    async fn record(&mut self) -> Result<(), Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_micros());
        let record = CursorRecord {
            epoch: self.epoch,
            cursor: self.cursor.clone(),
            at: u64::try_from(now).unwrap_or(0),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        };
        let text = serde_json::to_vec(&record);
        let text =
            text.map_err(|error| Failure::away(format!("the cursor cannot be written: {error}")))?;
        // The offset behind which it is written: only its owner may store it, so whoever is not the owner any more is found out
        // before anything is told to the origin.
        let to = Partitioning::PartitionId(PartitionId::new(0));
        let sent = self.client.send(&self.stream, &self.topic, to, &[Message::new(text)]).await;
        sent.map_err(|error| Failure::away(error.to_string()))?;
        let extent = self.reader.extent().await.map_err(|error| away(&error))?;
        if let Some(last) = extent.end.checked_sub(1) {
            self.reader.store(last).await.map_err(|error| away(&error))?;
        }
        Ok(())
    }
}

/// The last record of the highest epoch.
async fn last_record(reader: &mut PartitionReader) -> Result<Option<CursorRecord>, Failure> {
    let extent = reader.extent().await.map_err(|error| away(&error))?;
    let mut next = extent.end.saturating_sub(RECORDS).max(extent.first);
    reader.seek(next);
    let mut records = VecDeque::new();
    while next < extent.end {
        let batch = reader.next_batch().await.map_err(|error| away(&error))?;
        for message in &batch {
            next = message.offset() + 1;
            let record: CursorRecord = serde_json::from_slice(message.payload()).map_err(|_| {
                Failure::refused(
                    format!("record {} of topic {CURSOR_STREAM} is no cursor", message.offset()),
                    "only galgo connect writes there; galgo connect cleanup removes the topic, and the origin is read anew",
                )
            })?;
            records.push_back(record);
        }
    }
    // The last of the highest epoch: what an older leader wrote behind it is not believed.
    let highest = records.iter().map(|record| record.epoch).max();
    Ok(records.into_iter().rev().find(|record| Some(record.epoch) == highest))
}

fn away(error: &ConsumeError) -> Failure {
    match error {
        ConsumeError::Poll(error) => refused_or_away(error),
        error => Failure::away(error.to_string()),
    }
}
