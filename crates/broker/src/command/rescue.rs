//! Trying at once to take writes again in a partition.
//!
//! The work is the checkpoint worker's, as for the tries the server makes by itself; a request only has it done now,
//! and looks now and then whether it is. Meanwhile it holds no thread.

use std::sync::Arc;
use std::time::Duration;

use galgo_wire::command::{Command as _, PartitionRescue, RescueOutcome, RescuePartition};
use galgo_wire::error_code::ErrorCode;

use super::payload;
use crate::broker::Broker;
use crate::outcome::{Job, Outcome, Reply, Work};
use crate::partition::{Partition, RescueStanding};
use crate::session::Session;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// How often it is looked before the answer is that it is not done yet; by time 5 s.
const LOOKS_MAX: u32 = 100;
const _: () = assert!(
    PAUSE.as_millis() * (LOOKS_MAX as u128) <= 5_000,
    "whoever asks for a rescue is answered within five seconds"
);

/// Has a partition that takes no writes tried at once, and tells what came of it.
pub(super) fn partition(broker: &Broker, session: &Session, command: RescuePartition) -> Outcome {
    match find(broker, session, &command) {
        Ok(partition) if partition.fenced().is_none() => {
            Outcome::done(answer(&partition, RescueOutcome::Healthy, None))
        }
        Ok(partition) => {
            // Before it is asked for: that there are more tells of a try that was made since.
            let failures = partition.rescue_standing(broker.clock.monotonic_us()).failures;
            Outcome::Offload(Watch { command, failures, looks: 0 }.job())
        }
        Err(code) => Outcome::done(Reply::Error(code)),
    }
}

/// The partition, for whoever may manage the topic.
fn find(
    broker: &Broker,
    session: &Session,
    command: &RescuePartition,
) -> Result<Arc<Partition>, ErrorCode> {
    let catalog = broker.catalog();
    let found = catalog.topic_of_right(session.caller().ok(), &command.right())?;
    found.open.partition(command.partition_id).map(Arc::clone)
}

/// A try that somebody waits for. Each look finds the partition anew: it may be purged or deleted meanwhile, and who waits
/// may have lost the right to.
struct Watch {
    command: RescuePartition,
    /// How many had failed before.
    failures: u64,
    looks: u32,
}

impl Watch {
    fn job(self) -> Job {
        Job::Sync(Work::new(move |broker, session| self.look(broker, session)))
    }

    fn look(mut self, broker: &Broker, session: &Session) -> Outcome {
        let partition = match find(broker, session, &self.command) {
            Ok(partition) => partition,
            Err(code) => return Outcome::done(Reply::Error(code)),
        };
        let partition = &partition;
        if partition.fenced().is_none() {
            return Outcome::done(answer(partition, RescueOutcome::Rescued, None));
        }
        let now_us = broker.clock.monotonic_us();
        let standing = partition.rescue_standing(now_us);
        if standing.is_hopeless {
            return Outcome::done(answer(partition, RescueOutcome::Hopeless, Some(standing)));
        }
        // It was tried since it was asked for: the next try comes by itself, and nobody is to wait
        // for that.
        if standing.failures != self.failures || self.looks == LOOKS_MAX {
            return Outcome::done(answer(partition, RescueOutcome::Waiting, Some(standing)));
        }
        // Asked for once, and once more when the marker is settled, which the first round does not wait for.
        if self.looks == 0 || partition.lacks_only_a_checkpoint() {
            partition.hasten_rescue();
            if partition.rescue_is_due(now_us) {
                broker.shards().ask_rescue(vec![Arc::clone(partition)]);
            }
        }
        self.looks += 1;
        Outcome::Delay(PAUSE, self.job())
    }
}

fn answer(
    partition: &Partition,
    outcome: RescueOutcome,
    standing: Option<RescueStanding>,
) -> Reply {
    let (next_try, cause) = match standing {
        Some(standing) if standing.is_hopeless => (0, standing.cause),
        Some(standing) => (standing.next_try_us, standing.cause),
        None => (0, String::new()),
    };
    payload(&PartitionRescue { outcome, end: partition.high_watermark(), next_try, cause })
}
