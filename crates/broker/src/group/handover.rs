//! The state of one partition in a group, and how it passes from one member to another.
//!
//! A partition whose messages its reader has not committed is not simply given away. After a join the
//! old owner keeps it until it has committed (*revoked*). After anything else, when the lists are made
//! anew, the new owner has it in its list at once and waits until the old one has committed (*held*).

use galgo_wire::id::{Offset, PartitionId};

use super::{MemberKey, Moment};

/// The partitions of a group, one slot for each of the topic.
#[derive(Debug)]
pub(super) struct GroupSlots {
    slots: Vec<PartitionSlot>,
    /// The epoch of new slots: above those of removed ones, whose turns are never good again.
    first_epoch: u64,
    /// No hand-over is due before.
    next_due_us: u64,
}

/// What a change of a slot means for the lists of the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Relisted {
    pub(super) from: Option<MemberKey>,
    pub(super) to: MemberKey,
}

/// Whose a partition is when all lists are made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Assigned {
    pub(super) owner: Option<MemberKey>,
    /// A member that got messages of it and has not committed them.
    pub(super) reader: Option<MemberKey>,
}

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

    /// Whether nothing has to be waited for any more that its hand-over waits for.
    pub(super) fn may_end_handover(&self) -> bool {
        self.handover.is_some() && self.is_settled()
    }

    /// Forgets what was read; turns given before are void.
    pub(super) fn empty(&mut self) {
        // A poll that is under way with a turn of before is to deliver nothing: it would be read by two.
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

    /// Makes `owner` the owner of what another may still read; a turn of whoever was is void.
    fn assign(&mut self, owner: Option<MemberKey>) {
        if self.owner != owner {
            self.epoch += 1;
        }
        self.owner = owner;
    }

    /// Ends the hand-over, if there is one; tells what that means for the lists.
    pub(super) fn hand_over(&mut self) -> Option<Relisted> {
        let (from, Some(handover)) = (self.owner, self.handover) else {
            unreachable!("INV-GROUP-BOUND: a hand-over that ends is under way")
        };
        match handover {
            Handover::Revoked { to, .. } => {
                self.give(Some(to));
                Some(Relisted { from, to })
            }
            // It is in the list of its new owner already.
            Handover::Held { .. } => {
                self.give(from);
                None
            }
        }
    }
}

impl GroupSlots {
    pub(super) fn new(partitions: usize) -> Self {
        let slots = std::iter::repeat_with(PartitionSlot::default).take(partitions).collect();
        Self { slots, first_epoch: 0, next_due_us: u64::MAX }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &PartitionSlot> {
        self.slots.iter()
    }

    pub(super) fn get(&self, partition: PartitionId) -> Option<&PartitionSlot> {
        self.slots.get(partition.get() as usize)
    }

    pub(super) fn get_mut(&mut self, partition: PartitionId) -> Option<&mut PartitionSlot> {
        self.slots.get_mut(partition.get() as usize)
    }

    /// No hand-over is due before.
    pub(super) fn next_due_us(&self) -> u64 {
        self.next_due_us
    }

    /// The topic has so many partitions now.
    pub(super) fn resize(&mut self, partitions: usize) {
        let removed = self.slots.drain(partitions.min(self.slots.len())..);
        // A turn or a hold of a partition that is removed, and made again, is not to be good for the new one.
        let behind = removed.map(|slot| slot.epoch + 1).max();
        self.first_epoch = self.first_epoch.max(behind.unwrap_or(0));
        let epoch = self.first_epoch;
        self.slots.resize_with(partitions, || PartitionSlot {
            epoch,
            hold: epoch,
            ..PartitionSlot::default()
        });
    }

    /// The partitions of which `key` got messages that may be uncommitted, with their slots.
    pub(super) fn held_by(
        &self,
        key: MemberKey,
    ) -> impl Iterator<Item = (PartitionId, &PartitionSlot)> {
        let numbered = (0..).map(PartitionId::new).zip(&self.slots);
        numbered.filter(move |(_, slot)| slot.reader() == Some(key))
    }

    /// The partitions whose hand-overs are due; the caller ends them.
    pub(super) fn take_due(&mut self, now_us: u64) -> Vec<PartitionId> {
        // Looked at with every poll: nothing is searched before something can be due.
        if now_us < self.next_due_us {
            return Vec::new();
        }
        self.next_due_us = u64::MAX;
        let mut due = Vec::new();
        for (partition, slot) in (0..).map(PartitionId::new).zip(&self.slots) {
            let Some(handover) = slot.handover else { continue };
            if handover.due_us() > now_us {
                self.next_due_us = self.next_due_us.min(handover.due_us());
            } else {
                due.push(partition);
            }
        }
        due
    }

    /// Gives each partition the owner that `assigned` names. Ends hand-overs that a join began; whatever moves with
    /// messages that its reader has not committed is held until it has.
    pub(super) fn assign(
        &mut self,
        at: Moment,
        mut assigned: impl FnMut(PartitionId, &PartitionSlot) -> Assigned,
    ) {
        // Of those that stay it is found below; of those that end by this, nothing is due any more.
        self.next_due_us = u64::MAX;
        for (partition, slot) in (0..).map(PartitionId::new).zip(&mut self.slots) {
            let Assigned { owner, reader } = assigned(partition, slot);
            match reader {
                Some(from) if Some(from) != owner => {
                    // One that is under way keeps its time: lists that are made anew again and again would put off
                    // its end for ever (INV-GROUP-BOUND).
                    let due_us = slot.handover.map_or(at.due_us, Handover::due_us);
                    slot.assign(owner);
                    slot.handover = Some(Handover::Held { from, due_us });
                    self.next_due_us = self.next_due_us.min(due_us);
                }
                // Its reader keeps it, so there is nobody to wait for.
                Some(_) => {
                    slot.assign(owner);
                    slot.handover = None;
                }
                // It stays where it is, and so do the turns that were given.
                None if slot.owner == owner && slot.reader() == owner => slot.handover = None,
                None => slot.give(owner),
            }
        }
    }

    /// Has a partition go to `to`, where it would have gone to somebody else.
    pub(super) fn redirect(
        &mut self,
        partition: PartitionId,
        to: MemberKey,
        at: Moment,
    ) -> Option<Relisted> {
        let Some(slot) = self.slots.get_mut(partition.get() as usize) else {
            unreachable!("INV-GROUP-OWNER: what a member gives is a partition of the group")
        };
        match slot.handover {
            None => {
                slot.handover = Some(Handover::Revoked { to, due_us: at.due_us });
                self.next_due_us = self.next_due_us.min(at.due_us);
            }
            // Back to whom it still is: the turns that were given for it are good as ever.
            Some(Handover::Revoked { .. }) if slot.owner == Some(to) => slot.handover = None,
            // To somebody else, in the time it has: see `assign`.
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
                return Some(Relisted { from: before, to });
            }
        }
        None
    }
}
