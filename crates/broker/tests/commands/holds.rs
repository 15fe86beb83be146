//! Who holds messages, and for how long. A stored offset of anybody, were it never looked at again, kept
//! retention from removing anything; nobody could list stored offsets, anybody could overwrite them, and
//! after 100,000 of them not even a group could commit.

use galgo_wire::command::*;
use galgo_wire::consumer::{ConsumerIdentity, ConsumerKind};
use galgo_wire::id::{Offset, PartitionId};
use galgo_wire::name::{Password, Username};
use galgo_wire::permission::{GlobalPermissions, Permissions};
use galgo_wire::{ErrorCode, PollingStrategy};

use crate::requests::{
    create_group, create_stream, create_topic, delete_offset, get_offset, get_topic, id, login,
    plan_retention, poll, store_offset, to,
};
use crate::rig::{
    CLOCK_WAIT_US, Connection, HOLD_FOR_US, OFFSETS_EXPIRE_AFTER_US, PASSWORD,
    RETENTION_INTERVAL_US, Rig,
};

const HOUR_US: u64 = 3_600_000_000;
const EXPIRY_US: u64 = 10_000_000;

/// A topic whose segments are old after ten seconds: two full ones and one that is written.
fn with_topic() -> (Rig, Connection) {
    let rig = Rig::new();
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    let mut topic = create_topic("s", "t", 1);
    topic.message_expiry = MessageExpiry::new(EXPIRY_US);
    root.call(&topic).unwrap();
    for _ in 0..10 {
        root.send("t", to(0), &[&"x".repeat(950)]).unwrap();
    }
    (rig, root)
}

/// Lets the time pass, looks, and lets what was staged commit.
fn after(rig: &Rig, us: u64) {
    rig.environment.advance_us(us);
    for _ in 0..2 {
        rig.broker.tick();
        rig.broker.drain();
    }
}

fn messages(root: &mut Connection) -> u64 {
    root.call(&get_topic("s", "t")).unwrap().unwrap().topic.messages_count
}

/// Stores an offset as a member of a group.
fn commit(root: &mut Connection, group: &str, offset: u64) -> Result<(), ErrorCode> {
    let (stream, topic) = (id("s"), id("t"));
    root.call(&JoinConsumerGroup { stream, topic, group: id(group) }).unwrap();
    let store = store_offset("-", "t", (0, offset));
    root.call(&StoreConsumerOffset { consumer: ConsumerIdentity::group(id(group)), ..store })
}

fn list(root: &mut Connection) -> Vec<StoredOffset> {
    let (stream, topic, after) = (id("s"), id("t"), OffsetCursor::default());
    let page = ListConsumerOffsets { stream, topic, partition_id: None, after };
    let page = root.call(&page).unwrap();
    assert!(!page.more);
    page.offsets
}

fn set(root: &mut Connection, name: &str, value: &str) -> Result<(), ErrorCode> {
    let option = TopicOption { name: name.to_owned(), value: value.to_owned() };
    root.call(&ConfigureTopic { stream: id("s"), topic: id("t"), options: vec![option] })
}

fn config(root: &mut Connection) -> Vec<(String, bool)> {
    let config = root.call(&GetTopicConfig { stream: id("s"), topic: id("t") }).unwrap();
    let own = |option: &ResolvedOption| option.name.contains('.');
    let options = config.options.into_iter().filter(own);
    options.map(|option| (option.value, option.default)).collect()
}

/// Somebody who may poll everywhere, and nothing else.
fn poller(rig: &Rig, root: &mut Connection, name: &str) -> Connection {
    let global = GlobalPermissions { poll_messages: true, ..GlobalPermissions::default() };
    root.call(&CreateUser {
        username: Username::parse(name).unwrap(),
        password: Password::parse(PASSWORD).unwrap(),
        status: UserStatus::Active,
        permissions: Some(Permissions { global, ..Permissions::default() }),
    })
    .unwrap();
    let mut connection = rig.connect();
    connection.call(&login(name, PASSWORD)).unwrap();
    connection
}

#[test]
fn a_stored_offset_of_a_consumer_does_not_switch_retention_off() {
    let (rig, mut root) = with_topic();
    root.call(&store_offset("somebody", "t", (0, 0))).unwrap();
    after(&rig, RETENTION_INTERVAL_US);
    assert_eq!(messages(&mut root), 0);
}

#[test]
fn a_group_holds_messages_for_a_time_after_its_last_commit_and_is_named() {
    let (rig, mut root) = with_topic();
    root.call(&create_group("g")).unwrap();
    rig.broker.tick();
    commit(&mut root, "g", 1).unwrap();
    after(&rig, RETENTION_INTERVAL_US);
    assert_eq!(messages(&mut root), 10);
    let plan = root.call(&plan_retention("s", "t")).unwrap();
    assert!(plan.segments.iter().all(|segment| segment.held && segment.barrier == 1));
    let held = rig.broker.held_back();
    assert_eq!(held.len(), 1);
    assert_eq!((held[0].holder.as_str(), held[0].segments), ("group g", 3));
    let state = root.call(&GetRetentionState { stream: id("s"), topic: id("t") }).unwrap();
    let [holder] = &state.holders[..] else { panic!("one holds: {state:?}") };
    assert_eq!((holder.name.as_str(), holder.offset.get()), ("g", 1));
    assert_eq!(holder.holds_until.get(), holder.stored_at.get() + HOLD_FOR_US);
    // A commit holds anew, up to where it is.
    commit(&mut root, "g", 3).unwrap();
    after(&rig, RETENTION_INTERVAL_US);
    assert_eq!(messages(&mut root), 6);
    after(&rig, HOLD_FOR_US);
    assert_eq!(messages(&mut root), 0);
    assert!(rig.broker.held_back().is_empty());
    assert_eq!(list(&mut root).len(), 1, "the group still knows where it is");
}

/// A clock that was set forward by more than the group holds for was believed, and what the group had committed an
/// hour ago was forty days old, before or after the server was killed.
#[test]
fn a_group_holds_on_when_a_clock_that_was_set_forward_is_believed() {
    const FORTY_DAYS_US: i64 = 40 * 24 * HOUR_US.cast_signed();
    for ticks in 0..5 {
        let (rig, mut root) = with_topic();
        root.call(&create_group("g")).unwrap();
        rig.broker.tick();
        commit(&mut root, "g", 1).unwrap();
        after(&rig, RETENTION_INTERVAL_US);
        rig.environment.step_wall_us(FORTY_DAYS_US);
        rig.broker.tick();
        after(&rig, CLOCK_WAIT_US - 1);
        commit(&mut root, "g", 1).unwrap();
        rig.environment.advance_us(1);
        for _ in 0..ticks {
            after(&rig, 700_000);
            assert_eq!(messages(&mut root), 10, "tick {ticks}");
        }
        let rig = rig.kill_alone();
        let mut root = rig.root();
        for _ in 0..4 {
            after(&rig, RETENTION_INTERVAL_US);
            assert_eq!(messages(&mut root), 10, "after a kill behind tick {ticks}");
        }
        after(&rig, HOLD_FOR_US);
        assert_eq!(messages(&mut root), 0, "after a kill behind tick {ticks}");
    }
}

#[test]
fn a_topic_chooses_by_name_who_holds_and_how_long() {
    let (rig, mut root) = with_topic();
    let age = || ("1m".to_owned(), true);
    let default = vec![("7days".to_owned(), true), ("off".to_owned(), true), age()];
    assert_eq!(config(&mut root), default);
    assert_eq!(set(&mut root, "compression", "zstd"), Err(ErrorCode::InvalidFormat));
    assert_eq!(set(&mut root, "retention.hold_for", "soon"), Err(ErrorCode::InvalidFormat));
    assert_eq!(config(&mut root), default, "what is refused changes nothing");
    set(&mut root, "retention.hold_consumers", "on").unwrap();
    set(&mut root, "retention.hold_for", "1h").unwrap();
    rig.broker.tick();
    root.call(&store_offset("somebody", "t", (0, 0))).unwrap();
    after(&rig, RETENTION_INTERVAL_US);
    assert_eq!(messages(&mut root), 10);
    let rig = rig.cut_power(1);
    let mut root = rig.root();
    let chosen = vec![("1h".to_owned(), false), ("on".to_owned(), false), age()];
    assert_eq!(config(&mut root), chosen, "it survives");
    after(&rig, RETENTION_INTERVAL_US);
    assert_eq!(messages(&mut root), 10, "so does who holds what");
    after(&rig, HOUR_US);
    assert_eq!(messages(&mut root), 0);
    set(&mut root, "retention.hold_for", "").unwrap();
    assert_eq!(config(&mut root)[0], default[0]);
    let update = UpdateTopic {
        stream: id("s"),
        topic: id("t"),
        compression: Compression::None,
        message_expiry: MessageExpiry::NEVER,
        max_topic_size: MaxTopicSize::UNLIMITED,
        replication_factor: 1,
        name: galgo_wire::name::TopicName::parse("t").unwrap(),
    };
    root.call(&update).unwrap();
    assert_eq!(config(&mut root)[1], chosen[1], "a classic client's update leaves them alone");
}

#[test]
fn what_consumers_stored_that_never_come_back_is_forgotten() {
    let (rig, mut root) = with_topic();
    root.call(&create_group("g")).unwrap();
    rig.environment.advance_us(3 * 24 * HOUR_US);
    rig.broker.tick();
    commit(&mut root, "g", 1).unwrap();
    root.call(&store_offset("gone", "t", (0, 1))).unwrap();
    root.call(&store_offset("polls", "t", (0, 9))).unwrap();
    // The clock of the next start begins again; the times of the offsets do not.
    let rig = rig.kill().restart();
    let mut root = rig.root();
    after(&rig, 3 * 24 * HOUR_US + OFFSETS_EXPIRE_AFTER_US - HOUR_US);
    assert_eq!(list(&mut root).len(), 3);
    let next = PollMessages {
        consumer: crate::requests::consumer("polls"),
        ..poll("t", 0, PollingStrategy::Next)
    };
    assert!(root.poll(&next).unwrap().messages.is_empty());
    after(&rig, 2 * HOUR_US);
    let left: Vec<_> = list(&mut root).into_iter().map(|stored| stored.kind).collect();
    assert_eq!(left, [ConsumerKind::Consumer, ConsumerKind::Group]);
    assert_eq!(root.call(&get_offset("gone", "t", 0)).unwrap(), None);
    assert!(root.call(&get_offset("polls", "t", 0)).unwrap().is_some());
    assert_eq!(rig.broker.counters().offsets_expired, 1);
    // That it polled is written down, too.
    let rig = rig.restart();
    let mut root = rig.root();
    after(&rig, 3 * 24 * HOUR_US + OFFSETS_EXPIRE_AFTER_US + HOUR_US);
    assert!(root.call(&get_offset("polls", "t", 0)).unwrap().is_some());
}

#[test]
fn a_stored_offset_belongs_to_who_stored_it() {
    let (rig, mut root) = with_topic();
    let mut first = poller(&rig, &mut root, "first");
    let mut second = poller(&rig, &mut root, "second");
    first.call(&store_offset("shared", "t", (0, 4))).unwrap();
    let refused = Err(ErrorCode::Unauthorized);
    assert_eq!(second.call(&store_offset("shared", "t", (0, 9))), refused);
    assert_eq!(second.call(&delete_offset("shared", "t", 0)), refused);
    let next = PollMessages {
        consumer: crate::requests::consumer("shared"),
        auto_commit: true,
        ..poll("t", 0, PollingStrategy::Next)
    };
    assert_eq!(second.poll(&next).err(), Some(ErrorCode::Unauthorized));
    let stored = first.call(&get_offset("shared", "t", 0)).unwrap().unwrap();
    assert_eq!(stored.stored_offset, Offset::new(4));
    first.call(&store_offset("shared", "t", (0, 5))).unwrap();
    // It survives a start who it was; whoever manages the topic may change it, and owns it then.
    let rig = rig.restart();
    let (mut root, mut second) = (rig.root(), rig.connect());
    second.call(&login("second", PASSWORD)).unwrap();
    assert_eq!(second.call(&store_offset("shared", "t", (0, 9))), refused);
    let listed = list(&mut root);
    assert_eq!((listed[0].user.as_str(), listed[0].partition_id), ("first", PartitionId::new(0)));
    root.call(&store_offset("shared", "t", (0, 6))).unwrap();
    assert_eq!(list(&mut root)[0].user, "root");
    root.call(&delete_offset("shared", "t", 0)).unwrap();
    second.call(&store_offset("shared", "t", (0, 9))).unwrap();
    // Of somebody who is gone it is nobody's.
    root.call(&DeleteUser { user: id("second") }).unwrap();
    let mut first = rig.connect();
    first.call(&login("first", PASSWORD)).unwrap();
    first.call(&store_offset("shared", "t", (0, 3))).unwrap();
}

#[test]
fn stored_offsets_are_listed_a_page_at_a_time() {
    let (_rig, mut root) = with_topic();
    for consumer in 0..1_203_u32 {
        let store = store_offset(&consumer.to_string(), "t", (0, 1));
        root.call(&store).unwrap();
    }
    let (stream, topic) = (|| id("s"), || id("t"));
    let (mut after, mut seen) = (OffsetCursor::default(), 0);
    loop {
        let partition_id = Some(PartitionId::new(0));
        let page = ListConsumerOffsets { stream: stream(), topic: topic(), partition_id, after };
        let page = root.call(&page).unwrap();
        seen += page.offsets.len();
        let Some(last) = page.offsets.last().filter(|_| page.more) else { break };
        let (kind, cursor_id) = (last.kind.as_u8(), last.cursor_id);
        after = OffsetCursor { partition_id: last.partition_id, kind, cursor_id };
    }
    assert_eq!(seen, 1_203);
    let partition_id = Some(PartitionId::new(1));
    let missing = ListConsumerOffsets { stream: stream(), topic: topic(), partition_id, after };
    assert_eq!(root.call(&missing).unwrap_err(), ErrorCode::PartitionNotFound);
}
