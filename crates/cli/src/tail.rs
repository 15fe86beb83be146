//! Reads all partitions of a topic as one sequence.
//!
//! Those of one partition come in the order of their offsets, none left out but what is damaged, when
//! that is asked for; of several partitions, the one whose next message is older comes first. A replay ends at the messages
//! that were the newest when it began, so that it ends on a busy topic too. A partition that is purged or
//! made again is told, and read from its first message.

mod lane;
pub(crate) mod link;
pub(crate) mod member;
pub(crate) mod whereabouts;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use galgo::Life;
use galgo_wire::index::to_u32;

use crate::failure::{Failure, Outcome};
use crate::noun::extent::Extent;
use crate::noun::topic::TopicPath;
use crate::output::message::MessageWriter;
use crate::tail::lane::{Ask, LaneStart, TailLane};
use crate::tail::link::Link;
use crate::tail::whereabouts::Whereabouts;
use crate::value::time::TailFrom;

/// Messages held ahead over all partitions, and the least that is asked of each.
const READ_AHEAD: usize = 16_384;
const READ_MIN: usize = 16;
const READ_MAX: usize = 1_000;
const _: () = assert!(
    READ_MIN < READ_MAX && READ_MAX < READ_AHEAD && READ_AHEAD <= u32::MAX as usize,
    "what is read ahead is shared by partitions, and a share is a count of a poll"
);

/// Pauses between two looks for new messages: short after one came, longer when none does.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(200);
const _: () = assert!(
    PAUSE_MIN.as_millis() < PAUSE_MAX.as_millis()
        && PAUSE_MAX.as_millis() < REFRESH_INTERVAL.as_millis(),
    "a tail that finds nothing asks less often, and more often than for new partitions"
);

/// How often partitions that were added or emptied are noticed while following.
const REFRESH_INTERVAL: Duration = Duration::from_secs(2);

/// Which messages a replay shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Range {
    /// The newest so many, over all partitions.
    Newest(u64),
    /// Those from a place on, or the first of them.
    From {
        /// The place.
        from: TailFrom,
        /// How many at most.
        count: Option<NonZeroU64>,
    },
}

/// Reads one topic.
#[derive(Debug)]
pub(crate) struct TopicReader<'a> {
    link: Link<'a>,
    path: TopicPath,
    skip_damaged: bool,
    lanes: Vec<TailLane>,
}

impl<'a> TopicReader<'a> {
    /// A reader of a topic; `skip_damaged`: whether it leaves out what is damaged.
    pub(crate) fn new(link: Link<'a>, path: TopicPath, skip_damaged: bool) -> Self {
        Self { link, path, skip_damaged, lanes: Vec::new() }
    }

    /// Writes the messages of `range`; returns whether that was all that was asked for.
    pub(crate) async fn replay(
        &mut self,
        range: Range,
        writer: &mut MessageWriter,
    ) -> Outcome<bool> {
        let whereabouts = Whereabouts::of_all(self.link.client(), &self.path).await?;
        let ShownPart { skip, count } = self.open_lanes(range, &whereabouts);
        let mut heads = BinaryHeap::new();
        for index in 0..self.lanes.len() {
            self.push_head(&mut heads, index, writer).await?;
        }
        let (mut seen, mut shown) = (0, 0);
        while let Some(Reverse((_, index))) = heads.pop() {
            if count.is_some_and(|count| shown >= count) {
                break;
            }
            let Some(message) = self.lanes.get_mut(index).and_then(TailLane::take) else {
                unreachable!("a head is that of a message that waits");
            };
            if seen >= skip {
                writer.write(&message)?;
                shown += 1;
            }
            seen += 1;
            self.push_head(&mut heads, index, writer).await?;
        }
        writer.flush()?;
        Ok(matches!(range, Range::From { count: Some(_), .. }) && count.is_some_and(|n| shown >= n))
    }

    /// Writes messages as they come, without end; goes on when the server is back.
    pub(crate) async fn follow(&mut self, writer: &mut MessageWriter) -> Outcome {
        let mut pause = PAUSE_MIN;
        let mut refreshed = Some(Instant::now());
        for lane in &mut self.lanes {
            lane.open_end();
        }
        loop {
            let read = self.read_ahead().await;
            let written = self.write_ready(writer)?;
            if let Err(failure) = read {
                self.link.again(failure, writer).await?;
                refreshed = None;
            } else if written == 0 {
                self.link.is_there();
                if writer.reader_is_gone() {
                    return Err(Failure::closed_pipe());
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            } else {
                writer.flush()?;
                pause = PAUSE_MIN;
            }
            if refreshed.is_none_or(|at| at.elapsed() >= REFRESH_INTERVAL) {
                refreshed = match self.refresh().await {
                    Ok(()) => Some(Instant::now()),
                    Err(failure) => {
                        self.link.again(failure, writer).await?;
                        None
                    }
                };
            }
        }
    }

    /// Reads what each partition has; what was read before a failure stays ready.
    async fn read_ahead(&mut self) -> Outcome {
        let ask = self.ask();
        for lane in &mut self.lanes {
            if let Some(news) = lane.fill(self.link.client(), &self.path, ask).await? {
                self.link.tell(&news);
            }
        }
        Ok(())
    }

    /// Writes all that is ready; returns how many messages that were.
    fn write_ready(&mut self, writer: &mut MessageWriter) -> Outcome<u64> {
        let mut written = 0;
        take_merged(&mut self.lanes, TailLane::next_time, |lane| {
            let Some(message) = lane.take() else {
                unreachable!("what has a time has a message that waits");
            };
            writer.write(&message)?;
            written += 1;
            Ok(())
        })?;
        Ok(written)
    }

    /// Looks again which partitions there are, and, where nothing else tells, whether they were emptied.
    async fn refresh(&mut self) -> Outcome {
        let partitions = self.path.partitions(self.link.client()).await?;
        let extents: Vec<_> = partitions.iter().map(Extent::of).collect();
        self.lanes.truncate(extents.len());
        for (lane, extent) in self.lanes.iter_mut().zip(&extents) {
            if let Some(news) = lane.rewind_if_emptied(*extent, &self.path) {
                self.link.tell(&news);
            }
        }
        // All of a partition that was added is new.
        for (partition, extent) in (0..).zip(&extents).skip(self.lanes.len()) {
            let at = Whereabouts { extent: *extent, life: Life::UNKNOWN };
            let mut lane = TailLane::new(partition, LaneStart::Offset(0), &at);
            lane.open_end();
            self.lanes.push(lane);
        }
        assert!(self.lanes.len() == extents.len(), "each partition there is, is read");
        Ok(())
    }

    fn open_lanes(&mut self, range: Range, whereabouts: &[Whereabouts]) -> ShownPart {
        let extents: Vec<_> = whereabouts.iter().map(|at| at.extent).collect();
        let (plans, window) = plan(range, &extents);
        assert!(plans.len() == whereabouts.len(), "each partition is read from somewhere");
        self.lanes = (0..)
            .zip(plans.iter().zip(whereabouts))
            .map(|(partition, (start, at))| TailLane::new(partition, *start, at))
            .collect();
        window
    }

    /// Puts the next message of a partition into the running, if there is one.
    async fn push_head(
        &mut self,
        heads: &mut Heads,
        index: usize,
        writer: &mut MessageWriter,
    ) -> Outcome {
        let ask = self.ask();
        let Some(lane) = self.lanes.get_mut(index) else {
            unreachable!("a head is that of a partition that is read");
        };
        loop {
            match lane.fill(self.link.client(), &self.path, ask).await {
                Ok(None) => break,
                Ok(Some(news)) => self.link.tell(&news),
                Err(failure) => self.link.again(failure, writer).await?,
            }
        }
        if let Some(time) = lane.next_time() {
            heads.push(Reverse((time, index)));
        }
        Ok(())
    }

    /// How each partition is read, as many messages at once as its share is.
    fn ask(&self) -> Ask {
        let share = READ_AHEAD / self.lanes.len().max(1);
        let count = to_u32(share.clamp(READ_MIN, READ_MAX));
        Ask { count, skip_damaged: self.skip_damaged }
    }
}

/// The partitions' next messages: the oldest first, the lower partition first among equals.
type Heads = BinaryHeap<Reverse<(u64, usize)>>;

/// Takes one after the other from the queue whose next is the oldest, until all are empty. Where a clock was set
/// back, times decrease within a queue, so sorting what they hold would not do.
fn take_merged<Q>(
    queues: &mut [Q],
    next_time: impl Fn(&Q) -> Option<u64>,
    mut take: impl FnMut(&mut Q) -> Outcome,
) -> Outcome {
    let times = queues.iter().enumerate();
    let mut heads: Heads =
        times.filter_map(|(at, queue)| Some(Reverse((next_time(queue)?, at)))).collect();
    while let Some(Reverse((_, at))) = heads.pop() {
        let Some(queue) = queues.get_mut(at) else {
            unreachable!("a head is that of a queue");
        };
        take(queue)?;
        heads.extend(next_time(queue).map(|time| Reverse((time, at))));
    }
    Ok(())
}

/// Which part of the merged sequence is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ShownPart {
    skip: u64,
    count: Option<u64>,
}

/// Where each partition begins, and which part of the merged sequence is shown.
fn plan(range: Range, extents: &[Extent]) -> (Vec<LaneStart>, ShownPart) {
    match range {
        Range::Newest(count) => {
            // The newest of all are among the newest of each; what is too many comes first.
            let kept = |extent: &Extent| count.min(extent.end - extent.start);
            let total: u64 = extents.iter().map(kept).sum();
            let starts = extents.iter().map(|extent| LaneStart::Offset(extent.end - kept(extent)));
            (starts.collect(), ShownPart { skip: total.saturating_sub(count), count: None })
        }
        Range::From { from, count } => {
            let start = |extent: &Extent| match from {
                TailFrom::Start => LaneStart::Offset(extent.start),
                TailFrom::End => LaneStart::Offset(extent.end),
                TailFrom::Time(time) => LaneStart::Time(time),
            };
            let window = ShownPart { skip: 0, count: count.map(NonZeroU64::get) };
            (extents.iter().map(start).collect(), window)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    #[test]
    fn the_oldest_comes_first_and_each_partition_in_its_own_order() {
        // The clock of the first was 90 ahead for two messages.
        let mut queues = [VecDeque::from([1, 92, 93, 4, 7]), VecDeque::from([2, 3, 5, 6])];
        let mut taken = Vec::new();
        take_merged(
            &mut queues,
            |queue| queue.front().copied(),
            |queue| {
                taken.extend(queue.pop_front());
                Ok(())
            },
        )
        .unwrap();
        assert_eq!(taken, [1, 2, 3, 5, 6, 92, 93, 4, 7]);
    }

    #[test]
    fn the_newest_are_taken_from_each_partition_and_the_surplus_is_skipped() {
        let extents = [
            Extent { start: 0, end: 100 },
            Extent { start: 7, end: 10 },
            Extent { start: 0, end: 0 },
        ];
        let (starts, window) = plan(Range::Newest(10), &extents);
        assert_eq!(starts, [LaneStart::Offset(90), LaneStart::Offset(7), LaneStart::Offset(0)]);
        assert_eq!(window, ShownPart { skip: 3, count: None });
    }

    #[test]
    fn a_place_to_begin_is_kept_and_the_count_limits() {
        let extents = [Extent { start: 5, end: 9 }];
        let count = NonZeroU64::new(2);
        for (from, start) in [
            (TailFrom::Start, LaneStart::Offset(5)),
            (TailFrom::End, LaneStart::Offset(9)),
            (TailFrom::Time(77), LaneStart::Time(77)),
        ] {
            let (starts, window) = plan(Range::From { from, count }, &extents);
            assert_eq!(starts, [start]);
            assert_eq!(window, ShownPart { skip: 0, count: Some(2) });
        }
    }
}
