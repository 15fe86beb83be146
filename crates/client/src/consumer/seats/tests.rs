//! Partitions come, go, and come back: what the program is told, and that two readers never have one partition.

use galgo_wire::command::{GroupHold, GroupHolds};
use galgo_wire::id::PartitionId;
use tokio::time::Instant;

use super::*;
use crate::consumer::holdings::Holdings;

/// What is held of partition 1 under one number after another.
fn tag(number: u64) -> Option<Tag> {
    let holdings = Holdings::default();
    for hold in 1..=number {
        let hold = GroupHold { partition_id: PartitionId::new(1), hold, safe: 1 };
        let told = GroupHolds { membership: 7, session: 0, holds: vec![hold] };
        holdings.take(0, &told, Instant::now());
    }
    holdings.tag(1, holdings.version())
}

fn given(number: u64, life: u64) -> BTreeMap<u32, GivenPartition> {
    BTreeMap::from([(1, GivenPartition { tag: tag(number), life: Life::new(life) })])
}

/// What the program is told; a partition that was gained is kept.
fn told(table: &mut SeatTable, kept: &mut Vec<Arc<Seat>>) -> Vec<&'static str> {
    let changes = std::mem::take(&mut table.changes).into_iter();
    let told = changes.map(|change| match change {
        SeatChange::Gained(seat) => {
            kept.push(seat);
            "gained"
        }
        SeatChange::Lost(_) => "lost",
        SeatChange::Trouble(_) => "trouble",
    });
    told.collect()
}

#[test]
fn a_partition_that_comes_back_is_gained_when_its_reader_of_before_is_dropped() {
    let (mut table, mut kept) = (SeatTable::default(), Vec::new());
    table.settle(&given(1, 5));
    table.settle(&given(1, 5));
    assert_eq!(told(&mut table, &mut kept), ["gained"]);
    table.settle(&BTreeMap::new());
    table.settle(&given(1, 5));
    assert_eq!(told(&mut table, &mut kept), ["lost"]);
    kept[0].state.lock().is_dropped = true;
    table.settle(&given(1, 5));
    assert_eq!(told(&mut table, &mut kept), ["gained"]);
    table.settle(&given(2, 5));
    assert_eq!(told(&mut table, &mut kept), ["lost"], "somebody else may have had it");
    kept[1].state.lock().is_dropped = true;
    table.settle(&given(2, 5));
    assert_eq!(told(&mut table, &mut kept), ["gained"]);
    kept[2].state.lock().is_dropped = true;
    table.settle(&given(2, 5));
    assert_eq!(told(&mut table, &mut kept), ["gained"], "dropped, and still this member's");
}

#[test]
fn what_the_program_was_not_told_of_is_not_told_to_be_lost() {
    let (mut table, mut kept) = (SeatTable::default(), Vec::new());
    table.settle(&given(1, 5));
    table.settle(&BTreeMap::new());
    assert_eq!(told(&mut table, &mut kept), [""; 0]);
    table.settle(&given(2, 5));
    assert_eq!(told(&mut table, &mut kept), ["gained"]);
}

#[test]
fn a_purged_partition_stays_with_its_reader_who_finds_out_by_the_life() {
    let (mut table, mut kept) = (SeatTable::default(), Vec::new());
    table.settle(&given(1, 5));
    table.settle(&given(2, 6));
    table.settle(&given(2, 6));
    assert_eq!(told(&mut table, &mut kept), ["gained"]);
    assert!(!kept[0].is_lost() && kept[0].life() == Life::new(6));
}
