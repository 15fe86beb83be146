//! Memberships with a session: who falls silent loses its partitions, and a member is told what it holds.

use galgo_wire::ErrorCode;
use galgo_wire::command::*;

use super::heartbeat::{INTERVAL_US, fall_silent, with_heartbeat};
use super::{leave, lists, member, next, stored, with_group};
use crate::requests::{id, purge_topic};
use crate::rig::{Connection, Rig};

const SESSION_US: u64 = 10_000_000;
/// How long a hand-over may take by default.
const HANDOVER_US: u64 = 30_000_000;

fn join_with(session: u64) -> JoinGroupWith {
    JoinGroupWith { stream: id("s"), topic: id("t"), group: id("g"), session, reserved: 0 }
}

/// A new member with a session, and what it is told.
fn held(rig: &Rig) -> (Connection, GroupHolds) {
    let mut member = rig.root();
    let holds = member.call(&join_with(SESSION_US)).unwrap();
    (member, holds)
}

fn partitions(holds: &GroupHolds) -> Vec<u32> {
    holds.holds.iter().map(|hold| hold.partition_id.get()).collect()
}

fn wait(rig: &Rig, us: u64) {
    rig.environment.advance_us(us);
    rig.broker.tick();
}

/// A program that was stopped in a debugger, or by SIGSTOP, kept its partitions for ever: its connection was
/// open, and without the setting for pings nobody asked for more.
#[test]
fn a_hung_member_loses_its_partitions_and_no_more() {
    let (rig, mut root) = with_group(4);
    let (mut hung, holds) = held(&rig);
    assert_eq!((holds.session, partitions(&holds)), (SESSION_US, vec![0, 1, 2, 3]));
    hung.poll(&next("g", Some(3))).unwrap();
    let (mut lively, _) = held(&rig);
    wait(&rig, SESSION_US);
    lively.call(&Ping {}).unwrap();
    assert_eq!(lists(&mut root), [vec![0, 1, 2, 3], vec![]], "not for longer than it said");
    wait(&rig, 1);
    assert_eq!(lists(&mut root), [vec![0, 1, 2, 3]]);
    assert!(lively.poll(&next("g", Some(3))).is_ok());
    assert_eq!(hung.poll(&next("g", None)).err(), Some(ErrorCode::ConsumerGroupMemberNotFound));
    // The connection is good, so it can be a member again at once.
    let again = hung.call(&join_with(SESSION_US)).unwrap();
    assert_ne!(again.membership, holds.membership);
    assert_eq!(lists(&mut root).len(), 2);
}

#[test]
fn a_ping_a_poll_an_offset_and_a_renewal_are_signs_of_life() {
    let (rig, mut root) = with_group(1);
    let (mut member, first) = held(&rig);
    let signs: [&dyn Fn(&mut Connection); 4] = [
        &|member| member.call(&Ping {}).unwrap(),
        &|member| drop(member.poll(&next("g", None)).unwrap()),
        &|member| member.call(&super::store("g", Some(0), 1)).unwrap(),
        &|member| drop(member.call(&join_with(SESSION_US)).unwrap()),
    ];
    for sign in signs {
        wait(&rig, SESSION_US - 1);
        sign(&mut member);
        wait(&rig, 1);
        assert_eq!(lists(&mut root), [vec![0]]);
    }
    let renewed = member.call(&join_with(SESSION_US)).unwrap();
    assert_eq!(renewed, first, "the same membership and the same hold");
    wait(&rig, SESSION_US + 1);
    assert_eq!(lists(&mut root), [] as [Vec<u32>; 0]);
}

#[test]
fn a_session_is_bounded_and_nobody_else_has_one() {
    let (rig, mut root) = with_group(2);
    let _classic = member(&rig, "g");
    let mut renewed = rig.root();
    for (asked, given) in [(0, 0), (1, 1_000_000), (u64::MAX, 3_600_000_000), (0, 0)] {
        assert_eq!(renewed.call(&join_with(asked)).unwrap().session, given);
    }
    wait(&rig, 1 << 40);
    assert_eq!(lists(&mut root), [vec![0], vec![1]]);
}

#[test]
fn a_hold_tells_how_long_it_is_safe_and_another_one_has_another_number() {
    let (rig, mut root) = with_group(2);
    let (mut first, before) = held(&rig);
    assert!(before.holds.iter().all(|hold| hold.safe == SESSION_US));
    let without = first.call(&join_with(0)).unwrap();
    assert!(without.holds.iter().all(|hold| hold.safe == HANDOVER_US));
    first.poll(&next("g", Some(1))).unwrap();
    let mut second = member(&rig, "g");
    rig.environment.advance_us(HANDOVER_US - 1);
    let pending = first.call(&join_with(0)).unwrap();
    assert_eq!(partitions(&pending), [0, 1]);
    assert_eq!(pending.holds.iter().map(|hold| hold.safe).collect::<Vec<_>>(), [HANDOVER_US, 1]);
    assert_eq!(pending.holds[1].hold, before.holds[1].hold, "still its own");
    rig.environment.advance_us(1);
    assert_eq!(partitions(&first.call(&join_with(0)).unwrap()), [0]);
    // The other one leaves without having read anything, and it has the partition again.
    second.call(&leave("g")).unwrap();
    let after = first.call(&join_with(0)).unwrap();
    assert_eq!((partitions(&after), after.membership), (vec![0, 1], before.membership));
    assert_eq!(after.holds[0].hold, before.holds[0].hold);
    assert_ne!(after.holds[1].hold, before.holds[1].hold);
    assert_eq!(stored(&mut root, "g", 1), None);
    root.call(&purge_topic("s", "t")).unwrap();
    let purged = first.call(&join_with(0)).unwrap();
    assert_ne!(purged.holds[0].hold, after.holds[0].hold, "what it had is gone");
}

/// A member that was stopped for longer than pings may be late, and for less than a hand-over takes, went on with
/// what it had fetched, which another member had by then.
#[test]
fn what_is_held_is_safe_for_no_longer_than_a_client_may_be_without_a_ping() {
    let (rig, mut root) = with_heartbeat();
    let (mut member, holds) = held(&rig);
    assert!(holds.holds.iter().all(|hold| hold.safe == INTERVAL_US * 6 / 5), "{holds:?}");
    // Renewals are signs of life like pings, or the promise would not hold.
    for _ in 0..5 {
        rig.environment.advance_us(INTERVAL_US);
        root.call(&Ping {}).unwrap();
        member.call(&join_with(SESSION_US)).unwrap();
        fall_silent(&rig, &mut root);
        assert_eq!(lists(&mut root), [vec![0, 1]]);
        member.call(&join_with(SESSION_US)).unwrap();
    }
    fall_silent(&rig, &mut root);
    fall_silent(&rig, &mut root);
    assert_eq!(lists(&mut root), [] as [Vec<u32>; 0]);
}

/// Two programs on one connection are one member: the second took from the first what it had been promised.
#[test]
fn a_shorter_session_ends_nothing_that_was_said_to_be_safe() {
    let (rig, mut root) = with_group(1);
    let (mut member, holds) = held(&rig);
    assert_eq!(holds.holds[0].safe, SESSION_US);
    member.call(&join_with(SESSION_US / 5)).unwrap();
    wait(&rig, SESSION_US);
    assert_eq!(lists(&mut root), [vec![0]]);
    wait(&rig, 1);
    assert_eq!(lists(&mut root), [] as [Vec<u32>; 0]);
}

/// Lists that are made anew name the new owner at once, while the old one may still commit.
///
/// INV-HOLD.
#[test]
fn who_is_to_commit_holds_the_partition_whoever_is_listed() {
    let (rig, mut root) = with_group(3);
    let (mut first, before) = held(&rig);
    let _second = member(&rig, "g");
    let all = before.holds.iter().map(|hold| hold.hold).collect::<Vec<_>>();
    (0..2).for_each(|number| drop(first.poll(&next("g", Some(number))).unwrap()));
    root.call(&crate::requests::delete_partitions("s", "t", 1)).unwrap();
    assert_eq!(lists(&mut root), [vec![0], vec![1]]);
    let after = first.call(&join_with(SESSION_US)).unwrap();
    assert_eq!(partitions(&after), [0, 1]);
    assert_eq!(after.holds.iter().map(|hold| hold.hold).collect::<Vec<_>>(), all[..2]);
}
