//! Several bundles in flight: order, refusals, failures, and who is woken.

use std::thread;

use super::commit::Shift;
use super::*;

/// Three rounds of one batch each, on their way.
fn three_in_flight(shard: &Shard, member: &Arc<Notes>, rounds: &mut Rounds) -> [Ticket; 3] {
    [1, 2, 3].map(|end| {
        let ticket = stage(shard, member, end);
        shard.commit_round(rounds);
        ticket
    })
}

#[test]
fn as_many_rounds_are_in_flight_as_the_window_takes_and_settled_in_order() {
    let journal = HeldJournal::with_window(2);
    let shard = shard(&journal);
    let member = Notes::new(1);
    let mut rounds = Rounds::default();
    let mut tickets = Vec::new();
    for end in 1..=3 {
        tickets.push(stage(&shard, &member, end));
        shard.commit_round(&mut rounds);
    }
    assert_eq!(journal.in_flight(), 2, "the third waits for room");
    assert!(tickets.iter().all(|ticket| ticket.outcome().is_none()));
    journal.settle(Ok(()));
    assert!(shard.commit_round(&mut rounds));
    assert_eq!(tickets[0].outcome(), Some(Ok(())));
    assert_eq!(*member.told.lock(), [Told::Journaled(1)]);
    shard.commit_round(&mut rounds);
    assert_eq!(journal.in_flight(), 2);
    journal.settle(Ok(()));
    journal.settle(Ok(()));
    assert!(shard.commit_round(&mut rounds));
    assert!(tickets.iter().all(|ticket| ticket.outcome() == Some(Ok(()))));
    assert_eq!(*member.told.lock(), [1, 2, 3].map(Told::Journaled));
    let owners: BTreeSet<Epoch> = journal.0.lock().submitted.iter().map(|it| it.0).collect();
    assert_eq!(owners, BTreeSet::from([shard.epoch()]), "INV-EPOCH: every bundle is the owner's");
}

#[test]
fn what_is_not_taken_is_sent_again_in_order_and_then_goes_without_the_journal() {
    let journal = HeldJournal::with_window(3);
    let shard = shard(&journal);
    let member = Notes::new(1);
    let mut rounds = Rounds::default();
    let tickets = three_in_flight(&shard, &member, &mut rounds);
    journal.settle(Err(CommitError::Overloaded));
    assert!(shard.commit_round(&mut rounds));
    assert_eq!(journal.in_flight(), 3);
    let submitted: Vec<_> = journal.0.lock().submitted.iter().map(|it| it.1.clone()).collect();
    assert_eq!(submitted[..3], submitted[3..], "INV-ROUND-ORDER: the same bundles, in their order");
    journal.settle(Ok(()));
    journal.settle(Err(CommitError::Unavailable));
    // The two behind were refused because of the first: each has a second try of its own.
    assert!(shard.commit_round(&mut rounds));
    assert_eq!(journal.in_flight(), 2);
    journal.settle(Err(CommitError::Unavailable));
    assert!(shard.commit_round(&mut rounds));
    assert_eq!(journal.in_flight(), 1);
    journal.settle(Err(CommitError::Unavailable));
    while shard.commit_round(&mut rounds) || shard.sync_round() {}
    let refused = Some(Err(ErrorCode::TaskTimeout));
    assert_eq!(tickets.map(|ticket| ticket.outcome()), [Some(Ok(())), refused, refused]);
    let told = [Told::Journaled(1), Told::NotJournaled(2), Told::NotJournaled(3)];
    assert_eq!(member.told.lock()[..3], told);
    assert_eq!(member.told.lock()[3..], [Told::Synced, Told::Synced]);
    assert!(!shard.is_fenced());
}

#[test]
fn an_outcome_that_is_not_known_ends_all_that_comes_behind_it() {
    for error in [CommitError::Disk, CommitError::Fenced, CommitError::NotOwner] {
        let journal = HeldJournal::with_window(3);
        let shard = shard(&journal);
        let member = Notes::new(1);
        let mut rounds = Rounds::default();
        let tickets = three_in_flight(&shard, &member, &mut rounds);
        let gathering = stage(&shard, &member, 4);
        let elsewhere = Notes::new(2);
        shard.touched(|| Some(Arc::clone(&elsewhere) as Arc<dyn ShardMember>));
        let waiting = Notes::new(3);
        shard.queue_sync(Arc::clone(&waiting) as Arc<dyn ShardMember>);
        journal.settle(Ok(()));
        journal.settle(Err(error));
        while shard.commit_round(&mut rounds) {}
        assert_eq!(tickets[0].outcome(), Some(Ok(())));
        assert_eq!(tickets[1].outcome(), Some(Err(error.into())));
        for later in [&tickets[2], &gathering] {
            assert_eq!(later.outcome(), Some(Err(ErrorCode::CannotSyncFile)), "{error}");
        }
        assert!(shard.is_fenced());
        // A disk that failed leaves segments to be synced. Whoever has lost the shard may acknowledge nothing that way.
        let is_over = error == CommitError::NotOwner;
        assert_eq!(shard.is_halted(), is_over);
        let fenced = if is_over { vec![Told::Fenced] } else { Vec::new() };
        assert_eq!((&*elsewhere.told.lock(), &*waiting.told.lock()), (&fenced, &fenced));
        assert_eq!(shard.sync_round(), !is_over);
        assert_eq!(journal.0.lock().submitted.len(), 3, "a fenced shard submits nothing");
        assert_eq!(mark(&shard, 5).unwrap_err(), CommitError::Fenced);
        assert_eq!(
            member.told.lock()[..],
            [Told::Journaled(1), Told::Fenced, Told::Fenced, Told::Fenced]
        );
    }
}

/// Thousands of random runs: whatever the journal answers, every ticket is resolved once, in the order of
/// staging as far as it says yes, and yes exactly for what the journal has.
#[test]
fn tickets_say_what_the_journal_has() {
    for seed in 0..3_000 {
        let mut random = SplitMix::new(seed);
        let journal = HeldJournal::with_window(1 + random.below_usize(4));
        let shard = shard(&journal);
        let members = [Notes::new(1), Notes::new(2)];
        let mut rounds = Rounds::default();
        let mut staged: Vec<(Vec<u8>, Ticket)> = Vec::new();
        let mut ends = [0, 0];
        for _ in 0..40 {
            match random.below(5) {
                0 | 1 if !shard.is_fenced() => {
                    let which = random.below_usize(2);
                    ends[which] += 1;
                    let ticket = stage(&shard, &members[which], ends[which]);
                    // Where it is in the stream of committed bytes.
                    let mut bytes = Vec::new();
                    let uid = members[which].uid;
                    let base_offset = Offset::new(ends[which] - 1);
                    let messages = &ends[which].to_le_bytes();
                    let high_watermark = Offset::ZERO;
                    ShardRecord::Batch { uid, base_offset, high_watermark, messages }
                        .encode(&mut bytes);
                    staged.push((bytes, ticket));
                }
                2 => drop(shard.commit_round(&mut rounds)),
                _ if journal.in_flight() > 0 => journal.settle(match random.below(20) {
                    0 => Err(CommitError::Disk),
                    1 | 2 => Err(CommitError::Overloaded),
                    3 => Err(CommitError::Unavailable),
                    _ => Ok(()),
                }),
                _ => {}
            }
            if random.chance(2) {
                shard.sync_round();
            }
        }
        // To the end: from here on the journal takes everything.
        while journal.in_flight() > 0 {
            journal.settle(Ok(()));
        }
        journal.0.lock().then = Some(Ok(()));
        while shard.commit_round(&mut rounds) || shard.await_round(&mut rounds) {}
        let held = journal.0.lock();
        assert!(held.in_flight_max <= held.window, "seed {seed}");
        let committed = held.committed.concat();
        let mut at = 0;
        for (bytes, ticket) in &staged {
            let found = committed[at..].windows(bytes.len()).position(|part| part == bytes);
            let outcome = ticket.outcome().unwrap_or_else(|| panic!("seed {seed}: not resolved"));
            assert_eq!(outcome.is_ok(), found.is_some(), "seed {seed}: {outcome:?}");
            at += found.map_or(0, |found| found + bytes.len());
        }
    }
}

/// INV-WAKE: nobody else would.
#[test]
fn a_committer_that_sleeps_is_woken_by_what_is_staged_and_by_what_is_settled() {
    let journal = HeldJournal::with_window(2);
    let shard = shard(&journal);
    let member = Notes::new(1);
    let committer = {
        let shard = Arc::clone(&shard);
        thread::spawn(move || shard.run_committer())
    };
    let mut tickets: Vec<Ticket> = Vec::new();
    for end in 1..=200 {
        tickets.push(stage(&shard, &member, end));
        // Some are settled while the committer sleeps, some before it has looked.
        let waits = end % 3 == 0;
        while waits && tickets.iter().any(|ticket| ticket.outcome().is_none()) {
            match journal.in_flight() {
                0 => thread::yield_now(),
                _ => journal.settle(Ok(())),
            }
        }
    }
    let last = stage(&shard, &member, 201);
    shard.stop();
    while journal.in_flight() == 0 {
        thread::yield_now();
    }
    assert!(!committer.is_finished(), "what is in flight is waited for");
    while last.outcome().is_none() {
        match journal.in_flight() {
            0 => thread::yield_now(),
            _ => journal.settle(Ok(())),
        }
    }
    committer.join().unwrap();
    assert_eq!(last.outcome(), Some(Ok(())));
}

/// A committer that stopped by a panic left everybody who had sent to a topic with `fsync` waiting for ever: its thread
/// ended, the server went on, and nothing said so to them.
#[test]
fn a_committer_that_stops_leaves_nobody_waiting() {
    let journal = HeldJournal::with_window(2);
    let shard = shard(&journal);
    let (defect, other, later) = (Notes::new(1), Notes::new(2), Notes::new(3));
    defect.panics.store(true, Ordering::Relaxed);
    for member in [&defect, &other, &later] {
        shard.touched(|| Some(Arc::clone(member) as Arc<dyn ShardMember>));
    }
    let mut tickets = vec![stage(&shard, &defect, 1)];
    let committer = {
        let shard = Arc::clone(&shard);
        thread::spawn(move || shard.run_committer())
    };
    let in_flight = |count| {
        while journal.in_flight() < count {
            thread::yield_now();
        }
    };
    in_flight(1);
    tickets.push(stage(&shard, &other, 1));
    in_flight(2);
    // The window is full: this one is not even submitted.
    tickets.push(stage(&shard, &later, 1));
    journal.settle(Ok(()));
    assert!(committer.join().is_err());
    for ticket in &tickets {
        assert_eq!(ticket.outcome(), Some(Err(ErrorCode::CannotSyncFile)));
    }
    for member in [&defect, &other, &later] {
        assert!(member.told.lock().contains(&Told::Fenced));
    }
    assert!(shard.is_fenced());
    assert_eq!(mark(&shard, 2).map(drop), Err(CommitError::Fenced));
}

/// A checkpoint takes the members that wrote off their list; when it stopped by a panic they were on none, and whoever
/// waited for them was told nothing.
#[test]
fn a_committer_that_stops_in_its_own_checkpoint_leaves_nobody_waiting() {
    let journal = HeldJournal::with_window(2);
    let shard = shard(&journal);
    let (defect, other) = (Notes::new(1), Notes::new(2));
    let panics = || panic!("a defect of the checkpoint's");
    *defect.fails_checkpoint.lock() = Some(Box::new(panics));
    for member in [&defect, &other] {
        shard.touched(|| Some(Arc::clone(member) as Arc<dyn ShardMember>));
    }
    let mut rounds = Rounds::default();
    let tickets = [&defect, &other].map(|member| {
        let ticket = stage(&shard, member, 1);
        shard.commit_round(&mut rounds);
        ticket
    });
    journal.settle(Err(CommitError::Overloaded));
    let stopped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut shift = Shift { shard: &shard, rounds };
        shard.commit_round(&mut shift.rounds);
    }));
    assert!(stopped.is_err(), "the checkpoint was taken");
    for ticket in &tickets {
        assert_eq!(ticket.outcome(), Some(Err(ErrorCode::CannotSyncFile)));
    }
    for member in [&defect, &other] {
        assert!(member.told.lock().contains(&Told::Fenced));
    }
}
