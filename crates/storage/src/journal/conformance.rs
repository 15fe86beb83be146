//! What every [`Journal`] must do, as a suite that each implementation runs.
//!
//! It panics at the first promise that is not kept, so it is for tests only.

#![expect(clippy::expect_used, reason = "a conformance suite fails by a panic")]

use std::ops::ControlFlow;

use galgo_wire::id::Epoch;

use super::{Bundle, CommitError, Frame, Journal, JournalRoom, Lsn};

/// Opens, again and again, the journal of one place; given is the last checkpointed frame.
pub type Place = Box<dyn Fn(Lsn) -> Box<dyn Journal>>;

/// Commits after which a journal that is never checkpointed may still not be full.
const COMMITS_MAX: u64 = 10_000;

/// Runs the suite; `make` gives a new, empty place each time.
pub fn run(make: impl Fn() -> Place) {
    let tests: [fn(&Place); 12] = [
        frames_are_numbered_from_one_and_read_in_order,
        reopening_keeps_every_frame_and_goes_on,
        a_break_ends_the_reading,
        parts_of_frames_are_read_by_their_place,
        any_length_up_to_the_limit_is_kept,
        a_full_journal_goes_on_after_a_checkpoint,
        what_is_carried_finds_room_in_a_full_journal,
        checkpoints_keep_the_journal_from_filling,
        a_checkpoint_ahead_of_the_journal_moves_its_numbers,
        concurrent_commits_get_numbers_of_their_own,
        whoever_claims_the_journal_ends_every_earlier_owner,
        an_owner_is_never_told_an_epoch_twice,
    ];
    for test in tests {
        test(&make());
    }
}

fn frames_are_numbered_from_one_and_read_in_order(place: &Place) {
    let journal = own(place, Lsn::ZERO);
    assert_eq!(journal.last(), Lsn::ZERO);
    assert_eq!(frames(&journal, 1), []);
    for number in 1..=50 {
        assert_eq!(commit(&journal, &payload(number), number % 3 == 0), number);
        assert_eq!(journal.last(), Lsn::new(number));
    }
    assert_frames(&journal, 1, 50);
    assert_frames(&journal, 37, 50);
    assert_eq!(frames(&journal, 51), []);
}

fn reopening_keeps_every_frame_and_goes_on(place: &Place) {
    for round in 0..4 {
        let journal = own(place, Lsn::ZERO);
        assert_eq!(journal.last(), Lsn::new(round * 10));
        assert_frames(&journal, 1, round * 10);
        for number in 1..=10 {
            let number = round * 10 + number;
            assert_eq!(commit(&journal, &payload(number), true), number);
        }
    }
    assert_frames(&own(place, Lsn::ZERO), 1, 40);
    assert_frames(&own(place, Lsn::new(25)), 26, 40);
}

fn a_break_ends_the_reading(place: &Place) {
    let journal = own(place, Lsn::ZERO);
    for number in 1..=5 {
        commit(&journal, &payload(number), true);
    }
    let mut seen = 0;
    let report = journal.read(Lsn::new(1), &mut |&Frame { lsn, .. }| {
        seen += 1;
        if lsn.get() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let report = report.expect("a journal just written can be read");
    assert_eq!((seen, report.frames, report.last), (3, 3, Lsn::new(3)));
}

fn parts_of_frames_are_read_by_their_place(place: &Place) {
    let journal = own(place, Lsn::ZERO);
    for number in 1..=20 {
        commit(&journal, &payload(number), number % 2 == 0);
    }
    let mut found = Vec::new();
    let visited = journal.read(Lsn::new(1), &mut |frame| {
        found.push((frame.place, frame.payload.to_vec()));
        ControlFlow::Continue(())
    });
    visited.expect("a journal just written can be read");
    // In any order, and while commits go on.
    for (place, payload) in found.iter().rev() {
        commit(&journal, payload, false);
        for at in [0, payload.len() / 2, payload.len()] {
            let mut buffer = vec![0; payload.len() - at];
            let read = journal.read_part(*place, at as u64, &mut buffer);
            assert_eq!(read.expect("a frame that was visited"), buffer.len());
            assert_eq!(Some(buffer.as_slice()), payload.get(at..));
        }
    }
}

fn any_length_up_to_the_limit_is_kept(place: &Place) {
    let journal = own(place, Lsn::ZERO);
    let max = usize::try_from(journal.payload_bytes_max()).expect("fits memory");
    let too_large = vec![7; max + 1];
    let refused = try_commit(&journal, &too_large, true);
    assert_eq!(refused, Err(CommitError::Overloaded));
    let mut lens = vec![0, 1, 63, 64, 447, 448, 449, 512, 1000, max];
    lens.retain(|len| *len <= max);
    for (index, len) in lens.iter().enumerate() {
        let bytes = vec![index as u8; *len];
        assert_eq!(commit(&journal, &bytes, index % 2 == 0), index as u64 + 1);
        let checkpointed = Lsn::new(index as u64 / 2);
        journal.checkpoint(checkpointed).expect("a checkpoint of frames that are there");
    }
    let last = lens.len() as u64;
    let read = frames(&own(place, Lsn::new(last / 2)), last / 2 + 1);
    for (lsn, bytes) in read {
        let index = usize::try_from(lsn - 1).expect("fits memory");
        assert_eq!(Some(&bytes.len()), lens.get(index));
        assert!(bytes.iter().all(|byte| usize::from(*byte) == index));
    }
}

fn a_full_journal_goes_on_after_a_checkpoint(place: &Place) {
    let journal = own(place, Lsn::ZERO);
    let bytes = vec![1; usize::try_from(journal.payload_bytes_max() / 2).expect("fits memory")];
    let mut taken = 0;
    while taken < COMMITS_MAX {
        match try_commit(&journal, &bytes, true) {
            Ok(lsn) => taken = lsn,
            Err(CommitError::Overloaded) => break,
            Err(error) => panic!("neither taken nor full: {error}"),
        }
    }
    assert!(journal.needs_checkpoint());
    assert_eq!(frames(&journal, 1).len() as u64, taken);
    journal.checkpoint(Lsn::new(taken)).expect("a checkpoint of frames that are there");
    assert_eq!(commit(&journal, &payload(taken + 1), true), taken + 1);
    assert_frames(&journal, taken + 1, taken + 1);
    drop(journal);
    assert_frames(&own(place, Lsn::new(taken)), taken + 1, taken + 1);
}

fn what_is_carried_finds_room_in_a_full_journal(place: &Place) {
    let journal = own(place, Lsn::ZERO);
    let bytes = vec![7; 1_000];
    let mut last = 0;
    for _ in 0..COMMITS_MAX {
        match try_commit(&journal, &bytes, true) {
            Ok(lsn) => last = lsn,
            Err(CommitError::Overloaded) => break,
            Err(error) => panic!("not full, but {error}"),
        }
    }
    for number in 1..=20 {
        let bundle = Bundle { payload: payload(number), sync: true, room: JournalRoom::Reserved };
        let carried = journal.submit(bundle).expect("there is always room");
        assert_eq!(carried, last + number);
    }
    journal.checkpoint(Lsn::new(last)).expect("a checkpoint gives the old files back");
    commit(&journal, &bytes, true);
    let frames = frames(&own(place, Lsn::new(last)), last + 1);
    assert_eq!(frames.len(), 21);
    let usage = own(place, Lsn::new(last)).usage();
    assert!(usage.parts_in_use <= usage.parts_max, "what was taken beyond that is given back");
}

fn checkpoints_keep_the_journal_from_filling(place: &Place) {
    let mut journal = own(place, Lsn::ZERO);
    let mut checkpoint = 0;
    for number in 1..=600 {
        assert_eq!(commit(&journal, &payload(number), number % 5 == 0), number);
        journal.make_ready().expect("space can be made ready");
        if journal.needs_checkpoint() {
            checkpoint = number - number % 7;
            journal.checkpoint(Lsn::new(checkpoint)).expect("a checkpoint of what is there");
        }
        if number % 97 == 0 {
            drop(journal);
            journal = own(place, Lsn::new(checkpoint));
            assert_eq!(journal.last(), Lsn::new(number));
        }
    }
    assert_frames(&journal, checkpoint + 1, 600);
}

fn a_checkpoint_ahead_of_the_journal_moves_its_numbers(place: &Place) {
    let journal = own(place, Lsn::ZERO);
    commit(&journal, &payload(1), true);
    journal.checkpoint(Lsn::new(9)).expect("a checkpoint ahead");
    assert_eq!(journal.last(), Lsn::new(9));
    assert_eq!(commit(&journal, &payload(10), true), 10);
    drop(journal);
    let journal = own(place, Lsn::new(20));
    assert_eq!(journal.last(), Lsn::new(20));
    assert_eq!(commit(&journal, &payload(21), true), 21);
    drop(journal);
    assert_frames(&own(place, Lsn::new(20)), 21, 21);
}

fn concurrent_commits_get_numbers_of_their_own(place: &Place) {
    let journal = own(place, Lsn::ZERO);
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let journal = &journal;
            scope.spawn(move || {
                for count in 0..20_u8 {
                    let lsn = commit(journal, &[thread, count], count % 4 == 0);
                    assert!((1..=80).contains(&lsn));
                }
            });
        }
    });
    let mut read: Vec<Vec<u8>> = frames(&journal, 1).into_iter().map(|(_, bytes)| bytes).collect();
    read.sort();
    let all = (0..4_u8).flat_map(|thread| (0..20_u8).map(move |count| vec![thread, count]));
    assert!(read.into_iter().eq(all));
}

fn whoever_claims_the_journal_ends_every_earlier_owner(place: &Place) {
    let journal = own(place, Lsn::ZERO);
    assert_eq!(commit(&journal, &payload(1), true), 1);
    let later = journal.claim(Epoch::default());
    assert!(later > journal.epoch);
    for sync in [true, false] {
        assert_eq!(try_commit(&journal, b"too late", sync), Err(CommitError::NotOwner));
    }
    let bundle = Bundle { payload: payload(2), sync: true, room: JournalRoom::Shared };
    let settled = journal.journal.submit(later, bundle).wait();
    assert_eq!(settled.outcome.expect("the owner's").get(), 2);
    assert_eq!(settled.payload, payload(2), "the bytes come back");
    assert_frames(&journal, 1, 2);
    drop(journal);
    assert_frames(&own(place, Lsn::ZERO), 1, 2);
}

fn an_owner_is_never_told_an_epoch_twice(place: &Place) {
    let mut last = Epoch::default();
    // As few as there are files: each start takes another one.
    for number in 1..=3 {
        let journal = own(place, Lsn::ZERO);
        assert!(journal.epoch > last, "INV-EPOCH");
        assert_eq!(commit(&journal, &payload(number), number == 2), number);
        last = journal.epoch;
    }
    // What only a checkpoint knows of counts as well.
    let journal = place(Lsn::ZERO);
    assert!(journal.claim(Epoch::new(1_000)) > Epoch::new(1_000));
}

/// The payload of a frame in these tests, told by its number.
fn payload(number: u64) -> Vec<u8> {
    let len = usize::try_from(number * 37 % 700).unwrap_or(0);
    number.to_le_bytes().into_iter().cycle().take(8 + len).collect()
}

/// A journal that was claimed.
struct Owned {
    journal: Box<dyn Journal>,
    epoch: Epoch,
}

impl Owned {
    fn submit(&self, bundle: Bundle) -> Result<u64, CommitError> {
        let settled = self.journal.submit(self.epoch, bundle).wait();
        settled.outcome.map(Lsn::get).map_err(|failure| failure.error)
    }
}

impl std::ops::Deref for Owned {
    type Target = dyn Journal;

    fn deref(&self) -> &Self::Target {
        &*self.journal
    }
}

fn own(place: &Place, checkpoint: Lsn) -> Owned {
    let journal = place(checkpoint);
    let epoch = journal.claim(Epoch::default());
    Owned { journal, epoch }
}

fn try_commit(journal: &Owned, payload: &[u8], sync: bool) -> Result<u64, CommitError> {
    journal.submit(Bundle { payload: payload.to_vec(), sync, room: JournalRoom::Shared })
}

fn commit(journal: &Owned, payload: &[u8], sync: bool) -> u64 {
    try_commit(journal, payload, sync).expect("a bundle the journal must take")
}

fn frames(journal: &Owned, from: u64) -> Vec<(u64, Vec<u8>)> {
    let mut frames = Vec::new();
    let report = journal.read(Lsn::new(from), &mut |&Frame { lsn, payload: bytes, .. }| {
        frames.push((lsn.get(), bytes.to_vec()));
        ControlFlow::Continue(())
    });
    let report = report.expect("a sound journal can be read");
    assert_eq!(report.frames, frames.len() as u64);
    assert_eq!(report.damaged, []);
    assert_eq!(report.last.get(), frames.last().map_or(from - 1, |(lsn, _)| *lsn));
    frames
}

fn assert_frames(journal: &Owned, from: u64, to: u64) {
    let expected: Vec<_> = (from..=to).map(|number| (number, payload(number))).collect();
    assert_eq!(frames(journal, from), expected);
}
