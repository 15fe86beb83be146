//! Answers of more than one piece: all that was asked for, in bounded memory, checked before they begin.

use galgo_broker::vault::KeyRing;
use galgo_broker::{
    Answer, AnswerBounds, COLD_PIECE_BYTES_MAX, MessagesReply, Outcome, PollError, Reply, Slice,
};
use galgo_wire::command::{Durability, Payload as _, PollMessages, PollReply, PurgeTopic};
use galgo_wire::{ErrorCode, PollingStrategy};

use crate::requests::{Polled, at, create_stream, create_topic_with, id, poll, since, to};
use crate::rig::{Connection, Rig, START_US};

const KEY: &str = "1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
/// Each has a segment to itself, and they are more than one piece of an answer spans.
const COUNT: u64 = 90;
const BYTES: usize = 100_000;

fn fill(rig: &Rig) {
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    root.call(&create_topic_with("t", 1, Durability::Os)).unwrap();
    for number in 0..COUNT {
        root.send("t", to(0), &[text(number).as_str()]).unwrap();
    }
}

fn text(number: u64) -> String {
    format!("{number} {}", "x".repeat(BYTES))
}

fn check(polled: &Polled, offsets: std::ops::Range<u64>) {
    assert_eq!(polled.offsets(), offsets.clone().collect::<Vec<_>>());
    assert!(polled.texts().iter().zip(offsets).all(|(found, number)| *found == text(number)));
}

fn all(strategy: PollingStrategy) -> PollMessages {
    PollMessages { count: u32::MAX, ..poll("t", 0, strategy) }
}

const STRATEGIES: fn() -> [PollingStrategy; 5] = || {
    [at(0), since(START_US), PollingStrategy::First, PollingStrategy::Last, PollingStrategy::Next]
};

/// Programs take fewer messages than they asked for as the end. Answers ended at 4 MiB where messages
/// were not in the page cache, were encrypted, or were asked for by time; and at 32 segments.
#[test]
fn a_poll_gives_all_that_was_asked_for_wherever_it_is_read_from() {
    for keys in [None, Some(KEY)] {
        let keys =
            || keys.map_or_else(KeyRing::default, |key| KeyRing::parse(key, Some(1)).unwrap());
        let rig = Rig::open_sealed(galgo_storage::disk::SimDisk::new(5), keys()).unwrap();
        fill(&rig);
        let read_all = |rig: &Rig| {
            let mut root = rig.root();
            for strategy in STRATEGIES() {
                check(&root.poll(&all(strategy)).unwrap(), 0..COUNT);
            }
            check(&root.poll(&PollMessages { count: 70, ..all(at(3)) }).unwrap(), 3..73);
        };
        read_all(&rig);
        rig.broker.shutdown().unwrap();
        let rig = Rig::open_sealed(rig.disk.kill_image(), keys()).unwrap();
        rig.disk.drop_caches();
        read_all(&rig);
    }
}

/// The messages of a poll whose answer has these bounds.
fn bounded(rig: &Rig, root: &mut Connection, command: &PollMessages, bytes_max: u64) -> Polled {
    let bounds = AnswerBounds { bytes_max, piece_bytes_max: bytes_max.min(250_000) };
    let outcome = rig.broker.poll(&root.session, command, bounds);
    let bytes = root.finish(outcome).unwrap();
    Polled::read(&PollReply::from_bytes(&bytes).unwrap())
}

/// `last` with more than an answer holds gave the oldest of what was asked for, and left out the newest.
#[test]
fn last_gives_the_newest_that_fit() {
    let rig = Rig::new();
    fill(&rig);
    let read = |rig: &Rig| {
        let mut root = rig.root();
        for (count, bytes_max, from) in [
            (u32::MAX, 1_000_000, COUNT - 9),
            (20, 1_000_000, COUNT - 9),
            (5, 1_000_000, COUNT - 5),
            (u32::MAX, 100_200, COUNT - 1),
            (u32::MAX, 10, COUNT - 1),
            (u32::MAX, 1 << 30, 0),
        ] {
            let command = PollMessages { count, ..all(PollingStrategy::Last) };
            check(&bounded(rig, &mut root, &command, bytes_max), from..COUNT);
        }
        check(&bounded(rig, &mut root, &all(at(4)), 1_000_000), 4..13);
        check(&bounded(rig, &mut root, &all(since(0)), 1_000_000), 0..9);
    };
    read(&rig);
    let rig = rig.restart();
    rig.disk.drop_caches();
    read(&rig);
}

/// The reply of a poll, and the most memory that any step to it was said to take.
fn reply(root: &mut Connection, rig: &Rig, command: &PollMessages) -> (MessagesReply, u64, usize) {
    let (mut outcome, mut most, mut jobs) = (root.submit(command), 0, 0);
    loop {
        match outcome {
            Outcome::Offload(job) => {
                most = most.max(job.answer_bytes());
                jobs += 1;
                outcome = job.run(&rig.broker, &mut root.session);
            }
            Outcome::Answer(Answer { after: None, reply: Reply::Messages(messages) }) => {
                return (messages, most, jobs);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// INV-PIECE.
#[test]
fn of_a_large_answer_one_piece_is_in_memory() {
    let keys = || KeyRing::parse(KEY, Some(1)).unwrap();
    let rig = Rig::open_sealed(galgo_storage::disk::SimDisk::new(6), keys()).unwrap();
    fill(&rig);
    let mut root = rig.root();
    let (messages, most, jobs) = reply(&mut root, &rig, &all(at(0)));
    assert!((1..=COLD_PIECE_BYTES_MAX).contains(&most), "{most}");
    assert!(jobs > 1, "no thread is kept for all of it");
    assert_eq!(messages.memory_bytes(), 0, "what was checked is read again when it is sent");
    let (mut rest, mut bytes) = (messages.rest, 0);
    while let Some(more) = rest {
        assert!(more.memory_bytes() <= COLD_PIECE_BYTES_MAX);
        let piece = more.read().unwrap();
        let here: u64 = piece.slices.iter().map(Slice::len).sum();
        assert!(here <= COLD_PIECE_BYTES_MAX);
        bytes += here;
        rest = piece.rest;
    }
    assert_eq!(bytes, messages.len, "the length that was told before");
}

/// Every search by time was done elsewhere, and what it found read again and copied.
#[test]
fn a_poll_by_time_of_what_was_just_written_is_answered_at_once() {
    let rig = Rig::new();
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    root.call(&create_topic_with("t", 1, Durability::Os)).unwrap();
    for number in 0..20 {
        root.send("t", to(0), &[format!("{number} {}", "x".repeat(1_000)).as_str(); 3]).unwrap();
        rig.environment.advance_us(1_000);
    }
    let (messages, _, jobs) = reply(&mut root, &rig, &all(since(START_US + 2_000)));
    assert_eq!((jobs, messages.memory_bytes()), (0, 0));
    let polled = root.poll(&all(since(START_US + 2_000))).unwrap();
    assert_eq!(polled.offsets(), (6..60).collect::<Vec<_>>());
    assert_eq!(reply(&mut root, &rig, &all(since(u64::MAX))).2, 0, "nothing is that young");
}

/// An answer that began with a length it could not keep would cost the client its connection.
///
/// INV-WHOLE.
#[test]
fn damage_in_a_later_piece_ends_the_answer_before_it() {
    const BAD: u64 = 70;
    let rig = Rig::new();
    fill(&rig);
    let rig = rig.restart();
    let name = format!("{BAD:020}.log");
    let log = rig.partition_files().into_iter().find(|path| path.ends_with(&name)).unwrap();
    rig.disk.flip_bit(&log, 5_000, 3).unwrap();
    rig.disk.drop_caches();
    let mut root = rig.root();
    let polled = root.poll(&all(at(0))).unwrap();
    let good = polled.offsets();
    assert_eq!(good, (0..good.len() as u64).collect::<Vec<_>>());
    assert!((1..=BAD).contains(&(good.len() as u64)), "{good:?}");
    // What is left before the damage, or the damage itself.
    let mut next = good.len() as u64;
    while next < BAD {
        let polled = root.poll(&all(at(next)));
        next += polled.as_ref().map_or(0, |polled| polled.messages.len() as u64);
        if polled.is_err() {
            assert_eq!(polled, Err(ErrorCode::InvalidMessageChecksum));
        }
    }
    assert_eq!(root.poll(&all(at(BAD))), Err(ErrorCode::InvalidMessageChecksum));
    check(&root.poll(&all(PollingStrategy::Last)).unwrap(), BAD + 1..COUNT);
    check(&root.poll(&all(at(BAD + 1))).unwrap(), BAD + 1..COUNT);
}

/// The newest messages are those behind the damage, also when nobody came upon it before.
#[test]
fn last_gives_what_lies_behind_damage() {
    for (bad, from) in [(0, 1), (40, 41), (COUNT - 2, COUNT - 1)] {
        let rig = Rig::new();
        fill(&rig);
        let rig = rig.restart();
        let name = format!("{bad:020}.log");
        let log = rig.partition_files().into_iter().find(|path| path.ends_with(&name)).unwrap();
        rig.disk.flip_bit(&log, 5_000, 3).unwrap();
        rig.disk.drop_caches();
        check(&rig.root().poll(&all(PollingStrategy::Last)).unwrap(), from..COUNT);
    }
}

/// INV-WHOLE.
#[test]
fn an_answer_whose_messages_are_removed_while_it_is_sent_is_broken_off() {
    let rig = Rig::open_sealed(
        galgo_storage::disk::SimDisk::new(7),
        KeyRing::parse(KEY, Some(1)).unwrap(),
    )
    .unwrap();
    fill(&rig);
    let mut root = rig.root();
    let (messages, ..) = reply(&mut root, &rig, &all(at(0)));
    let piece = messages.rest.unwrap().read().unwrap();
    root.call(&PurgeTopic { stream: id("s"), topic: id("t") }).unwrap();
    let broken_off = piece.rest.unwrap().read();
    assert!(matches!(broken_off, Err(PollError::Gone)), "{broken_off:?}");
}
