//! The groups of an open topic: the state machine of each behind a lock, next to the offsets its members
//! store.
//!
//! INV-GROUP-DECIDED: whether a member may deliver or store is decided under the group's lock, together
//! with the storing, so that no other member begins where this one has not ended.
//!
//! Lock order: catalog, table of clients, group, offsets of a partition.

use std::collections::BTreeMap;
use std::sync::Arc;

use galgo_wire::command::Membership;
use galgo_wire::consumer::ConsumerKind;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{GroupId, Offset, PartitionId};
use parking_lot::{Mutex, MutexGuard};

use crate::group::{Group, MemberKey, Moment, Turn};
use crate::metadata::{GroupSerial, Topic};
use crate::partition::{OffsetError, Partition};
use crate::shard::OffsetOwner;
use crate::ticket::Ticket;

/// A group that exists, with its members.
#[derive(Debug)]
pub(crate) struct OpenGroup {
    pub(crate) place: Membership,
    pub(crate) serial: GroupSerial,
    group: Mutex<Group>,
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
        Self { place, serial, group: Mutex::new(Group::new(partitions)) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Group> {
        self.group.lock()
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

impl MemberTurn {
    /// Delivers messages up to `last` that were found in this turn, and stores that offset if asked to.
    pub(crate) fn deliver(
        &self,
        partition: &Arc<Partition>,
        last: Offset,
        auto_commit: bool,
    ) -> Result<Option<Ticket>, Undone> {
        let mut group = self.group.lock();
        if !group.is_good(self.turn) {
            return Err(Undone::Void);
        }
        let ticket = match auto_commit {
            true => Some(partition.store_offset(self.group.owner(), last)?),
            false => None,
        };
        group.delivered(self.turn, last);
        if auto_commit {
            group.committed(self.key, (self.turn.partition, last), self.at);
        }
        Ok(ticket)
    }

    /// Stores an offset, which may end a hand-over.
    pub(crate) fn store(
        &self,
        partition: &Arc<Partition>,
        offset: Offset,
    ) -> Result<Ticket, Undone> {
        let mut group = self.group.lock();
        if !group.is_good(self.turn) {
            return Err(Undone::Void);
        }
        let ticket = partition.store_offset(self.group.owner(), offset)?;
        group.committed(self.key, (self.turn.partition, offset), self.at);
        Ok(ticket)
    }

    /// Deletes the stored offset.
    pub(crate) fn delete(&self, partition: &Arc<Partition>) -> Result<Ticket, Undone> {
        let group = self.group.lock();
        if !group.is_good(self.turn) {
            return Err(Undone::Void);
        }
        Ok(partition.delete_offset(self.group.owner())?)
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
        open.lock().resize(partitions, at);
        groups.insert(*id, open);
    }
    (groups, before.into_values().collect())
}

/// Takes in that these partitions were emptied.
pub(super) fn reset(groups: &OpenGroups, partitions: &[PartitionId], at: Moment) {
    for group in groups.values() {
        let mut group = group.lock();
        for partition in partitions {
            group.reset(*partition, at);
        }
    }
}
