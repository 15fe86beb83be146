//! Any members in any order: joins, leaves, polls that take their time, commits, purges, and time itself.
//!
//! The model of a partition is the stored offset and who has messages that it has not committed. It
//! checks INV-GROUP-OWNER, INV-GROUP-ONE-READER, INV-GROUP-EVEN and INV-GROUP-BOUND after every step.

use std::collections::{BTreeMap, BTreeSet};

use galgo_wire::id::{Offset, PartitionId};
use proptest::prelude::*;

use super::{TIMEOUT_US, at, lists};
use crate::group::handover::Handover;
use crate::group::{Group, MemberKey, PollTurn};

/// Messages each poll finds.
const BATCH: u64 = 3;

#[derive(Clone, Debug)]
enum Step {
    Join(u64),
    Leave(u64),
    /// Begins a poll; one of the member's that is under way is given up.
    Poll(u64, Option<u32>),
    /// The member's poll finds messages.
    Found(u64, bool),
    /// The member stores all that it got of a partition.
    Commit(u64, u32),
    /// Time goes on.
    Wait(u64),
    Resize(usize),
    Purge(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let member = 0u64..6;
    let partition = 0u32..8;
    prop_oneof![
        3 => member.clone().prop_map(Step::Join),
        1 => member.clone().prop_map(Step::Leave),
        6 => (member.clone(), prop::option::weighted(0.3, partition.clone()))
            .prop_map(|(member, wanted)| Step::Poll(member, wanted)),
        6 => (member.clone(), any::<bool>()).prop_map(|(member, commit)| Step::Found(member, commit)),
        4 => (member, partition.clone()).prop_map(|(member, number)| Step::Commit(member, number)),
        2 => (0..=TIMEOUT_US).prop_map(Step::Wait),
        1 => (0usize..8).prop_map(Step::Resize),
        1 => partition.prop_map(Step::Purge),
    ]
}

#[derive(Debug)]
struct World {
    group: Group,
    now_us: u64,
    members: BTreeSet<u64>,
    /// Polls under way.
    turns: BTreeMap<u64, PollTurn>,
    /// What each member got last of each partition.
    got: BTreeMap<(u64, PartitionId), u64>,
    partitions: Vec<Partition>,
}

#[derive(Clone, Debug, Default)]
struct Partition {
    stored: Option<u64>,
    /// Who has messages up to which offset that it has not committed.
    reader: Option<(u64, u64)>,
}

impl World {
    fn new(partitions: usize) -> Self {
        Self {
            group: Group::new(partitions),
            now_us: 0,
            members: BTreeSet::new(),
            turns: BTreeMap::new(),
            got: BTreeMap::new(),
            partitions: vec![Partition::default(); partitions],
        }
    }

    fn take(&mut self, step: &Step) {
        let moment = at(self.now_us);
        match *step {
            Step::Join(member) => self.join(member),
            Step::Leave(member) => {
                let left = self.group.leave(MemberKey::new(member), moment);
                assert_eq!(left, self.members.remove(&member));
                self.forget(|reader| reader == member);
                if left {
                    self.check_even();
                }
            }
            Step::Poll(member, wanted) => {
                let wanted = wanted.map(PartitionId::new);
                self.time_out();
                let turn = self.group.turn(MemberKey::new(member), wanted, moment);
                assert_eq!(turn.is_ok(), self.members.contains(&member));
                self.turns.remove(&member);
                if let Ok(Some(turn)) = turn {
                    assert!(wanted.is_none_or(|wanted| wanted == turn.partition));
                    self.turns.insert(member, turn);
                }
            }
            Step::Found(member, auto_commit) => self.found(member, auto_commit),
            Step::Commit(member, number) => self.commit(member, PartitionId::new(number)),
            Step::Wait(wait_us) => {
                self.now_us += wait_us;
                self.time_out();
                self.group.expire(at(self.now_us));
            }
            Step::Resize(partitions) => {
                let changed = partitions != self.partitions.len();
                self.group.resize(partitions, moment);
                self.partitions.resize_with(partitions, Partition::default);
                if changed {
                    self.check_even();
                }
            }
            Step::Purge(number) => {
                self.group.reset(PartitionId::new(number), moment);
                if let Some(partition) = self.partitions.get_mut(number as usize) {
                    *partition = Partition::default();
                }
            }
        }
        self.check();
    }

    fn join(&mut self, member: u64) {
        self.time_out();
        self.group.expire(at(self.now_us));
        let before = lists(&self.group);
        let settled = self.partitions.iter().all(|partition| partition.reader.is_none());
        let waiting = self.group.slots.iter().any(|slot| slot.handover.is_some());
        let joined = self.group.join(MemberKey::new(member), at(self.now_us));
        assert_eq!(joined, self.members.insert(member));
        let after = lists(&self.group);
        for (before, after) in before.iter().zip(&after) {
            assert!(before.len() != 1 || after.contains(&before[0]), "the only one was taken");
            assert!(before.is_empty() || !after.is_empty(), "the last partition was taken");
        }
        let (members, partitions) = (self.members.len(), self.partitions.len());
        if settled && !waiting && members <= partitions {
            assert!(after.iter().all(|list| !list.is_empty()), "{after:?}");
            assert!(members < partitions || after.iter().all(|list| list.len() == 1));
            self.check_even();
        }
    }

    /// A hand-over that is due is allowed to deliver again what the old reader has.
    fn time_out(&mut self) {
        for (slot, partition) in self.group.slots.iter().zip(&mut self.partitions) {
            if slot.handover.is_some_and(|handover| handover.due_us() <= self.now_us) {
                partition.reader = None;
            }
        }
    }

    fn found(&mut self, member: u64, auto_commit: bool) {
        let Some(turn) = self.turns.remove(&member) else { return };
        if !self.group.is_good(turn) {
            return;
        }
        let partition = &mut self.partitions[turn.partition.get() as usize];
        let last = partition.stored.map_or(0, |stored| stored + 1) + BATCH - 1;
        let other = partition.reader.filter(|(reader, _)| *reader != member);
        assert_eq!(other, None, "INV-GROUP-ONE-READER: {member} got what another has");
        assert!(self.members.contains(&member));
        self.group.delivered(turn, Offset::new(last));
        partition.reader = Some((member, last));
        self.got.insert((member, turn.partition), last);
        if auto_commit {
            let (key, stored) = (MemberKey::new(member), Offset::new(last));
            self.group.committed(key, turn.partition, stored, at(self.now_us));
            partition.stored = Some(last);
            partition.reader = None;
        }
    }

    fn commit(&mut self, member: u64, number: PartitionId) {
        self.time_out();
        let target = self.group.target(MemberKey::new(member), Some(number), at(self.now_us));
        let Ok(turn) = target else {
            let reads = self.partitions.get(number.get() as usize).and_then(|p| p.reader);
            assert_ne!(reads.map(|(reader, _)| reader), Some(member), "it may commit what it has");
            return;
        };
        assert!(self.group.is_good(turn));
        let Some(last) = self.got.get(&(member, number)).copied() else { return };
        let partition = &mut self.partitions[number.get() as usize];
        if partition.reader.is_some_and(|(reader, _)| reader != member) {
            return;
        }
        self.group.committed(MemberKey::new(member), number, Offset::new(last), at(self.now_us));
        partition.stored = Some(last);
        partition.reader = partition.reader.filter(|(_, upto)| *upto > last);
    }

    fn forget(&mut self, gone: impl Fn(u64) -> bool) {
        for partition in &mut self.partitions {
            partition.reader = partition.reader.filter(|(reader, _)| !gone(*reader));
        }
    }

    fn check_even(&self) {
        let lens: Vec<_> = lists(&self.group).iter().map(Vec::len).collect();
        let (least, most) = (lens.iter().min(), lens.iter().max());
        assert!(least.zip(most).is_none_or(|(least, most)| most - least <= 1), "{lens:?}");
        let given_up = |slot: &super::super::handover::PartitionSlot| {
            matches!(slot.handover, Some(Handover::Revoked { .. }))
        };
        assert!(!self.group.slots.iter().any(given_up), "nothing is pending");
    }

    fn check(&self) {
        let group = &self.group;
        assert_eq!(group.members_count(), self.members.len());
        let listed: Vec<_> = lists(group).concat();
        let distinct: BTreeSet<_> = listed.iter().copied().collect();
        assert_eq!(distinct.len(), listed.len(), "INV-GROUP-OWNER: listed twice");
        let expected = if self.members.is_empty() { 0 } else { self.partitions.len() };
        assert_eq!(listed.len(), expected, "INV-GROUP-OWNER: listed by nobody");
        let on_their_way = group.slots.iter().any(|slot| slot.handover.is_some());
        if !on_their_way {
            self.check_even();
        }
        for (slot, number) in group.slots.iter().zip(0..) {
            let owner = slot.owner.and_then(|owner| group.members.get(&owner));
            let own =
                owner.is_some_and(|owner| owner.partitions.contains(&PartitionId::new(number)));
            assert_eq!(own, !self.members.is_empty(), "INV-GROUP-OWNER");
            let Some(handover) = slot.handover else { continue };
            let (Handover::Revoked { to: other, .. } | Handover::Held { from: other, .. }) =
                handover;
            assert!(group.members.contains_key(&other) && slot.owner != Some(other));
            assert!(!slot.is_settled(), "waits for nothing");
            let due_us = handover.due_us();
            assert!(group.slots.next_due_us() <= due_us, "INV-GROUP-BOUND: nobody will look");
            assert!(due_us <= self.now_us + TIMEOUT_US, "INV-GROUP-BOUND: {due_us}");
        }
    }

    /// However it stands: once the time is over, every partition can be polled by its owner. A member that
    /// waited for its first one waits twice.
    fn check_nothing_is_blocked(&mut self) {
        let partitions = 0..u32::try_from(self.partitions.len()).unwrap();
        for _ in 0..2 {
            self.now_us += TIMEOUT_US;
            self.group.expire(at(self.now_us));
        }
        self.check_even();
        for number in partitions.map(PartitionId::new) {
            let owner = self.group.slots.get(number).unwrap().owner;
            let Some(owner) = owner else { continue };
            let turn = self.group.turn(owner, Some(number), at(self.now_us)).unwrap();
            assert!(turn.is_some(), "INV-GROUP-BOUND: {number} is blocked");
        }
        for member in &self.members {
            let turns: BTreeSet<_> = (0..self.partitions.len())
                .filter_map(|_| {
                    let turn = self.group.turn(MemberKey::new(*member), None, at(self.now_us));
                    turn.unwrap().map(|turn| turn.partition)
                })
                .collect();
            let own = &self.group.members[&MemberKey::new(*member)].partitions;
            assert_eq!(turns, own.iter().copied().collect(), "every partition has its turn");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn partitions_have_one_reader_and_no_member_blocks_one_for_long(
        partitions in 0usize..8,
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let mut world = World::new(partitions);
        for step in &steps {
            world.take(step);
        }
        world.check_nothing_is_blocked();
    }
}
