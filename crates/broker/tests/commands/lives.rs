//! Polls and offsets that say which life of a partition they are about (INV-LIFE).
//!
//! A partition that was purged, or made again under the same name, begins again at offset 0. Readers went on
//! behind the offset they had reached, left out as many new messages as they had read old ones, and
//! committed what they had left out.

use galgo_broker::{Answer, Outcome, Waiting};
use galgo_wire::command::*;
use galgo_wire::consumer::ConsumerIdentity;
use galgo_wire::{ErrorCode, Life, PollingStrategy};

use crate::requests::*;
use crate::rig::{Connection, Rig};

fn with_topic() -> (Rig, Connection) {
    let rig = Rig::new();
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    root.call(&create_topic("s", "t", 1)).unwrap();
    root.send("t", to(0), &["a", "b", "c"]).unwrap();
    (rig, root)
}

fn in_life(poll: PollMessages, life: Life) -> PollInLife {
    PollInLife { poll, wait: 0, count_min: 1, life, reserved: 0 }
}

fn first(life: Life) -> PollInLife {
    in_life(poll("t", 0, PollingStrategy::First), life)
}

/// The header, and the payloads of the messages.
fn read(connection: &mut Connection, command: &PollInLife) -> (LifeHeader, Vec<String>) {
    let polled = connection.call(command).unwrap();
    texts(&polled)
}

fn texts(polled: &LifePollReply) -> (LifeHeader, Vec<String>) {
    let texts = polled.messages().map(|message| {
        let message = message.unwrap();
        assert!(message.verify(), "P-TRUTH");
        String::from_utf8(message.payload.to_vec()).unwrap()
    });
    let texts: Vec<_> = texts.collect();
    assert_eq!(polled.header().polled.count as usize, texts.len());
    (polled.header(), texts)
}

fn store(offset: u64, life: Life) -> StoreOffsetInLife {
    StoreOffsetInLife { store: store_offset("reader", "t", (0, offset)), life }
}

fn stored(connection: &mut Connection) -> Option<u64> {
    let found = connection.call(&get_offset("reader", "t", 0)).unwrap();
    found.map(|found| found.stored_offset.get())
}

/// Every way in which a partition comes to begin again.
const WAYS: [fn(&mut Connection); 4] = [
    |root| root.call(&purge_topic("s", "t")).unwrap(),
    |root| root.call(&purge_stream("s")).unwrap(),
    |root| {
        root.call(&delete_topic("s", "t")).unwrap();
        root.call(&create_topic("s", "t", 1)).unwrap();
    },
    |root| {
        root.call(&delete_stream("s")).unwrap();
        root.call(&create_stream("s")).unwrap();
        root.call(&create_topic("s", "t", 1)).unwrap();
    },
];

#[test]
fn an_answer_tells_the_life_and_where_the_partition_begins_and_ends() {
    let (_rig, mut root) = with_topic();
    let (header, found) = read(&mut root, &first(Life::UNKNOWN));
    assert_eq!(found, ["a", "b", "c"]);
    assert!(header.life.is_known());
    let places = (header.start.get(), header.end.get(), header.next.get());
    assert_eq!((places, header.flags), ((0, 3, 3), PollFlags::default()));
    let (again, found) = read(&mut root, &first(header.life));
    assert_eq!((again, found.len()), (header, 3));
    // Whoever asks for no message learns where it would begin.
    let none = PollMessages { count: 0, ..poll("t", 0, PollingStrategy::Next) };
    assert_eq!(read(&mut root, &in_life(none.clone(), Life::UNKNOWN)).0.next.get(), 0);
    root.call(&store_offset("reader", "t", (0, 1))).unwrap();
    assert_eq!(read(&mut root, &in_life(none, Life::UNKNOWN)).0.next.get(), 2);
}

#[test]
fn a_reader_of_another_life_gets_nothing_and_stores_nothing() {
    for begin_again in WAYS {
        let (_rig, mut root) = with_topic();
        let root = &mut root;
        let (old, _) = read(root, &first(Life::UNKNOWN));
        begin_again(root);
        root.send("t", to(0), &["new", "newer", "newest", "last"]).unwrap();
        let ahead = PollMessages { auto_commit: true, ..poll("t", 0, at(3)) };
        let (header, found) = read(root, &in_life(ahead, old.life));
        assert!(found.is_empty(), "a message the reader would have begun behind: {found:?}");
        assert!(header.flags.contains(PollFlags::OTHER_LIFE) && header.life.differs_from(old.life));
        assert_eq!((header.start.get(), header.end.get(), header.next.get()), (0, 4, 0));
        assert_eq!(stored(root), None, "nothing was delivered, nothing is committed");

        let refused = root.call(&store(2, old.life)).unwrap();
        assert_eq!(refused, StoredInLife { life: header.life, stored: false });
        assert_eq!(stored(root), None);
        let taken = root.call(&store(0, header.life)).unwrap();
        assert_eq!((taken.stored, stored(root)), (true, Some(0)));
        assert_eq!(read(root, &first(header.life)).1, ["new", "newer", "newest", "last"]);
    }
}

#[test]
fn a_life_goes_on_over_restarts_and_crashes() {
    let (rig, mut root) = with_topic();
    let (before, _) = read(&mut root, &first(Life::UNKNOWN));
    drop(root);
    let rig = rig.restart();
    assert_eq!(read(&mut rig.root(), &first(before.life)).0.life, before.life);
    let rig = rig.kill();
    let mut root = rig.root();
    assert_eq!(read(&mut root, &first(before.life)).1.len(), 3);
    root.call(&purge_topic("s", "t")).unwrap();
    drop(root);
    let rig = rig.kill();
    let (header, _) = read(&mut rig.root(), &first(before.life));
    assert!(header.flags.contains(PollFlags::OTHER_LIFE));
}

#[test]
fn partitions_have_lives_of_their_own() {
    let (_rig, mut root) = with_topic();
    root.call(&create_topic("s", "u", 2)).unwrap();
    let mut lives = vec![];
    for (topic, partition) in [("t", 0), ("u", 0), ("u", 1)] {
        let polled = in_life(poll(topic, partition, PollingStrategy::First), Life::UNKNOWN);
        lives.push(read(&mut root, &polled).0.life);
    }
    lives.sort();
    lives.dedup();
    assert_eq!(lives.len(), 3);
}

#[test]
fn a_poll_that_waits_is_told_when_its_life_ends() {
    let (rig, mut root) = with_topic();
    let mut reader = rig.root();
    let (old, _) = read(&mut root, &first(Life::UNKNOWN));
    let asked = PollInLife { wait: 60_000_000, ..in_life(poll("t", 0, at(3)), old.life) };
    let Outcome::Wait(waiting) = reader.submit(&asked) else { panic!("it waits for the fourth") };
    root.call(&purge_topic("s", "t")).unwrap();
    root.send("t", to(0), &["1", "2", "3", "4", "5"]).unwrap();
    let (header, found) = woken(&rig, &mut reader, waiting);
    assert!(header.flags.contains(PollFlags::OTHER_LIFE) && found.is_empty());
    // One that comes too late does not wait at all.
    let outcome = reader.submit(&asked);
    assert!(matches!(outcome, Outcome::Answer(Answer { after: None, .. })), "{outcome:?}");
}

fn woken(rig: &Rig, reader: &mut Connection, waiting: Waiting) -> (LifeHeader, Vec<String>) {
    assert!(waiting.has_news(), "it was not woken");
    let outcome = waiting.resume(&rig.broker, &mut reader.session);
    let bytes = reader.finish(outcome).unwrap();
    texts(&LifePollReply::from_payload(bytes).unwrap())
}

#[test]
fn a_member_of_a_group_is_told_the_life_and_commits_in_it_only() {
    let (_rig, mut root) = with_topic();
    root.call(&create_group("g")).unwrap();
    root.call(&JoinConsumerGroup { stream: id("s"), topic: id("t"), group: id("g") }).unwrap();
    let consumer = || ConsumerIdentity::group(id("g"));
    let next = PollMessages {
        consumer: consumer(),
        partition_id: None,
        ..poll("t", 0, PollingStrategy::Next)
    };
    let (old, found) = read(&mut root, &in_life(next.clone(), Life::UNKNOWN));
    assert_eq!(found.len(), 3);
    root.call(&purge_topic("s", "t")).unwrap();
    root.send("t", to(0), &["1", "2", "3", "4"]).unwrap();
    // What it polled before the purge is committed by a member that does not know of it yet.
    let of_group = |life| {
        let mut command = store(2, life);
        command.store.consumer = consumer();
        command
    };
    assert!(!root.call(&of_group(old.life)).unwrap().stored);
    let (new, found) = read(&mut root, &in_life(next, old.life));
    assert_eq!(found, ["1", "2", "3", "4"], "which partition it is nobody knows before");
    assert!(new.life.differs_from(old.life));
    assert!(root.call(&of_group(new.life)).unwrap().stored);
}

#[test]
fn a_full_answer_says_that_it_is_cut() {
    let (_rig, mut root) = with_topic();
    let large = "x".repeat(3_000_000);
    for _ in 0..30 {
        root.send("t", to(0), &[&large]).unwrap();
    }
    let (header, found) = read(&mut root, &first(Life::UNKNOWN));
    assert!(found.len() < 33, "it fits an answer: make the test larger");
    assert!(header.flags.contains(PollFlags::CUT));
    assert_eq!((header.next.get(), header.end.get()), (found.len() as u64, 33));
    let two = PollMessages { count: 2, ..poll("t", 0, at(0)) };
    let (header, _) = read(&mut root, &in_life(two, Life::UNKNOWN));
    assert_eq!(header.flags, PollFlags::default(), "as many as were asked for is not cut");
}

#[test]
fn damage_is_told_with_its_place_and_what_is_around_it_is_read() {
    let (rig, mut root) = with_topic();
    for text in ["d", "e", "f"] {
        root.send("t", to(0), &[text]).unwrap();
    }
    drop(root);
    let rig = rig.restart();
    let log = rig.partition_files().into_iter().find(|path| path.extension().unwrap() == "log");
    // Messages of 65 bytes: in the payload of the fourth.
    rig.disk.flip_bit(&log.unwrap(), 3 * 65 + 64, 0).unwrap();
    rig.disk.drop_caches();
    let mut root = rig.root();
    // No error for what is before the damage, found only in the reading.
    let (header, found) = read(&mut root, &first(Life::UNKNOWN));
    assert_eq!(found, ["a", "b", "c"]);
    assert!(header.flags.contains(PollFlags::CUT));
    let (header, found) = read(&mut root, &in_life(poll("t", 0, at(3)), header.life));
    assert!(found.is_empty() && header.flags.contains(PollFlags::DAMAGED));
    assert_eq!((header.damaged_from.get(), header.damaged_to.get(), header.next.get()), (3, 4, 3));
    let (_, found) = read(&mut root, &in_life(poll("t", 0, at(4)), header.life));
    assert_eq!(found, ["e", "f"]);
    let classic = root.poll(&poll("t", 0, at(3)));
    assert_eq!(classic, Err(ErrorCode::InvalidMessageChecksum), "as every client knows it");
}
