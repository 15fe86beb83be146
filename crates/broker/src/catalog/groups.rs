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
use crate::group::{Group, MemberKey, Moment, Turn};
use crate::metadata::{GroupSerial, Topic};
use crate::partition::{OffsetError, Partition, StoredBy};
use crate::shard::OffsetOwner;
use crate::ticket::{Ticket, TicketWatch};

/// A group that exists, with its members.
#[derive(Debug)]
pub(crate) struct OpenGroup {
    pub(crate) place: Membership,
    pub(crate) serial: GroupSerial,
    state: Ranked<{ rank::GROUP }, Open>,
}

#[derive(Debug)]
struct Open {
    group: Group,
    /// The last offset of each partition whose storing the state machine does not know of yet.
    commits: BTreeMap<PartitionId, MemberCommit>,
    /// Polls of members that wait.
    bell: Bell,
    /// The [`Group::shifts`] the bell has rung for.
    rung_for: u64,
}

/// The lock of a group. Members that wait look again when somebody may poll something else after it.
struct Held<'a>(lock::Held<'a, { rank::GROUP }, Open>);

/// The state machine of a group, locked.
pub(crate) struct LockedGroup<'a>(Held<'a>);

/// An offset that a member has stored.
#[derive(Debug)]
struct MemberCommit {
    turn: Turn,
    key: MemberKey,
    offset: Offset,
    outcome: TicketWatch,
}

/// Open groups of a topic by id.
pub(crate) type OpenGroups = BTreeMap<GroupId, Arc<OpenGroup>>;

/// A member with the partition it may poll or store the offset of.
#[derive(Clone, Debug)]
pub(crate) struct MemberTurn {
    pub(crate) group: Arc<OpenGroup>,
    pub(crate) key: MemberKey,
    pub(crate) turn: Turn,
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
        let open = Open {
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
        state.bell.hang(alarm, 0);
        state.group.pollable(key)
    }

    /// Takes an alarm off.
    pub(crate) fn take_off(&self, alarm: &Arc<Alarm>) {
        self.held().bell.take_off(alarm);
    }

    fn held(&self) -> Held<'_> {
        Held(self.state.lock())
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

impl Open {
    /// Tells the state machine what has become durable.
    fn settle_all(&mut self, at: Moment) {
        let (group, commits) = (&mut self.group, &mut self.commits);
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
        if outcome.is_ok() && group.is_good(self.turn) {
            group.committed(self.key, (self.turn.partition, self.offset), at);
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
            state.group.delivered(self.turn, last);
            return Ok(None);
        }
        let ticket = partition.store_offset(self.whose(), last)?;
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
        let ticket = partition.store_offset(self.whose(), offset)?;
        state.committing(self, offset, &ticket);
        Ok(ticket)
    }

    /// Deletes the stored offset.
    pub(crate) fn delete(&self, partition: &Arc<Partition>) -> Result<Ticket, Undone> {
        let _state = self.good()?;
        Ok(partition.delete_offset(self.whose())?)
    }

    fn whose(&self) -> (OffsetOwner, StoredBy) {
        (self.group.owner(), StoredBy { user: None, manages: true })
    }

    /// The group, if the turn is good.
    fn good(&self) -> Result<Held<'_>, Undone> {
        let state = self.group.held();
        if state.group.is_good(self.turn) { Ok(state) } else { Err(Undone::Void) }
    }
}

impl Deref for Held<'_> {
    type Target = Open;

    fn deref(&self) -> &Open {
        &self.0
    }
}

impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut Open {
        &mut self.0
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
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
    place: Membership,
    stored: &Topic,
    mut before: OpenGroups,
    at: Moment,
) -> (OpenGroups, Vec<Arc<OpenGroup>>) {
    let partitions = stored.partitions.len();
    let mut groups = OpenGroups::new();
    for (id, group) in &stored.groups {
        let kept = before.remove(id).filter(|open| open.serial == group.serial);
        let open = kept.unwrap_or_else(|| {
            let place = Membership { group_id: *id, ..place };
            Arc::new(OpenGroup::new(place, group.serial, partitions))
        });
        open.lock(at).resize(partitions, at);
        groups.insert(*id, open);
    }
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
