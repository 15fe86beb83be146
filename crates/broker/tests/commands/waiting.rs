//! Polls that wait: what ends a wait, and that no wake-up is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use galgo_broker::{Answer, GroupOptions, Outcome, Reply, Waiting};
use galgo_wire::command::*;
use galgo_wire::consumer::ConsumerIdentity;
use galgo_wire::{ErrorCode, PollingStrategy};

use crate::concurrent::with_workers;
use crate::requests::*;
use crate::rig::{Connection, PASSWORD, Rig, reply_bytes};

const LONG_US: u64 = 60_000_000;

/// Two topics of two partitions, `os` and `fsync`.
fn with_topics() -> (Rig, Connection) {
    with_topics_on(Rig::new())
}

fn with_topics_on(rig: Rig) -> (Rig, Connection) {
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    root.call(&create_topic_with("os", 2, Durability::Os)).unwrap();
    root.call(&create_topic_with("fsync", 2, Durability::Fsync)).unwrap();
    (rig, root)
}

fn waiting(poll: PollMessages) -> PollWaiting {
    PollWaiting { poll, wait: LONG_US, count_min: 1 }
}

fn from(topic: &str, partition: u32, offset: u64) -> PollWaiting {
    waiting(poll(topic, partition, at(offset)))
}

fn of_group(topic: &str, auto_commit: bool) -> PollWaiting {
    waiting(PollMessages {
        consumer: ConsumerIdentity::group(id("g")),
        partition_id: None,
        auto_commit,
        ..poll(topic, 0, PollingStrategy::Next)
    })
}

fn group(topic: &str) -> CreateConsumerGroup {
    CreateConsumerGroup { topic: id(topic), ..create_group("g") }
}

fn join(topic: &str) -> JoinConsumerGroup {
    JoinConsumerGroup { stream: id("s"), topic: id(topic), group: id("g") }
}

/// Hands a poll in that has to wait.
fn wait(connection: &mut Connection, command: &PollWaiting) -> Waiting {
    match connection.submit(command) {
        Outcome::Wait(waiting) => {
            assert!(!waiting.has_news(), "nothing has come yet");
            waiting
        }
        outcome => panic!("{outcome:?} instead of a wait"),
    }
}

/// The answer of a poll that was woken.
fn woken(rig: &Rig, connection: &mut Connection, waiting: Waiting) -> Result<Polled, ErrorCode> {
    assert!(waiting.has_news(), "it was not woken");
    match waiting.resume(&rig.broker, &mut connection.session) {
        Outcome::Wait(_) => panic!("it waits on"),
        outcome => connection.finish(outcome).map(read),
    }
}

fn read(bytes: Vec<u8>) -> Polled {
    Polled::read(&PollReply::from_bytes(&bytes).unwrap())
}

#[test]
fn what_is_there_is_answered_at_once_and_what_comes_wakes() {
    let (rig, mut root) = with_topics();
    let mut reader = rig.root();
    for topic in ["os", "fsync"] {
        let waiting = wait(&mut reader, &from(topic, 0, 0));
        root.send(topic, to(1), &["elsewhere"]).unwrap();
        assert!(!waiting.has_news(), "another partition concerns nobody");
        root.send(topic, to(0), &["a", "b"]).unwrap();
        assert_eq!(woken(&rig, &mut reader, waiting).unwrap().texts(), ["a", "b"]);
        let outcome = reader.submit(&from(topic, 0, 1));
        assert_eq!(reader.finish(outcome).map(read).unwrap().offsets(), [1]);
    }
}

#[test]
fn a_wait_ends_with_the_publish_and_not_before_it_is_durable() {
    let (mut rig, mut root) = with_topics();
    let mut reader = rig.root();
    let waiting = wait(&mut reader, &from("fsync", 0, 0));
    let sent = root.submit_send("fsync", to(0), &["a"]);
    assert!(!waiting.has_news(), "staged, not committed");
    while rig.commit_round() || rig.sync_round() {}
    let Outcome::Answer(Answer { after: Some(ticket), .. }) = sent else { panic!("{sent:?}") };
    assert_eq!(ticket.outcome(), Some(Ok(())));
    assert_eq!(woken(&rig, &mut reader, waiting).unwrap().texts(), ["a"]);
}

#[test]
fn a_wait_for_many_is_not_woken_by_few() {
    let (rig, mut root) = with_topics();
    let mut reader = rig.root();
    let many = PollWaiting { count_min: 3, ..from("os", 0, 0) };
    let waiting = wait(&mut reader, &many);
    root.send("os", to(0), &["a", "b"]).unwrap();
    assert!(!waiting.has_news());
    root.send("os", to(0), &["c"]).unwrap();
    assert_eq!(woken(&rig, &mut reader, waiting).unwrap().offsets(), [0, 1, 2]);
    // More than an answer may have: as many as it may have.
    let fewer = PollWaiting { poll: PollMessages { count: 2, ..many.poll.clone() }, ..many };
    let outcome = reader.submit(&fewer);
    assert_eq!(reader.finish(outcome).map(read).unwrap().offsets(), [0, 1]);
    let waiting = wait(&mut reader, &PollWaiting { count_min: 9, ..from("os", 0, 2) });
    let over = waiting.finish(&rig.broker, &mut reader.session);
    assert_eq!(reader.finish(over).map(read).unwrap().offsets(), [2], "what there is, at the end");
}

#[test]
fn no_time_and_no_messages_are_not_waited_for() {
    let (_rig, mut root) = with_topics();
    let now = PollWaiting { wait: 0, ..from("os", 0, 0) };
    assert!(matches!(
        root.submit(&now),
        Outcome::Answer(Answer { after: None, reply: Reply::Messages(_) })
    ));
    let none = waiting(PollMessages { count: 0, ..poll("os", 0, PollingStrategy::First) });
    assert!(matches!(
        root.submit(&none),
        Outcome::Answer(Answer { after: None, reply: Reply::Messages(_) })
    ));
}

#[test]
fn whoever_reads_on_behind_the_end_is_told_where_it_is() {
    let (_rig, mut root) = with_topics();
    root.send("os", to(0), &["a", "b"]).unwrap();
    let outcome = root.submit(&from("os", 0, 3));
    let polled = root.finish(outcome).map(read).unwrap();
    assert!(polled.offsets().is_empty());
    assert!(
        matches!(root.submit(&from("os", 0, 2)), Outcome::Wait(_)),
        "the next one it waits for"
    );
}

#[test]
fn a_position_that_moves_back_wakes_who_waits_for_what_follows_it() {
    let (rig, mut root) = with_topics();
    let mut reader = rig.root();
    root.send("os", to(0), &["a", "b"]).unwrap();
    let next = waiting(poll("os", 0, PollingStrategy::Next));
    let store = |offset| StoreConsumerOffset {
        consumer: next.poll.consumer.clone(),
        stream: id("s"),
        topic: id("os"),
        partition_id: next.poll.partition_id,
        offset: galgo_wire::id::Offset::new(offset),
    };
    root.call(&store(1)).unwrap();
    let waits = wait(&mut reader, &next);
    root.call(&store(1)).unwrap();
    assert!(!waits.has_news(), "it has not moved");
    root.call(&store(0)).unwrap();
    assert_eq!(woken(&rig, &mut reader, waits).unwrap().texts(), ["b"]);
    root.call(&store(1)).unwrap();
    let waits = wait(&mut reader, &next);
    let delete = DeleteConsumerOffset {
        consumer: next.poll.consumer.clone(),
        stream: id("s"),
        topic: id("os"),
        partition_id: next.poll.partition_id,
    };
    root.call(&delete).unwrap();
    assert_eq!(woken(&rig, &mut reader, waits).unwrap().texts(), ["a", "b"]);
}

#[test]
fn every_strategy_waits_where_it_finds_nothing() {
    let (rig, mut root) = with_topics();
    let mut reader = rig.root();
    for strategy in [PollingStrategy::First, PollingStrategy::Last, PollingStrategy::Next, at(0)] {
        let waiting = wait(&mut reader, &waiting(poll("os", 0, strategy)));
        root.send("os", to(0), &["a", "b"]).unwrap();
        assert!(!woken(&rig, &mut reader, waiting).unwrap().messages.is_empty());
        root.call(&purge_topic("s", "os")).unwrap();
    }
    let Outcome::Offload(job) = reader.submit(&waiting(poll("os", 0, since(0)))) else {
        panic!("a search by time is done off the thread");
    };
    let Outcome::Wait(waiting) = job.run(&rig.broker, &mut reader.session) else {
        panic!("nothing is there");
    };
    root.send("os", to(0), &["a"]).unwrap();
    assert_eq!(woken(&rig, &mut reader, waiting).unwrap().texts(), ["a"]);
}

#[test]
fn what_a_wait_was_for_may_go() {
    let (rig, mut root) = with_topics();
    let mut reader = rig.root();
    let waiting = wait(&mut reader, &from("os", 1, 0));
    root.call(&purge_topic("s", "os")).unwrap();
    assert_eq!(
        woken(&rig, &mut reader, waiting).unwrap().offsets(),
        [0_u64; 0],
        "purged: nothing is there"
    );
    let waiting = wait(&mut reader, &from("os", 1, 0));
    root.call(&delete_partitions("s", "os", 1)).unwrap();
    assert_eq!(woken(&rig, &mut reader, waiting).err(), Some(ErrorCode::PartitionNotFound));
    let waiting = wait(&mut reader, &from("os", 0, 0));
    root.call(&delete_topic("s", "os")).unwrap();
    assert_eq!(woken(&rig, &mut reader, waiting).err(), Some(ErrorCode::TopicIdNotFound));
    let waiting = wait(&mut reader, &from("fsync", 0, 0));
    root.call(&delete_stream("s")).unwrap();
    assert_eq!(woken(&rig, &mut reader, waiting).err(), Some(ErrorCode::StreamIdNotFound));
}

#[test]
fn who_waits_may_lose_the_right_to() {
    let (rig, mut root) = with_topics();
    let user = root
        .call(&CreateUser {
            username: login("reader", PASSWORD).username,
            password: login("reader", PASSWORD).password,
            status: UserStatus::Active,
            permissions: Some(galgo_wire::permission::Permissions::root()),
        })
        .unwrap();
    let mut reader = rig.connect();
    reader.call(&login("reader", PASSWORD)).unwrap();
    let held = wait(&mut reader, &from("os", 0, 0));
    let user = galgo_wire::Identifier::Numeric(user.user.id.get());
    root.call(&UpdatePermissions { user: user.clone(), permissions: None }).unwrap();
    assert_eq!(woken(&rig, &mut reader, held).err(), Some(ErrorCode::Unauthorized));
    let permissions = Some(galgo_wire::permission::Permissions::root());
    root.call(&UpdatePermissions { user: user.clone(), permissions }).unwrap();
    let held = wait(&mut reader, &from("os", 0, 0));
    reader.call(&LogoutUser {}).unwrap();
    assert_eq!(woken(&rig, &mut reader, held).err(), Some(ErrorCode::Unauthenticated));
    reader.call(&login("reader", PASSWORD)).unwrap();
    let held = wait(&mut reader, &from("os", 0, 0));
    root.call(&DeleteUser { user }).unwrap();
    assert!(woken(&rig, &mut reader, held).is_err());
}

#[test]
fn a_member_waits_for_all_its_partitions_and_through_rebalances() {
    let (rig, mut root) = with_topics();
    root.call(&group("os")).unwrap();
    let (mut first, mut second) = (rig.root(), rig.root());
    first.call(&join("os")).unwrap();
    let held = wait(&mut first, &of_group("os", false));
    root.send("os", to(1), &["a"]).unwrap();
    let polled = woken(&rig, &mut first, held).unwrap();
    assert_eq!((polled.partition, polled.texts()), (1, vec!["a".to_owned()]));
    first
        .call(&StoreConsumerOffset {
            consumer: ConsumerIdentity::group(id("g")),
            ..store_offset("g", "os", (1, 0))
        })
        .unwrap();
    let held = wait(&mut first, &of_group("os", false));
    second.call(&join("os")).unwrap();
    assert!(held.has_news(), "a partition was taken from it");
    let Outcome::Wait(held) = held.resume(&rig.broker, &mut first.session) else {
        panic!("it waits for what is left to it");
    };
    let other = wait(&mut second, &of_group("os", false));
    root.send("os", to(1), &["b"]).unwrap();
    root.send("os", to(0), &["c"]).unwrap();
    let mut texts = woken(&rig, &mut first, held).unwrap().texts();
    texts.extend(woken(&rig, &mut second, other).unwrap().texts());
    texts.sort_unstable();
    assert_eq!(texts, ["b", "c"], "each got what is its own");
}

#[test]
fn a_member_without_a_partition_waits_for_one() {
    let (rig, mut root) = with_topics();
    root.call(&group("os")).unwrap();
    let mut members: Vec<Connection> = (0..3).map(|_| rig.root()).collect();
    for member in &mut members {
        member.call(&join("os")).unwrap();
    }
    let mut third = members.pop().unwrap();
    let held = wait(&mut third, &of_group("os", false));
    drop(members);
    assert!(held.has_news());
    let Outcome::Wait(held) = held.resume(&rig.broker, &mut third.session) else {
        panic!("nothing is there yet");
    };
    root.send("os", to(1), &["a"]).unwrap();
    assert_eq!(woken(&rig, &mut third, held).unwrap().texts(), ["a"]);
}

/// INV-WAIT-OFF.
#[test]
fn a_membership_that_ends_ends_the_wait() {
    let (rig, mut root) = with_topics();
    root.call(&group("os")).unwrap();
    let mut member = rig.root();
    member.call(&join("os")).unwrap();
    let held = wait(&mut member, &of_group("os", false));
    root.call(&DeleteConsumerGroup { stream: id("s"), topic: id("os"), group: id("g") }).unwrap();
    let gone = woken(&rig, &mut member, held).err();
    assert_eq!(gone, Some(ErrorCode::ConsumerGroupIdNotFound));
}

#[test]
fn a_waiting_client_is_alive_and_has_its_time_for_a_ping_behind_the_wait() {
    const INTERVAL_US: u64 = 1_000_000;
    let heartbeat_interval_us = Some(INTERVAL_US);
    let rig = Rig::with_groups(GroupOptions { heartbeat_interval_us, ..GroupOptions::default() });
    let (rig, _root) = with_topics_on(rig);
    let mut reader = rig.root();
    let held = wait(&mut reader, &from("os", 0, 0));
    rig.environment.advance_us(10 * INTERVAL_US);
    rig.broker.tick();
    assert!(!held.has_news());
    drop(held);
    rig.environment.advance_us(INTERVAL_US);
    rig.broker.tick();
    assert!(reader.call(&GetMe {}).is_ok());
    rig.environment.advance_us(INTERVAL_US);
    rig.broker.tick();
    assert!(reader.call(&GetMe {}).is_err(), "silent, and waiting no more");
}

/// Waits as a thread.
struct Unpark {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

fn until_news(waiting: &Waiting) {
    let unpark = Arc::new(Unpark { thread: thread::current(), woken: AtomicBool::new(true) });
    let waker = Waker::from(Arc::clone(&unpark));
    loop {
        // Looks only when woken: a lost wake-up hangs here for good.
        while !unpark.woken.swap(false, Ordering::AcqRel) {
            thread::park();
        }
        if waiting.poll_news(&Context::from_waker(&waker)) == Poll::Ready(()) {
            return;
        }
    }
}

/// Reads `count` messages one by one, by polls that wait; every third wait is given up and begun again,
/// at whatever step it is.
fn tail(rig: &Rig, topic: &str, count: u64) {
    let mut reader = rig.root();
    let mut next = 0;
    while next < count {
        let command = PollWaiting { wait: u64::MAX, ..from(topic, 0, next) };
        let mut outcome = reader.submit(&command);
        while let Outcome::Wait(waiting) = outcome {
            if next.is_multiple_of(3) {
                drop(waiting);
                outcome = reader.submit(&command);
                let Outcome::Wait(again) = outcome else { break };
                until_news(&again);
                outcome = again.resume(&rig.broker, &mut reader.session);
            } else {
                until_news(&waiting);
                outcome = waiting.resume(&rig.broker, &mut reader.session);
            }
        }
        while let Outcome::Offload(job) = outcome {
            outcome = job.run(&rig.broker, &mut reader.session);
        }
        let Outcome::Answer(Answer { after: None, reply }) = outcome else { panic!("{outcome:?}") };
        for offset in read(reply_bytes(reply).unwrap()).offsets() {
            assert_eq!(offset, next, "in order, none left out");
            next += 1;
        }
    }
}

/// INV-ALARM, INV-WAIT-LOOK.
#[test]
fn no_wake_up_is_lost_between_those_who_send_and_those_who_wait() {
    const COUNT: u64 = 1_500;
    const READERS: usize = 3;
    let (rig, _root) = with_topics();
    with_workers(&rig, || {
        thread::scope(|scope| {
            for topic in ["os", "fsync"] {
                for _ in 0..READERS {
                    scope.spawn(|| tail(&rig, topic, COUNT));
                }
                let mut sender = rig.root();
                scope.spawn(move || {
                    for _ in 0..COUNT {
                        match sender.submit_send(topic, to(0), &["x"]) {
                            Outcome::Answer(Answer { after: Some(ticket), .. }) => {
                                crate::concurrent::wait(ticket).unwrap()
                            }
                            Outcome::Answer(Answer { after: None, reply: Reply::Empty }) => {}
                            outcome => panic!("{outcome:?}"),
                        }
                    }
                });
            }
        });
    });
}
