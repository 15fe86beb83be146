//! When a send is answered and when its messages are seen: stage, commit, publish.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use galgo_broker::{Answer, Outcome, Reply, Ticket};
use galgo_wire::command::{AskedOptions, Durability, PollMessages, UpdateTopicWith};
use galgo_wire::{ErrorCode, PollingStrategy};

use crate::requests::{
    create_stream, create_topic_with, delete_offset, flush, get_offset, get_topic, poll,
    store_offset, to, update_topic,
};
use crate::rig::{CHECKPOINT_BYTES, Connection, JOURNAL_BATCH_BYTES_MAX, Rig};

/// Topics `os` and `fsync` of two partitions each.
fn with_topics() -> (Rig, Connection) {
    let rig = Rig::new();
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    root.call(&create_topic_with("os", 2, Durability::Os)).unwrap();
    root.call(&create_topic_with("fsync", 2, Durability::Fsync)).unwrap();
    (rig, root)
}

/// A payload that makes its batch skip the journal.
fn large(first: char) -> String {
    let mut text = "L".repeat(JOURNAL_BATCH_BYTES_MAX as usize);
    text.insert(0, first);
    text
}

fn ticket(outcome: Outcome) -> Ticket {
    match outcome {
        Outcome::Answer(Answer { after: Some(ticket), .. }) => ticket,
        other => panic!("not waiting for a commit: {other:?}"),
    }
}

fn is_done(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Answer(Answer { after: None, reply: Reply::Empty }))
}

/// The first characters of all messages that can be read.
fn seen(root: &mut Connection, topic: &str, partition: u32) -> String {
    let polled = root.poll(&poll(topic, partition, PollingStrategy::First)).unwrap();
    polled.texts().iter().filter_map(|text| text.chars().next()).collect()
}

#[test]
fn an_os_send_is_answered_and_seen_at_once() {
    let (mut rig, mut root) = with_topics();
    assert!(is_done(&root.submit_send("os", to(0), &["a"])));
    assert_eq!(seen(&mut root, "os", 0), "a");
    assert!(is_done(&root.submit_send("os", to(0), &[large('b').as_str()])));
    assert_eq!(seen(&mut root, "os", 0), "ab");
    assert!(!rig.commit_round() && !rig.sync_round(), "nothing was left to do");
}

#[test]
fn a_small_fsync_send_is_answered_and_seen_after_its_commit_round() {
    let (mut rig, mut root) = with_topics();
    let waiting = ticket(root.submit_send("fsync", to(0), &["a", "b"]));
    assert_eq!(waiting.outcome(), None);
    assert_eq!(seen(&mut root, "fsync", 0), "");
    assert!(!rig.sync_round(), "it takes the journal");
    assert_eq!(waiting.outcome(), None);
    assert!(rig.commit_round());
    assert_eq!(waiting.outcome(), Some(Ok(())));
    assert_eq!(seen(&mut root, "fsync", 0), "ab");
    assert!(!rig.commit_round());
}

#[test]
fn a_large_fsync_send_is_answered_and_seen_after_a_sync_round() {
    let (mut rig, mut root) = with_topics();
    let waiting = ticket(root.submit_send("fsync", to(0), &[large('a').as_str()]));
    assert!(!rig.commit_round(), "it skips the journal");
    assert_eq!(waiting.outcome(), None);
    assert_eq!(seen(&mut root, "fsync", 0), "");
    assert!(rig.sync_round());
    assert_eq!(waiting.outcome(), Some(Ok(())));
    assert_eq!(seen(&mut root, "fsync", 0), "a");
    assert!(!rig.sync_round());
}

#[test]
fn one_commit_round_answers_all_that_was_staged() {
    let (mut rig, mut root) = with_topics();
    let mut other = rig.root();
    let commits = rig.broker.counters().commits;
    let mut waiting = Vec::new();
    for n in 0..4 {
        let text = n.to_string();
        waiting.push(ticket(root.submit_send("fsync", to(n % 2), &[text.as_str()])));
        waiting.push(ticket(other.submit_send("fsync", to(n % 2), &[text.as_str()])));
    }
    assert!(waiting.iter().all(|ticket| ticket.outcome().is_none()));
    rig.commit_round();
    assert!(waiting.iter().all(|ticket| ticket.outcome() == Some(Ok(()))));
    assert_eq!(rig.broker.counters().commits, commits + 1);
    assert_eq!(seen(&mut root, "fsync", 0), "0022");
    assert_eq!(seen(&mut root, "fsync", 1), "1133");
}

#[test]
fn a_small_batch_behind_a_large_one_is_not_published_before_it() {
    let (mut rig, mut root) = with_topics();
    let first = ticket(root.submit_send("fsync", to(0), &[large('a').as_str()]));
    let second = ticket(root.submit_send("fsync", to(0), &["b"]));
    assert!(rig.commit_round());
    assert_eq!((first.outcome(), second.outcome()), (None, None), "INV-ORDER");
    assert_eq!(seen(&mut root, "fsync", 0), "");
    assert!(rig.sync_round());
    assert_eq!((first.outcome(), second.outcome()), (Some(Ok(())), Some(Ok(()))));
    assert_eq!(seen(&mut root, "fsync", 0), "ab");
}

#[test]
fn a_sync_publishes_every_batch_it_covers() {
    let (mut rig, mut root) = with_topics();
    let first = ticket(root.submit_send("fsync", to(0), &["a"]));
    let second = ticket(root.submit_send("fsync", to(0), &[large('b').as_str()]));
    let third = ticket(root.submit_send("fsync", to(0), &["c"]));
    assert!(rig.sync_round());
    for ticket in [first, second, third] {
        assert_eq!(ticket.outcome(), Some(Ok(())));
    }
    assert_eq!(seen(&mut root, "fsync", 0), "abc");
    let late = ticket(root.submit_send("fsync", to(0), &["d"]));
    assert!(rig.commit_round());
    assert_eq!(late.outcome(), Some(Ok(())));
    assert_eq!(seen(&mut root, "fsync", 0), "abcd");
}

#[test]
fn partitions_do_not_wait_for_each_other() {
    let (mut rig, mut root) = with_topics();
    let slow = ticket(root.submit_send("fsync", to(0), &[large('a').as_str()]));
    let quick = ticket(root.submit_send("fsync", to(1), &["b"]));
    rig.commit_round();
    assert_eq!((slow.outcome(), quick.outcome()), (None, Some(Ok(()))));
    assert_eq!((seen(&mut root, "fsync", 0), seen(&mut root, "fsync", 1)), ("".into(), "b".into()));
}

#[test]
fn batches_beyond_the_room_of_a_bundle_are_synced_instead() {
    let (mut rig, mut root) = with_topics();
    let text = "x".repeat(JOURNAL_BATCH_BYTES_MAX as usize - 100);
    let waiting: Vec<_> =
        (0..20).map(|_| ticket(root.submit_send("fsync", to(0), &[text.as_str()]))).collect();
    rig.commit_round();
    let answered = waiting.iter().take_while(|t| t.outcome() == Some(Ok(()))).count();
    assert!((1..20).contains(&answered), "{answered}");
    assert!(waiting[answered..].iter().all(|ticket| ticket.outcome().is_none()));
    assert!(rig.sync_round());
    assert!(waiting.iter().all(|ticket| ticket.outcome() == Some(Ok(()))));
    assert_eq!(seen(&mut root, "fsync", 0).len(), 20);
}

#[test]
fn counts_and_strategies_see_only_what_is_published() {
    let (mut rig, mut root) = with_topics();
    root.send("fsync", to(0), &["a", "b"]).unwrap();
    let waiting = ticket(root.submit_send("fsync", to(0), &["c", "d"]));
    let partition = root.call(&get_topic("s", "fsync")).unwrap().unwrap().partitions[0];
    assert_eq!((partition.messages_count, partition.current_offset.get()), (2, 1));
    let last = PollMessages { count: 1, ..poll("fsync", 0, PollingStrategy::Last) };
    assert_eq!(root.poll(&last).unwrap().texts(), ["b"]);
    assert_eq!(seen(&mut root, "fsync", 0), "ab", "INV-HW: a read stops at what is published");
    assert_eq!(root.poll(&poll("fsync", 0, crate::requests::at(2))).unwrap().texts().len(), 0);
    let beyond = root.call(&store_offset("c", "fsync", (0, 2)));
    assert_eq!(beyond, Err(ErrorCode::InvalidOffset), "no message has it yet");
    rig.commit_round();
    assert_eq!(waiting.outcome(), Some(Ok(())));
    assert_eq!(root.poll(&last).unwrap().texts(), ["d"]);
    root.call(&store_offset("c", "fsync", (0, 2))).unwrap();
}

#[test]
fn offsets_are_answered_when_they_are_in_the_journal() {
    let (mut rig, mut root) = with_topics();
    root.send("fsync", to(0), &["a", "b"]).unwrap();
    let outcome = root.submit(&store_offset("c", "fsync", (0, 1)));
    let waiting = ticket(outcome);
    assert_eq!(waiting.outcome(), None);
    rig.commit_round();
    assert_eq!(waiting.outcome(), Some(Ok(())));

    let outcome = root.submit(&PollMessages {
        auto_commit: true,
        count: 1,
        ..poll("fsync", 0, PollingStrategy::First)
    });
    let Outcome::Answer(Answer { after: Some(waiting), reply: Reply::Messages(reply) }) = outcome
    else {
        panic!("the messages wait for the offset: {outcome:?}");
    };
    assert_eq!((waiting.outcome(), reply.len), (None, 65));
    rig.commit_round();
    assert_eq!(waiting.outcome(), Some(Ok(())));
    let waiting = ticket(root.submit(&delete_offset("c", "fsync", 0)));
    rig.commit_round();
    assert_eq!(waiting.outcome(), Some(Ok(())));
}

struct Wakes(AtomicU32);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_ticket_wakes_whoever_waits_for_it() {
    let (mut rig, mut root) = with_topics();
    let wakes = Arc::new(Wakes(AtomicU32::new(0)));
    let waker = Waker::from(Arc::clone(&wakes));
    let mut context = Context::from_waker(&waker);
    let mut waiting = pin!(ticket(root.submit_send("fsync", to(0), &["a"])));
    assert_eq!(waiting.as_mut().poll(&mut context), Poll::Pending);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
    rig.commit_round();
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    assert_eq!(waiting.as_mut().poll(&mut context), Poll::Ready(Ok(())));
}

#[test]
fn what_fsync_acknowledged_survives_a_power_cut() {
    for seed in 0..20 {
        let (mut rig, mut root) = with_topics();
        root.send("fsync", to(0), &["a"]).unwrap();
        root.send("fsync", to(0), &[large('b').as_str()]).unwrap();
        root.send("fsync", to(0), &["c", "d"]).unwrap();
        root.call(&store_offset("c", "fsync", (0, 2))).unwrap();
        let _never_committed = root.submit_send("fsync", to(1), &["e"]);
        drop(root);
        rig = rig.cut_power(seed);
        let mut root = rig.root();
        assert_eq!(seen(&mut root, "fsync", 0), "abcd", "seed {seed}");
        let stored = root.call(&get_offset("c", "fsync", 0)).unwrap().unwrap();
        assert_eq!(stored.stored_offset.get(), 2, "seed {seed}");
    }
}

#[test]
fn a_flush_with_fsync_makes_os_messages_durable() {
    for seed in 0..20 {
        let (rig, mut root) = with_topics();
        root.send("os", to(0), &["a", "b"]).unwrap();
        root.call(&flush("os", 0, true)).unwrap();
        root.send("os", to(0), &["c"]).unwrap();
        drop(root);
        let rig = rig.cut_power(seed);
        let found = seen(&mut rig.root(), "os", 0);
        assert!(found == "ab" || found == "abc", "seed {seed}: {found}");
    }
}

fn set_durability(root: &mut Connection, topic: &str, asked: Durability) {
    let command = UpdateTopicWith {
        topic: update_topic("s", topic, topic),
        asked: AskedOptions { durability: Some(asked), ..AskedOptions::default() },
    };
    root.call(&command).unwrap();
}

#[test]
fn a_topic_that_becomes_os_keeps_the_order_of_what_is_staged() {
    let (mut rig, mut root) = with_topics();
    let first = ticket(root.submit_send("fsync", to(0), &["a"]));
    set_durability(&mut root, "fsync", Durability::Os);
    let second = root.submit_send("fsync", to(0), &["b"]);
    assert!(!is_done(&second), "it waits behind the first");
    assert_eq!(seen(&mut root, "fsync", 0), "");
    rig.commit_round();
    assert_eq!(first.outcome(), Some(Ok(())));
    assert_eq!(ticket(second).outcome(), Some(Ok(())));
    assert!(is_done(&root.submit_send("fsync", to(0), &["c"])));
    assert_eq!(seen(&mut root, "fsync", 0), "abc");
}

/// A topic was `os`; its messages were in the page cache only. It became `fsync`, and the next small
/// batch was acknowledged with its journal record alone. A power cut took the messages in front of
/// it, so that the record had no place to go and an acknowledged message was lost.
#[test]
fn a_topic_that_becomes_fsync_makes_durable_what_comes_before_its_first_acknowledgement() {
    for seed in 0..40 {
        let (rig, mut root) = with_topics();
        root.send("os", to(0), &["a", "b"]).unwrap();
        set_durability(&mut root, "os", Durability::Fsync);
        root.send("os", to(0), &["c"]).unwrap();
        root.send("os", to(0), &["d"]).unwrap();
        drop(root);
        let rig = rig.cut_power(seed);
        let mut root = rig.root();
        assert_eq!(seen(&mut root, "os", 0), "abcd", "seed {seed}");
        root.send("os", to(0), &["e"]).unwrap();
    }
}

/// A topic was `os` and became `fsync`. What was sent before its messages were synced went neither to the journal nor
/// into the count of what a start would have to look for, so that no checkpoint was asked for however much it was.
#[test]
fn what_is_sent_behind_messages_that_rest_in_the_page_cache_counts_for_the_next_checkpoint() {
    let (rig, mut root) = with_topics();
    root.send("os", to(0), &["a"]).unwrap();
    set_durability(&mut root, "os", Durability::Fsync);
    let text = "x".repeat(CHECKPOINT_BYTES as usize);
    let waiting = ticket(root.submit_send("os", to(0), &[text.as_str()]));
    assert_eq!(waiting.outcome(), None);
    // Nothing else asks for one: neither did the journal get anything, nor does a sync worker run.
    let workers = rig.broker.workers().into_iter();
    let mut workers = workers.filter(|worker| worker.name() == "galgo-checkpoint");
    let worker = workers.next().unwrap();
    let checkpointer = std::thread::spawn(|| worker.run());
    galgo_testkit::in_time("the checkpoint syncs it", || {
        while waiting.outcome().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let outcome = waiting.outcome();
    rig.broker.stop();
    checkpointer.join().unwrap();
    assert_eq!(outcome, Some(Ok(())), "the checkpoint that was asked for has synced it");
}
