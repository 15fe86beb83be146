//! The state of one partition in a group, and how it passes from one member to another.
//!
//! A partition whose messages its reader has not committed is not simply given away. After a join the
//! old owner keeps it until it has committed (*revoked*). After anything else, when the lists are made
//! anew, the new owner has it in its list at once and waits until the old one has committed (*held*).

use galgo_wire::id::{Offset, PartitionId};

use super::{Group, MemberKey, Moment};

/// One partition of the group.
#[derive(Debug, Default)]
pub(super) struct PartitionSlot {
    /// Who has it in its list.
    pub(super) owner: Option<MemberKey>,
    /// Grows whenever turns given before must not deliver any more.
    pub(super) epoch: u64,
    /// Grows whenever the reader is another one, or what it read is no longer there.
    pub(super) hold: u64,
    /// The last offset delivered to the reader.
    pub(super) polled: Option<Offset>,
    /// The last offset stored by the reader.
    pub(super) committed: Option<Offset>,
    pub(super) handover: Option<Handover>,
}

/// A partition on its way from one member to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handover {
    /// The owner is to give it to `to` once it has committed.
    Revoked { to: MemberKey, due_us: u64 },
    /// The owner is to poll it once `from` has committed.
    Held { from: MemberKey, due_us: u64 },
}

impl Handover {
    pub(super) fn due_us(self) -> u64 {
        match self {
            Self::Revoked { due_us, .. } | Self::Held { due_us, .. } => due_us,
        }
    }
}

impl PartitionSlot {
    /// Who got the messages that may be uncommitted.
    pub(super) fn reader(&self) -> Option<MemberKey> {
        match self.handover {
            Some(Handover::Held { from, .. }) => Some(from),
            _ => self.owner,
        }
    }

    /// Who has it in its list once its hand-over, if there is one, is done.
    pub(super) fn owner_to_be(&self) -> Option<MemberKey> {
        match self.handover {
            Some(Handover::Revoked { to, .. }) => Some(to),
            _ => self.owner,
        }
    }

    /// Whether the reader has committed all it got.
    pub(super) fn is_settled(&self) -> bool {
        self.polled.is_none_or(|polled| self.committed.is_some_and(|stored| stored >= polled))
    }

    /// Whether `key` may name the partition in a poll.
    pub(super) fn may_poll(&self, key: MemberKey) -> bool {
        self.owner == Some(key) && !matches!(self.handover, Some(Handover::Held { .. }))
    }

    /// Whether its owner gets it in a poll that names none.
    pub(super) fn takes_turns(&self) -> bool {
        self.handover.is_none()
    }

    /// Whether `key` may store its offset.
    pub(super) fn may_commit(&self, key: MemberKey) -> bool {
        self.owner == Some(key) || self.reader() == Some(key)
    }

    /// Forgets what was read; turns given before are void.
    pub(super) fn empty(&mut self) {
        self.epoch += 1;
        self.hold += 1;
        self.polled = None;
        self.committed = None;
    }

    /// Gives it to a member who may read at once.
    pub(super) fn give(&mut self, owner: Option<MemberKey>) {
        self.empty();
        self.owner = owner;
        self.handover = None;
    }
}

impl Group {
    /// Whether any partition is being handed over; may be true when one was a moment ago.
    #[must_use]
    pub fn has_handovers(&self) -> bool {
        self.next_due_us < u64::MAX
    }

    /// Ends the hand-overs that are due.
    pub fn expire(&mut self, at: Moment) {
        if at.now_us < self.next_due_us {
            return;
        }
        self.next_due_us = u64::MAX;
        let mut any_over = false;
        for number in (0..self.slots.len()).map_while(|number| u32::try_from(number).ok()) {
            let partition = PartitionId::new(number);
            let handover = self.slot(partition).and_then(|slot| slot.handover);
            let Some(handover) = handover else { continue };
            if handover.due_us() > at.now_us {
                self.next_due_us = self.next_due_us.min(handover.due_us());
            } else {
                any_over = true;
                self.hand_over(partition);
            }
        }
        if any_over {
            self.level(at);
        }
    }

    /// Ends the hand-over of a partition if its reader has committed all it got.
    pub(super) fn settle(&mut self, partition: PartitionId, at: Moment) {
        if self.hand_over_settled(partition) {
            self.level(at);
        }
    }

    /// Has a partition go to another member than it would have gone to.
    pub(super) fn redirect(&mut self, partition: PartitionId, to: MemberKey, at: Moment) {
        self.shifts += 1;
        let Some(slot) = self.slot_mut(partition) else { return };
        match slot.handover {
            None => {
                slot.handover = Some(Handover::Revoked { to, due_us: at.due_us });
                self.next_due_us = self.next_due_us.min(at.due_us);
                self.hand_over_settled(partition);
            }
            Some(Handover::Revoked { .. }) if slot.owner == Some(to) => slot.handover = None,
            Some(Handover::Revoked { due_us, .. }) => {
                slot.handover = Some(Handover::Revoked { to, due_us });
            }
            Some(Handover::Held { from, .. }) => {
                // Whose it was has not polled it yet.
                slot.epoch += 1;
                let before = slot.owner.replace(to);
                if from == to {
                    slot.handover = None;
                }
                self.relist(partition, before, to);
            }
        }
    }

    fn hand_over_settled(&mut self, partition: PartitionId) -> bool {
        let ends = |slot: &PartitionSlot| slot.handover.is_some() && slot.is_settled();
        let ends = self.slot(partition).is_some_and(ends);
        if ends {
            self.hand_over(partition);
        }
        ends
    }

    /// Ends the hand-over of a partition, if there is one. What could not move while it was under way may
    /// move now.
    fn hand_over(&mut self, partition: PartitionId) {
        self.shifts += 1;
        let Some(slot) = self.slot_mut(partition) else { return };
        match slot.handover {
            None => {}
            Some(Handover::Revoked { to, .. }) => {
                let from = slot.owner;
                slot.give(Some(to));
                self.relist(partition, from, to);
            }
            Some(Handover::Held { .. }) => {
                let owner = slot.owner;
                slot.give(owner);
            }
        }
    }

    fn relist(&mut self, partition: PartitionId, from: Option<MemberKey>, to: MemberKey) {
        if let Some(member) = from.and_then(|from| self.members.get_mut(&from)) {
            member.partitions.retain(|listed| *listed != partition);
        }
        if let Some(member) = self.members.get_mut(&to) {
            member.partitions.push(partition);
        }
    }
}
