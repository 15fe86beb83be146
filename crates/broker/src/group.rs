//! One consumer group: who is in it, who reads which partition, and how partitions change hands.
//!
//! Pure: time is handed in, and nothing here knows a partition's messages. Whoever polls asks for a
//! [`PollTurn`] first and hands it in when the messages are found; a partition that changed hands in
//! between makes the turn void, and nothing is delivered for it.
//!
//! INV-GROUP-OWNER: while a group has members, every partition is in the list of exactly one of them.
//! INV-GROUP-ONE-READER: messages of a partition go to one member only, until it has committed what it
//! got, is gone, or [`Moment::due_us`] of the hand-over has passed.
//! INV-GROUP-EVEN: once nothing is on its way, no member has two partitions more than another.
//! INV-GROUP-BOUND: a hand-over ends at its due time at the latest, whatever the members do.

mod assignment;
mod handover;
mod lease;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use galgo_wire::command::{GroupHolds, GroupMember};
use galgo_wire::id::{Offset, PartitionId};

use handover::{GroupSlots, PartitionSlot, Relisted};
use lease::Lease;

pub use lease::LeaseTerms;

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
    members: GroupSeats,
    slots: GroupSlots,
    /// Grows whenever somebody may poll something else than before.
    shifts: u64,
}

/// Who is in a group.
type GroupSeats = BTreeMap<MemberKey, GroupSeat>;

#[derive(Debug)]
struct GroupSeat {
    id: u32,
    /// Its partitions, in its order.
    partitions: Vec<PartitionId>,
    /// Where in its list the next poll without a partition starts to look.
    cursor: usize,
    /// The partition of its last poll without one.
    current: Option<PartitionId>,
    lease: Lease,
}

/// The right to poll a partition once, good while the partition does not change hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollTurn {
    /// The partition to poll.
    pub partition: PartitionId,
    epoch: u64,
}

/// Why a member may not do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupRefusal {
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
        Self { members: BTreeMap::new(), slots: GroupSlots::new(partitions), shifts: 0 }
    }

    /// A number that grows whenever a member may poll something else than before.
    #[must_use]
    pub fn shifts(&self) -> u64 {
        self.shifts
    }

    /// What a member may poll at this moment without naming a partition.
    #[must_use]
    pub fn pollable(&self, key: MemberKey) -> Vec<PartitionId> {
        let listed = self.members.get(&key).into_iter().flat_map(|member| &member.partitions);
        let turns = |partition: &PartitionId| {
            self.slots.get(*partition).is_some_and(PartitionSlot::takes_turns)
        };
        listed.copied().filter(turns).collect()
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
        // What is due first: the newcomer is counted into the lists as they are by now.
        self.expire(at);
        if self.members.contains_key(&key) {
            return false;
        }
        let highest = self.members.values().map(|member| member.id).max();
        let id = highest.map_or(0, |id| id.saturating_add(1));
        let lease = Lease::default();
        let member = GroupSeat { id, partitions: Vec::new(), cursor: 0, current: None, lease };
        self.members.insert(key, member);
        self.shifts += 1;
        self.level(at);
        true
    }

    /// Removes a member; tells whether it was one. Its partitions go to the others at once.
    pub fn leave(&mut self, key: MemberKey, at: Moment) -> bool {
        let left = self.members.remove(&key).is_some();
        if left {
            // Also what it has not committed: nobody is waited for who is no member any more.
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
        self.slots.resize(partitions);
        self.rebalance(at);
    }

    /// Takes in that a partition was emptied: nothing polled of it is left to be committed, and no
    /// turn to poll what it held is good any more.
    pub fn reset(&mut self, partition: PartitionId, at: Moment) {
        if let Some(slot) = self.slots.get_mut(partition) {
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
    /// [`GroupRefusal::NotMember`].
    pub fn turn(
        &mut self,
        key: MemberKey,
        wanted: Option<PartitionId>,
        at: Moment,
    ) -> Result<Option<PollTurn>, GroupRefusal> {
        self.expire(at);
        let member = self.members.get_mut(&key).ok_or(GroupRefusal::NotMember)?;
        member.lease.heard(at);
        if let Some(partition) = wanted {
            let own = self.slots.get(partition).filter(|slot| slot.may_poll(key));
            return Ok(own.map(|slot| PollTurn { partition, epoch: slot.epoch }));
        }
        let (behind, from) = member.partitions.split_at(member.cursor.min(member.partitions.len()));
        let listed = (member.cursor..).zip(from).chain((0..).zip(behind));
        for (position, partition) in listed {
            let slot = self.slots.get(*partition).filter(|slot| slot.takes_turns());
            let Some(slot) = slot else { continue };
            member.cursor = position + 1;
            member.current = Some(*partition);
            return Ok(Some(PollTurn { partition: *partition, epoch: slot.epoch }));
        }
        Ok(None)
    }

    /// Whether what was found in this turn may be delivered.
    #[must_use]
    pub fn is_good(&self, turn: PollTurn) -> bool {
        self.slots.get(turn.partition).is_some_and(|slot| slot.epoch == turn.epoch)
    }

    /// Notes that messages up to `last` are delivered; the turn is good.
    pub fn delivered(&mut self, turn: PollTurn, last: Offset) {
        let slot = self.slots.get_mut(turn.partition).filter(|slot| slot.epoch == turn.epoch);
        let Some(slot) = slot else {
            unreachable!("INV-GROUP-DECIDED: what is delivered is of a turn that is good")
        };
        // Never less: a poll that goes back takes nothing back that is out, and a hand-over
        // waits for all of it.
        slot.polled = slot.polled.max(Some(last));
    }

    /// The partition a member may store or delete the offset of, while the turn is good. Without a wanted
    /// one, that of its last poll without one, or else that of its first.
    ///
    /// # Errors
    /// [`GroupRefusal`].
    pub fn target(
        &mut self,
        key: MemberKey,
        wanted: Option<PartitionId>,
        at: Moment,
    ) -> Result<PollTurn, GroupRefusal> {
        self.expire(at);
        let member = self.members.get_mut(&key).ok_or(GroupRefusal::NotMember)?;
        member.lease.heard(at);
        let chosen = wanted.or(member.current).or_else(|| member.partitions.first().copied());
        let chosen = chosen.ok_or(GroupRefusal::NotOwner)?;
        let own = self.slots.get(chosen).filter(|slot| slot.may_commit(key));
        let own = own.ok_or(GroupRefusal::NotOwner)?;
        Ok(PollTurn { partition: chosen, epoch: own.epoch })
    }

    /// Notes that a member stored the offset of a partition; ends a hand-over that waits for it.
    pub fn committed(
        &mut self,
        key: MemberKey,
        partition: PartitionId,
        offset: Offset,
        at: Moment,
    ) {
        let slot = self.slots.get_mut(partition).filter(|slot| slot.reader() == Some(key));
        if let Some(slot) = slot {
            // Also where it moved back: then what was polled behind it is not committed, and the
            // hand-over waits on.
            slot.committed = Some(offset);
            self.settle(partition, at);
        }
    }

    /// Takes in that a member is there and on which terms it wants to stay; tells what it holds.
    pub fn renew(&mut self, key: MemberKey, terms: LeaseTerms, at: Moment) -> Option<GroupHolds> {
        self.expire(at);
        let member = self.members.get_mut(&key)?;
        // What it holds is told for as long as nothing else ends the membership or the hand-over.
        Some(member.lease.renew(terms, at, self.slots.held_by(key)))
    }

    /// Whether a member gave no sign of life for as long as ends its membership, pings among them.
    #[must_use]
    pub fn is_hung(&self, key: MemberKey, pinged_us: u64, at: Moment) -> bool {
        self.members.get(&key).is_some_and(|member| member.lease.is_over(pinged_us, at))
    }

    /// Whether any partition is being handed over; may be true when one was a moment ago.
    #[must_use]
    pub fn has_handovers(&self) -> bool {
        self.slots.next_due_us() < u64::MAX
    }

    /// Ends the hand-overs that are due.
    pub fn expire(&mut self, at: Moment) {
        let due = self.slots.take_due(at.now_us);
        for partition in &due {
            // INV-GROUP-BOUND: whatever its reader has not committed by now, the next one is given again.
            self.hand_over(*partition);
        }
        if !due.is_empty() {
            self.level(at);
        }
    }

    /// Ends the hand-over of a partition if its reader has committed all it got.
    fn settle(&mut self, partition: PartitionId, at: Moment) {
        if self.hand_over_settled(partition) {
            // What could not move while it was under way may move now.
            self.level(at);
        }
    }

    /// Has a partition go to another member than it would have gone to.
    fn redirect(&mut self, partition: PartitionId, to: MemberKey, at: Moment) {
        self.shifts += 1;
        let relisted = self.slots.redirect(partition, to, at);
        self.relist(partition, relisted);
        // Whoever has committed all it got need not be waited for.
        self.hand_over_settled(partition);
    }

    fn hand_over_settled(&mut self, partition: PartitionId) -> bool {
        let ends = self.slots.get(partition).is_some_and(PartitionSlot::may_end_handover);
        if ends {
            self.hand_over(partition);
        }
        ends
    }

    fn hand_over(&mut self, partition: PartitionId) {
        self.shifts += 1;
        let Some(slot) = self.slots.get_mut(partition) else {
            unreachable!("INV-GROUP-BOUND: what is handed over is a partition of the group")
        };
        let relisted = slot.hand_over();
        self.relist(partition, relisted);
    }

    /// INV-GROUP-OWNER: the lists follow the slots in the same call, so that nobody sees a partition in two of them or
    /// in none.
    fn relist(&mut self, partition: PartitionId, relisted: Option<Relisted>) {
        let Some(Relisted { from, to }) = relisted else { return };
        if let Some(member) = from.and_then(|from| self.members.get_mut(&from)) {
            member.partitions.retain(|listed| *listed != partition);
        }
        let Some(member) = self.members.get_mut(&to) else {
            // Who leaves is taken out of all hand-overs by the lists that are made anew then.
            unreachable!("INV-GROUP-OWNER: partitions go to members only")
        };
        member.partitions.push(partition);
    }

    /// The members' keys in the order of their ids.
    fn in_order(&self) -> Vec<MemberKey> {
        let mut members: Vec<_> =
            self.members.iter().map(|(key, member)| (member.id, *key)).collect();
        members.sort_unstable();
        members.into_iter().map(|(_, key)| key).collect()
    }
}
