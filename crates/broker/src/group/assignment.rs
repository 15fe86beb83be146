//! Who gets which partition.
//!
//! After a join, a member without partitions gets one from the end of the longest list, and nothing else
//! moves. After anything else the lists are made anew, even to one: partition i goes to member i mod n,
//! but what a member has read and not committed stays with it as far as its share goes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use galgo_wire::id::PartitionId;

use super::handover::{Handover, Slot};
use super::{Group, MemberKey, Moment};

impl Group {
    /// Gives every member without partitions one that another can spare. Partitions nobody has go
    /// first.
    pub(super) fn share_out(&mut self, at: Moment) {
        let order = self.in_order();
        if order.is_empty() {
            return;
        }
        if self.slots.iter().any(|slot| slot.owner.is_none()) {
            // Only before the first member: from then on every partition has an owner.
            self.rebalance(at);
            return;
        }
        let mut counts = self.counts_to_be();
        let share = Shares::new(self.slots.len(), order.len());
        for key in &order {
            if counts.get(key).is_some_and(|count| *count > 0) {
                continue;
            }
            let Some((from, partition)) = self.spare(&order, &counts, share) else { break };
            self.revoke(partition, *key, at);
            *counts.entry(from).or_default() -= 1;
            *counts.entry(*key).or_default() += 1;
        }
    }

    /// How many partitions each member will have once all hand-overs are done.
    fn counts_to_be(&self) -> BTreeMap<MemberKey, usize> {
        let mut counts = BTreeMap::new();
        for slot in &self.slots {
            let owner = match slot.handover {
                Some(Handover::Revoked { to, .. }) => Some(to),
                _ => slot.owner,
            };
            if let Some(owner) = owner {
                *counts.entry(owner).or_default() += 1;
            }
        }
        counts
    }

    /// The last partition of the member that has most above its share, and that member. No member
    /// gives its only one.
    fn spare(
        &self,
        order: &[MemberKey],
        counts: &BTreeMap<MemberKey, usize>,
        share: Shares,
    ) -> Option<(MemberKey, PartitionId)> {
        let with_more = order.iter().enumerate().filter_map(|(place, key)| {
            let count = counts.get(key).copied().unwrap_or_default();
            (count > share.of(place).max(1)).then_some((count, Reverse(place), *key))
        });
        let mut with_more: Vec<_> = with_more.collect();
        with_more.sort_unstable();
        with_more.into_iter().rev().find_map(|(_, _, key)| {
            let listed = &self.members.get(&key)?.partitions;
            let free = |partition: &&PartitionId| {
                self.slot(**partition).is_some_and(|slot| slot.handover.is_none())
            };
            listed.iter().rev().find(free).map(|partition| (key, *partition))
        })
    }

    /// Makes all lists anew. Ends hand-overs that a join began; whatever moves with messages that its
    /// reader has not committed is held until it has.
    pub(super) fn rebalance(&mut self, at: Moment) {
        let order = self.in_order();
        let owners = self.even_owners(&order);
        self.shifts += 1;
        for member in self.members.values_mut() {
            member.partitions.clear();
            member.cursor = 0;
        }
        self.next_due_us = u64::MAX;
        for ((slot, owner), number) in self.slots.iter_mut().zip(owners).zip(0..) {
            let reader = slot.unsettled_reader(&self.members);
            match reader {
                Some(from) if Some(from) != owner => {
                    let due_us = slot.handover.map_or(at.due_us, Handover::due_us);
                    if slot.owner != owner {
                        slot.epoch += 1;
                    }
                    slot.owner = owner;
                    slot.handover = Some(Handover::Held { from, due_us });
                    self.next_due_us = self.next_due_us.min(due_us);
                }
                Some(_) => {
                    if slot.owner != owner {
                        slot.epoch += 1;
                    }
                    slot.owner = owner;
                    slot.handover = None;
                }
                None if slot.owner == owner && slot.reader() == owner => slot.handover = None,
                None => slot.give(owner),
            }
            if let Some(member) = owner.and_then(|owner| self.members.get_mut(&owner)) {
                member.partitions.push(PartitionId::new(number));
            }
        }
    }

    /// An owner for each partition, such that the numbers differ by one at most.
    fn even_owners(&self, order: &[MemberKey]) -> Vec<Option<MemberKey>> {
        let mut owners = vec![None; self.slots.len()];
        let Some(share) = self.slots.len().checked_div(order.len()) else { return owners };
        let mut one_more = self.slots.len() % order.len();
        let mut counts: BTreeMap<MemberKey, usize> = BTreeMap::new();
        for (slot, owner) in self.slots.iter().zip(&mut owners) {
            let Some(reader) = slot.unsettled_reader(&self.members) else { continue };
            let count = counts.entry(reader).or_default();
            if *count == share && one_more > 0 {
                one_more -= 1;
            } else if *count >= share {
                continue;
            }
            *count += 1;
            *owner = Some(reader);
        }
        let shortest = order.iter().enumerate().map(|(place, key)| {
            Reverse((counts.get(key).copied().unwrap_or_default(), place, *key))
        });
        let mut shortest: BinaryHeap<_> = shortest.collect();
        for owner in owners.iter_mut().filter(|owner| owner.is_none()) {
            let Some(Reverse((count, place, key))) = shortest.pop() else { break };
            *owner = Some(key);
            shortest.push(Reverse((count + 1, place, key)));
        }
        owners
    }
}

impl Slot {
    /// The member that got messages and has not committed them.
    fn unsettled_reader(&self, members: &BTreeMap<MemberKey, super::Member>) -> Option<MemberKey> {
        let reader = self.reader().filter(|reader| members.contains_key(reader));
        reader.filter(|_| !self.is_settled())
    }
}

/// Fair shares: as even as can be, the first members have one more.
#[derive(Clone, Copy)]
struct Shares {
    each: usize,
    one_more: usize,
}

impl Shares {
    fn new(partitions: usize, members: usize) -> Self {
        let members = members.max(1);
        Self { each: partitions / members, one_more: partitions % members }
    }

    fn of(self, place: usize) -> usize {
        self.each + usize::from(place < self.one_more)
    }
}
