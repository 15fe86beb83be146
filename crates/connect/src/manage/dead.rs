//! The dead letters of a pipeline: looking at them, delivering them again, passing them over.
//!
//! A pipeline reads its letters as it reads everything else: as the group of its name, now on the topic of the letters, with
//! positions of its own in a target that keeps some. So a letter that was delivered is not delivered again, whatever is killed. One
//! that is not taken a second time is buried again behind the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use galgo::{HeaderField, UserHeaders};
use serde::Serialize;
use tokio::sync::watch;

use crate::config::file::{Direction, GalgoOrigin, OnGap, OnNewTopic, PipelineFile, StartAt};
use crate::dead_letter::header;
use crate::failure::Failure;
use crate::lane::RowCounts;
use crate::log::{LaneLog as _, LogMessage};
use crate::manage::places::{MovedLane, TopicLanes, away, place_lanes, refuse_while_it_runs};
use crate::outbound::{Dial, PipelineEnd, refused_or_away};
use crate::place::LaneName;
use crate::process::{self, RunOptions};
use crate::shape::{Shape, Shaped};
use crate::status::PipelineStatus;

/// A letter that was neither delivered nor dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// Where the letter is.
    pub partition: u32,
    /// See `partition`.
    pub offset: u64,
    /// When it was buried, in microseconds since the Unix epoch.
    pub time_us: u64,
    /// The topic the message was in, `STREAM/TOPIC`; none of a message that was on its way into Galgo.
    pub from_topic: Option<String>,
    /// Its partition there.
    pub from_partition: Option<u32>,
    /// Its offset there.
    pub from_offset: Option<u64>,
    /// Bytes of its payload.
    pub bytes: u64,
    /// What was wrong with it.
    pub reason: String,
}

/// Letters, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeadList {
    /// The first of them.
    pub letters: Vec<DeadLetter>,
    /// Whether there are more.
    pub has_more: bool,
}

/// What became of the letters that were there.
#[derive(Debug)]
pub struct Retried {
    /// How it ended.
    pub end: PipelineEnd,
    /// Rows that were delivered, and letters that were buried again.
    pub counts: RowCounts,
}

/// The topic of dead letters of a pipeline as a topic to be read.
pub(super) fn letters_origin(file: &PipelineFile) -> Option<GalgoOrigin> {
    let Direction::Out { from, .. } = &file.direction else { return None };
    let (stream, topic) = file.errors.dead_letter.as_deref()?.split_once('/')?;
    let mut letters = from.clone();
    (letters.stream, letters.topics) = (stream.to_owned(), vec![topic.to_owned()]);
    // Whoever purges letters, or lets them expire, means that.
    (letters.start, letters.on_new_topic, letters.on_gap) =
        (StartAt::First, OnNewTopic::Restart, OnGap::Continue);
    Some(letters)
}

/// The letters' topic, or why there is none.
fn origin(file: &PipelineFile) -> Result<GalgoOrigin, Failure> {
    if let Direction::In { .. } = &file.direction {
        return Err(Failure::refused(
            "the letters of a pipeline into a topic are messages of another system",
            "look at them with galgo tail; send them again there",
        ));
    }
    letters_origin(file).ok_or_else(|| {
        Failure::refused(
            "the pipeline has no topic of dead letters",
            "set errors.on_bad = \"dead-letter\" and errors.dead_letter = \"STREAM/TOPIC\"",
        )
    })
}

/// The letters of a pipeline that were neither delivered nor dropped, up to so many.
///
/// # Errors
/// [`Failure`] when the server could not be asked, or the pipeline has no such topic.
pub async fn list_dead(
    file: &PipelineFile,
    dial: &dyn Dial,
    limit: usize,
) -> Result<DeadList, Failure> {
    scan(file, dial, limit).await.map(|scan| scan.list)
}

/// What was seen of the topic of letters.
#[derive(Default)]
struct Scan {
    list: DeadList,
    /// How far, by partition.
    ends: BTreeMap<u32, u64>,
}

async fn scan(file: &PipelineFile, dial: &dyn Dial, limit: usize) -> Result<Scan, Failure> {
    let from = origin(file)?;
    let client = dial.dial(&from.server()).await?;
    let mut scan = Scan::default();
    for topic in &from.topics {
        let lanes = TopicLanes::of(&client, file, &from, topic)?;
        let found = client.topic_outline(&lanes.stream, &lanes.topic).await;
        // It is made when the first letter comes.
        let count = found
            .map_err(|error| refused_or_away(&error))?
            .map_or(0, |outline| outline.partitions_count);
        for partition in 0..count {
            let mut log = lanes.log(partition);
            let extent = log.extent().await.map_err(away)?;
            let stored = lanes.stored(partition).await?.map_or(0, |stored| stored + 1);
            let mut next = stored.max(extent.start);
            scan.ends.insert(partition, extent.end);
            log.seek(next);
            while next < extent.end {
                for message in log.next().await.map_err(away)? {
                    next = message.offset + 1;
                    let Some(letter) = letter_of(&file.name, partition, &message) else { continue };
                    if scan.list.letters.len() == limit {
                        scan.list.has_more = true;
                        return Ok(scan);
                    }
                    // Not further than the end that was seen: drop passes over what is listed, and nothing else.
                    if letter.offset < extent.end {
                        scan.list.letters.push(letter);
                    }
                }
            }
        }
    }
    Ok(scan)
}

/// A message as a letter of the pipeline, if it is one.
fn letter_of(pipeline: &str, partition: u32, message: &LogMessage) -> Option<DeadLetter> {
    let headers = headers_of(pipeline, message)?;
    let text = |name: &str| headers.get(name).map(ToString::to_string);
    Some(DeadLetter {
        partition,
        offset: message.offset,
        time_us: message.time,
        from_topic: text(header::TOPIC),
        from_partition: text(header::PARTITION).and_then(|text| text.parse().ok()),
        from_offset: text(header::OFFSET).and_then(|text| text.parse().ok()),
        bytes: message.payload.len() as u64,
        reason: text(header::REASON).unwrap_or_default(),
    })
}

/// The headers of a letter of the pipeline.
fn headers_of(pipeline: &str, message: &LogMessage) -> Option<UserHeaders> {
    let headers = UserHeaders::from_bytes(&message.headers_block).ok()?;
    let of = headers.get(header::PIPELINE).and_then(HeaderField::as_str);
    (of == Some(pipeline)).then_some(headers)
}

/// Passes over all letters that are there; tells how many of the pipeline's own those are.
///
/// # Errors
/// [`Failure`]; [`Failure::Refused`] while letters are delivered again.
pub async fn drop_dead(file: &PipelineFile, dial: &dyn Dial) -> Result<usize, Failure> {
    let from = origin(file)?;
    let Direction::Out { to, .. } = &file.direction else { return Ok(0) };
    // A letter that comes from now on is none that somebody decided about.
    let Scan { list, ends } = scan(file, dial, usize::MAX).await?;
    let client = dial.dial(&from.server()).await?;
    for topic in from.topics.iter().filter(|_| !ends.is_empty()) {
        let lanes = TopicLanes::of(&client, file, &from, topic)?;
        refuse_while_it_runs(&lanes).await?;
        let place =
            |(&partition, &next): (&u32, &u64)| MovedLane { topic: topic.clone(), partition, next };
        let places: Vec<_> = ends.iter().map(place).collect();
        place_lanes(&lanes, &**to, &places).await?;
    }
    Ok(list.letters.len())
}

/// Delivers the letters that are there now.
///
/// # Errors
/// [`Failure::Refused`] when the pipeline has no topic of letters.
pub async fn retry_dead(
    mut file: PipelineFile,
    options: RunOptions,
    dial: Arc<dyn Dial>,
    stop: watch::Receiver<bool>,
) -> Result<Retried, Failure> {
    let letters = origin(&file)?;
    if let Direction::Out { from, .. } = &mut file.direction {
        *from = letters;
    }
    let status = Arc::new(PipelineStatus::new(&file.name, "letters", "target"));
    let end = process::run_letters(file, Arc::clone(&status), dial, stop, options).await;
    let mut counts = RowCounts::default();
    status.report(0).lanes.iter().for_each(|lane| counts += lane.counts);
    Ok(Retried { end, counts })
}

/// Shapes letters as the messages they were; those of other pipelines are left out.
pub(crate) struct LetterShape<S>(pub(crate) S);

#[async_trait]
impl<S: Shape> Shape for LetterShape<S> {
    async fn shape(&self, lane: &LaneName, messages: &[LogMessage]) -> Vec<Shaped> {
        let mut shaped = Vec::with_capacity(messages.len());
        for message in messages {
            let Some(headers) = headers_of(&lane.pipeline, message) else {
                shaped.push(Ok(Vec::new()));
                continue;
            };
            let was = Was::of(lane, message, &headers);
            shaped.extend(self.0.shape(&was.lane, &[was.message]).await);
        }
        shaped
    }
}

/// A message as it was before it was buried.
struct Was {
    lane: LaneName,
    message: LogMessage,
}

impl Was {
    fn of(lane: &LaneName, letter: &LogMessage, headers: &UserHeaders) -> Self {
        let (mut lane, mut message) = (lane.clone(), letter.clone());
        let text = |name: &str| headers.get(name).map(ToString::to_string);
        if let Some((stream, topic)) =
            text(header::TOPIC).as_deref().and_then(|path| path.split_once('/'))
        {
            (lane.stream, lane.topic) = (stream.to_owned(), topic.to_owned());
        }
        let number = |name: &str| text(name).and_then(|text| text.parse::<u64>().ok());
        if let Some(partition) = number(header::PARTITION) {
            lane.partition = u32::try_from(partition).unwrap_or(lane.partition);
        }
        message.offset = number(header::OFFSET).unwrap_or(message.offset);
        let mut sent = UserHeaders::new();
        for (key, value) in headers.iter().filter(|(key, _)| !header::is_of_letter(key)) {
            sent.insert(key.clone(), value.clone());
        }
        message.headers_block = match sent.is_empty() {
            true => bytes::Bytes::new(),
            // Fewer than there were are not too many.
            false => sent.to_bytes().map_or_else(|_| message.headers_block, Into::into),
        };
        Self { lane, message }
    }
}

#[cfg(test)]
mod tests;
