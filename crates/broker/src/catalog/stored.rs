//! Whose a stored offset is, in the numbers and names that commands know.

use galgo_wire::consumer::ConsumerKind;

use super::FoundTopic;
use crate::shard::OffsetOwner;

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
