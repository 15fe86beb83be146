//! A group in single steps; any steps are in [`model`].
//!
//! Members are named by letters, as their keys; they join in that order.

mod model;

use galgo_wire::id::{Offset, PartitionId};

use super::{Group, GroupRefusal, MemberKey, Moment, PollTurn};

/// How long a hand-over may take in these tests.
const TIMEOUT_US: u64 = 1_000;

fn at(now_us: u64) -> Moment {
    Moment { now_us, due_us: now_us + TIMEOUT_US }
}

fn key(letter: char) -> MemberKey {
    MemberKey::new(u64::from(u32::from(letter)))
}

fn partition(number: u32) -> PartitionId {
    PartitionId::new(number)
}

/// A group of these members, who have polled nothing yet.
fn group(partitions: usize, members: &str) -> Group {
    let mut group = Group::new(partitions);
    members.chars().for_each(|letter| assert!(group.join(key(letter), at(0))));
    group
}

/// The lists of the members in the order of their ids.
fn lists(group: &Group) -> Vec<Vec<u32>> {
    let members = group.members().into_iter();
    members.map(|member| member.partitions.iter().map(|p| p.get()).collect()).collect()
}

/// Polls; tells from which partition.
fn poll(group: &mut Group, letter: char, wanted: Option<u32>, last: u64) -> Option<u32> {
    let turn = group.turn(key(letter), wanted.map(partition), at(0)).unwrap()?;
    assert!(group.is_good(turn));
    group.delivered(turn, Offset::new(last));
    Some(turn.partition.get())
}

fn commit(group: &mut Group, letter: char, number: u32, offset: u64) -> Result<(), GroupRefusal> {
    let turn = group.target(key(letter), Some(partition(number)), at(0))?;
    group.committed(key(letter), turn.partition, Offset::new(offset), at(0));
    Ok(())
}

#[test]
fn first_member_gets_everything_and_later_ones_an_even_share() {
    let mut group = group(6, "a");
    assert_eq!(lists(&group), [vec![0, 1, 2, 3, 4, 5]]);
    assert!(!group.join(key('a'), at(0)), "joining again changes nothing");
    group.join(key('b'), at(0));
    assert_eq!(lists(&group), [vec![0, 1, 2], vec![5, 4, 3]]);
    group.join(key('c'), at(0));
    assert_eq!(lists(&group), [vec![0, 1], vec![5, 4], vec![2, 3]]);
    ('d'..='f').for_each(|letter| assert!(group.join(key(letter), at(0))));
    assert_eq!(lists(&group), [vec![0], vec![5], vec![2], vec![1], vec![4], vec![3]]);
    group.join(key('g'), at(0));
    assert_eq!(lists(&group).last(), Some(&vec![]), "nobody gives its only partition");
}

#[test]
fn lists_are_made_anew_when_a_member_leaves() {
    let mut group = group(6, "abc");
    assert!(group.leave(key('c'), at(0)));
    assert!(!group.leave(key('c'), at(0)));
    assert_eq!(lists(&group), [vec![0, 2, 4], vec![1, 3, 5]]);
    group.leave(key('a'), at(0));
    assert_eq!(lists(&group), [vec![0, 1, 2, 3, 4, 5]]);
    assert_eq!(group.members().first().map(|member| member.id), Some(1), "ids stay");
    group.join(key('d'), at(0));
    assert_eq!(group.members().last().map(|member| member.id), Some(2));
}

#[test]
fn lists_are_made_anew_when_partitions_come_or_go() {
    let mut group = group(2, "ab");
    group.resize(5, at(0));
    assert_eq!(lists(&group), [vec![0, 2, 4], vec![1, 3]]);
    group.resize(1, at(0));
    assert_eq!(lists(&group), [vec![0], vec![]]);
    group.resize(0, at(0));
    assert_eq!(lists(&group), [vec![], vec![]] as [Vec<u32>; 2]);
    assert_eq!(group.turn(key('a'), None, at(0)), Ok(None));
    assert_eq!(group.target(key('a'), None, at(0)), Err(GroupRefusal::NotOwner));
}

#[test]
fn polls_without_a_partition_take_the_members_own_in_turn() {
    let mut group = group(3, "ab");
    let polled: Vec<_> = (0..4).map(|_| poll(&mut group, 'a', None, 0)).collect();
    assert_eq!(polled, [Some(0), Some(1), Some(0), Some(1)]);
    assert_eq!(poll(&mut group, 'a', Some(1), 0), Some(1));
    assert_eq!(poll(&mut group, 'a', Some(2), 0), None, "it is b's");
    assert_eq!(poll(&mut group, 'a', Some(9), 0), None);
    assert_eq!(poll(&mut group, 'b', None, 0), Some(2));
    assert_eq!(group.turn(key('x'), None, at(0)), Err(GroupRefusal::NotMember));
}

#[test]
fn an_offset_without_a_partition_is_of_the_last_one_polled_in_turn() {
    let mut group = group(2, "a");
    let target = |group: &mut Group| group.target(key('a'), None, at(0)).map(|t| t.partition.get());
    assert_eq!(target(&mut group), Ok(0), "the first, before any poll");
    poll(&mut group, 'a', None, 0);
    poll(&mut group, 'a', None, 0);
    assert_eq!((target(&mut group), target(&mut group)), (Ok(1), Ok(1)));
    commit(&mut group, 'a', 1, 0).unwrap();
    group.join(key('b'), at(0));
    assert_eq!(lists(&group), [vec![0], vec![1]]);
    assert_eq!(target(&mut group), Err(GroupRefusal::NotOwner), "never that of another partition");
    assert_eq!(group.target(key('x'), None, at(0)), Err(GroupRefusal::NotMember));
}

#[test]
fn partition_with_uncommitted_messages_is_given_up_when_they_are_committed() {
    let mut group = group(2, "a");
    assert_eq!(poll(&mut group, 'a', Some(1), 9), Some(1));
    group.join(key('b'), at(0));
    assert_eq!(lists(&group), [vec![0, 1], vec![]], "shown with the old owner");
    assert_eq!(poll(&mut group, 'a', None, 0), Some(0));
    assert_eq!(poll(&mut group, 'a', None, 0), Some(0), "polls in turn leave it out");
    assert_eq!(poll(&mut group, 'b', None, 0), None);
    assert_eq!(commit(&mut group, 'b', 1, 9), Err(GroupRefusal::NotOwner));
    commit(&mut group, 'a', 1, 8).unwrap();
    assert_eq!(lists(&group), [vec![0, 1], vec![]], "not all of it is committed");
    assert_eq!(poll(&mut group, 'a', Some(1), 10), Some(1), "it may still be asked for by its id");
    commit(&mut group, 'a', 1, 10).unwrap();
    assert_eq!(lists(&group), [vec![0], vec![1]]);
    assert_eq!(poll(&mut group, 'b', None, 0), Some(1));
    assert_eq!(commit(&mut group, 'a', 1, 10), Err(GroupRefusal::NotOwner));
}

#[test]
fn silent_member_gives_up_its_partition_when_the_time_is_over() {
    let mut group = group(2, "a");
    poll(&mut group, 'a', Some(1), 9);
    group.join(key('b'), at(5));
    group.expire(at(5 + TIMEOUT_US - 1));
    assert_eq!(lists(&group), [vec![0, 1], vec![]]);
    let turn = group.turn(key('b'), None, at(5 + TIMEOUT_US)).unwrap();
    assert_eq!(turn.map(|turn| turn.partition), Some(partition(1)), "no tick is needed for it");
    assert_eq!(lists(&group), [vec![0], vec![1]]);
}

#[test]
fn purge_leaves_nothing_to_wait_for() {
    let mut group = group(2, "a");
    poll(&mut group, 'a', Some(1), 9);
    group.join(key('b'), at(0));
    group.reset(partition(1), at(0));
    assert_eq!(lists(&group), [vec![0], vec![1]]);
}

#[test]
fn poll_under_way_delivers_nothing_once_the_partition_has_changed_hands() {
    let mut group = group(2, "a");
    let turn = group.turn(key('a'), Some(partition(1)), at(0)).unwrap().unwrap();
    group.join(key('b'), at(0));
    assert_eq!(lists(&group), [vec![0], vec![1]], "nothing polled, nothing to wait for");
    assert!(!group.is_good(turn));
    // It comes back, and the poll is still of no use.
    group.leave(key('b'), at(0));
    assert!(!group.is_good(turn));
    let shrunk_and_grown = group.turn(key('a'), Some(partition(1)), at(0)).unwrap().unwrap();
    group.resize(1, at(0));
    group.resize(2, at(0));
    assert!(!group.is_good(shrunk_and_grown), "that is another partition");
    let other = PollTurn { partition: partition(7), epoch: 0 };
    assert!(!group.is_good(other));
    let turn = group.turn(key('a'), Some(partition(1)), at(0)).unwrap().unwrap();
    group.reset(partition(1), at(0));
    assert!(!group.is_good(turn), "what it found was purged");
}

#[test]
fn uncommitted_messages_stay_with_their_reader_when_lists_are_made_anew() {
    let mut group = group(4, "abc");
    assert_eq!(lists(&group), [vec![0], vec![3, 2], vec![1]]);
    poll(&mut group, 'b', Some(3), 9);
    group.leave(key('c'), at(0));
    assert_eq!(lists(&group), [vec![0, 1], vec![2, 3]]);
    assert_eq!(poll(&mut group, 'b', Some(3), 9), Some(3));
}

#[test]
fn what_cannot_stay_is_held_for_the_new_owner_until_it_is_committed() {
    let mut group = group(3, "ab");
    assert_eq!(lists(&group), [vec![0, 1], vec![2]]);
    (0..2).for_each(|number| assert!(poll(&mut group, 'a', Some(number), 9).is_some()));
    group.resize(2, at(0));
    assert_eq!(lists(&group), [vec![0], vec![1]], "even at once");
    assert_eq!(poll(&mut group, 'b', None, 0), None);
    assert_eq!(poll(&mut group, 'b', Some(1), 0), None);
    assert_eq!(poll(&mut group, 'a', Some(1), 0), None);
    commit(&mut group, 'a', 1, 9).unwrap();
    assert_eq!(poll(&mut group, 'b', None, 0), Some(1));
    assert_eq!(commit(&mut group, 'a', 1, 9), Err(GroupRefusal::NotOwner));
}

#[test]
fn held_partition_is_free_when_its_reader_leaves_or_the_time_is_over() {
    let held = || {
        let mut group = group(3, "ab");
        (0..2).for_each(|number| assert!(poll(&mut group, 'a', Some(number), 9).is_some()));
        group.resize(2, at(0));
        group
    };
    let mut late = held();
    late.expire(at(TIMEOUT_US));
    assert_eq!(poll(&mut late, 'b', Some(1), 0), Some(1));
    let mut left = held();
    left.leave(key('a'), at(0));
    assert_eq!(lists(&left), [vec![0, 1]]);
    assert_eq!(poll(&mut left, 'b', Some(1), 0), Some(1));
}

#[test]
fn member_that_came_while_a_partition_was_held_gets_one_afterwards() {
    let mut group = group(7, "ab");
    assert_eq!(lists(&group), [vec![0, 1, 2, 3], vec![6, 5, 4]]);
    (0..4).for_each(|number| assert!(poll(&mut group, 'a', Some(number), 9).is_some()));
    group.resize(4, at(0));
    assert_eq!(lists(&group), [vec![0, 1], vec![2, 3]]);
    group.join(key('c'), at(0));
    (0..4).for_each(|number| assert_eq!(commit(&mut group, 'a', number, 9), Ok(())));
    assert!(lists(&group).iter().all(|list| !list.is_empty()), "{:?}", lists(&group));
}

/// A member that came later got one partition and kept it at that, however many the others had: of six
/// partitions one had five, until somebody left.
#[test]
fn a_newcomer_that_waits_for_its_first_partition_gets_its_share_afterwards() {
    let mut group = group(6, "a");
    (0..6).for_each(|number| assert!(poll(&mut group, 'a', Some(number), 9).is_some()));
    group.join(key('b'), at(0));
    assert_eq!(lists(&group), [vec![0, 1, 2, 3, 4, 5], vec![]]);
    assert_eq!(poll(&mut group, 'a', None, 9), Some(0), "others are not held up");
    commit(&mut group, 'a', 4, 9).unwrap();
    assert_eq!(lists(&group), [vec![0, 1, 2, 3, 4, 5], vec![]], "the last one is first");
    commit(&mut group, 'a', 5, 9).unwrap();
    assert_eq!(lists(&group), [vec![0, 1, 2, 3], vec![5, 4]]);
    commit(&mut group, 'a', 3, 9).unwrap();
    assert_eq!(lists(&group), [vec![0, 1, 2], vec![5, 4, 3]]);
}

#[test]
fn what_is_on_its_way_goes_to_whom_it_makes_even() {
    let mut group = group(8, "a");
    (0..8).for_each(|number| assert!(poll(&mut group, 'a', Some(number), 9).is_some()));
    group.join(key('b'), at(0));
    commit(&mut group, 'a', 7, 9).unwrap();
    assert_eq!(lists(&group).last(), Some(&vec![7]), "with 6, 5 and 4 on their way");
    group.join(key('c'), at(0));
    (0..8).for_each(|number| assert!(commit(&mut group, 'a', number, 9).is_ok() || number == 7));
    let mut counts: Vec<_> = lists(&group).iter().map(Vec::len).collect();
    counts.sort_unstable();
    assert_eq!(counts, [2, 3, 3], "{:?}", lists(&group));
}
