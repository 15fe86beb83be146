//! Consumer groups: every command, what polls and offsets of members come to, and who is shown where.

mod crowd;
mod durability;
mod heartbeat;
mod membership;
mod polling;
mod sessions;

use galgo_wire::command::*;
use galgo_wire::consumer::ConsumerIdentity;
use galgo_wire::{ErrorCode, Offset, PartitionId, PollingStrategy};

use crate::requests::create_group as create;
use crate::requests::{Polled, create_stream, create_topic, id, to};
use crate::rig::{Connection, Rig};

/// A topic `t` with so many partitions, a group `g` on it, and five messages in each partition.
fn with_group(partitions: u32) -> (Rig, Connection) {
    let rig = Rig::new();
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    root.call(&create_topic("s", "t", partitions)).unwrap();
    for partition in 0..partitions {
        root.send("t", to(partition), &["0", "1", "2", "3", "4"]).unwrap();
    }
    root.call(&create("g")).unwrap();
    (rig, root)
}

fn delete(group: &str) -> DeleteConsumerGroup {
    DeleteConsumerGroup { stream: id("s"), topic: id("t"), group: id(group) }
}

fn join(group: &str) -> JoinConsumerGroup {
    JoinConsumerGroup { stream: id("s"), topic: id("t"), group: id(group) }
}

fn leave(group: &str) -> LeaveConsumerGroup {
    LeaveConsumerGroup { stream: id("s"), topic: id("t"), group: id(group) }
}

fn get(group: &str) -> GetConsumerGroup {
    GetConsumerGroup { stream: id("s"), topic: id("t"), group: id(group) }
}

fn list() -> GetConsumerGroups {
    GetConsumerGroups { stream: id("s"), topic: id("t") }
}

/// A new connection that is in `group`.
fn member(rig: &Rig, group: &str) -> Connection {
    let mut member = rig.root();
    member.call(&join(group)).unwrap();
    member
}

/// The partitions of the members of group `g`, in the order of their ids.
fn lists(caller: &mut Connection) -> Vec<Vec<u32>> {
    let group = caller.call(&get("g")).unwrap().expect("there is a group g");
    let members = group.members.iter();
    members.map(|member| member.partitions.iter().map(|p| p.get()).collect()).collect()
}

/// Two messages behind the stored offset, as a member of `group`.
fn next(group: &str, partition: Option<u32>) -> PollMessages {
    PollMessages {
        consumer: ConsumerIdentity::group(id(group)),
        stream: id("s"),
        topic: id("t"),
        partition_id: partition.map(PartitionId::new),
        strategy: PollingStrategy::Next,
        count: 2,
        auto_commit: false,
    }
}

/// As [`next`], and stores what it returns.
fn next_committed(group: &str, partition: Option<u32>) -> PollMessages {
    PollMessages { auto_commit: true, ..next(group, partition) }
}

fn store(group: &str, partition: Option<u32>, offset: u64) -> StoreConsumerOffset {
    StoreConsumerOffset {
        consumer: ConsumerIdentity::group(id(group)),
        stream: id("s"),
        topic: id("t"),
        partition_id: partition.map(PartitionId::new),
        offset: Offset::new(offset),
    }
}

fn forget(group: &str, partition: Option<u32>) -> DeleteConsumerOffset {
    DeleteConsumerOffset {
        consumer: ConsumerIdentity::group(id(group)),
        stream: id("s"),
        topic: id("t"),
        partition_id: partition.map(PartitionId::new),
    }
}

/// The offset that is stored for a group.
fn stored(caller: &mut Connection, group: &str, partition: u32) -> Option<u64> {
    let get = GetConsumerOffset {
        consumer: ConsumerIdentity::group(id(group)),
        stream: id("s"),
        topic: id("t"),
        partition_id: Some(PartitionId::new(partition)),
    };
    caller.call(&get).unwrap().map(|found| found.stored_offset.get())
}

/// Partition, current offset and offsets of what was polled.
fn seen(polled: Result<Polled, ErrorCode>) -> (u32, u64, Vec<u64>) {
    let polled = polled.unwrap();
    (polled.partition, polled.current_offset, polled.offsets())
}

/// What a poll comes to when there is nothing the member may poll.
const NOTHING: (u32, u64, Vec<u64>) = (0, 0, Vec::new());

/// The groups a connection is in, as it is told itself and as all are told.
fn memberships(caller: &mut Connection) -> Vec<(u32, u32, u32)> {
    let me = caller.call(&GetMe {}).unwrap();
    let listed = caller.call(&GetClients {}).unwrap();
    let listed = listed.iter().find(|client| client.client_id == me.client.client_id).unwrap();
    assert_eq!(listed.consumer_groups_count as usize, me.consumer_groups.len());
    let asked = caller.call(&GetClient { client_id: me.client.client_id }).unwrap().unwrap();
    assert_eq!(asked, me);
    let groups = me.consumer_groups.iter();
    groups.map(|m| (m.stream_id.get(), m.topic_id.get(), m.group_id.get())).collect()
}
