//! Where a pipeline ends that is to run once: where the topic ended when it began.

use std::collections::{BTreeMap, BTreeSet};

use galgo::{Client, ConsumerIdentity, Identifier, OffsetOf};

use crate::failure::Failure;
use crate::outbound::{Outbound, refused_or_away};
use crate::place::LaneName;
use crate::sink::Promise;

/// The ends of the partitions of a topic.
pub(super) struct TopicEnds {
    stream: Identifier,
    topic: Identifier,
    group: Identifier,
    /// By partition; those without a message have nothing to deliver.
    ends: BTreeMap<u32, PartitionEnd>,
}

/// The end of a partition when the pipeline began.
struct PartitionEnd {
    /// The offset behind the last message.
    end: u64,
    /// What the group had stored.
    stored: Option<u64>,
}

impl TopicEnds {
    /// Finds the ends as they are now.
    pub(super) async fn find(
        client: &Client,
        stream: &Identifier,
        topic: &Identifier,
        pipeline: &str,
    ) -> Result<Self, Failure> {
        let details = client.topic(stream, topic).await.map_err(|error| refused_or_away(&error))?;
        let Some(details) = details else {
            let reason = format!("there is no topic {stream}/{topic}");
            return Err(Failure::refused(reason, "create it, or correct from.galgo in the file"));
        };
        let group = pipeline.parse::<Identifier>();
        let group = group
            .map_err(|error| Failure::refused(error.to_string(), "change the name in the file"))?;
        let mut all =
            Self { stream: stream.clone(), topic: topic.clone(), group, ends: BTreeMap::new() };
        for partition in 0..details.topic.partitions_count {
            let mut reader = client.partition_reader(stream, topic, partition);
            let extent = reader.extent().await.map_err(|error| Failure::away(error.to_string()))?;
            if extent.first < extent.end {
                // A group that is not there yet has stored nothing; a server that is not there is asked again.
                let stored = client.get_offset(&all.offset_of(partition)).await;
                let stored = match stored {
                    Ok(stored) => stored.map(|it| it.stored_offset.get()),
                    Err(error) if error.code().is_some() => None,
                    Err(error) => return Err(Failure::away(error.to_string())),
                };
                all.ends.insert(partition, PartitionEnd { end: extent.end, stored });
            }
        }
        Ok(all)
    }

    /// The end of a partition.
    pub(super) fn of(&self, partition: u32) -> u64 {
        // A partition that was empty, or did not exist, ends in front of its first message.
        self.ends.get(&partition).map_or(0, |it| it.end)
    }

    /// Whether all of them are delivered: by lanes of this process, or by others.
    pub(super) async fn are_reached(
        &self,
        client: &Client,
        pipeline: &Outbound,
        reached: &BTreeSet<u32>,
    ) -> bool {
        let left = self.ends.iter().filter(|(partition, _)| !reached.contains(partition));
        for (partition, end) in left {
            if !self.is_reached(client, pipeline, *partition, end).await {
                return false;
            }
        }
        true
    }

    /// Whether another process has delivered a partition. The offset of the group says so, unless it is older than this run: a
    /// target that keeps positions may have been put back to before it since (INV-TARGET-TRUTH).
    async fn is_reached(
        &self,
        client: &Client,
        pipeline: &Outbound,
        partition: u32,
        end: &PartitionEnd,
    ) -> bool {
        let stored = self.stored(client, partition).await;
        if stored.is_none_or(|it| it + 1 < end.end) {
            return false;
        }
        if stored != end.stored {
            return true;
        }
        let lane = LaneName {
            pipeline: pipeline.name.clone(),
            stream: self.stream.to_string(),
            topic: self.topic.to_string(),
            partition,
        };
        // Whoever cannot be asked is asked again.
        match pipeline.settings.sinks.borrow().await.position(&lane).await {
            Ok(Some(position)) => position.next >= end.end,
            Ok(None) => pipeline.to.promise() != Promise::ExactlyOnce,
            Err(_) => false,
        }
    }

    /// What the group has stored of a partition, as far as that can be asked.
    async fn stored(&self, client: &Client, partition: u32) -> Option<u64> {
        let stored = client.get_offset(&self.offset_of(partition)).await;
        stored.ok().flatten().map(|it| it.stored_offset.get())
    }

    fn offset_of(&self, partition: u32) -> OffsetOf {
        OffsetOf {
            stream: self.stream.clone(),
            topic: self.topic.clone(),
            partition,
            consumer: ConsumerIdentity::group(self.group.clone()),
        }
    }
}
