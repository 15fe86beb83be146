//! Random values of the replies whose fields depend on each other.

use crate::batch::{MessageHeader, checksum};
use crate::command::*;
use crate::sample::{Draws, Sample};

impl Sample for SnapshotKinds {
    fn sample(source: &mut Draws) -> Self {
        SnapshotKinds::new(Vec::sample(source)).unwrap_or_default()
    }
}

impl Sample for Snapshot {
    fn sample(source: &mut Draws) -> Self {
        Self(source.bytes(2, 50))
    }
}

impl Sample for FeatureFlags {
    fn sample(source: &mut Draws) -> Self {
        Self::new(source.next())
    }
}

impl Sample for AskedOptions {
    fn sample(source: &mut Draws) -> Self {
        let (durability, deduplication) = (Sample::sample(source), Sample::sample(source));
        Self { durability, deduplication, options: Vec::sample(source) }
    }
}

impl Sample for TopicSettings {
    fn sample(source: &mut Draws) -> Self {
        let window = DeduplicationWindow {
            entries: Sample::sample(source),
            seconds: u16::try_from(source.below(1 << 16)).unwrap_or_default(),
        };
        let (durability, deduplication) = (Sample::sample(source), Sample::sample(source));
        Self { durability, deduplication, window }
    }
}

impl Sample for ClientDetails {
    fn sample(source: &mut Draws) -> Self {
        let consumer_groups = Vec::<Membership>::sample(source);
        let consumer_groups_count = consumer_groups.len() as u32;
        let client = Client { consumer_groups_count, ..Sample::sample(source) };
        Self { client, consumer_groups }
    }
}

impl Sample for StreamDetails {
    fn sample(source: &mut Draws) -> Self {
        let topics = Vec::<Topic>::sample(source);
        let topics_count = topics.len() as u32;
        Self { stream: Stream { topics_count, ..Sample::sample(source) }, topics }
    }
}

impl Sample for TopicDetails {
    fn sample(source: &mut Draws) -> Self {
        let partitions = Vec::<Partition>::sample(source);
        let partitions_count = partitions.len() as u32;
        Self { topic: Topic { partitions_count, ..Sample::sample(source) }, partitions }
    }
}

impl Sample for ConsumerGroupDetails {
    fn sample(source: &mut Draws) -> Self {
        let members = Vec::<GroupMember>::sample(source);
        let members_count = members.len() as u32;
        Self { group: ConsumerGroup { members_count, ..Sample::sample(source) }, members }
    }
}

impl Sample for GroupMember {
    fn sample(source: &mut Draws) -> Self {
        Self::new(Sample::sample(source), Vec::sample(source))
    }
}

impl Sample for PollFlags {
    fn sample(source: &mut Draws) -> Self {
        Self::new(source.next() as u32)
    }
}

impl Sample for LifePollReply {
    fn sample(source: &mut Draws) -> Self {
        let header = LifeHeader {
            polled: Sample::sample(source),
            life: Sample::sample(source),
            start: Sample::sample(source),
            end: Sample::sample(source),
            next: Sample::sample(source),
            damaged_from: Sample::sample(source),
            damaged_to: Sample::sample(source),
            flags: Sample::sample(source),
        };
        let messages = PollReply::sample(source);
        let payload = [header.to_array().as_slice(), messages.bytes()].concat();
        Self::from_payload(payload).unwrap()
    }
}

impl Sample for PollReply {
    fn sample(source: &mut Draws) -> Self {
        let mut payload = PolledHeader::sample(source).to_bytes();
        for _ in 0..source.below(3) {
            let body = source.bytes(0, 20);
            let payload_length = body.len() as u32;
            let header = MessageHeader { payload_length, ..MessageHeader::default() };
            let message = [header.to_bytes().as_slice(), &body].concat();
            let header = MessageHeader { checksum: checksum(&message), ..header };
            payload.extend(header.to_bytes());
            payload.extend(body);
        }
        Self::from_payload(payload).unwrap()
    }
}
