//! Finds the original of a copy that does not tell where it came from.
//!
//! Its headers had no room for the place, or were no pairs. The original is looked for by what it holds,
//! from the first offset it can have: a copy holds every message of the source that could be read, so an
//! original is at least as far behind that of an earlier copy as the copies are apart.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use futures_util::StreamExt as _;
use galgo::Offset;
use galgo::{ConsumeError, PollRequest, PollingStrategy, ReceivedMessage, Start};
use galgo_wire::index::to_u32;

use crate::failure::{Failure, Outcome};
use crate::mirror::origin::{MirrorOrigin, can_tell};
use crate::mirror::side::{MirroredPartition, one};

/// Copies before the last that have to be found before the last one's original, so that one of several
/// messages that hold the same is not taken for another.
const CONTEXT: u64 = 16;
const _: () =
    assert!(CONTEXT > 0, "two messages that hold the same are told apart by those before them");
/// Bytes of the source held at a time.
const BATCH_BYTES: usize = 1 << 20;

/// The offset behind the original of `newest`, the last copy of the target; `None` when the source has
/// none.
pub(super) async fn behind(
    ends: MirroredPartition<'_>,
    newest: &ReceivedMessage,
) -> Outcome<Option<u64>> {
    let (first, context) = (earliest(ends, newest.offset()).await?, context(ends, newest).await?);
    let (found, oldest) = search(ends, &context, first).await?;
    if found.is_some() {
        return Ok(found);
    }
    // Nothing that could be it is there any more: retention took it, and what is left comes after it.
    if let Some(oldest) = oldest.filter(|oldest| *oldest > first) {
        return Ok(Some(oldest));
    }
    // Copies of before a purge of the source tell later places than those behind them have.
    Ok(if first > 0 { search(ends, &context, 0).await?.0 } else { None })
}

/// The offset behind the last of these messages, searched from `first` on, and the oldest offset there is.
async fn search(
    ends: MirroredPartition<'_>,
    context: &[Content],
    first: u64,
) -> Outcome<(Option<u64>, Option<u64>)> {
    assert!(!context.is_empty(), "what is searched for has the newest message at least");
    let path = &ends.source.path;
    let from = first.saturating_sub(context.len() as u64 - 1);
    let consumer = ends.source.client.consumer(&path.stream, &path.topic).partition(ends.partition);
    let consumer = consumer.start(Start::Offset(from)).until_end().batch_bytes(BATCH_BYTES);
    let mut consumer = consumer.skip_damaged().build().await.map_err(broken)?;
    let (mut seen, mut oldest) = (VecDeque::new(), None);
    while let Some(message) = consumer.next().await {
        let message = match message {
            Ok(message) => message,
            Err(ConsumeError::Skipped { .. }) => continue,
            Err(error) => return Err(broken(error)),
        };
        oldest = oldest.or(Some(message.offset()));
        seen.push_back(content(&message));
        if seen.len() > context.len() {
            seen.pop_front();
        }
        let alike = |(found, copy): (&Content, &Content)| found == copy;
        if message.offset() >= first && seen.iter().rev().zip(context.iter().rev()).all(alike) {
            return Ok((Some(message.offset().saturating_add(1)), oldest));
        }
    }
    Ok((None, oldest))
}

/// The first offset the original of the copy at `last` can have.
async fn earliest(ends: MirroredPartition<'_>, last: u64) -> Outcome<u64> {
    let mut back = 1;
    while back <= last {
        let at = PollingStrategy::Offset(Offset::new(last - back));
        let found = one(ends.target, ends.partition, at).await?;
        if let Some(copy) = found.messages().first()
            && let Some(origin) = MirrorOrigin::of(copy)
        {
            return Ok(origin.offset.saturating_add(last.saturating_sub(copy.offset())));
        }
        back = back.saturating_mul(2);
    }
    Ok(last)
}

/// What the last copies hold, oldest first, back to the last one that tells where it came from.
async fn context(ends: MirroredPartition<'_>, newest: &ReceivedMessage) -> Outcome<Vec<Content>> {
    let from = newest.offset().saturating_sub(CONTEXT - 1);
    let count = newest.offset() - from;
    assert!(count < CONTEXT, "the newest message is one of those that are compared");
    let path = &ends.target.path;
    let request = PollRequest::new(&path.stream, &path.topic, ends.partition)
        .strategy(PollingStrategy::Offset(Offset::new(from)))
        .count(to_u32(count))
        .tell_damage();
    let mut context = vec![content(newest)];
    if newest.offset() > from {
        let before = ends.target.client.poll(request).await?;
        let unmarked = before.messages().iter().rev().take_while(|copy| !can_tell(copy));
        context.extend(unmarked.map(content));
    }
    context.reverse();
    Ok(context)
}

/// What a message holds and a copy keeps.
#[derive(Debug, PartialEq, Eq)]
struct Content {
    id: u128,
    origin_timestamp: u64,
    lengths: (usize, usize),
    hash: u64,
}

fn content(message: &ReceivedMessage) -> Content {
    let (payload, headers) = (message.payload(), message.user_headers());
    let mut hasher = DefaultHasher::new();
    (payload, headers).hash(&mut hasher);
    Content {
        id: message.id(),
        origin_timestamp: message.origin_timestamp(),
        lengths: (payload.len(), headers.len()),
        hash: hasher.finish(),
    }
}

fn broken(error: ConsumeError) -> Failure {
    match error {
        ConsumeError::Poll(error) => error.into(),
        error => Failure::io(error),
    }
}
