//! The partitions of a member, on a server that does not tell what it holds.
//!
//! The server lists each member with its partitions, but not which of them the caller is. A poll in turn names one of
//! the caller's partitions.

use std::collections::BTreeMap;

use galgo_wire::command::groups::ConsumerGroupDetails;
use galgo_wire::id::{Life, PartitionId};

use crate::consumer::membership::GroupMembership;
use crate::consumer::seats::GivenPartition;
use crate::{CallError, PollRequest};

/// The caller's partitions, as they are listed.
pub(super) async fn own_partitions(
    membership: &GroupMembership,
) -> Result<BTreeMap<u32, GivenPartition>, CallError> {
    let GroupMembership { client, stream, topic, group, .. } = membership;
    let turn = client.poll_once(PollRequest::group(stream, topic, group).count(1)).await?;
    let details = client.consumer_group(stream, topic, group).await?;
    // An answer that names the first partition may be one of nobody.
    let named = (!turn.is_empty() || turn.partition() > 0).then(|| turn.partition());
    let own = details.map(|details| own_of(&details, named)).unwrap_or_default();
    let given = GivenPartition { tag: None, life: Life::UNKNOWN };
    Ok(own.into_iter().map(|partition| (partition.get(), given)).collect())
}

/// The partitions of the member that reads `named`; when it is not named, of the one that reads the first partition if
/// every member reads some, because then the answer was about that.
fn own_of(details: &ConsumerGroupDetails, named: Option<u32>) -> Vec<PartitionId> {
    let members = &details.members;
    let everybody_reads = members.iter().all(|member| !member.partitions.is_empty());
    let named = named.or_else(|| everybody_reads.then_some(0)).map(PartitionId::new);
    let is_own = |partitions: &[PartitionId]| named.is_some_and(|it| partitions.contains(&it));
    let own = members.iter().find(|member| is_own(&member.partitions));
    own.map(|own| own.partitions.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use galgo_wire::command::groups::{ConsumerGroup, GroupMember};
    use galgo_wire::id::GroupId;

    use super::*;

    fn own(lists: &[&[u32]], named: Option<u32>) -> Vec<u32> {
        let members = (0..).zip(lists).map(|(id, list)| {
            GroupMember::new(id, list.iter().copied().map(PartitionId::new).collect())
        });
        let members: Vec<_> = members.collect();
        let group = ConsumerGroup {
            id: GroupId::new(0),
            partitions_count: 4,
            members_count: u32::try_from(members.len()).unwrap(),
            name: "g".parse().unwrap(),
        };
        let details = ConsumerGroupDetails { group, members };
        own_of(&details, named).into_iter().map(PartitionId::get).collect()
    }

    #[test]
    fn the_partitions_of_a_member_are_those_listed_with_the_one_it_polled() {
        let lists: [&[u32]; 2] = [&[0, 2], &[1, 3]];
        assert_eq!(own(&lists, Some(3)), [1, 3]);
        assert_eq!(own(&lists, Some(2)), [0, 2]);
        assert_eq!(own(&lists, None), [0, 2], "the answer was about an empty first partition");
        assert_eq!(own(&[&[0], &[]], None), [0; 0], "it may be the member without any");
        assert_eq!(own(&lists, Some(9)), [0; 0], "lists that are older than the answer");
    }
}
