//! Clients that have to send pings, and those that fell silent.

use galgo_broker::{Answer, GroupOptions, Outcome, Reply};
use galgo_wire::ErrorCode;
use galgo_wire::command::*;

use super::{create, join, leave, lists, member, memberships, next, store};
use crate::requests::{create_stream, create_topic, to};
use crate::rig::{Connection, Rig};

pub(super) const INTERVAL_US: u64 = 2_000_000;

/// A server that wants pings, with a group `g`; the caller is not to be silent.
pub(super) fn with_heartbeat() -> (Rig, Connection) {
    let rig = Rig::with_groups(GroupOptions {
        heartbeat_interval_us: Some(INTERVAL_US),
        ..GroupOptions::default()
    });
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    root.call(&create_topic("s", "t", 2)).unwrap();
    root.send("t", to(0), &["0"]).unwrap();
    root.call(&create("g")).unwrap();
    (rig, root)
}

/// Lets as much time pass as a silent client has; `active` sends a ping.
pub(super) fn fall_silent(rig: &Rig, active: &mut Connection) {
    rig.environment.advance_us(INTERVAL_US * 6 / 5);
    active.call(&Ping {}).unwrap();
    rig.broker.tick();
}

/// The answer closes the connection.
fn closes<C: Command>(caller: &mut Connection, command: &C, code: ErrorCode) -> bool {
    matches!(caller.submit(command), Outcome::Answer(Answer { after: None, reply: Reply::Close(found) }) if found == code)
}

#[test]
fn silent_client_leaves_its_groups_and_the_table_but_not_its_connection() {
    let (rig, mut root) = with_heartbeat();
    let mut silent = member(&rig, "g");
    let mut active = member(&rig, "g");
    fall_silent(&rig, &mut root);
    assert_eq!(lists(&mut root), [vec![0], vec![1]], "not late by more than a fifth");
    // Programs for the classic server rely on its looking once in an interval.
    active.call(&Ping {}).unwrap();
    rig.environment.advance_us(INTERVAL_US - 1);
    rig.broker.tick();
    assert_eq!(lists(&mut root), [vec![0], vec![1]], "nobody looked");
    root.call(&Ping {}).unwrap();
    rig.environment.advance_us(1);
    rig.broker.tick();
    assert_eq!(lists(&mut root), [vec![0, 1]]);
    assert_eq!(memberships(&mut active), [(0, 0, 0)]);
    let id = silent.session.client_id();
    assert_eq!(root.call(&GetClient { client_id: id }), Ok(None));
    assert_eq!(root.call(&GetStats {}).unwrap().clients_count, 2);

    assert_eq!(silent.call(&Ping {}), Ok(()), "no way back");
    assert!(silent.call(&GetStreams {}).is_ok(), "other commands work");
    assert_eq!(silent.call(&store("g", None, 0)), Err(ErrorCode::ConsumerGroupMemberNotFound));
    assert!(closes(&mut silent, &join("g"), ErrorCode::StaleClient));
    assert!(closes(&mut silent, &leave("g"), ErrorCode::StaleClient));
    assert!(closes(&mut silent, &next("g", None), ErrorCode::StaleClient));
    assert!(closes(&mut silent, &GetMe {}, ErrorCode::ClientNotFound));
}

#[test]
fn only_a_ping_counts() {
    let (rig, mut root) = with_heartbeat();
    let mut busy = member(&rig, "g");
    for _ in 0..3 {
        rig.environment.advance_us(INTERVAL_US);
        root.call(&Ping {}).unwrap();
        busy.poll(&next("g", None)).ok();
        rig.broker.tick();
    }
    assert_eq!(lists(&mut root), [] as [Vec<u32>; 0]);
    assert!(closes(&mut busy, &next("g", None), ErrorCode::StaleClient));
}

#[test]
fn nobody_has_to_send_pings_unless_told() {
    let rig = Rig::new();
    let mut root = rig.root();
    rig.environment.advance_us(1 << 40);
    rig.broker.tick();
    assert!(root.call(&GetMe {}).is_ok());
}

#[test]
fn ticks_come_as_often_as_the_options_need_them() {
    let interval = |options| Rig::with_groups(options).broker.tick_interval().as_millis();
    let options = GroupOptions::default();
    assert_eq!(interval(options), 1_000);
    assert_eq!(interval(GroupOptions { rebalancing_check_interval_us: 250_000, ..options }), 250);
    assert_eq!(interval(GroupOptions { rebalancing_check_interval_us: 0, ..options }), 10);
    let heartbeat_interval_us = Some(400_000);
    assert_eq!(interval(GroupOptions { heartbeat_interval_us, ..options }), 400);
}
