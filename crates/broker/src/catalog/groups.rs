//! The groups of an open topic: the state machine of each behind a lock, next to the offsets its members
//! store.
//!
//! INV-GROUP-DECIDED: whether a member may deliver or store is decided under the group's lock, together
//! with the storing, so that no other member begins where this one has not ended.
//! INV-GROUP-COMMITTED: a partition is handed over for a stored offset only once that is as durable as the
//! topic promises: one that the journal refuses is put back, and what was to be delivered with it is not.
//!
//! Lock order: catalog, table of clients, group, offsets of a partition.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use galgo_storage::lock::{self, Ranked, rank};
use galgo_wire::command::Membership;
use galgo_wire::consumer::ConsumerKind;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{GroupId, Offset, PartitionId};

use crate::alarm::{Alarm, Bell, News};
use crate::group::{Group, MemberKey, Moment, PollTurn};
use crate::metadata::{GroupSerial, TopicMetadata, TopicPlace};
use crate::partition::{OffsetError, Partition, StoredBy};
use crate::shard::OffsetOwner;
use crate::ticket::{Ticket, TicketWatch};

/// On whose behalf members of a group change its positions.
const BY_MEMBERS: StoredBy = StoredBy { user: None, manages: true };

/// A group that exists, with its members.
#[derive(Debug)]
pub(crate) struct OpenGroup {
    pub(crate) place: Membership,
    pub(crate) serial: GroupSerial,
    state: Ranked<{ rank::GROUP }, LiveGroup>,
}

#[derive(Debug)]
struct LiveGroup {
    group: Group,
    /// The last offset of each partition whose storing the state machine does not know of yet.
    commits: BTreeMap<PartitionId, MemberCommit>,
    /// Polls of members that wait.
    bell: Bell,
    /// The [`Group::shifts`] the bell has rung for.
    rung_for: u64,
}

/// The lock of a group. Members that wait look again when somebody may poll something else after it.
struct HeldGroup<'a>(lock::Held<'a, { rank::GROUP }, LiveGroup>);

/// The state machine of a group, locked.
pub(crate) struct LockedGroup<'a>(HeldGroup<'a>);

/// An offset that a member has stored.
#[derive(Debug)]
struct MemberCommit {
    turn: PollTurn,
    key: MemberKey,
    offset: Offset,
    outcome: TicketWatch,
}

/// The open groups of a topic by id.
pub(crate) type OpenGroups = BTreeMap<GroupId, Arc<OpenGroup>>;

/// A member with the partition it may poll or store the offset of.
#[derive(Clone, Debug)]
pub(crate) struct MemberTurn {
    pub(crate) group: Arc<OpenGroup>,
    pub(crate) key: MemberKey,
    pub(crate) turn: PollTurn,
    pub(crate) at: Moment,
}

/// Why polled messages are not delivered, or an offset not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undone {
    /// The partition changed hands meanwhile.
    Void,
    /// The offset could not be stored.
    Refused(ErrorCode),
}

impl OpenGroup {
    fn new(place: Membership, serial: GroupSerial, partitions: usize) -> Self {
        let open = LiveGroup {
            group: Group::new(partitions),
            commits: BTreeMap::new(),
            bell: Bell::default(),
            rung_for: 0,
        };
        Self { place, serial, state: Ranked::new(open) }
    }

    /// The group, as far as everything stored is known.
    pub(crate) fn lock(&self, at: Moment) -> LockedGroup<'_> {
        let mut state = self.held();
        state.settle_all(at);
        LockedGroup(state)
    }

    /// As [`OpenGroup::lock`] for a poll or an offset: what is stored is looked at only while a
    /// partition waits for it.
    pub(crate) fn lock_for_turn(&self, at: Moment) -> LockedGroup<'_> {
        let mut state = self.held();
        if state.group.has_handovers() {
            state.settle_all(at);
        }
        LockedGroup(state)
    }

    /// Hangs up the alarm of a member that waits; tells what it may poll at this moment.
    pub(crate) fn hang(&self, alarm: &Arc<Alarm>, key: MemberKey) -> Vec<PartitionId> {
        let mut state = self.held();
        // INV-ALARM: both under the lock of the group, so that what it may not poll yet rings when
        // it may.
        state.bell.hang(alarm, 0);
        state.group.pollable(key)
    }

    /// Takes an alarm off.
    pub(crate) fn take_off(&self, alarm: &Arc<Alarm>) {
        self.held().bell.take_off(alarm);
    }

    fn held(&self) -> HeldGroup<'_> {
        HeldGroup(self.state.lock())
    }

    /// Whose its offsets are.
    pub(crate) fn owner(&self) -> OffsetOwner {
        offset_owner(self.serial)
    }
}

/// Whose the offsets of a group are.
pub(crate) fn offset_owner(serial: GroupSerial) -> OffsetOwner {
    OffsetOwner { kind: ConsumerKind::Group, id: serial.consumer_id() }
}

impl LiveGroup {
    /// Tells the state machine what has become durable.
    fn settle_all(&mut self, at: Moment) {
        let (group, commits) = (&mut self.group, &mut self.commits);
        // In any order: each partition has at most one, the last.
        commits.retain(|_, commit| !commit.settle(group, at));
    }

    fn committing(&mut self, member: &MemberTurn, offset: Offset, ticket: &Ticket) {
        let MemberTurn { key, turn, at, .. } = *member;
        let commit = MemberCommit { turn, key, offset, outcome: ticket.watch() };
        if let Some(before) = self.commits.insert(turn.partition, commit) {
            // If it is not durable yet, it is when the one after it is.
            before.settle(&mut self.group, at);
        }
    }
}

impl MemberCommit {
    /// Tells the state machine if the offset is stored; false when that is not known yet.
    fn settle(&self, group: &mut Group, at: Moment) -> bool {
        let Some(outcome) = self.outcome.outcome() else { return false };
        // INV-GROUP-COMMITTED: one that was refused moves nothing, and one of a turn that is over was for a partition that
        // somebody else has by now.
        if outcome.is_ok() && group.is_good(self.turn) {
            group.committed(self.key, self.turn.partition, self.offset, at);
        }
        true
    }
}

impl MemberTurn {
    /// Delivers messages up to `last` that were found in this turn, and stores that offset if asked to.
    pub(crate) fn deliver(
        &self,
        partition: &Arc<Partition>,
        last: Offset,
        auto_commit: bool,
    ) -> Result<Option<Ticket>, Undone> {
        let mut state = self.good()?;
        if !auto_commit {
            // Until the member has committed so far, the partition goes to nobody else
            // (INV-GROUP-ONE-READER).
            state.group.delivered(self.turn, last);
            return Ok(None);
        }
        // Under the lock of the group (INV-GROUP-DECIDED), and before it is noted as delivered: what the journal refuses was
        // not delivered.
        let ticket = partition.store_offset(self.group.owner(), BY_MEMBERS, last)?;
        state.group.delivered(self.turn, last);
        state.committing(self, last, &ticket);
        Ok(Some(ticket))
    }

    /// Stores an offset, which may end a hand-over.
    pub(crate) fn store(
        &self,
        partition: &Arc<Partition>,
        offset: Offset,
    ) -> Result<Ticket, Undone> {
        let mut state = self.good()?;
        // Under the lock of the group, so that nobody else has the partition by the time it is stored.
        let ticket = partition.store_offset(self.group.owner(), BY_MEMBERS, offset)?;
        // Not committed yet: a hand-over that waits for it ends when the ticket says that it is
        // durable (INV-GROUP-COMMITTED).
        state.committing(self, offset, &ticket);
        Ok(ticket)
    }

    /// Deletes the stored offset.
    pub(crate) fn delete(&self, partition: &Arc<Partition>) -> Result<Ticket, Undone> {
        // Held while it is deleted, as for a store.
        let _state = self.good()?;
        Ok(partition.delete_offset(self.group.owner(), BY_MEMBERS)?)
    }

    /// The group, if the turn is good.
    fn good(&self) -> Result<HeldGroup<'_>, Undone> {
        let state = self.group.held();
        if state.group.is_good(self.turn) { Ok(state) } else { Err(Undone::Void) }
    }
}

impl Deref for HeldGroup<'_> {
    type Target = LiveGroup;

    fn deref(&self) -> &LiveGroup {
        &self.0
    }
}

impl DerefMut for HeldGroup<'_> {
    fn deref_mut(&mut self) -> &mut LiveGroup {
        &mut self.0
    }
}

impl Drop for HeldGroup<'_> {
    fn drop(&mut self) {
        // Rung when the lock is given back, once for whatever was done under it: who looks again then finds all of it.
        let shifts = self.group.shifts();
        if std::mem::replace(&mut self.rung_for, shifts) != shifts {
            self.bell.all().ring(News::Look);
        }
    }
}

impl Deref for LockedGroup<'_> {
    type Target = Group;

    fn deref(&self) -> &Group {
        &self.0.group
    }
}

impl DerefMut for LockedGroup<'_> {
    fn deref_mut(&mut self) -> &mut Group {
        &mut self.0.group
    }
}

impl From<OffsetError> for Undone {
    fn from(error: OffsetError) -> Self {
        Self::Refused(error.code())
    }
}

/// Brings the groups of a topic in line with what is `stored`; tells which are gone.
pub(super) fn reopen(
    topic: TopicPlace,
    stored: &TopicMetadata,
    mut before: OpenGroups,
    at: Moment,
) -> (OpenGroups, Vec<Arc<OpenGroup>>) {
    let partitions = stored.partitions.len();
    let mut groups = OpenGroups::new();
    for (id, group) in &stored.groups {
        // By serial (INV-META-GROUP): a group that was deleted and made again under its id has other members and other
        // offsets.
        let kept = before.remove(id).filter(|open| open.serial == group.serial);
        let open = kept.unwrap_or_else(|| {
            let place =
                Membership { stream_id: topic.stream, topic_id: topic.topic, group_id: *id };
            Arc::new(OpenGroup::new(place, group.serial, partitions))
        });
        open.lock(at).resize(partitions, at);
        groups.insert(*id, open);
    }
    assert!(
        groups.len() == stored.groups.len(),
        "INV-CATALOG: a group is open for each that the metadata names"
    );
    (groups, before.into_values().collect())
}

/// Takes in that these partitions were emptied.
pub(super) fn reset(groups: &OpenGroups, partitions: &[PartitionId], at: Moment) {
    for group in groups.values() {
        let mut group = group.lock(at);
        for partition in partitions {
            group.reset(*partition, at);
        }
    }
}
