//! Stored offsets as the catalog knows them: on whose behalf they are changed, and whose they are by name.

use std::collections::BTreeSet;

use galgo_wire::command::StoredOffset;
use galgo_wire::consumer::ConsumerKind;
use galgo_wire::id::PartitionId;
use galgo_wire::permission::{Action, Place};

use super::{Catalog, FoundTopic};
use crate::metadata::UserMark;
use crate::offset_book::{Hold, Position};
use crate::partition::StoredBy;
use crate::session::Caller;
use crate::shard::OffsetOwner;

impl Catalog {
    /// On whose behalf `caller` changes stored offsets of a topic.
    pub(crate) fn stored_by(&self, caller: Caller, found: &FoundTopic<'_>) -> StoredBy {
        let place = Place::Topic(found.stream_id, found.topic_id);
        let manages = self.allow(caller, Action::ManageTopic, place).is_ok();
        let user = self.state.users.get(&caller.user).map(|user| user.mark(caller.user));
        StoredBy { user, manages }
    }

    /// A stored offset with its names.
    pub(crate) fn tell_offset(
        &self,
        found: &FoundTopic<'_>,
        (partition_id, hold): (PartitionId, Hold),
        (owner, position): &(OffsetOwner, Position),
    ) -> StoredOffset {
        let (consumer_id, name) = found.owner_name(*owner);
        let user = position.user.and_then(|mark| {
            let user = self.state.users.get(&mark.id())?;
            (user.mark(mark.id()) == mark).then(|| user.name.as_str().to_owned())
        });
        StoredOffset {
            partition_id,
            kind: owner.kind,
            consumer_id,
            cursor_id: owner.id.get(),
            name,
            offset: position.offset,
            stored_at: position.stored_at,
            active_at: position.active_at,
            holds_until: hold.until(*owner, position),
            user: user.unwrap_or_default(),
        }
    }

    /// Lets go of who stored what, where the user is gone: what nobody owns may be changed by whoever polls.
    pub(crate) fn disown_offsets(&self) {
        let users: BTreeSet<UserMark> =
            self.state.users.iter().map(|(id, user)| user.mark(*id)).collect();
        for partition in self.partitions() {
            partition.disown_offsets(&|user| users.contains(&user));
        }
    }
}

impl FoundTopic<'_> {
    /// Number and name of whose offset it is, as commands know them; consumers have no name here.
    pub(crate) fn owner_name(&self, owner: OffsetOwner) -> (u32, String) {
        if owner.kind == ConsumerKind::Consumer {
            return (owner.id.get(), String::new());
        }
        let mut groups = self.topic.groups.iter();
        let group = groups.find(|(_, group)| group.serial.consumer_id() == owner.id);
        group.map_or((owner.id.get(), String::new()), |(id, group)| {
            (id.get(), group.name.as_str().to_owned())
        })
    }
}
