//! Finds where a consumer begins, and starts its tasks.

use std::time::{Duration, UNIX_EPOCH};

use futures_util::future::try_join_all;
use galgo_wire::id::Timestamp;
use tokio::sync::mpsc;

use crate::call::name;
use crate::consumer::appetite::Appetite;
use crate::consumer::builder::{ConsumerBuilder, Start};
use crate::consumer::commit::Identity;
use crate::consumer::cursor::{Cursor, Place};
use crate::consumer::fetch::Fetch;
use crate::consumer::merge::{Merge, Source};
use crate::consumer::{ConsumeError, Consumer};
use crate::offsets::OffsetOf;
use crate::topics::path;
use crate::{
    CallError, ConsumerIdentity, Identifier, InvalidRequest, PollRequest, PollingStrategy,
};

/// With many partitions, each is asked less often: every partition adds this to the longest pause.
const IDLE_PER_PARTITION: Duration = Duration::from_millis(1);

/// Starts a consumer.
pub(super) async fn start(settings: ConsumerBuilder) -> Result<Consumer, ConsumeError> {
    let consumer: Identifier = match &settings.name {
        Some(text) => name("consumer name", text)?,
        None => Identifier::Numeric(0),
    };
    let partitions = partitions(&settings).await?;
    let of = OffsetOf {
        stream: settings.stream.clone(),
        topic: settings.topic.clone(),
        partition: 0,
        consumer: ConsumerIdentity::new(consumer),
    };
    let identity = Identity { client: settings.client.clone(), of };
    let count = u32::try_from(partitions.len()).unwrap_or(u32::MAX);
    let idle_max = settings.poll_interval.max(IDLE_PER_PARTITION * count);
    let cursors = partitions.iter().map(|partition| cursor(&settings, &identity, *partition));
    let cursors = try_join_all(cursors).await?;
    let sources = partitions.into_iter().zip(cursors).map(|(partition, cursor)| {
        let (out, fetched) = mpsc::channel(1);
        let request = PollRequest::new(&settings.stream, &settings.topic, partition)
            .consumer(identity.of.consumer.id.clone());
        let (client, verify) = (settings.client.clone(), settings.verify);
        let appetite = Appetite::new(settings.batch_size, settings.batch_bytes);
        tokio::spawn(
            Fetch { client, partition, request, cursor, appetite, idle_max, verify, out }.run(),
        );
        Source { partition, fetched, batch: Vec::new().into_iter() }
    });
    let sources = sources.collect();
    Ok(Consumer { inner: Merge::new(sources, identity, settings.commit) })
}

async fn partitions(settings: &ConsumerBuilder) -> Result<Vec<u32>, ConsumeError> {
    let topic = || path(&settings.stream, &settings.topic);
    let partitions = match &settings.partitions {
        Some(partitions) => partitions.clone(),
        None => {
            let details = settings.client.topic(&settings.stream, &settings.topic).await?;
            let details = details.ok_or_else(|| ConsumeError::NoTopic { topic: topic() })?;
            (0..details.topic.partitions_count).collect()
        }
    };
    match partitions.is_empty() {
        true => Err(InvalidRequest::NoPartitions { topic: topic() }.into()),
        false => Ok(partitions),
    }
}

async fn cursor(
    settings: &ConsumerBuilder,
    identity: &Identity,
    partition: u32,
) -> Result<Cursor, CallError> {
    let needs_last = settings.until_end || matches!(settings.start, Start::Last(_));
    let last = match needs_last {
        true => last_offset(settings, partition).await?,
        false => None,
    };
    let (place, reached) = match settings.start {
        Start::Offset(offset) => (Place::Offset(offset), false),
        Start::First => (Place::Offset(0), false),
        Start::Time(time) => {
            let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            let us = u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX);
            (Place::Time(Timestamp::new(us)), false)
        }
        Start::Last(count) => {
            let end = last.map_or(0, |last| last.saturating_add(1));
            (Place::Offset(end.saturating_sub(u64::from(count))), last.is_some())
        }
        Start::Next => {
            let of = OffsetOf { partition, ..identity.of.clone() };
            match identity.client.get_offset(&of).await? {
                Some(found) => (Place::Offset(found.stored_offset.get().saturating_add(1)), true),
                None => (Place::Offset(0), false),
            }
        }
    };
    Ok(match (settings.until_end, last) {
        (false, _) => Cursor::new(place, reached, None),
        (true, Some(last)) => Cursor::new(place, reached, Some(last)),
        (true, None) => Cursor::at_end(),
    })
}

/// The offset of the newest message, or `None` when there is none. The partition's own count of
/// offsets would not tell an empty partition from one with a single message.
async fn last_offset(settings: &ConsumerBuilder, partition: u32) -> Result<Option<u64>, CallError> {
    let request = PollRequest::new(&settings.stream, &settings.topic, partition)
        .strategy(PollingStrategy::Last)
        .count(1);
    let polled = settings.client.poll(request).await?;
    Ok(polled.messages().last().map(|message| message.offset()))
}
