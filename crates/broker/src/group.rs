//! One consumer group: who is in it, who reads which partition, and how partitions change hands.
//!
//! Pure: time is handed in, and nothing here knows a partition's messages. Whoever polls asks for a
//! [`Turn`] first and hands it in when the messages are found; a partition that changed hands in
//! between makes the turn void, and nothing is delivered for it.
//!
//! INV-GROUP-OWNER: while a group has members, every partition is in the list of exactly one of them.
//! INV-GROUP-ONE-READER: messages of a partition go to one member only, until it has committed what it
//! got, is gone, or [`Moment::due_us`] of the hand-over has passed.
//! INV-GROUP-EVEN: once nothing is on its way, no member has two partitions more than another.
//! INV-GROUP-BOUND: a hand-over ends at its due time at the latest, whatever the members do.

mod assignment;
mod handover;
mod session;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use galgo_wire::command::GroupMember;
use galgo_wire::id::{Offset, PartitionId};

use handover::PartitionSlot;
use session::Session;

/// A connection that is or was a member; never used for another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberKey(u64);

impl MemberKey {
    /// The key with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// When something happens, by the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Now, in microseconds.
    pub now_us: u64,
    /// When a hand-over that begins now ends at the latest.
    pub due_us: u64,
}

/// A consumer group.
#[derive(Debug)]
pub struct Group {
    members: BTreeMap<MemberKey, Member>,
    /// One for each partition of the topic.
    slots: Vec<PartitionSlot>,
    /// The epoch of new slots: above those of removed ones, whose turns are never good again.
    first_epoch: u64,
    /// No hand-over is due before.
    next_due_us: u64,
    /// Grows whenever somebody may poll something else than before.
    shifts: u64,
}

#[derive(Debug)]
struct Member {
    id: u32,
    /// Its partitions, in its order.
    partitions: Vec<PartitionId>,
    /// Where in its list the next poll without a partition starts to look.
    cursor: usize,
    /// The partition of its last poll without one.
    current: Option<PartitionId>,
    session: Session,
}

/// The right to poll a partition once, good while the partition does not change hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The partition to poll.
    pub partition: PartitionId,
    epoch: u64,
}

/// Why a member may not do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The caller is not in the group.
    #[error("the caller is not a member of the group")]
    NotMember,
    /// The partition is somebody else's, or the member has none.
    #[error("the partition is not the caller's")]
    NotOwner,
}

impl Group {
    /// A group without members over so many partitions.
    #[must_use]
    pub fn new(partitions: usize) -> Self {
        let slots = std::iter::repeat_with(PartitionSlot::default).take(partitions).collect();
        Self { members: BTreeMap::new(), slots, first_epoch: 0, next_due_us: u64::MAX, shifts: 0 }
    }

    /// A number that grows whenever a member may poll something else than before.
    #[must_use]
    pub fn shifts(&self) -> u64 {
        self.shifts
    }

    /// What a member may poll at this moment without naming a partition.
    #[must_use]
    pub fn pollable(&self, key: MemberKey) -> Vec<PartitionId> {
        let listed = self.members.get(&key).map(|member| member.partitions.as_slice());
        let turns =
            |partition: &PartitionId| self.slot(*partition).is_some_and(PartitionSlot::takes_turns);
        listed.unwrap_or_default().iter().copied().filter(turns).collect()
    }

    /// How many members there are.
    #[must_use]
    pub fn members_count(&self) -> usize {
        self.members.len()
    }

    /// The members in the order of their ids, with their partitions.
    #[must_use]
    pub fn members(&self) -> Vec<GroupMember> {
        let members = self.in_order().into_iter().filter_map(|key| self.members.get(&key));
        members.map(|member| GroupMember::new(member.id, member.partitions.clone())).collect()
    }

    /// Adds a member; tells whether it was not one before.
    pub fn join(&mut self, key: MemberKey, at: Moment) -> bool {
        self.expire(at);
        if self.members.contains_key(&key) {
            return false;
        }
        let highest = self.members.values().map(|member| member.id).max();
        let id = highest.map_or(0, |id| id.saturating_add(1));
        let session = Session::default();
        let member = Member { id, partitions: Vec::new(), cursor: 0, current: None, session };
        self.members.insert(key, member);
        self.shifts += 1;
        self.level(at);
        true
    }

    /// Removes a member; tells whether it was one. Its partitions go to the others at once.
    pub fn leave(&mut self, key: MemberKey, at: Moment) -> bool {
        let left = self.members.remove(&key).is_some();
        if left {
            self.rebalance(at);
        }
        left
    }

    /// Removes all members and tells who they were.
    pub fn dissolve(&mut self, at: Moment) -> Vec<MemberKey> {
        let keys = std::mem::take(&mut self.members).into_keys().collect();
        self.rebalance(at);
        keys
    }

    /// Takes in that the topic has so many partitions now.
    pub fn resize(&mut self, partitions: usize, at: Moment) {
        if partitions == self.slots.len() {
            return;
        }
        let removed = self.slots.drain(partitions.min(self.slots.len())..);
        let behind = removed.map(|slot| slot.epoch + 1).max().unwrap_or_default();
        self.first_epoch = self.first_epoch.max(behind);
        let epoch = self.first_epoch;
        self.slots.resize_with(partitions, || PartitionSlot {
            epoch,
            hold: epoch,
            ..PartitionSlot::default()
        });
        self.rebalance(at);
    }

    /// Takes in that a partition was emptied: nothing polled of it is left to be committed, and no
    /// turn to poll what it held is good any more.
    pub fn reset(&mut self, partition: PartitionId, at: Moment) {
        if let Some(slot) = self.slot_mut(partition) {
            slot.empty();
            self.shifts += 1;
            self.settle(partition, at);
        }
    }

    /// The turn of a member's poll; `None` when the partition it wants is not its own, or it has none
    /// that it may poll now.
    ///
    /// Without a wanted partition, the member's partitions take turns.
    ///
    /// # Errors
    /// [`Refusal::NotMember`].
    pub fn turn(
        &mut self,
        key: MemberKey,
        wanted: Option<PartitionId>,
        at: Moment,
    ) -> Result<Option<Turn>, Refusal> {
        self.expire(at);
        let member = self.members.get_mut(&key).ok_or(Refusal::NotMember)?;
        member.session.heard_us = at.now_us;
        let slots = &self.slots;
        let slot = |partition: PartitionId| slots.get(partition.get() as usize);
        if let Some(partition) = wanted {
            let own = slot(partition).filter(|slot| slot.may_poll(key));
            return Ok(own.map(|slot| Turn { partition, epoch: slot.epoch }));
        }
        let (behind, from) = member.partitions.split_at(member.cursor.min(member.partitions.len()));
        let listed = (member.cursor..).zip(from).chain((0..).zip(behind));
        for (position, partition) in listed {
            let Some(slot) = slot(*partition).filter(|slot| slot.takes_turns()) else { continue };
            member.cursor = position + 1;
            member.current = Some(*partition);
            return Ok(Some(Turn { partition: *partition, epoch: slot.epoch }));
        }
        Ok(None)
    }

    /// Whether what was found in this turn may be delivered.
    #[must_use]
    pub fn is_good(&self, turn: Turn) -> bool {
        self.slot(turn.partition).is_some_and(|slot| slot.epoch == turn.epoch)
    }

    /// Notes that messages up to `last` are delivered; the turn is good.
    pub fn delivered(&mut self, turn: Turn, last: Offset) {
        if let Some(slot) = self.slot_mut(turn.partition) {
            slot.polled = slot.polled.max(Some(last));
        }
    }

    /// The partition a member may store or delete the offset of, while the turn is good. Without a wanted
    /// one, that of its last poll without one, or else that of its first.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn target(
        &mut self,
        key: MemberKey,
        wanted: Option<PartitionId>,
        at: Moment,
    ) -> Result<Turn, Refusal> {
        self.expire(at);
        let member = self.members.get_mut(&key).ok_or(Refusal::NotMember)?;
        member.session.heard_us = at.now_us;
        let chosen = wanted.or(member.current).or_else(|| member.partitions.first().copied());
        let chosen = chosen.ok_or(Refusal::NotOwner)?;
        let own = self.slot(chosen).filter(|slot| slot.may_commit(key));
        let own = own.ok_or(Refusal::NotOwner)?;
        Ok(Turn { partition: chosen, epoch: own.epoch })
    }

    /// Notes that a member stored the offset of a partition; ends a hand-over that waits for it.
    pub fn committed(
        &mut self,
        key: MemberKey,
        (partition, offset): (PartitionId, Offset),
        at: Moment,
    ) {
        if let Some(slot) = self.slot_mut(partition).filter(|slot| slot.reader() == Some(key)) {
            slot.committed = Some(offset);
            self.settle(partition, at);
        }
    }

    fn slot(&self, partition: PartitionId) -> Option<&PartitionSlot> {
        self.slots.get(partition.get() as usize)
    }

    fn slot_mut(&mut self, partition: PartitionId) -> Option<&mut PartitionSlot> {
        self.slots.get_mut(partition.get() as usize)
    }

    /// The members' keys in the order of their ids.
    fn in_order(&self) -> Vec<MemberKey> {
        let mut members: Vec<_> =
            self.members.iter().map(|(key, member)| (member.id, *key)).collect();
        members.sort_unstable();
        members.into_iter().map(|(_, key)| key).collect()
    }
}
