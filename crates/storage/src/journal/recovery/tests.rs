//! Which frames count, told by runs alone.

use super::*;

fn run(generation: u64, numbers: RangeInclusive<u64>, synced: u64, file: usize) -> Run {
    let (first, last) = (*numbers.start(), *numbers.end());
    Run { generation, first, last, position: 512, end: 1024, synced, file }
}

fn chosen(runs: &[Run], checkpoint: u64) -> Recovery {
    let mut generations: BTreeMap<u64, u64> = BTreeMap::new();
    for run in runs {
        let first = generations.entry(run.generation).or_insert(run.first);
        *first = run.first.min(*first);
    }
    select(FoundRuns { runs: runs.to_vec(), generations, epoch_max: Epoch::default() }, checkpoint)
}

fn numbers(recovery: &Recovery) -> Vec<RangeInclusive<u64>> {
    recovery.runs.iter().map(|run| run.first..=run.last).collect()
}

#[test]
fn consecutive_runs_of_several_files_all_count() {
    let recovery = chosen(&[run(2, 11..=20, 19, 1), run(1, 1..=10, 9, 0)], 0);
    assert_eq!(numbers(&recovery), [1..=10, 11..=20]);
    assert_eq!((recovery.last, recovery.synced, recovery.generation_max), (20, 19, 2));
    assert!(!recovery.torn_tail && recovery.stray.is_empty());
}

#[test]
fn frames_after_a_hole_that_nothing_proves_durable_are_strays() {
    let recovery = chosen(&[run(1, 1..=5, 3, 0), run(1, 7..=9, 4, 0)], 0);
    assert_eq!(numbers(&recovery), [1..=5]);
    assert_eq!((recovery.last, recovery.torn_tail), (5, true));
    assert_eq!((recovery.stray, recovery.damaged), (vec![0], vec![]));
}

#[test]
fn hole_that_a_later_frame_proves_durable_is_damage() {
    let recovery = chosen(&[run(1, 1..=5, 4, 0), run(1, 7..=9, 8, 0)], 0);
    assert_eq!(numbers(&recovery), [1..=5, 7..=9]);
    assert_eq!((recovery.last, recovery.damaged), (9, vec![6..=6]));
    assert_eq!(recovery.suspect, [0, 0]);
}

#[test]
fn hole_proven_in_part_ends_the_journal_after_the_proven_part() {
    let recovery = chosen(&[run(1, 1..=5, 4, 0), run(1, 10..=12, 7, 0)], 0);
    assert_eq!((recovery.last, recovery.damaged), (7, vec![6..=7]));
    assert_eq!((recovery.torn_tail, recovery.stray), (true, vec![0]));
}

#[test]
fn missing_start_is_damage_when_proven() {
    let recovery = chosen(&[run(3, 8..=9, 8, 0)], 5);
    assert_eq!((recovery.damaged, recovery.last), (vec![6..=7], 9));
}

/// The remains of a torn tail were valid frames with the numbers that came next: taken for the
/// continuation, they would have been records nobody was ever told of.
#[test]
fn frames_whose_numbers_a_later_generation_took_are_void() {
    let torn = run(1, 7..=9, 4, 0);
    let recovery = chosen(&[run(1, 1..=5, 4, 0), torn, run(2, 6..=6, 5, 1)], 0);
    assert_eq!(numbers(&recovery), [1..=5, 6..=6]);
    assert_eq!((recovery.last, recovery.stray), (6, vec![0]));
}

/// Frames that are there twice, as in a copy of a file, were given to the reader twice, and in no order.
#[test]
fn frames_that_are_there_twice_are_read_from_one_place() {
    let recovery = chosen(&[run(1, 1..=5, 4, 0), run(1, 3..=8, 7, 1), run(1, 2..=4, 3, 2)], 0);
    assert_eq!(numbers(&recovery), [1..=5, 6..=8]);
    assert_eq!((recovery.last, recovery.stray), (8, vec![2]));
}

#[test]
fn checkpoint_past_everything_leaves_nothing() {
    let recovery = chosen(&[], 40);
    assert_eq!((recovery.last, recovery.synced), (40, 40));
}
