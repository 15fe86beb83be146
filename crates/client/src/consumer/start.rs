//! Finds where a consumer begins, and starts its tasks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use futures_util::future::try_join_all;
use galgo_wire::id::Timestamp;
use galgo_wire::index::to_u32;
use galgo_wire::measure::micros;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::call::name;
use crate::consumer::appetite::Appetite;
use crate::consumer::builder::{ConsumerBuilder, Start};
use crate::consumer::commit::OffsetIdentity;
use crate::consumer::cursor::{PartitionCursor, ReadPosition};
use crate::consumer::fetch::Fetch;
use crate::consumer::group::GroupFetch;
use crate::consumer::idle::Idle;
use crate::consumer::membership::{GroupMembership, GroupSession};
use crate::consumer::merge::{MergeSource, PartitionMerge};
use crate::consumer::{ConsumeError, Consumer};
use crate::extensions::LIVES;
use crate::offsets::OffsetOf;
use crate::topics::path;
use crate::{
    CallError, ConsumerIdentity, Identifier, InvalidRequest, Life, PollRequest, PollingStrategy,
};

/// With many partitions, each is asked less often: every partition adds this to the longest pause.
const IDLE_PER_PARTITION: Duration = Duration::from_millis(1);

/// Starts a consumer.
pub(super) async fn start(settings: ConsumerBuilder) -> Result<Consumer, ConsumeError> {
    match settings.group.clone() {
        Some(group) => start_in_group(settings, group).await,
        None => start_alone(settings).await,
    }
}

async fn start_alone(settings: ConsumerBuilder) -> Result<Consumer, ConsumeError> {
    let consumer: Identifier = match &settings.name {
        Some(text) => name("consumer name", text)?,
        None => Identifier::Numeric(0),
    };
    let partitions = partitions(&settings).await?;
    let identity = identity(&settings, ConsumerIdentity::new(consumer));
    let wait = match partitions.len() {
        1 => settings.client.poll_wait().await?,
        _ => None,
    };
    let alone = Arc::new(AtomicBool::new(partitions.len() == 1));
    let starter = Starter { settings, identity, wait, alone };
    let cursors = partitions.iter().map(|partition| starter.cursor(*partition));
    let cursors = try_join_all(cursors).await?;
    let count = partitions.len();
    let sources = partitions.into_iter().zip(cursors);
    let sources =
        sources.map(|(partition, cursor)| starter.source(partition, cursor, count)).collect();
    let (identity, mode) = (starter.identity.clone(), starter.settings.commit_mode());
    let follows = starter.settings.partitions.is_none() && !starter.settings.until_end;
    let added = follows.then(|| watch(starter, count));
    Ok(Consumer { inner: PartitionMerge::new(sources, identity, mode).and_added(added) })
}

async fn start_in_group(
    settings: ConsumerBuilder,
    group_name: String,
) -> Result<Consumer, ConsumeError> {
    let misplaced = [
        (settings.partitions.is_some(), "partitions"),
        (settings.name.is_some(), "name"),
        (settings.start != Start::Next, "start"),
        (settings.until_end, "until_end"),
    ];
    if let Some((_, setting)) = misplaced.into_iter().find(|(is_set, _)| *is_set) {
        return Err(InvalidRequest::InGroup { setting }.into());
    }
    let group = Identifier::Named(name("group name", &group_name)?);
    let topic = settings.client.topic_outline(&settings.stream, &settings.topic).await?;
    let no_topic = || ConsumeError::NoTopic { topic: path(&settings.stream, &settings.topic) };
    topic.ok_or_else(no_topic)?;
    let membership = GroupMembership {
        client: settings.client.clone(),
        stream: settings.stream.clone(),
        topic: settings.topic.clone(),
        group: group.clone(),
        name: group_name,
        creates: true,
        session: GroupSession::on(&settings.client, settings.session_timeout).await?,
    };
    let generation = membership.join().await?;
    let (out, fetched) = mpsc::channel(1);
    tokio::spawn(membership.clone().keep(out.clone()));
    let fetch = GroupFetch {
        membership: membership.clone(),
        generation,
        appetite: Appetite::new(settings.batch_size, settings.batch_bytes),
        idle: Idle::new(settings.poll_interval, settings.client.poll_wait().await?),
        verify: settings.verify,
        skip_damaged: settings.skip_damaged,
        out,
        next: BTreeMap::new(),
    };
    tokio::spawn(fetch.run());
    let identity = identity(&settings, ConsumerIdentity::group(group));
    let source = MergeSource::new(None, fetched);
    let merge = PartitionMerge::new(vec![source], identity, settings.commit_mode());
    Ok(Consumer { inner: merge.and_membership(membership) })
}

fn identity(settings: &ConsumerBuilder, consumer: ConsumerIdentity) -> OffsetIdentity {
    let (stream, topic) = (settings.stream.clone(), settings.topic.clone());
    let of = OffsetOf { stream, topic, partition: 0, consumer };
    OffsetIdentity { client: settings.client.clone(), of }
}

/// Looks for partitions that were added to the topic, now and then, until nobody listens.
fn watch(starter: Starter, mut known: usize) -> mpsc::Receiver<MergeSource> {
    let (out, added) = mpsc::channel(1);
    let listened = out.clone();
    let look = async move {
        loop {
            sleep(starter.settings.partitions_interval).await;
            let ConsumerBuilder { client, stream, topic, .. } = &starter.settings;
            // Not to learn of a new partition is no reason to stop; the next look may find it.
            let Ok(Some(outline)) = client.topic_outline(stream, topic).await else { continue };
            let count = outline.partitions_count as usize;
            while known < count {
                let Ok(partition) = u32::try_from(known) else {
                    unreachable!("a partition below their count is a number of 32 bits");
                };
                let Ok(cursor) = starter.new_cursor(partition).await else { break };
                tracing::debug!(partition, "partition added to the topic");
                starter.alone.store(false, Ordering::Relaxed);
                if out.send(starter.source(partition, cursor, count)).await.is_err() {
                    return;
                }
                known += 1;
            }
        }
    };
    tokio::spawn(async move {
        tokio::select! {
            () = look => {}
            () = listened.closed() => {}
        }
    });
    added
}

/// Starts what fetches a partition.
struct Starter {
    settings: ConsumerBuilder,
    identity: OffsetIdentity,
    /// How long the server is asked to wait for messages.
    wait: Option<Duration>,
    /// Whether it was started for one partition only.
    alone: Arc<AtomicBool>,
}

impl Starter {
    /// Fetches `partition`, one of `count`.
    fn source(&self, partition: u32, cursor: PartitionCursor, count: usize) -> MergeSource {
        let Self { settings, identity, wait, alone } = self;
        let idle_max = settings.poll_interval.max(IDLE_PER_PARTITION.saturating_mul(to_u32(count)));
        let idle = Idle::new(idle_max, *wait);
        let (out, fetched) = mpsc::channel(1);
        let request = PollRequest::new(&settings.stream, &settings.topic, partition)
            .consumer(identity.of.consumer.id.clone());
        let (client, verify) = (settings.client.clone(), settings.verify);
        let skip_damaged = settings.skip_damaged;
        let appetite = Appetite::new(settings.batch_size, settings.batch_bytes);
        let alone = Arc::clone(alone);
        let fetch = Fetch {
            client,
            partition,
            request,
            cursor,
            appetite,
            idle,
            alone,
            verify,
            skip_damaged,
            out,
        };
        tokio::spawn(fetch.run());
        MergeSource::new(Some(partition), fetched)
    }

    /// Where to begin in a partition.
    async fn cursor(&self, partition: u32) -> Result<PartitionCursor, CallError> {
        cursor(&self.settings, &self.identity, partition).await
    }

    /// Where to begin in a partition that was not there when the consumer was built: all of it is
    /// new.
    async fn new_cursor(&self, partition: u32) -> Result<PartitionCursor, CallError> {
        match self.settings.start {
            Start::Last(_) => Ok(PartitionCursor::new(ReadPosition::Offset(0), false, None)),
            _ => self.cursor(partition).await,
        }
    }
}

async fn partitions(settings: &ConsumerBuilder) -> Result<Vec<u32>, ConsumeError> {
    let topic = || path(&settings.stream, &settings.topic);
    let partitions = match &settings.partitions {
        Some(partitions) => partitions.clone(),
        None => {
            let outline = settings.client.topic_outline(&settings.stream, &settings.topic).await?;
            let outline = outline.ok_or_else(|| ConsumeError::NoTopic { topic: topic() })?;
            (0..outline.partitions_count).collect()
        }
    };
    match partitions.is_empty() {
        true => Err(InvalidRequest::NoPartitions { topic: topic() }.into()),
        false => Ok(partitions),
    }
}

async fn cursor(
    settings: &ConsumerBuilder,
    identity: &OffsetIdentity,
    partition: u32,
) -> Result<PartitionCursor, CallError> {
    let whereabouts = whereabouts(settings, identity, partition).await?;
    let last = whereabouts.last;
    let (place, reached) = match settings.start {
        Start::Offset(offset) => (ReadPosition::Offset(offset), false),
        Start::First => (ReadPosition::Offset(0), false),
        Start::Time(time) => {
            let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            (ReadPosition::Time(Timestamp::new(micros(since_epoch))), false)
        }
        Start::Last(count) => {
            let end = last.map_or(0, |last| last.saturating_add(1));
            (ReadPosition::Offset(end.saturating_sub(u64::from(count))), last.is_some())
        }
        Start::Next => match whereabouts.next {
            Some(next) => (ReadPosition::Offset(next), true),
            None => (ReadPosition::Offset(0), false),
        },
    };
    let cursor = match (settings.until_end, last) {
        (false, _) => PartitionCursor::new(place, reached, None),
        (true, Some(last)) => PartitionCursor::new(place, reached, Some(last)),
        (true, None) => PartitionCursor::at_end(),
    };
    // A life that the program names is that of the place it names.
    let life = if settings.life.is_known() { settings.life } else { whereabouts.life };
    Ok(cursor.in_life(life))
}

/// What has to be known of a partition before it is read.
#[derive(Debug, Default)]
struct PartitionBounds {
    /// The offset of its newest message, if there is one.
    last: Option<u64>,
    /// The offset behind the stored one, if there is one.
    next: Option<u64>,
    /// The life both are of.
    life: Life,
}

/// Asks for as much as the settings need. A server that knows of lives tells all of it at once, so that no
/// purge comes between.
async fn whereabouts(
    settings: &ConsumerBuilder,
    identity: &OffsetIdentity,
    partition: u32,
) -> Result<PartitionBounds, CallError> {
    let needs_last = settings.until_end || matches!(settings.start, Start::Last(_));
    let needs_next = settings.start == Start::Next;
    if !needs_last && !needs_next {
        return Ok(PartitionBounds::default());
    }
    let request = PollRequest::new(&settings.stream, &settings.topic, partition);
    if settings.client.has(&LIVES).await? {
        let consumer = identity.of.consumer.id.clone();
        let none = request.consumer(consumer).strategy(PollingStrategy::Next).count(0);
        let told = settings.client.poll_once(none).await?;
        let last = told.extent().and_then(|extent| extent.end.checked_sub(1));
        return Ok(PartitionBounds { last, next: told.next_offset(), life: told.life() });
    }
    let mut found = PartitionBounds::default();
    if needs_last {
        // The partition's own count of offsets would not tell an empty one from one with one message.
        let newest = request.strategy(PollingStrategy::Last).count(1);
        let polled = settings.client.poll_once(newest).await?;
        found.last = polled.messages().last().map(|message| message.offset());
    }
    if needs_next {
        let of = OffsetOf { partition, ..identity.of.clone() };
        let stored = identity.client.get_offset(&of).await?;
        found.next = stored.map(|stored| stored.stored_offset.get().saturating_add(1));
    }
    Ok(found)
}
