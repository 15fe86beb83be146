//! The broker with its own threads, under connections that do not wait for each other.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use galgo_broker::{Answer, Outcome, Ticket};
use galgo_wire::command::{Durability, GetStats};
use galgo_wire::{ErrorCode, PartitioningRef, PollingStrategy};

use crate::requests::{
    create_stream, create_topic_with, get_offset, poll, purge_topic, store_offset, to,
};
use crate::rig::{Connection, JOURNAL_BATCH_BYTES_MAX, Rig};

/// Sends of one connection that may wait for their answer at the same time.
const IN_FLIGHT_MAX: usize = 5;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits as the server does, for the ticket to wake.
pub(crate) fn wait(mut ticket: Ticket) -> Result<(), ErrorCode> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match Pin::new(&mut ticket).poll(&mut context) {
            Poll::Ready(outcome) => return outcome,
            Poll::Pending => thread::park(),
        }
    }
}

/// Waits for an answer that the broker's threads bring about.
fn answer(outcome: Outcome) -> Result<(), ErrorCode> {
    match outcome {
        Outcome::Answer(Answer { after: Some(ticket), .. }) => wait(ticket),
        Outcome::Answer(Answer { after: None, reply: galgo_broker::Reply::Empty }) => Ok(()),
        Outcome::Answer(Answer { after: None, reply: galgo_broker::Reply::Error(code) }) => {
            Err(code)
        }
        other => panic!("no answer to a send: {other:?}"),
    }
}

/// Runs `work` while the broker's threads run, then ends them.
pub(crate) fn with_workers(rig: &Rig, work: impl FnOnce()) {
    let workers: Vec<_> = rig.broker.workers();
    let threads: Vec<_> =
        workers.into_iter().map(|worker| thread::spawn(move || worker.run())).collect();
    work();
    rig.broker.stop();
    for thread in threads {
        thread.join().unwrap();
    }
}

/// A text that starts with its sender and number; every fifth is too large for the journal.
fn text(sender: usize, number: usize) -> String {
    let room = if number.is_multiple_of(5) { JOURNAL_BATCH_BYTES_MAX as usize } else { 50 };
    format!("{sender} {number} {}", "z".repeat(room))
}

/// Sends numbered texts, several in flight; all are acknowledged.
fn send_all(mut connection: Connection, topic: &str, sender: usize, count: usize) {
    let mut waiting = VecDeque::new();
    for number in 0..count {
        let text = text(sender, number);
        waiting.push_back(connection.submit_send(topic, to(0), &[text.as_str()]));
        if waiting.len() == IN_FLIGHT_MAX {
            waiting.pop_front().map(answer).unwrap().unwrap();
        }
    }
    for outcome in waiting {
        answer(outcome).unwrap();
    }
}

/// The numbers of each sender's texts, in the order of the partition.
fn numbers_by_sender(root: &mut Connection, topic: &str, senders: usize) -> Vec<Vec<usize>> {
    let mut numbers = vec![Vec::new(); senders];
    let polled = root.poll(&poll(topic, 0, PollingStrategy::First)).unwrap();
    for (offset, text) in (0..).zip(polled.texts()) {
        assert_eq!(polled.messages[offset].offset, offset as u64);
        let mut words = text.split(' ').map(|word| word.parse::<usize>().unwrap_or_default());
        let (sender, number) = (words.next().unwrap(), words.next().unwrap());
        numbers[sender].push(number);
    }
    numbers
}

/// P-ORDER.
#[test]
fn senders_of_one_partition_keep_their_order_and_lose_nothing() {
    const SENDERS: usize = 4;
    const COUNT: usize = 100;
    let rig = Rig::new();
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    let topics = [("fsync", Durability::Fsync), ("os", Durability::Os)];
    for (topic, durability) in topics {
        root.call(&create_topic_with(topic, 1, durability)).unwrap();
    }
    with_workers(&rig, || {
        thread::scope(|scope| {
            for sender in 0..SENDERS {
                for (topic, _) in topics {
                    let connection = rig.root();
                    scope.spawn(move || send_all(connection, topic, sender, COUNT));
                }
            }
        });
        for (topic, _) in topics {
            let numbers = numbers_by_sender(&mut root, topic, SENDERS);
            assert_eq!(numbers, vec![(0..COUNT).collect::<Vec<_>>(); SENDERS], "{topic}");
        }
    });
    assert!(rig.broker.counters().checkpoints > 0, "the journal was recycled on the way");
    drop(root);
    let rig = rig.cut_power(3);
    let numbers = numbers_by_sender(&mut rig.root(), "fsync", SENDERS);
    assert_eq!(numbers, vec![(0..COUNT).collect::<Vec<_>>(); SENDERS]);
}

#[test]
fn purges_between_sends_leave_whole_partitions_and_no_files() {
    let rig = Rig::new();
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    root.call(&create_topic_with("t", 2, Durability::Fsync)).unwrap();
    let done = AtomicBool::new(false);
    with_workers(&rig, || {
        thread::scope(|scope| {
            let senders: Vec<_> = (0..3)
                .map(|sender| {
                    let (mut connection, done) = (rig.root(), &done);
                    scope.spawn(move || {
                        for number in 0.. {
                            let text = text(sender, number);
                            let partitioning = PartitioningRef::Balanced;
                            let sent = connection.submit_send("t", partitioning, &[text.as_str()]);
                            // A purge between the look at the topic and the append is no error.
                            answer(sent).unwrap_or_else(|code| panic!("send {number}: {code}"));
                            if done.load(Ordering::Relaxed) {
                                break;
                            }
                        }
                    })
                })
                .collect();
            for round in 0..40 {
                let polled = root.poll(&poll("t", round % 2, PollingStrategy::First));
                if !polled.unwrap().messages.is_empty() {
                    let stored = root.submit(&store_offset("c", "t", (round % 2, 0)));
                    answer(stored).unwrap();
                }
                root.call(&purge_topic("s", "t")).unwrap();
                assert_eq!(root.call(&get_offset("c", "t", round % 2)), Ok(None));
                rig.broker.tick();
            }
            done.store(true, Ordering::Relaxed);
            for sender in senders {
                sender.join().unwrap();
            }
        });
    });
    root.call(&purge_topic("s", "t")).unwrap();
    rig.broker.tick();
    assert_eq!(rig.partition_files(), [] as [std::path::PathBuf; 0]);
    assert_eq!(root.call(&GetStats {}).unwrap().messages_count, 0);
    assert_eq!(rig.broker.counters().partitions_fenced, 0);
    root.send("t", to(0), &["after"]).unwrap();
    drop(root);
    let rig = rig.restart();
    assert_eq!(rig.report.unknown, [] as [String; 0]);
    let polled = rig.root().poll(&poll("t", 0, PollingStrategy::First)).unwrap();
    assert_eq!(polled.texts(), ["after"]);
}
