//! What holds for any sequence of commands, and for any bytes.

use proptest::prelude::*;

use super::world::{Step, World, step};
use crate::metadata::State;
use crate::metadata::record::Record;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 0..60)
}

/// The bytes of a record, as they come back from the log.
fn through_bytes(record: &Record) -> Record {
    let bytes = record.to_bytes();
    let read = Record::from_bytes(&bytes).unwrap_or_else(|e| panic!("{record:?}: {e}"));
    assert_eq!(read, *record);
    assert_eq!(read.to_bytes(), bytes);
    read
}

fn replay(mut state: State, records: &[Record]) -> State {
    for record in records {
        state.apply(&through_bytes(record)).unwrap_or_else(|e| panic!("{record:?}: {e}"));
    }
    state
}

fn assert_same(found: &State, expected: &State) {
    assert_eq!(found, expected);
    assert_eq!(found.state_hash(), expected.state_hash());
    assert_eq!(found.to_snapshot(), expected.to_snapshot());
}

proptest! {
    #[test]
    fn records_replayed_from_their_bytes_give_the_same_state(steps in steps()) {
        let world = World::run(&steps);
        assert_same(&replay(State::default(), &world.records), &world.state);
    }

    #[test]
    fn a_snapshot_at_any_point_and_the_records_behind_it_give_the_same_state(
        steps in steps(),
        at in any::<prop::sample::Index>(),
    ) {
        let world = World::run(&steps);
        let (before, behind) = world.records.split_at(at.index(world.records.len() + 1));
        let then = replay(State::default(), before);
        let restored = State::from_snapshot(&then.to_snapshot()).unwrap();
        assert_same(&restored, &then);
        assert_same(&replay(restored, behind), &world.state);
    }

    #[test]
    fn different_states_have_different_hashes(steps in steps()) {
        let world = World::run(&steps);
        let mut state = State::default();
        for record in &world.records {
            let before = state.clone();
            state.apply(record).unwrap();
            assert_eq!(before == state, before.state_hash() == state.state_hash());
        }
    }

    #[test]
    fn a_record_that_does_not_fit_leaves_the_state_as_it_was(
        ours in steps(),
        theirs in steps(),
    ) {
        let mut state = World::run(&ours).state;
        for record in World::run(&theirs).records {
            let before = state.clone();
            if state.apply(&record).is_err() {
                assert_eq!(before, state, "{record:?} was refused and changed something");
            }
        }
    }

    #[test]
    fn a_cut_record_or_snapshot_is_an_error(steps in steps()) {
        let world = World::run(&steps);
        for record in &world.records {
            let bytes = record.to_bytes();
            for cut in 0..bytes.len() {
                let read = Record::from_bytes(&bytes[..cut]);
                assert!(read.is_err(), "{record:?} cut to {cut} bytes became {read:?}");
            }
        }
        let bytes = world.state.to_snapshot();
        for cut in 0..bytes.len() {
            assert!(State::from_snapshot(&bytes[..cut]).is_err(), "cut to {cut} bytes");
        }
    }

    #[test]
    fn a_damaged_record_or_snapshot_never_panics(
        steps in steps(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let world = World::run(&steps);
        let spoil = |mut bytes: Vec<u8>| {
            for (at, value) in &damage {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            bytes
        };
        for record in &world.records {
            if let Ok(read) = Record::from_bytes(&spoil(record.to_bytes())) {
                through_bytes(&read);
            }
        }
        let _ = State::from_snapshot(&spoil(world.state.to_snapshot()));
    }

    #[test]
    fn arbitrary_bytes_are_a_record_or_an_error(
        kind in 0u8..24,
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut headed = vec![kind, 1];
        headed.extend_from_slice(&bytes);
        for bytes in [bytes, headed] {
            if let Ok(read) = Record::from_bytes(&bytes) {
                through_bytes(&read);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_are_a_snapshot_or_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut headed = vec![1];
        headed.extend_from_slice(&bytes);
        for bytes in [bytes, headed] {
            let _ = State::from_snapshot(&bytes);
        }
    }
}

#[test]
fn a_count_beyond_the_bytes_is_an_error_and_costs_no_memory() {
    // A snapshot that announces four billion removals, streams, topics or partitions.
    for zeros in [8, 12, 16] {
        let mut bytes = vec![1];
        bytes.resize(1 + zeros, 0);
        bytes.extend_from_slice(&u32::MAX.to_le_bytes());
        assert!(State::from_snapshot(&bytes).is_err(), "{zeros}");
    }
    let purge = [7, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255];
    assert!(Record::from_bytes(&purge).is_err());
}

#[test]
fn a_record_or_snapshot_of_another_version_is_refused() {
    let record = Record::FilesRemoved { uids: Vec::new() };
    let mut bytes = record.to_bytes();
    for version in [0, 2, 3, 4] {
        bytes[1] = version;
        assert!(Record::from_bytes(&bytes).is_err(), "version {version}");
    }
    let mut snapshot = State::default().to_snapshot();
    snapshot[0] = 2;
    assert!(State::from_snapshot(&snapshot).is_err());
}
