//! One end of a copy.

use galgo::{Client, ErrorCode, PollRequest, PolledMessages, PollingStrategy};

use crate::failure::{Failure, Outcome};
use crate::noun::extent::Extent;
use crate::noun::topic::TopicPath;

/// One end of the copy.
#[derive(Debug)]
pub(crate) struct Side {
    /// The connection.
    pub(crate) client: Client,
    /// The topic.
    pub(crate) path: TopicPath,
}

impl Side {
    /// The offsets of all partitions.
    pub(crate) async fn extents(&self) -> Outcome<Vec<Extent>> {
        let details = self.path.details(&self.client).await?;
        Ok(details.partitions.iter().map(Extent::of).collect())
    }

    /// The offsets of one partition.
    pub(crate) async fn extent(&self, partition: u32) -> Outcome<Extent> {
        let extents = self.extents().await?;
        extents.get(partition as usize).copied().ok_or_else(|| {
            Failure::missing(
                format!("partition {partition} of {}", self.path.phrase()),
                ErrorCode::PartitionNotFound,
            )
        })
    }
}

/// The two partitions.
#[derive(Clone, Copy, Debug)]
pub(super) struct MirroredPartition<'a> {
    pub(super) source: &'a Side,
    pub(super) target: &'a Side,
    pub(super) partition: u32,
}

/// A poll for one message.
pub(super) async fn one(
    side: &Side,
    partition: u32,
    strategy: PollingStrategy,
) -> Outcome<PolledMessages> {
    let request = PollRequest::new(&side.path.stream, &side.path.topic, partition);
    Ok(side.client.poll(request.strategy(strategy).count(1).tell_damage()).await?)
}
