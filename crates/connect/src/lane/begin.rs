//! Where a lane begins: where the target says it is, if that can be true.
//!
//! INV-TARGET-TRUTH: in a target that keeps positions a lane begins at the target's own, whatever the group has stored; one
//! that belongs to another topic, or to a past that the partition does not have any more, stops the lane.

use std::fmt;

use crate::config::file::{GalgoOrigin, OnGap, OnNewTopic, StartAt};
use crate::failure::Failure;
use crate::log::{LaneLog, LogExtent, ReadEnd};
use crate::place::{LaneName, Position};
use crate::sink::Sinks;

/// Where a lane goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begin {
    /// Where the target is: the next batch moves it from there.
    pub at: Position,
    /// Messages in front of the first one that are gone and were not delivered.
    pub gone: u64,
    /// What there was of the partition.
    pub extent: LogExtent,
}

/// Why a lane stands and waits for somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standstill {
    /// The topic is another one of the same name.
    NewTopic,
    /// The partition was purged: it is shorter than what was delivered, or has other messages.
    Purged {
        /// The offset the target goes on with.
        next: u64,
    },
    /// Messages that were not delivered are gone.
    Gap {
        /// The offset the target goes on with.
        next: u64,
        /// The first that is left.
        first: u64,
    },
    /// A message is not taken, or cannot be made sense of.
    Bad {
        /// Its offset.
        offset: u64,
        /// What is wrong with it.
        reason: String,
    },
}

/// Why a lane does not begin.
#[derive(Debug)]
pub enum NoBegin {
    /// It waits for somebody.
    Stands(Standstill),
    /// The partition says no.
    Log(ReadEnd),
    /// The target says no.
    Target(Failure),
}

impl From<ReadEnd> for NoBegin {
    fn from(end: ReadEnd) -> Self {
        Self::Log(end)
    }
}

impl fmt::Display for Standstill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewTopic => f.write_str(
                "the topic was deleted and made again since; set from.galgo.on_new_topic = \"restart\" to begin with its first \
                 message, or galgo connect position to say where",
            ),
            Self::Purged { next } => write!(
                f,
                "the partition was purged or has lost its end: the target goes on with offset {next}, which is of other messages now; \
                 galgo connect position says where to go on"
            ),
            Self::Gap { next, first } => write!(
                f,
                "messages {next} to {} were removed before they were delivered (retention); set from.galgo.on_gap = \"continue\" \
                 to go on with {first}",
                first.saturating_sub(1)
            ),
            Self::Bad { offset, reason } => write!(
                f,
                "message {offset} is not taken: {reason}; mend the target or the file, or set errors.on_bad"
            ),
        }
    }
}

/// Finds where a lane begins.
///
/// # Errors
/// [`NoBegin`].
pub async fn find(
    lane: &LaneName,
    log: &mut dyn LaneLog,
    sinks: &Sinks,
    settings: &GalgoOrigin,
) -> Result<Begin, NoBegin> {
    let extent = log.extent().await?;
    let kept = sinks.borrow().await.position(lane).await.map_err(NoBegin::Target)?;
    let at = match kept {
        Some(kept) => match standing(log, &kept, &extent).await? {
            None => kept,
            Some(Standstill::NewTopic) if settings.on_new_topic == OnNewTopic::Restart => {
                let fresh = first_place(log, &extent, settings).await?;
                let mut sink = sinks.borrow().await;
                sink.set_position(lane, &fresh).await.map_err(NoBegin::Target)?;
                fresh
            }
            Some(standstill) => return Err(NoBegin::Stands(standstill)),
        },
        None => match extent.stored {
            // A target that keeps no position: the group's offset is the only memory there is.
            Some(stored) if stored < extent.end => Position {
                next: stored + 1,
                topic_made_at: extent.topic_made_at,
                ..Position::default()
            },
            Some(stored) => return Err(NoBegin::Stands(Standstill::Purged { next: stored + 1 })),
            None => first_place(log, &extent, settings).await?,
        },
    };
    let gone = extent.start.saturating_sub(at.next);
    if gone > 0 && settings.on_gap == OnGap::Stop {
        let stands = Standstill::Gap { next: at.next, first: extent.start };
        return Err(NoBegin::Stands(stands));
    }
    assert!(
        at.next + gone == at.next.max(extent.start),
        "INV-TARGET-TRUTH: a lane begins where the target is, or with the first message there is"
    );
    log.seek(at.next + gone);
    Ok(Begin { at, gone, extent })
}

/// Why a position that the target keeps cannot be where the partition goes on.
async fn standing(
    log: &mut dyn LaneLog,
    kept: &Position,
    extent: &LogExtent,
) -> Result<Option<Standstill>, ReadEnd> {
    // A target that keeps numbers only does not know which topic they are of.
    if kept.topic_made_at != 0 && kept.topic_made_at != extent.topic_made_at {
        return Ok(Some(Standstill::NewTopic));
    }
    let purged = Some(Standstill::Purged { next: kept.next });
    if kept.next > extent.end {
        return Ok(purged);
    }
    // A position that no message was delivered for yet has nothing to compare.
    let Some(last) = kept.next.checked_sub(1).filter(|_| kept.last_time > 0) else {
        return Ok(None);
    };
    if last < extent.start {
        return Ok(None);
    }
    let message = log.message_at(last).await?;
    let same = message.is_none_or(|it| it.id == kept.last_id && it.time == kept.last_time);
    Ok(if same { None } else { purged })
}

/// Where the very first run begins.
async fn first_place(
    log: &mut dyn LaneLog,
    extent: &LogExtent,
    settings: &GalgoOrigin,
) -> Result<Position, ReadEnd> {
    let next = match settings.start {
        StartAt::First => extent.start,
        StartAt::Next => extent.end,
        StartAt::Time(time) => log.offset_at(time).await?.clamp(extent.start, extent.end),
    };
    Ok(Position { next, topic_made_at: extent.topic_made_at, ..Position::default() })
}
