//! Where the lanes of a pipeline are, in the target and in Galgo; moving them; removing what a pipeline made.

use galgo::{CallError, Client, ConsumerIdentity, ErrorCode, Identifier, OffsetOf};
use serde::Serialize;

use crate::config::file::{Direction, GalgoOrigin, PipelineFile};
use crate::failure::Failure;
use crate::galgo_log::GalgoLog;
use crate::inbound::CURSOR_STREAM;
use crate::log::{LaneLog as _, ReadEnd};
use crate::manage::{identifier, partitions_of};
use crate::outbound::{Dial, refused_or_away};
use crate::place::{LaneName, Position};
use crate::sink::{Promise, SinkSpec};

/// Where a lane is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LanePlace {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The offset of the first message that is kept.
    pub first: u64,
    /// The offset behind the last one.
    pub end: u64,
    /// The offset the group has stored: that of the last message delivered.
    pub stored: Option<u64>,
    /// The offset the target goes on with, if it keeps that itself.
    pub target_next: Option<u64>,
    /// How many messages are to be delivered.
    pub lag: u64,
}

/// Where the lanes of a pipeline are.
///
/// # Errors
/// [`Failure`] when one of its ends could not be asked.
pub async fn places(file: &PipelineFile, dial: &dyn Dial) -> Result<Vec<LanePlace>, Failure> {
    let Direction::Out { from, to, .. } = &file.direction else {
        return Err(Failure::refused(
            "a pipeline into a topic has no lanes",
            format!("its cursor is the last message of topic {CURSOR_STREAM}/{}", file.name),
        ));
    };
    let client = dial.dial(&from.server()).await?;
    let mut sink = to.sink();
    let mut places = Vec::new();
    for topic in &from.topics {
        let lanes = TopicLanes::of(&client, file, from, topic)?;
        for partition in 0..partitions_of(&client, &lanes.stream, &lanes.topic).await? {
            let extent = lanes.log(partition).extent().await.map_err(away)?;
            let stored = lanes.stored(partition).await?;
            let target = match sink.position(&lanes.name(partition)).await {
                // A target that takes one process is held by the one that runs; the group's offset follows it.
                Err(_) if lanes.members().await? > 0 => None,
                position => position?,
            };
            let target_next = target.map(|position| position.next);
            let next = target_next.or_else(|| stored.map(|stored| stored + 1));
            let lag =
                extent.end.saturating_sub(next.map_or(extent.start, |next| next.max(extent.start)));
            let (first, end) = (extent.start, extent.end);
            places.push(LanePlace {
                topic: topic.clone(),
                partition,
                first,
                end,
                stored,
                target_next,
                lag,
            });
        }
    }
    Ok(places)
}

/// Where a lane is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoOn {
    /// With the message at this offset.
    At(u64),
    /// With the first message that was stored at this time, in microseconds since the Unix epoch, or later.
    Since(u64),
}

/// A lane that was moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MovedLane {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The offset it goes on with.
    pub next: u64,
}

/// Has lanes go on from another place, in the target and in Galgo: that of a partition, or all of them.
///
/// # Errors
/// [`Failure`]; [`Failure::Refused`] while a process of the pipeline is connected.
pub async fn set_places(
    file: &PipelineFile,
    dial: &dyn Dial,
    partition: Option<u32>,
    to: GoOn,
) -> Result<Vec<MovedLane>, Failure> {
    let Direction::Out { from, to: target, .. } = &file.direction else {
        return Err(Failure::refused(
            "a pipeline into a topic has no lanes",
            "galgo connect cleanup begins it anew",
        ));
    };
    if matches!(to, GoOn::At(_)) && from.topics.len() > 1 {
        return Err(Failure::refused(
            "the pipeline has several topics, and an offset is of one",
            "make a file of each to move one, or name a time",
        ));
    }
    let client = dial.dial(&from.server()).await?;
    for topic in &from.topics {
        refuse_while_it_runs(&TopicLanes::of(&client, file, from, topic)?).await?;
    }
    let mut moved = Vec::new();
    for topic in &from.topics {
        let lanes = TopicLanes::of(&client, file, from, topic)?;
        let count = partitions_of(&client, &lanes.stream, &lanes.topic).await?;
        let mut places = Vec::new();
        for partition in (0..count).filter(|it| partition.is_none_or(|only| only == *it)) {
            let next = match to {
                GoOn::At(next) => next,
                GoOn::Since(time) => lanes.log(partition).offset_at(time).await.map_err(away)?,
            };
            places.push(MovedLane { topic: topic.clone(), partition, next });
        }
        place_lanes(&lanes, &**target, &places).await?;
        moved.extend(places);
    }
    match (moved.is_empty(), partition) {
        (true, Some(partition)) => Err(Failure::refused(
            format!("there is no partition {partition}"),
            "galgo connect status shows the partitions",
        )),
        _ => Ok(moved),
    }
}

/// Has lanes of a topic go on with these offsets.
pub(super) async fn place_lanes(
    lanes: &TopicLanes<'_>,
    target: &dyn SinkSpec,
    places: &[MovedLane],
) -> Result<(), Failure> {
    // A group takes an offset from a member only, of a partition that it has: whoever is alone has all of them.
    lanes.join().await?;
    let mut placed = Ok(());
    for place in places {
        if placed.is_ok() {
            placed = place_lane(lanes, target, place.partition, place.next).await;
        }
    }
    let left = lanes.client.leave_consumer_group(&lanes.stream, &lanes.topic, &lanes.group).await;
    if let Err(error) = left {
        tracing::debug!(reason = %error, "the group was not left; its server notices");
    }
    placed
}

/// Has a lane go on with an offset.
async fn place_lane(
    lanes: &TopicLanes<'_>,
    target: &dyn SinkSpec,
    partition: u32,
    next: u64,
) -> Result<(), Failure> {
    let mut log = lanes.log(partition);
    let extent = log.extent().await.map_err(away)?;
    if next < extent.start || next > extent.end {
        return Err(Failure::refused(
            format!("offset {next} is not in {}/{partition}", lanes.topic_name),
            format!("it has {} to {}", extent.start, extent.end),
        ));
    }
    let last = match next.checked_sub(1).filter(|last| *last >= extent.start) {
        Some(last) => log.message_at(last).await.map_err(away)?,
        None => None,
    };
    let position = Position {
        next,
        topic_made_at: extent.topic_made_at,
        last_id: last.as_ref().map_or(0, |message| message.id),
        last_time: last.as_ref().map_or(0, |message| message.time),
    };
    match target.sink().set_position(&lanes.name(partition), &position).await {
        Ok(()) => {}
        // A target that keeps none goes by the group's offset.
        Err(Failure::Refused { .. }) if target.promise() != Promise::ExactlyOnce => {}
        Err(failure) => return Err(failure),
    }
    let of = lanes.offset_of(partition);
    let stored = match next.checked_sub(1) {
        Some(last) => lanes.client.store_offset(&of, last).await,
        None => lanes.client.delete_offset(&of).await,
    };
    match stored {
        Err(error) if error.code() == Some(ErrorCode::ConsumerOffsetNotFound) => Ok(()),
        stored => stored.map_err(|error| refused_or_away(&error)),
    }
}

/// Removes what a pipeline made; tells what.
///
/// # Errors
/// [`Failure`]; [`Failure::Refused`] while a process of the pipeline is connected.
pub async fn cleanup(file: &PipelineFile, dial: &dyn Dial) -> Result<Vec<String>, Failure> {
    let mut removed = Vec::new();
    match &file.direction {
        Direction::Out { from, to, .. } => {
            let client = dial.dial(&from.server()).await?;
            for topic in &from.topics {
                let lanes = TopicLanes::of(&client, file, from, topic)?;
                removed.extend(remove_group(&lanes).await?);
            }
            if let Some(letters) = super::dead::letters_origin(file) {
                for topic in &letters.topics {
                    let lanes = TopicLanes::of(&client, file, &letters, topic)?;
                    removed.extend(remove_group(&lanes).await?);
                }
            }
            removed.extend(to.cleanup().await?);
        }
        Direction::In { from, to, .. } => {
            removed.extend(from.cleanup().await?);
            let client = dial.dial(&to.server()).await?;
            let (stream, topic) =
                (identifier("stream", CURSOR_STREAM)?, identifier("topic", &file.name)?);
            match client.delete_topic(&stream, &topic).await {
                Ok(()) => removed.push(format!("topic {CURSOR_STREAM}/{}", file.name)),
                Err(error)
                    if matches!(
                        error.code(),
                        Some(ErrorCode::StreamIdNotFound | ErrorCode::TopicIdNotFound)
                    ) => {}
                Err(error) => return Err(refused_or_away(&error)),
            }
        }
    }
    Ok(removed)
}

/// Removes the group of a pipeline on a topic; tells which, if there was one.
async fn remove_group(lanes: &TopicLanes<'_>) -> Result<Option<String>, Failure> {
    refuse_while_it_runs(lanes).await?;
    match lanes.client.delete_consumer_group(&lanes.stream, &lanes.topic, &lanes.group).await {
        Ok(()) => Ok(Some(format!(
            "group {} of topic {}/{}",
            lanes.pipeline, lanes.stream_name, lanes.topic_name
        ))),
        Err(error) if is_no_group(&error) => Ok(None),
        Err(error) => Err(refused_or_away(&error)),
    }
}

/// The lanes of a topic.
pub(super) struct TopicLanes<'a> {
    client: &'a Client,
    pipeline: &'a str,
    stream_name: &'a str,
    topic_name: &'a str,
    pub(super) stream: Identifier,
    pub(super) topic: Identifier,
    group: Identifier,
}

impl<'a> TopicLanes<'a> {
    pub(super) fn of(
        client: &'a Client,
        file: &'a PipelineFile,
        from: &'a GalgoOrigin,
        topic: &'a str,
    ) -> Result<Self, Failure> {
        Ok(Self {
            client,
            pipeline: &file.name,
            stream_name: &from.stream,
            topic_name: topic,
            stream: identifier("stream", &from.stream)?,
            topic: identifier("topic", topic)?,
            group: identifier("name", &file.name)?,
        })
    }

    pub(super) fn name(&self, partition: u32) -> LaneName {
        LaneName {
            pipeline: self.pipeline.to_owned(),
            stream: self.stream_name.to_owned(),
            topic: self.topic_name.to_owned(),
            partition,
        }
    }

    pub(super) fn log(&self, partition: u32) -> GalgoLog {
        let reader = self.client.partition_reader(&self.stream, &self.topic, partition);
        GalgoLog::new(self.client.clone(), self.stream.clone(), self.topic.clone(), reader)
    }

    /// Joins the group; makes it if the pipeline has not run yet.
    async fn join(&self) -> Result<(), Failure> {
        let Self { client, stream, topic, group, .. } = self;
        let joined = match client.join_consumer_group(stream, topic, group).await {
            Err(error) if is_no_group(&error) => {
                let made = client.create_consumer_group(stream, topic, self.pipeline).await;
                made.map_err(|error| refused_or_away(&error))?;
                client.join_consumer_group(stream, topic, group).await
            }
            joined => joined,
        };
        joined.map_err(|error| refused_or_away(&error))
    }

    /// How many processes of the pipeline are connected.
    async fn members(&self) -> Result<usize, Failure> {
        let group = self.client.consumer_group(&self.stream, &self.topic, &self.group).await;
        match group {
            Ok(group) => Ok(group.map_or(0, |group| group.members.len())),
            Err(error) if is_no_group(&error) => Ok(0),
            Err(error) => Err(refused_or_away(&error)),
        }
    }

    /// The offset the group has stored; none if the pipeline has not run yet.
    pub(super) async fn stored(&self, partition: u32) -> Result<Option<u64>, Failure> {
        match self.client.get_offset(&self.offset_of(partition)).await {
            Ok(stored) => Ok(stored.map(|it| it.stored_offset.get())),
            Err(error) if is_no_group(&error) => Ok(None),
            Err(error) => Err(refused_or_away(&error)),
        }
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

/// Refuses while a process of the pipeline is connected: it would not notice.
pub(super) async fn refuse_while_it_runs(lanes: &TopicLanes<'_>) -> Result<(), Failure> {
    match lanes.members().await? {
        0 => Ok(()),
        members => Err(Failure::refused(
            format!("the pipeline runs: {members} members are in group {}", lanes.pipeline),
            "stop it first",
        )),
    }
}

fn is_no_group(error: &CallError) -> bool {
    use ErrorCode::{ConsumerGroupIdNotFound, ConsumerGroupNameNotFound};
    matches!(error.code(), Some(ConsumerGroupIdNotFound | ConsumerGroupNameNotFound))
}

pub(super) fn away(end: ReadEnd) -> Failure {
    match end {
        ReadEnd::Away(reason) => Failure::away(reason),
        end => Failure::away(format!("the partition cannot be read: {end:?}")),
    }
}
