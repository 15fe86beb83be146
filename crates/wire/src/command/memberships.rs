//! Memberships of consumer groups that end when a member falls silent, and what a member holds.
//!
//! Part of INV-HOLD: while a member holds a partition under one number, no other member is given messages of it that
//! this one has and has not committed.

use crate::id::PartitionId;
use crate::identifier::Identifier;
use crate::layout::{command, layout};
use crate::permission::{Action, Right};

command! {
    /// Makes the caller a member of a group for as long as it gives a sign of life in time, or renews its
    /// membership.
    pub struct JoinGroupWith -> GroupHolds {
        /// The stream.
        stream: Identifier,
        /// The topic.
        topic: Identifier,
        /// The group.
        group: Identifier,
        /// After how long a silence the membership ends, in microseconds; 0 for never.
        session: u64,
        /// 0; kept for what may come.
        reserved: u64,
    }
    right: |this| Right::topic(Action::PollMessages, &this.stream, &this.topic);
}

layout! {
    /// What a member of a group holds.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct GroupHolds {
        /// The number of the membership, never used again while the server runs.
        membership: u64,
        /// After how long a silence the membership ends, in microseconds; 0 for never.
        session: u64,
        /// The partitions whose messages it may have, in order.
        holds: Vec<GroupHold>,
    }
}

layout! {
    /// A partition that a member of a group holds.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct GroupHold {
        /// The partition.
        partition_id: PartitionId,
        /// Another number when somebody else may have had it in between.
        hold: u64,
        /// How long nobody else gets it, in microseconds, unless the member commits all it got, or leaves.
        safe: u64,
    }
}
