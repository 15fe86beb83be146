//! The queue of requests: order, limits, and what a lost connection leaves.

use super::*;

const LIMITS: InFlightLimits = InFlightLimits { requests: 100, bytes: 10_000 };

fn push(
    queue: &RequestQueue,
    text: &'static str,
    replay: Replay,
) -> (u64, oneshot::Receiver<Answer>) {
    queue.push(Bytes::from_static(text.as_bytes()), replay, false)
}

fn take(queue: &RequestQueue, frames_max: usize) -> Vec<Bytes> {
    let mut frames = Vec::new();
    queue.try_take(&mut frames, frames_max, usize::MAX);
    frames
}

fn lost() -> Loss {
    Loss::Closed
}

/// INV-FATE.
#[test]
fn what_is_written_and_unanswered_is_decided_by_its_replay() {
    let queue = RequestQueue::new(LIMITS);
    let (_, mut answered) = push(&queue, "answered", Replay::Never);
    let (_, mut never) = push(&queue, "never", Replay::Never);
    let (_, mut safe) = push(&queue, "safe", Replay::Safe);
    let (_, mut half) = push(&queue, "half written", Replay::Never);
    let (_, mut waiting) = push(&queue, "waiting", Replay::Never);
    assert_eq!(take(&queue, 4).len(), 4);
    queue.wrote(3);
    queue.answer(Ok(Bytes::new())).unwrap();
    queue.lose(&lost());
    assert!(matches!(answered.try_recv(), Ok(Ok(_))));
    assert!(matches!(never.try_recv(), Ok(Err(NoReply::Unknown(Fate::Lost(Loss::Closed))))));
    // In their order, before what was not taken at all.
    assert_eq!(take(&queue, 9), ["safe", "half written", "waiting"]);
    for receiver in [&mut safe, &mut half, &mut waiting] {
        assert!(receiver.try_recv().is_err());
        queue.answer(Ok(Bytes::new())).unwrap();
        assert!(receiver.try_recv().is_ok());
    }
}

/// INV-PIPELINE.
#[test]
fn a_reply_that_overtakes_the_note_of_its_writing_confuses_nothing() {
    let queue = RequestQueue::new(LIMITS);
    let (_first, mut second) =
        (push(&queue, "first", Replay::Never), push(&queue, "second", Replay::Never).1);
    assert_eq!(take(&queue, 1).len(), 1);
    queue.answer(Ok(Bytes::new())).unwrap();
    queue.wrote(1);
    assert_eq!(take(&queue, 1).len(), 1);
    queue.lose(&lost());
    assert!(second.try_recv().is_err(), "it was never written completely");
    assert_eq!(take(&queue, 1), ["second"]);
}

#[test]
fn a_reply_nobody_asked_for_is_an_error() {
    let queue = RequestQueue::new(LIMITS);
    assert!(matches!(queue.answer(Ok(Bytes::new())), Err(Loss::Garbled(_))));
}

/// INV-CLIENT-BOUND.
#[test]
fn what_is_in_flight_is_bounded_and_one_over_the_bound_goes_alone() {
    let queue = RequestQueue::new(InFlightLimits { requests: 2, bytes: 10 });
    for text in ["0123456789abc", "012345", "0123", "0"] {
        push(&queue, text, Replay::Never).1.close();
    }
    assert_eq!(take(&queue, 9), ["0123456789abc"]);
    assert!(take(&queue, 9).is_empty());
    queue.answer(Ok(Bytes::new())).unwrap();
    assert_eq!(take(&queue, 9), ["012345", "0123"], "no more requests than two");
    queue.answer(Ok(Bytes::new())).unwrap();
    assert_eq!(take(&queue, 9), ["0"]);
}

#[test]
fn abandoned_requests_are_not_written_and_their_slots_stay() {
    let queue = RequestQueue::new(LIMITS);
    let (first, _first) = push(&queue, "first", Replay::Safe);
    let (second, _second) = push(&queue, "second", Replay::Safe);
    let (third, mut third_reply) = push(&queue, "third", Replay::Safe);
    take(&queue, 1);
    assert!(matches!(queue.abandon(first), Abandoned::Unknown));
    assert!(matches!(queue.abandon(second), Abandoned::NotSent));
    assert_eq!(take(&queue, 9), ["third"]);
    queue.answer(Ok(Bytes::from_static(b"1"))).unwrap();
    queue.answer(Ok(Bytes::from_static(b"3"))).unwrap();
    assert!(matches!(third_reply.try_recv(), Ok(Ok(reply)) if reply == "3"));
    assert!(matches!(queue.abandon(third), Abandoned::Answered));
}

#[test]
fn what_was_tried_before_keeps_its_fate_when_all_is_given_up() {
    let queue = RequestQueue::new(LIMITS);
    let mut replies: Vec<_> = [Replay::Allowed, Replay::Safe, Replay::Allowed]
        .map(|replay| push(&queue, "x", replay).1)
        .into_iter()
        .collect();
    take(&queue, 2);
    queue.wrote(2);
    queue.lose(&lost());
    queue.give_up(&NotSent::ClientDropped);
    let failures: Vec<_> =
        replies.iter_mut().map(|reply| reply.try_recv().unwrap().unwrap_err()).collect();
    assert!(matches!(failures[0], NoReply::Unknown(_)), "a write may have been carried out");
    assert!(matches!(failures[1], NoReply::NotSent(_)), "a read changed nothing");
    assert!(matches!(failures[2], NoReply::NotSent(_)), "it was never written");
}

#[test]
fn withdrawn_is_only_what_waits() {
    let queue = RequestQueue::new(LIMITS);
    let (first, mut first_reply) = push(&queue, "first", Replay::Allowed);
    let (second, mut second_reply) = push(&queue, "second", Replay::Allowed);
    take(&queue, 1);
    queue.withdraw(first);
    queue.withdraw(second);
    assert!(first_reply.try_recv().is_err());
    assert!(matches!(second_reply.try_recv(), Ok(Err(NoReply::NotSent(NotSent::Withdrawn)))));
    assert!(take(&queue, 9).is_empty());
}

#[test]
fn pings_do_not_pile_up() {
    let queue = RequestQueue::new(LIMITS);
    for _ in 0..10 {
        queue.push_unheeded(Bytes::from_static(b"ping"));
    }
    assert_eq!(take(&queue, 99).len(), 1);
    queue.lose(&lost());
    assert!(take(&queue, 99).is_empty(), "and are not repeated");
}

#[test]
fn closed_it_fails_everything_and_takes_nothing() {
    let queue = RequestQueue::new(LIMITS);
    let (_, mut flying) = push(&queue, "flying", Replay::Never);
    take(&queue, 1);
    queue.wrote(1);
    let (_, mut waiting) = push(&queue, "waiting", Replay::Never);
    queue.close();
    let (_, mut late) = push(&queue, "late", Replay::Never);
    assert!(matches!(flying.try_recv(), Ok(Err(NoReply::Unknown(_)))));
    for reply in [&mut waiting, &mut late] {
        assert!(matches!(reply.try_recv(), Ok(Err(NoReply::NotSent(NotSent::ClientDropped)))));
    }
}

#[test]
fn only_a_wait_that_is_alone_and_wanted_needs_no_ping() {
    let queue = RequestQueue::new(InFlightLimits { requests: 8, bytes: 1 << 20 });
    let (_, wanted) = queue.push(Bytes::from_static(b"wait"), Replay::Safe, true);
    assert!(!queue.only_waits(), "not sent yet");
    let mut frames = Vec::new();
    assert!(queue.try_take(&mut frames, 8, 1 << 20));
    assert!(queue.only_waits());
    let (id, other) = push(&queue, "other", Replay::Safe);
    assert!(!queue.only_waits(), "something else is to be sent");
    queue.withdraw(id);
    drop(other);
    assert!(queue.only_waits());
    drop(wanted);
    assert!(!queue.only_waits(), "nobody wants its answer");
}
