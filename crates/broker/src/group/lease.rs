//! Memberships that end when their member falls silent, and what a member is told that it holds.
//!
//! INV-HOLD: while a partition is held under one number, nobody else is given messages of it that its holder
//! has and has not committed.

use galgo_wire::command::{GroupHold, GroupHolds};
use galgo_wire::id::PartitionId;

use super::Moment;
use super::handover::{Handover, PartitionSlot};

/// The shortest silence that ends a membership; less than a busy network may cause would end good ones.
const SILENCE_US_MIN: u64 = 1_000_000;

/// The longest.
const SILENCE_US_MAX: u64 = 3_600_000_000;

const _: () = assert!(SILENCE_US_MIN < SILENCE_US_MAX, "there are lengths to choose from");

/// A membership, as its member asked for it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lease {
    /// Its number; 0 while the member has not asked for it.
    number: u64,
    /// How long a silence ends it.
    silence_us: Option<u64>,
    /// When the member was last heard of in the group.
    heard_us: u64,
    /// Until when what it holds was said to be safe: no later silence ends the membership before.
    promised_us: u64,
}

/// On which terms somebody is a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTerms {
    /// The number of the membership, if it has none yet.
    pub number: u64,
    /// After how long a silence it is to end, in microseconds; 0 for never.
    pub session_us: u64,
    /// Whatever else may end it does so no sooner than this from now, in microseconds.
    pub pings_us: u64,
}

impl Lease {
    /// Notes a sign of life.
    pub(super) fn heard(&mut self, at: Moment) {
        self.heard_us = at.now_us;
    }

    /// Takes in the terms its member asks for; tells what it holds, which is `held`.
    pub(super) fn renew<'a>(
        &mut self,
        terms: LeaseTerms,
        at: Moment,
        held: impl Iterator<Item = (PartitionId, &'a PartitionSlot)>,
    ) -> GroupHolds {
        // Given once: whoever asks again is told the membership it has.
        if self.number == 0 {
            self.number = terms.number;
        }
        let bounded = terms.session_us.clamp(SILENCE_US_MIN, SILENCE_US_MAX);
        self.silence_us = (terms.session_us > 0).then_some(bounded);
        self.heard(at);
        // Whichever silence ends it first.
        let silence_max_us = self.silence_us.map_or(terms.pings_us, |us| us.min(terms.pings_us));
        let holds = held.map(|(partition_id, slot)| {
            let due_us = slot.handover.map_or(at.due_us, Handover::due_us);
            let safe = due_us.saturating_sub(at.now_us).min(silence_max_us);
            GroupHold { partition_id, hold: slot.hold, safe }
        });
        let holds: Vec<_> = holds.collect();
        // INV-HOLD: what was said to be safe is kept, also where another program on the same connection asks for a
        // shorter silence later.
        let safe = holds.iter().map(|hold| hold.safe).max().unwrap_or(0);
        self.promised_us = self.promised_us.max(at.now_us.saturating_add(safe));
        GroupHolds { membership: self.number, session: self.silence_us.unwrap_or(0), holds }
    }

    /// Whether its member gave no sign of life for as long as ends it, pings among them.
    pub(super) fn is_over(&self, pinged_us: u64, at: Moment) -> bool {
        // A ping counts in every group that the connection is in.
        let silent_us = at.now_us.saturating_sub(self.heard_us.max(pinged_us));
        at.now_us > self.promised_us
            && self.silence_us.is_some_and(|silence_us| silent_us > silence_us)
    }
}
