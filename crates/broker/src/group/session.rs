//! Memberships that end when their member falls silent, and what a member is told that it holds.
//!
//! INV-HOLD: while a partition is held under one number, nobody else is given messages of it that its holder
//! has and has not committed.

use galgo_wire::command::{GroupHold, GroupHolds};
use galgo_wire::id::PartitionId;

use super::handover::Handover;
use super::{Group, MemberKey, Moment};

/// The shortest silence that ends a membership; less than a busy network may cause would end good ones.
const SESSION_US_MIN: u64 = 1_000_000;

/// The longest.
const SESSION_US_MAX: u64 = 3_600_000_000;

/// A membership, as its member asked for it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Session {
    /// Its number; 0 while the member has not asked for it.
    number: u64,
    /// How long a silence ends it.
    silence_us: Option<u64>,
    /// When the member was last heard of in the group.
    pub(super) heard_us: u64,
    /// Until when what it holds was said to be safe: no later silence ends the membership before.
    promised_us: u64,
}

impl Group {
    /// Takes in that a member is there and wants its membership to end after so long a silence, 0 for never;
    /// tells what it holds. `number` becomes that of the membership if it has none yet; whatever else
    /// may end it does so no sooner than `pings_us` from now.
    pub fn renew(
        &mut self,
        key: MemberKey,
        (number, session_us, pings_us): (u64, u64, u64),
        at: Moment,
    ) -> Option<GroupHolds> {
        self.expire(at);
        let session = &mut self.members.get_mut(&key)?.session;
        if session.number == 0 {
            session.number = number;
        }
        let bounded = session_us.clamp(SESSION_US_MIN, SESSION_US_MAX);
        session.silence_us = (session_us > 0).then_some(bounded);
        session.heard_us = at.now_us;
        let Session { number, silence_us, .. } = *session;
        let held = self.slots.iter().zip(0..).filter(|(slot, _)| slot.reader() == Some(key));
        let silence_max_us = silence_us.unwrap_or(u64::MAX).min(pings_us);
        let holds = held.map(|(slot, partition)| {
            let due_us = slot.handover.map_or(at.due_us, Handover::due_us);
            let safe = due_us.saturating_sub(at.now_us).min(silence_max_us);
            GroupHold { partition_id: PartitionId::new(partition), hold: slot.hold, safe }
        });
        let holds: Vec<_> = holds.collect();
        let safe = holds.iter().map(|hold| hold.safe).max().unwrap_or(0);
        if let Some(member) = self.members.get_mut(&key) {
            // Another program on the same connection may have asked for longer.
            let promised_us = at.now_us.saturating_add(safe);
            member.session.promised_us = member.session.promised_us.max(promised_us);
        }
        Some(GroupHolds { membership: number, session: silence_us.unwrap_or(0), holds })
    }

    /// Whether a member gave no sign of life for as long as ends its membership, pings among them.
    #[must_use]
    pub fn is_hung(&self, key: MemberKey, pinged_us: u64, at: Moment) -> bool {
        let Some(member) = self.members.get(&key) else { return false };
        let silent_us = at.now_us.saturating_sub(member.session.heard_us.max(pinged_us));
        at.now_us > member.session.promised_us
            && member.session.silence_us.is_some_and(|silence_us| silent_us > silence_us)
    }
}
