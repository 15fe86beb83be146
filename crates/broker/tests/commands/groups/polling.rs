//! What a member may poll, and the offsets of its group.

use galgo_storage::disk::sim::FaultPlan;
use galgo_wire::command::*;
use galgo_wire::consumer::ConsumerIdentity;
use galgo_wire::{ErrorCode, PollingStrategy};

use super::{
    NOTHING, create, delete, forget, join, leave, lists, member, next, next_committed, seen, store,
    stored, with_group,
};
use crate::requests::{at, create_partitions, delete_partitions, id, purge_topic, since, to};

/// How long a member may take to commit what it has to give up.
const TIMEOUT_US: u64 = 30_000_000;

/// How many messages a reply to a poll announces.
fn messages_in(reply: &[u8]) -> u32 {
    PolledHeader::from_bytes(reply).unwrap().count
}

#[test]
fn polls_without_a_partition_take_turns_and_tell_which() {
    let (rig, _root) = with_group(3);
    let mut member = member(&rig, "g");
    let polled: Vec<_> = (0..4).map(|_| seen(member.poll(&next("g", None)))).collect();
    assert_eq!(polled, [0, 1, 2, 0].map(|partition| (partition, 4, vec![0, 1])));
    let empty = PollMessages { strategy: at(9), ..next("g", None) };
    assert_eq!(seen(member.poll(&empty)), (1, 4, vec![]), "an empty answer counts as a turn");
    assert_eq!(seen(member.poll(&next("g", None))), (2, 4, vec![0, 1]));
}

#[test]
fn member_polls_its_own_partitions_and_gets_nothing_of_others() {
    let (rig, _root) = with_group(2);
    let mut first = member(&rig, "g");
    let mut second = member(&rig, "g");
    assert_eq!(seen(first.poll(&next("g", Some(0)))), (0, 4, vec![0, 1]));
    assert_eq!(seen(first.poll(&next("g", Some(1)))), NOTHING);
    assert_eq!(seen(second.poll(&next("g", None))), (1, 4, vec![0, 1]));
    let mut idle = member(&rig, "g");
    assert_eq!(seen(idle.poll(&next("g", None))), NOTHING);
    assert_eq!(seen(idle.poll(&next("g", Some(1)))), NOTHING);
    let unknown = first.poll(&next("g", Some(2))).err();
    assert_eq!(unknown, Some(ErrorCode::PartitionNotFound));
}

#[test]
fn polls_and_offsets_are_for_members_of_groups_that_exist() {
    let (_rig, mut root) = with_group(1);
    let missing = ErrorCode::ConsumerGroupIdNotFound;
    assert_eq!(root.poll(&next("x", None)).err(), Some(missing));
    assert_eq!(root.call(&store("x", Some(0), 0)), Err(missing));
    assert_eq!(root.call(&forget("x", Some(0))), Err(missing));
    assert_eq!(stored(&mut root, "x", 0), None);
    let stranger = ErrorCode::ConsumerGroupMemberNotFound;
    assert_eq!(root.poll(&next("g", None)).err(), Some(stranger));
    assert_eq!(root.poll(&next("g", Some(7))).err(), Some(stranger));
    assert_eq!(root.call(&store("g", Some(0), 0)), Err(stranger));
    assert_eq!(root.call(&forget("g", Some(0))), Err(stranger));
    assert_eq!(stored(&mut root, "g", 0), None);
}

#[test]
fn every_strategy_works_for_members() {
    let (rig, _root) = with_group(1);
    let mut member = member(&rig, "g");
    let cases = [
        (at(3), vec![3, 4]),
        (PollingStrategy::First, vec![0, 1]),
        (PollingStrategy::Last, vec![3, 4]),
        (since(0), vec![0, 1]),
        (PollingStrategy::Next, vec![0, 1]),
    ];
    for (strategy, offsets) in cases {
        let poll = PollMessages { strategy, ..next("g", None) };
        assert_eq!(seen(member.poll(&poll)), (0, 4, offsets));
    }
    let header_only = PollMessages { count: 0, ..next("g", None) };
    assert_eq!(seen(member.poll(&header_only)), (0, 4, vec![]));
}

#[test]
fn group_goes_on_where_it_has_committed_whoever_reads() {
    let (rig, mut root) = with_group(1);
    let mut first = member(&rig, "g");
    assert_eq!(seen(first.poll(&next_committed("g", None))), (0, 4, vec![0, 1]));
    assert_eq!(stored(&mut root, "g", 0), Some(1), "anyone may look");
    drop(first);
    let mut second = member(&rig, "0");
    assert_eq!(seen(second.poll(&next("g", None))), (0, 4, vec![2, 3]));
    second.call(&store("g", None, 2)).unwrap();
    assert_eq!(seen(second.poll(&next("0", None))), (0, 4, vec![3, 4]));
    root.call(&create("h")).unwrap();
    assert_eq!(stored(&mut root, "h", 0), None, "groups do not share offsets");
    assert_eq!(stored(&mut root, "0", 0), Some(2));
    let consumer = GetConsumerOffset {
        consumer: ConsumerIdentity::new(id("0")),
        stream: id("s"),
        topic: id("t"),
        partition_id: None,
    };
    assert_eq!(root.call(&consumer), Ok(None), "nor with consumers");
}

#[test]
fn offsets_are_stored_and_deleted_by_the_owner_of_the_partition() {
    let (rig, mut root) = with_group(2);
    let mut first = member(&rig, "g");
    let mut second = member(&rig, "g");
    let not_owned = Err(ErrorCode::NotResolvedConsumer);
    assert_eq!(first.call(&store("g", Some(1), 0)), not_owned);
    assert_eq!(first.call(&forget("g", Some(1))), not_owned);
    assert_eq!(first.call(&store("g", Some(2), 0)), Err(ErrorCode::PartitionNotFound));
    assert_eq!(first.call(&store("g", Some(0), 5)), Err(ErrorCode::InvalidOffset));
    assert_eq!(second.call(&forget("g", Some(1))), Err(ErrorCode::ConsumerOffsetNotFound));
    second.call(&store("g", Some(1), 4)).unwrap();
    second.call(&store("g", Some(1), 3)).unwrap();
    assert_eq!(stored(&mut root, "g", 1), Some(3));
    second.call(&forget("g", Some(1))).unwrap();
    assert_eq!(stored(&mut root, "g", 1), None);
    let mut idle = member(&rig, "g");
    assert_eq!(idle.call(&store("g", None, 0)), not_owned);
    assert_eq!(idle.call(&store("g", Some(0), 0)), not_owned);
}

#[test]
fn offset_without_a_partition_is_of_the_one_polled_last_in_turn() {
    let (rig, mut root) = with_group(3);
    let mut member = member(&rig, "g");
    for offset in [0, 1, 2] {
        assert_eq!(u64::from(member.poll(&next("g", None)).unwrap().partition), offset);
        member.call(&store("g", None, offset)).unwrap();
        assert_eq!(stored(&mut root, "g", u32::try_from(offset).unwrap()), Some(offset));
    }
    member.call(&forget("g", None)).unwrap();
    assert_eq!(stored(&mut root, "g", 2), None);
}

#[test]
fn partition_passes_on_when_what_was_polled_is_stored() {
    let (rig, mut root) = with_group(2);
    let mut first = member(&rig, "g");
    assert_eq!(seen(first.poll(&next("g", Some(1)))), (1, 4, vec![0, 1]));
    let mut second = member(&rig, "g");
    assert_eq!(lists(&mut root), [vec![0, 1], vec![]]);
    assert_eq!(seen(second.poll(&next("g", None))), NOTHING);
    assert_eq!(seen(second.poll(&next("g", Some(1)))), NOTHING);
    for _ in 0..3 {
        assert_eq!(first.poll(&next("g", None)).unwrap().partition, 0, "polls in turn skip it");
    }
    first.call(&store("g", Some(1), 0)).unwrap();
    assert_eq!(lists(&mut root), [vec![0, 1], vec![]], "one is still to come");
    assert_eq!(seen(first.poll(&next_committed("g", Some(1)))), (1, 4, vec![1, 2]));
    assert_eq!(lists(&mut root), [vec![0], vec![1]], "a poll that commits will do");
    assert_eq!(seen(second.poll(&next("g", None))), (1, 4, vec![3, 4]));
    assert_eq!(seen(first.poll(&next("g", Some(1)))), NOTHING);
    assert_eq!(first.call(&store("g", Some(1), 2)), Err(ErrorCode::NotResolvedConsumer));
}

#[test]
fn silent_member_keeps_a_partition_for_the_configured_time_only() {
    let (rig, mut root) = with_group(2);
    let mut first = member(&rig, "g");
    first.poll(&next("g", Some(1))).unwrap();
    let mut second = member(&rig, "g");
    rig.environment.advance_us(TIMEOUT_US - 1);
    rig.broker.tick();
    assert_eq!(lists(&mut root), [vec![0, 1], vec![]]);
    rig.environment.advance_us(1);
    rig.broker.tick();
    assert_eq!(lists(&mut root), [vec![0], vec![1]]);
    assert_eq!(seen(second.poll(&next("g", None))), (1, 4, vec![0, 1]), "nobody processed them");
}

#[test]
fn member_that_died_blocks_nothing() {
    let (rig, mut root) = with_group(2);
    let mut first = member(&rig, "g");
    first.poll(&next("g", Some(1))).unwrap();
    let mut second = member(&rig, "g");
    drop(first);
    assert_eq!(lists(&mut root), [vec![0, 1]]);
    assert_eq!(seen(second.poll(&next("g", Some(1)))), (1, 4, vec![0, 1]));
}

/// INV-GROUP-DECIDED.
#[test]
fn poll_under_way_delivers_and_commits_nothing_once_its_partition_is_anothers() {
    let (rig, mut root) = with_group(2);
    let mut first = member(&rig, "g");
    // What is not in the page cache is read off the thread, so that the answer can be held back.
    rig.disk.drop_caches();
    let by_time = PollMessages { strategy: since(0), ..next_committed("g", Some(1)) };
    let under_way = first.submit(&by_time);
    let mut second = member(&rig, "g");
    assert_eq!(lists(&mut root), [vec![0], vec![1]]);
    assert_eq!(seen(second.poll(&next_committed("g", None))), (1, 4, vec![0, 1]));
    assert_eq!(messages_in(&first.finish(under_way).unwrap()), 0);
    assert_eq!(stored(&mut root, "g", 1), Some(1));
    assert_eq!(seen(second.poll(&next_committed("g", None))), (1, 4, vec![2, 3]));
}

#[test]
fn poll_under_way_delivers_nothing_of_what_is_purged_or_gone() {
    let (rig, mut root) = with_group(2);
    let mut member = member(&rig, "g");
    let by_time = PollMessages { strategy: since(0), ..next_committed("g", Some(1)) };
    rig.disk.drop_caches();
    let under_way = member.submit(&by_time);
    root.call(&purge_topic("s", "t")).unwrap();
    assert_eq!(messages_in(&member.finish(under_way).unwrap()), 0);
    root.send("t", to(1), &["new"]).unwrap();
    rig.disk.drop_caches();
    let under_way = member.submit(&by_time);
    root.call(&delete_partitions("s", "t", 1)).unwrap();
    root.call(&create_partitions("s", "t", 1)).unwrap();
    assert_eq!(messages_in(&member.finish(under_way).unwrap()), 0);
    let by_time = PollMessages { partition_id: None, ..by_time };
    let under_way = member.submit(&by_time);
    root.call(&delete("g")).unwrap();
    assert_eq!(messages_in(&member.finish(under_way).unwrap()), 0);
    root.call(&create("g")).unwrap();
    assert_eq!((stored(&mut root, "g", 0), stored(&mut root, "g", 1)), (None, None));
}

#[test]
fn what_a_member_is_still_to_commit_stays_its_own_when_another_leaves() {
    let (rig, mut root) = with_group(4);
    let mut first = member(&rig, "g");
    let mut second = member(&rig, "g");
    let third = member(&rig, "g");
    assert_eq!(lists(&mut root), [vec![0], vec![3, 2], vec![1]]);
    first.poll(&next("g", Some(0))).unwrap();
    second.poll(&next("g", Some(3))).unwrap();
    drop(third);
    let now = lists(&mut root);
    assert!(now[0].contains(&0) && now[1].contains(&3), "{now:?}");
    assert_eq!((now[0].len(), now[1].len()), (2, 2));
    first.call(&store("g", Some(0), 1)).unwrap();
    second.call(&store("g", Some(3), 1)).unwrap();
}

#[test]
fn purge_forgets_the_offsets_and_what_was_to_be_committed() {
    let (rig, mut root) = with_group(2);
    let mut first = member(&rig, "g");
    first.poll(&next_committed("g", Some(0))).unwrap();
    first.poll(&next("g", Some(1))).unwrap();
    let mut second = member(&rig, "g");
    assert_eq!(lists(&mut root), [vec![0, 1], vec![]]);
    root.call(&purge_topic("s", "t")).unwrap();
    assert_eq!(lists(&mut root), [vec![0], vec![1]]);
    assert_eq!((stored(&mut root, "g", 0), stored(&mut root, "g", 1)), (None, None));
    root.send("t", to(1), &["new"]).unwrap();
    assert_eq!(seen(second.poll(&next("g", None))), (1, 0, vec![0]));
}

#[test]
fn members_of_two_groups_do_not_disturb_each_other() {
    let (rig, mut root) = with_group(1);
    root.call(&create("h")).unwrap();
    let mut member = member(&rig, "g");
    member.call(&join("h")).unwrap();
    for group in ["g", "h"] {
        assert_eq!(seen(member.poll(&next_committed(group, None))), (0, 4, vec![0, 1]));
    }
    member.call(&leave("g")).unwrap();
    assert_eq!(seen(member.poll(&next_committed("h", None))), (0, 4, vec![2, 3]));
}

/// INV-GROUP-COMMITTED.
#[test]
fn partition_passes_on_only_when_what_was_stored_is_durable() {
    let (rig, mut root) = with_group(3);
    let mut first = member(&rig, "g");
    let polled = first.submit(&next_committed("g", Some(2)));
    first.poll(&next("g", Some(1))).unwrap();
    let stored = first.submit(&store("g", Some(1), 1));
    let mut second = member(&rig, "g");
    let mut third = member(&rig, "g");
    assert_eq!(lists(&mut root), [vec![0, 1, 2], vec![], vec![]]);
    assert_eq!(seen(second.poll(&next("g", Some(2)))), NOTHING);
    first.finish(polled).unwrap();
    first.finish(stored).unwrap();
    // No tick and no look at the group is needed for it.
    assert_eq!(seen(third.poll(&next("g", None))), (1, 4, vec![2, 3]));
    assert_eq!(lists(&mut root), [vec![0], vec![2], vec![1]]);
}

#[test]
fn partition_stays_when_what_was_to_be_stored_is_not() {
    let (rig, mut root) = with_group(2);
    let mut first = member(&rig, "g");
    let polled = first.submit(&next_committed("g", Some(1)));
    let mut second = member(&rig, "g");
    rig.disk.plan(FaultPlan { fail_sync: Some(1), ..FaultPlan::default() });
    assert!(first.finish(polled).is_err());
    assert_eq!(lists(&mut root), [vec![0, 1], vec![]]);
    assert_eq!(seen(second.poll(&next("g", None))), NOTHING);
}
