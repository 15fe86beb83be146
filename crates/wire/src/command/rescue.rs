//! Partitions that take no writes: try again at once, and tell what keeps them from it.

use crate::id::{Offset, PartitionId};
use crate::identifier::Identifier;
use crate::layout::{byte_enum, command, layout};
use crate::permission::{Action, Right};
use serde::Serialize;

command! {
    /// Has the server try at once to take writes again in a partition that takes none since a sync failed or its log
    /// could not be opened, and tells what came of it. The server tries by itself as well, ever more rarely; this is
    /// for whoever has just made room.
    pub struct RescuePartition -> PartitionRescue {
        /// The stream.
        stream: Identifier,
        /// The topic.
        topic: Identifier,
        /// The partition.
        partition_id: PartitionId,
    }
    right: |this| Right::topic(Action::ManageTopic, &this.stream, &this.topic);
}

byte_enum! {
    /// What became of a partition that was to take writes again.
    pub enum RescueOutcome {
        /// It took writes all along.
        Healthy = 1 "healthy",
        /// It takes writes again.
        Rescued = 2 "rescued",
        /// It could not yet; the server goes on trying.
        Waiting = 3 "waiting",
        /// The server does not try any more until it is started again.
        Hopeless = 4 "hopeless",
    }
}

layout! {
    /// What came of a try to take writes again in a partition.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct PartitionRescue {
        /// How it came out.
        outcome: RescueOutcome,
        /// The offset of the next message: everything in front of it is kept.
        end: Offset,
        /// In how many microseconds the server tries again by itself; 0 where it does not.
        next_try: u64,
        /// What was in the way; empty where nothing was.
        cause: String,
    }
    json;
}
