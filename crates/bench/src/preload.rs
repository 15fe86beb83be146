//! What consumers are to read is written before they begin.

use std::time::Duration;

use crate::channel::{AnswerPayload, Channel};
use crate::course::Course;
use crate::engine::Engine;
use crate::error::Outcome;
use crate::frames::{Load, PreparedFrames};
use crate::observer::Observer;
use crate::plan::{IN_FLIGHT_MAX, LoadKind, REQUEST_BYTES_MAX, Spot};
use crate::show::measure;

/// Requests in flight while messages are written that are to be read.
const IN_FLIGHT: usize = 4;

/// About the size of a request that writes them.
const REQUEST_BYTES: f64 = 1e6;
const REQUEST_MESSAGES: f64 = 1000.0;
const _: () = assert!(
    IN_FLIGHT <= IN_FLIGHT_MAX as usize && REQUEST_BYTES < REQUEST_BYTES_MAX as f64,
    "what is read is written by requests as any producer sends them"
);

impl Engine<'_> {
    /// Writes what consumers are to read, and returns the number of messages; a bare program has it anyway.
    pub(crate) fn preload(&self, observer: &dyn Observer) -> Outcome<u64> {
        let plan = self.plan;
        if plan.kind != LoadKind::Consume {
            return Ok(0);
        }
        let mean = plan.sizes.mean().max(1.0);
        let fitting = (REQUEST_BYTES / mean).clamp(1.0, REQUEST_MESSAGES) as u64;
        let wanted = plan.preload_per_partition();
        // Whole polls, so that each finds as much as it asks for.
        let polls = (fitting.min(wanted) / u64::from(plan.poll_count())).max(1) as u32;
        let batch = plan.poll_count() * polls;
        let requests = wanted.div_ceil(batch.into());
        let total = requests * u64::from(batch) * self.spots.len() as u64;
        if self.host.ranges_of().is_some() {
            return Ok(total);
        }
        observer.remark(&format!("writing {} to be read", measure::counted(total, "message")));
        let course = Course::begin(plan, self.stop.clone());
        let mut channel = self.host.open(&course)?;
        for spot in &self.spots {
            let load = Load { batch, is_stamped: false, ..Load::of(plan, spot.partition) };
            self.fill(*spot, load, requests, channel.as_mut(), &course)?;
        }
        Ok(total)
    }

    /// Writes so many requests to one partition.
    fn fill(
        &self,
        spot: Spot,
        load: Load,
        requests: u64,
        channel: &mut dyn Channel,
        course: &Course,
    ) -> Outcome {
        let ahead = if self.host.pipelines() { IN_FLIGHT } else { 1 };
        let mut frames = PreparedFrames::build(self.names, &[spot], load)?;
        let mut waiting = 0;
        for _ in 0..requests {
            self.stop.check()?;
            let Some((frame, _)) = frames.next(Duration::ZERO) else {
                unreachable!("a place has a request to fill it with");
            };
            channel.send(frame, course)?;
            waiting += 1;
            if waiting >= ahead {
                channel.answer(None, AnswerPayload::Discard, course)?;
                waiting -= 1;
            }
        }
        for _ in 0..waiting {
            channel.answer(None, AnswerPayload::Discard, course)?;
        }
        Ok(())
    }
}
