//! Copies a topic from one server to another, partition by partition.
//!
//! INV-ONE-TO-ONE: partition n of the target holds the messages of partition n of the source, in
//! their order, each once, with the place it came from in its headers where these have room for it. What a
//! purge of the source begins anew comes behind what was copied before.
//! Where a copy goes on is read from the last message of the target, by the place it tells or
//! by what it holds, never from memory or a file, so that a copy that was cut short neither repeats nor
//! skips.
//! A few batches of each of a few partitions are in memory, whatever the topic's size.

pub(crate) mod lane;
pub(crate) mod origin;
pub(crate) mod outage;
pub(crate) mod place;
pub(crate) mod report;
pub(crate) mod side;
pub(crate) mod target;
mod trace;

use std::cell::RefCell;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::failure::Outcome;
use crate::mirror::lane::{MirrorLane, Options};
use crate::mirror::outage::{Outage, Waits};
use crate::mirror::place::{CopyPlace, KnownCopy};
use crate::mirror::report::PartitionReport;
use crate::mirror::side::Side;
use crate::output::Output;
use crate::progress::Progress;

/// Partitions copied at the same time, unless the copy follows: then all are.
const LANES_MAX: usize = 8;
const _: () = assert!(
    0 < LANES_MAX && LANES_MAX * 2 * lane::BATCH_BYTES <= 64 << 20,
    "what is under way of all partitions that are copied at once is little"
);

/// A copy under way.
#[derive(Debug)]
pub(crate) struct Mirror {
    source: Side,
    target: Side,
    options: Options,
    lanes: Vec<RefCell<PartitionReport>>,
    total: u64,
    outage: Outage,
}

impl Mirror {
    /// Finds where every partition goes on; the target exists and has as many partitions.
    pub(crate) async fn plan(
        source: Side,
        target: Side,
        options: Options,
        output: Output,
    ) -> Outcome<Self> {
        let extents = source.extents().await?;
        let (mut lanes, mut total) = (Vec::new(), 0);
        for (partition, extent) in (0..).zip(extents) {
            let known = KnownCopy { begin_anew: options.begin_anew, ..KnownCopy::default() };
            let place = CopyPlace::find(&source, &target, partition, known).await?;
            total += extent.end.saturating_sub(place.next.max(extent.start));
            lanes.push(RefCell::new(PartitionReport::new(partition, extent, &place)));
        }
        Ok(Self { source, target, options, lanes, total, outage: Outage::new(output) })
    }

    /// Messages there were to copy when the copy was planned.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Copies; without `follow` it ends where the partitions ended when it came to them.
    pub(crate) async fn run(&self, progress: &Progress) -> Outcome {
        let at_once = if self.options.follow { self.lanes.len() } else { LANES_MAX };
        stream::iter(&self.lanes)
            .map(|report| async move {
                let lane = MirrorLane {
                    source: &self.source,
                    target: &self.target,
                    options: self.options,
                    report,
                    progress,
                    outage: &self.outage,
                    waits: Waits::default(),
                };
                lane.copy().await
            })
            .buffer_unordered(at_once.max(1))
            .try_collect::<()>()
            .await
    }

    /// Compares what the target holds with what was copied to it.
    pub(crate) async fn verify(&self) -> Outcome {
        for report in &self.lanes {
            let report = report.borrow().clone();
            let known = KnownCopy { life: report.life, begin_anew: report.anew > 0 };
            let place =
                CopyPlace::find(&self.source, &self.target, report.partition, known).await?;
            report.verify(&place, &self.target.path)?;
        }
        Ok(())
    }

    /// What was done so far.
    pub(crate) fn reports(&self) -> Vec<PartitionReport> {
        self.lanes.iter().map(|report| report.borrow().clone()).collect()
    }
}
