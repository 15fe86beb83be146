//! The state of one partition in a group, and how it passes from one member to another.
//!
//! A partition whose messages its reader has not committed is not simply given away. After a join the
//! old owner keeps it until it has committed (*revoked*). After anything else, when the lists are made
//! anew, the new owner has it in its list at once and waits until the old one has committed (*held*).

use galgo_wire::id::{Offset, PartitionId};

use super::{Group, MemberKey, Moment};

/// One partition of the group.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// Who has it in its list.
    pub(super) owner: Option<MemberKey>,
    /// Grows whenever turns given before must not deliver any more.
    pub(super) epoch: u64,
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

impl Slot {
    /// Who got the messages that may be uncommitted.
    pub(super) fn reader(&self) -> Option<MemberKey> {
        match self.handover {
            Some(Handover::Held { from, .. }) => Some(from),
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
        for number in 0..self.slots.len() {
            let slot = self.slots.get(number).and_then(|slot| slot.handover);
            let Some(handover) = slot else { continue };
            if handover.due_us() > at.now_us {
                self.next_due_us = self.next_due_us.min(handover.due_us());
            } else if let Ok(number) = u32::try_from(number) {
                self.hand_over(PartitionId::new(number), at);
            }
        }
    }

    /// Ends the hand-over of a partition if its reader has committed all it got.
    pub(super) fn settle(&mut self, partition: PartitionId, at: Moment) {
        let ends = |slot: &Slot| slot.handover.is_some() && slot.is_settled();
        if self.slot(partition).is_some_and(ends) {
            self.hand_over(partition, at);
        }
    }

    /// Begins the hand-over of a partition after a join.
    pub(super) fn revoke(&mut self, partition: PartitionId, to: MemberKey, at: Moment) {
        if let Some(slot) = self.slot_mut(partition) {
            slot.handover = Some(Handover::Revoked { to, due_us: at.due_us });
            self.next_due_us = self.next_due_us.min(at.due_us);
            self.shifts += 1;
            self.settle(partition, at);
        }
    }

    /// Ends the hand-over of a partition, if there is one.
    fn hand_over(&mut self, partition: PartitionId, at: Moment) {
        self.shifts += 1;
        let Some(slot) = self.slot_mut(partition) else { return };
        match slot.handover {
            None => {}
            Some(Handover::Revoked { to, .. }) => {
                let from = slot.owner;
                slot.give(Some(to));
                if let Some(member) = from.and_then(|from| self.members.get_mut(&from)) {
                    member.partitions.retain(|listed| *listed != partition);
                }
                if let Some(member) = self.members.get_mut(&to) {
                    member.partitions.push(partition);
                }
            }
            Some(Handover::Held { .. }) => {
                let owner = slot.owner;
                slot.give(owner);
                // While it was held, it could not go to a member that came and found nothing else.
                self.share_out(at);
            }
        }
    }
}
