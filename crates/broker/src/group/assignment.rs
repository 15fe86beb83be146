//! Who gets which partition.
//!
//! Part of INV-GROUP-EVEN: once nothing is on its way from one member to another, no member has two partitions more
//! than another.
//!
//! After a join partitions move one by one, each from the end of the longest list to the shortest, and no
//! more of them than that takes. After anything else the lists are made anew, even to one: partition i goes
//! to member i mod n, but what a member has read and not committed stays with it as far as its share goes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use galgo_wire::id::PartitionId;

use super::handover::{Assigned, PartitionSlot};
use super::{Group, GroupSeats, MemberKey, Moment};

/// What each member will have once all hand-overs are done; what it can do without most easily is last.
type Shares = BTreeMap<MemberKey, Vec<PartitionId>>;

impl Group {
    /// Moves partitions to members that have two fewer than another. Partitions nobody has go first.
    ///
    /// A member with nothing in its list gets one partition, and the others when it has that: so it is shown
    /// with none while the one it waits for is being read, as programs for the classic server expect.
    pub(super) fn level(&mut self, at: Moment) {
        let order = self.in_order();
        if order.is_empty() {
            return;
        }
        if self.slots.iter().any(|slot| slot.owner.is_none()) {
            // Only before the first member: from then on every partition has an owner (INV-GROUP-OWNER).
            self.rebalance(at);
            return;
        }
        let mut shares = self.shares_to_be();
        while let Some((from, to)) = self.uneven(&order, &shares) {
            let spare = shares.get_mut(&from).and_then(Vec::pop);
            let Some(partition) = spare else {
                unreachable!("INV-GROUP-EVEN: who has two more than another has one to give")
            };
            self.redirect(partition, to, at);
            shares.entry(to).or_default().push(partition);
        }
    }

    fn shares_to_be(&self) -> Shares {
        let mut shares = Shares::new();
        let at_rest = |partition: &PartitionId| {
            self.slots.get(*partition).is_some_and(|slot| slot.handover.is_none())
        };
        for (key, member) in &self.members {
            let own = member.partitions.iter().copied().filter(at_rest);
            shares.insert(*key, own.collect());
        }
        for (slot, number) in self.slots.iter().zip(0..) {
            let owner = slot.handover.and(slot.owner_to_be());
            if let Some(share) = owner.and_then(|owner| shares.get_mut(&owner)) {
                share.push(PartitionId::new(number));
            }
        }
        shares
    }

    /// The member that has most, and the one that has fewest of those that may be given more; `None` when
    /// they are even.
    fn uneven(&self, order: &[MemberKey], shares: &Shares) -> Option<(MemberKey, MemberKey)> {
        let count = |key: &MemberKey| shares.get(key).map_or(0, Vec::len);
        let places = || order.iter().enumerate();
        let most = places().map(|(place, key)| (count(key), Reverse(place), *key)).max();
        let waits_for_first = |key: &MemberKey| {
            count(key) > 0 && self.members.get(key).is_none_or(|it| it.partitions.is_empty())
        };
        let free = places().filter(|(_, key)| !waits_for_first(key));
        let fewest = free.map(|(place, key)| (count(key), place, *key)).min();
        let ((most, _, from), (fewest, _, to)) = most.zip(fewest)?;
        (most >= fewest + 2).then_some((from, to))
    }

    /// Makes all lists anew. Ends hand-overs that a join began; whatever moves with messages that its
    /// reader has not committed is held until it has.
    pub(super) fn rebalance(&mut self, at: Moment) {
        let order = self.in_order();
        let mut owners = self.even_owners(&order).into_iter();
        self.shifts += 1;
        for member in self.members.values_mut() {
            member.partitions.clear();
            // A place in the list of before means nothing in this one.
            member.cursor = 0;
        }
        let members = &mut self.members;
        self.slots.assign(at, |partition, slot| {
            let (owner, reader) = (owners.next().flatten(), slot.unsettled_reader(members));
            if let Some(member) = owner.and_then(|owner| members.get_mut(&owner)) {
                member.partitions.push(partition);
            }
            Assigned { owner, reader }
        });
        assert!(owners.next().is_none(), "INV-GROUP-OWNER: there is an owner for each partition");
        let shares = || self.members.values().map(|member| member.partitions.len());
        assert!(
            self.members.is_empty() || shares().sum::<usize>() == self.slots.len(),
            "INV-GROUP-OWNER: each partition is in one list"
        );
        assert!(
            shares().max() <= shares().min().map(|fewest| fewest + 1),
            "INV-GROUP-EVEN: lists that are made anew differ by one at most"
        );
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
            // The first readers that want it get the one that is left over; what a reader has beyond its share goes to
            // others, who wait until it has committed.
            if *count == share && one_more > 0 {
                one_more -= 1;
            } else if *count >= share {
                continue;
            }
            *count += 1;
            *owner = Some(reader);
        }
        let shortest = order
            .iter()
            .enumerate()
            .map(|(place, key)| Reverse((counts.get(key).map_or(0, |count| *count), place, *key)));
        let mut shortest: BinaryHeap<_> = shortest.collect();
        for owner in owners.iter_mut().filter(|owner| owner.is_none()) {
            let Some(Reverse((count, place, key))) = shortest.pop() else { break };
            *owner = Some(key);
            shortest.push(Reverse((count + 1, place, key)));
        }
        owners
    }
}

impl PartitionSlot {
    /// The member that got messages and has not committed them.
    fn unsettled_reader(&self, members: &GroupSeats) -> Option<MemberKey> {
        let reader = self.reader().filter(|reader| members.contains_key(reader));
        reader.filter(|_| !self.is_settled())
    }
}
