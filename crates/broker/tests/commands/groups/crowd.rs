//! Two hundred members that come, go and die at random, while others send.
//!
//! Every member commits after it has processed. Nothing may be lost, and nothing delivered twice, but what
//! a member had not committed when it died.
//!
//! `GALGO_CROWD_ACTIONS` is the number of things each thread does; more of them take longer.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use galgo_broker::environment::{Random, SystemRandom};
use galgo_broker::{Answer, Outcome, Reply, UserSerial};
use galgo_wire::command::*;
use galgo_wire::{PartitioningRef, UserId};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::{create, join, leave, lists, next, store};
use crate::concurrent::{wait, with_workers};
use crate::requests::{Polled, create_stream, create_topic_with};
use crate::rig::{Connection, Rig, reply_bytes};

const PARTITIONS: u32 = 64;
const THREADS: usize = 8;
const MEMBERS_PER_THREAD: usize = 25;
const SENDERS: u64 = 2;

/// Partition and offset of a message.
type Place = (u32, u64);

/// What has become of a message that was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// A member has it and has not committed it.
    With(u64),
    Committed,
    /// The member that had it died.
    Orphaned,
}

/// The fates of all messages that were delivered.
#[derive(Debug, Default)]
struct Ledger(Mutex<HashMap<Place, Fate>>);

impl Ledger {
    fn delivered(&self, places: &[Place], member: u64) {
        let mut fates = self.0.lock().unwrap();
        for place in places {
            let before = fates.insert(*place, Fate::With(member));
            let first = matches!(before, None | Some(Fate::Orphaned));
            assert!(first, "{place:?} was delivered to {member}, and before: {before:?}");
        }
    }

    fn settled(&self, places: &[Place], fate: Fate) {
        let mut fates = self.0.lock().unwrap();
        places.iter().for_each(|place| assert!(fates.insert(*place, fate).is_some()));
    }
}

/// One of the two hundred.
struct Member {
    number: u64,
    connection: Connection,
    /// What it has processed and not committed, all of one partition.
    processed: Vec<Place>,
}

struct Crowd<'a> {
    rig: &'a Rig,
    ledger: Ledger,
    next_member: AtomicU64,
}

impl Crowd<'_> {
    /// Logs in without a password, which would take most of the time.
    fn connect(&self) -> Connection {
        let mut connection = self.rig.connect();
        let (broker, session) = (&self.rig.broker, &mut connection.session);
        broker.authenticate_as(session, UserId::ROOT, UserSerial::new(0)).unwrap();
        connection
    }

    fn join(&self) -> Member {
        let mut connection = self.connect();
        connection.call(&join("g")).unwrap();
        let number = self.next_member.fetch_add(1, Ordering::Relaxed);
        Member { number, connection, processed: Vec::new() }
    }

    /// Polls, at times committing with the poll; gives the number of messages.
    fn poll(&self, member: &mut Member, auto_commit: bool) -> usize {
        self.commit(member);
        let poll = PollMessages { count: 7, auto_commit, ..next("g", None) };
        let outcome = member.connection.submit(&poll);
        let bytes = answer(&self.rig.broker, member, outcome);
        let polled = Polled::read(&PollReply::from_bytes(&bytes).unwrap());
        let offsets = polled.messages.iter().map(|message| message.offset);
        let places: Vec<Place> = offsets.map(|offset| (polled.partition, offset)).collect();
        self.ledger.delivered(&places, member.number);
        if auto_commit {
            self.ledger.settled(&places, Fate::Committed);
        } else {
            member.processed.clone_from(&places);
        }
        places.len()
    }

    fn commit(&self, member: &mut Member) {
        let places = std::mem::take(&mut member.processed);
        let Some((partition, offset)) = places.last().copied() else { return };
        let outcome = member.connection.submit(&store("g", Some(partition), offset));
        answer(&self.rig.broker, member, outcome);
        self.ledger.settled(&places, Fate::Committed);
    }

    fn leave(&self, mut member: Member) {
        self.commit(&mut member);
        member.connection.call(&leave("g")).unwrap();
    }

    fn die(&self, member: Member) {
        self.ledger.settled(&member.processed, Fate::Orphaned);
        drop(member);
    }

    /// Lets a thread's members do what comes to their mind.
    fn live(&self, seed: u64, actions: usize) {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut members: Vec<Option<Member>> = (0..MEMBERS_PER_THREAD).map(|_| None).collect();
        for _ in 0..actions {
            let seat = &mut members[random.random_range(0..MEMBERS_PER_THREAD)];
            let Some(member) = seat else {
                *seat = Some(self.join());
                continue;
            };
            match random.random_range(0..100) {
                0..2 => seat.take().into_iter().for_each(|member| self.leave(member)),
                2..4 => seat.take().into_iter().for_each(|member| self.die(member)),
                4..30 => self.commit(member),
                30..40 => {
                    self.poll(member, true);
                }
                _ => {
                    self.poll(member, false);
                }
            }
        }
        members.into_iter().flatten().for_each(|member| match random.random_bool(0.5) {
            true => self.leave(member),
            false => self.die(member),
        });
    }

    fn send(&self, batches: usize) {
        let mut connection = self.connect();
        for _ in 0..batches {
            let sent = connection.submit_send("t", PartitioningRef::Balanced, &["a", "b", "c"]);
            assert!(
                matches!(sent, Outcome::Answer(Answer { after: None, reply: Reply::Empty })),
                "{sent:?}"
            );
        }
    }
}

/// Waits for the answer, which the broker's threads bring about.
fn answer(broker: &galgo_broker::Broker, member: &mut Member, outcome: Outcome) -> Vec<u8> {
    match outcome {
        Outcome::Answer(Answer { after, reply }) => {
            if let Some(ticket) = after {
                wait(ticket).unwrap();
            }
            reply_bytes(reply).unwrap()
        }
        Outcome::Offload(job) => {
            let outcome = job.run(broker, &mut member.connection.session);
            answer(broker, member, outcome)
        }
        Outcome::Delay(..) | Outcome::Wait(_) => panic!("nobody is slowed down, and nobody waits"),
    }
}

#[test]
fn crowd_of_members_loses_nothing_and_gets_nothing_twice() {
    let actions = std::env::var("GALGO_CROWD_ACTIONS");
    let actions: usize = actions.map_or(1_500, |text| text.parse().expect("a number"));
    let seed = SystemRandom.next_u128() as u64;
    println!("seed {seed}");
    let rig = Rig::new();
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    root.call(&create_topic_with("t", PARTITIONS, Durability::Os)).unwrap();
    root.call(&create("g")).unwrap();
    let crowd = Crowd { rig: &rig, ledger: Ledger::default(), next_member: AtomicU64::default() };
    with_workers(&rig, || {
        thread::scope(|scope| {
            for number in 0..THREADS as u64 {
                let crowd = &crowd;
                scope.spawn(move || crowd.live(seed.wrapping_add(number), actions));
            }
            for _ in 0..SENDERS {
                scope.spawn(|| crowd.send(actions));
            }
        });
        assert_eq!(lists(&mut root), [] as [Vec<u32>; 0], "all are gone");
        // One that comes last gets all that is left.
        let mut last = crowd.join();
        let mut idle_turns = 0;
        while idle_turns < PARTITIONS {
            idle_turns = if crowd.poll(&mut last, false) == 0 { idle_turns + 1 } else { 0 };
        }
        crowd.leave(last);
    });
    let fates = crowd.ledger.0.into_inner().unwrap();
    assert!(fates.values().all(|fate| *fate == Fate::Committed));
    let sent = SENDERS * 3 * actions as u64;
    assert_eq!(fates.len() as u64, sent, "every message was processed");
    assert_eq!(root.call(&GetStats {}).unwrap().messages_count, sent);
}
