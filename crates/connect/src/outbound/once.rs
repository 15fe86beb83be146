//! Where a pipeline ends that is to run once: where the topic ended when it began.

use std::collections::{BTreeMap, BTreeSet};

use galgo::{Client, ConsumerIdentity, Identifier, OffsetOf};

use crate::failure::Failure;
use crate::outbound::refused_or_away;

/// The ends of the partitions of a topic.
pub(super) struct Ends {
    stream: Identifier,
    topic: Identifier,
    group: Identifier,
    /// The offset behind the last message, by partition; those without a message have nothing to deliver.
    ends: BTreeMap<u32, u64>,
}

impl Ends {
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
        let mut ends = BTreeMap::new();
        for partition in 0..details.topic.partitions_count {
            let mut reader = client.partition_reader(stream, topic, partition);
            let extent = reader.extent().await.map_err(|error| Failure::away(error.to_string()))?;
            if extent.first < extent.end {
                ends.insert(partition, extent.end);
            }
        }
        let group = pipeline.parse::<Identifier>();
        let group = group
            .map_err(|error| Failure::refused(error.to_string(), "change the name in the file"))?;
        Ok(Self { stream: stream.clone(), topic: topic.clone(), group, ends })
    }

    /// The end of a partition.
    pub(super) fn of(&self, partition: u32) -> u64 {
        // A partition that was empty, or did not exist, ends in front of its first message.
        self.ends.get(&partition).copied().unwrap_or(0)
    }

    /// Whether all of them are delivered: by lanes of this process, or by others, whose group offset says so.
    pub(super) async fn are_reached(&self, client: &Client, reached: &BTreeSet<u32>) -> bool {
        for (partition, end) in
            self.ends.iter().filter(|(partition, _)| !reached.contains(partition))
        {
            let of = OffsetOf {
                stream: self.stream.clone(),
                topic: self.topic.clone(),
                partition: *partition,
                consumer: ConsumerIdentity::group(self.group.clone()),
            };
            let stored = client.get_offset(&of).await;
            // Whoever cannot be asked is asked again.
            let is_there =
                stored.ok().flatten().is_some_and(|it| it.stored_offset.get() + 1 >= *end);
            if !is_there {
                return false;
            }
        }
        true
    }
}
