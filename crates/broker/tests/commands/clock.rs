//! A clock that is set back or forward, while the server runs and while it does not. One message stored while the clock was a day ahead gave every
//! later one its time, over restarts: nothing expired for a day, and polls by time began at the first
//! message. A clock set forward by the same day emptied every topic with an expiry at once.

use galgo_wire::PollingStrategy;
use galgo_wire::command::MessageExpiry;
use galgo_wire::id::Timestamp;

use crate::requests::{create_stream, create_topic, get_topic, poll, to};
use crate::rig::{CLOCK_WAIT_US, Connection, RETENTION_INTERVAL_US, Rig};

const DAY_US: i64 = 86_400_000_000;
const EXPIRY_US: u64 = 3 * RETENTION_INTERVAL_US;

fn with_topic(expiry_us: u64) -> (Rig, Connection) {
    let rig = Rig::new();
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    let mut topic = create_topic("s", "t", 1);
    topic.message_expiry = MessageExpiry::new(expiry_us);
    root.call(&topic).unwrap();
    (rig, root)
}

/// Sends a message that is as large as a quarter of a segment.
fn send(root: &mut Connection, count: u32) {
    for _ in 0..count {
        root.send("t", to(0), &[&"x".repeat(950)]).unwrap();
    }
}

/// Looks once, lets what was staged commit, removes the files.
fn retain(rig: &Rig, after_us: u64) {
    rig.environment.advance_us(after_us);
    for _ in 0..2 {
        rig.broker.tick();
        rig.broker.drain();
    }
}

fn messages(root: &mut Connection) -> u64 {
    root.call(&get_topic("s", "t")).unwrap().unwrap().topic.messages_count
}

fn first_since(root: &mut Connection, time: u64) -> Option<u64> {
    let since = PollingStrategy::Timestamp(Timestamp::new(time));
    root.poll(&poll("t", 0, since)).unwrap().messages.first().map(|message| message.offset)
}

#[test]
fn after_a_clock_that_was_ahead_messages_expire_and_are_found_by_time() {
    for killed in [false, true] {
        let (mut rig, mut root) = with_topic(EXPIRY_US);
        rig.environment.step_wall_us(DAY_US);
        send(&mut root, 6);
        rig.environment.step_wall_us(-DAY_US);
        if killed {
            // The environment of the next start is right.
            rig = rig.kill();
            root = rig.root();
        }
        let start = galgo_broker::environment::Clock::now(&*rig.environment).get();
        for _ in 0..10 {
            rig.environment.advance_us(1_000_000);
            send(&mut root, 1);
        }
        assert_eq!(first_since(&mut root, start + 4_000_000), Some(9), "killed: {killed}");
        assert_eq!(first_since(&mut root, start + 60_000_000), None);
        assert_eq!(messages(&mut root), 16);
        retain(&rig, RETENTION_INTERVAL_US);
        retain(&rig, EXPIRY_US);
        retain(&rig, RETENTION_INTERVAL_US);
        assert_eq!((messages(&mut root), first_since(&mut root, 0)), (0, None));
        send(&mut root, 1);
        assert_eq!(first_since(&mut root, 0), Some(16), "offsets go on");
    }
}

/// INV-NO-LEAP.
#[test]
fn a_clock_set_forward_empties_nothing_before_it_has_held() {
    let expiry = 10 * RETENTION_INTERVAL_US;
    let (rig, mut root) = with_topic(expiry);
    send(&mut root, 10);
    retain(&rig, RETENTION_INTERVAL_US);
    rig.environment.step_wall_us(DAY_US);
    for _ in 0..3 {
        retain(&rig, RETENTION_INTERVAL_US);
        assert_eq!(messages(&mut root), 10);
    }
    // What is old enough by the time that passes goes all the same.
    retain(&rig, expiry);
    assert_eq!(messages(&mut root), 0);
    send(&mut root, 10);
    // Set right again, nothing is older than it was, and the messages from the wrong day go in time.
    rig.environment.step_wall_us(-DAY_US);
    retain(&rig, RETENTION_INTERVAL_US);
    assert_eq!(messages(&mut root), 10);
    send(&mut root, 1);
    retain(&rig, expiry);
    assert!(messages(&mut root) <= 3);
}

#[test]
fn a_clock_set_forward_is_believed_once_it_has_held() {
    let (rig, mut root) = with_topic(20 * CLOCK_WAIT_US);
    send(&mut root, 10);
    retain(&rig, RETENTION_INTERVAL_US);
    rig.environment.step_wall_us(DAY_US);
    retain(&rig, RETENTION_INTERVAL_US);
    retain(&rig, CLOCK_WAIT_US - RETENTION_INTERVAL_US);
    assert_eq!(messages(&mut root), 10);
    retain(&rig, 2 * RETENTION_INTERVAL_US);
    retain(&rig, RETENTION_INTERVAL_US);
    assert_eq!(messages(&mut root), 0);
}

/// Kills the server after a look at clocks that are right, and starts it beside one that is ahead, before
/// or after it wrote messages with the wrong time.
fn start_ahead(writes: bool, looks: bool) -> (Rig, Connection) {
    let (rig, mut root) = with_topic(20 * CLOCK_WAIT_US);
    send(&mut root, 10);
    retain(&rig, RETENTION_INTERVAL_US);
    rig.environment.step_wall_us(DAY_US);
    if looks {
        rig.broker.tick();
    }
    if writes {
        send(&mut root, 4);
    }
    let rig = rig.kill_alone();
    let root = rig.root();
    (rig, root)
}

#[test]
fn a_start_beside_a_clock_that_is_ahead_empties_nothing_before_it_has_held() {
    for (writes, looks) in [(false, false), (true, false), (false, true), (true, true)] {
        let (mut rig, mut root) = start_ahead(writes, looks);
        let count = if writes { 14 } else { 10 };
        for _ in 0..3 {
            retain(&rig, RETENTION_INTERVAL_US);
            assert_eq!(messages(&mut root), count, "writes: {writes}, looks: {looks}");
            rig = rig.kill_alone();
            root = rig.root();
        }
        // It holds over starts: the hour counts from when it was set.
        retain(&rig, CLOCK_WAIT_US - 4 * RETENTION_INTERVAL_US);
        assert_eq!(messages(&mut root), count, "writes: {writes}, looks: {looks}");
        retain(&rig, 2 * RETENTION_INTERVAL_US);
        retain(&rig, RETENTION_INTERVAL_US);
        let left = messages(&mut root);
        assert!(left <= count - 8, "{left} messages are left; writes: {writes}, looks: {looks}");
    }
}

#[test]
fn a_clock_that_was_ahead_over_a_start_and_is_set_right_was_never_believed() {
    let (rig, mut root) = start_ahead(true, false);
    retain(&rig, RETENTION_INTERVAL_US);
    rig.environment.step_wall_us(-DAY_US);
    let rig = rig.kill_alone();
    drop(root);
    root = rig.root();
    retain(&rig, 2 * CLOCK_WAIT_US);
    assert_eq!(messages(&mut root), 14);
}
