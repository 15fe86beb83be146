//! Where a consumer stands: what is handed out, and when the end is reached.

use bytes::Bytes;
use galgo_wire::batch::MessageHeader;

use super::*;

fn polled(offsets: std::ops::Range<u64>, current_offset: u64) -> PolledMessages {
    let messages = offsets.map(|offset| {
        let header = MessageHeader { offset: Offset::new(offset), ..MessageHeader::default() };
        ReceivedMessage::new(0, Life::UNKNOWN, header, Bytes::new(), Bytes::new())
    });
    PolledMessages::for_test(current_offset, messages.collect())
}

fn offsets(step: Step) -> Vec<u64> {
    match step {
        Step::Messages(messages) => messages.iter().map(ReceivedMessage::offset).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_place_moves_behind_what_was_handed_out() {
    let mut cursor = PartitionCursor::new(ReadPosition::Time(Timestamp::new(5)), false, None);
    assert_eq!(cursor.strategy(), PollingStrategy::Timestamp(Timestamp::new(5)));
    assert_eq!(cursor.advance(polled(0..0, 9)), Step::Nothing);
    assert_eq!(cursor.strategy(), PollingStrategy::Timestamp(Timestamp::new(5)));
    assert_eq!(offsets(cursor.advance(polled(10..13, 20))), [10, 11, 12]);
    assert_eq!(cursor.strategy(), PollingStrategy::Offset(Offset::new(13)));
    // Retention may have taken what was to come next.
    assert_eq!(offsets(cursor.advance(polled(15..16, 20))), [15]);
    assert_eq!(cursor.strategy(), PollingStrategy::Offset(Offset::new(16)));
}

#[test]
fn nothing_behind_the_end_is_handed_out() {
    let mut cursor = PartitionCursor::new(ReadPosition::Offset(0), false, Some(4));
    assert_eq!(offsets(cursor.advance(polled(0..3, 9))), [0, 1, 2]);
    let Step::LastMessages(last) = cursor.advance(polled(3..6, 9)) else { panic!() };
    assert_eq!(last.iter().map(ReceivedMessage::offset).collect::<Vec<_>>(), [3, 4]);
    assert!(cursor.is_done());
    let mut beyond = PartitionCursor::new(ReadPosition::Offset(0), false, Some(4));
    assert_eq!(beyond.advance(polled(7..9, 9)), Step::LastMessages(vec![]), "retention was faster");
}

#[test]
fn an_end_before_the_place_is_done_at_once() {
    assert!(PartitionCursor::new(ReadPosition::Offset(5), false, Some(4)).is_done());
    assert!(!PartitionCursor::new(ReadPosition::Offset(4), false, Some(4)).is_done());
    assert!(!PartitionCursor::new(ReadPosition::Time(Timestamp::ZERO), false, Some(4)).is_done());
    assert!(PartitionCursor::at_end().is_done());
}

#[test]
fn a_place_that_was_reached_and_is_beyond_the_end_means_a_new_beginning() {
    let mut cursor = PartitionCursor::new(ReadPosition::Offset(0), false, None);
    assert_eq!(cursor.advance(polled(0..0, 0)), Step::Nothing, "empty");
    cursor.advance(polled(0..10, 9));
    assert_eq!(cursor.advance(polled(0..0, 9)), Step::Nothing, "caught up");
    assert_eq!(cursor.advance(polled(0..0, 8)), Step::Rewound { expected: 10 });
    assert_eq!(cursor.strategy(), PollingStrategy::Offset(Offset::ZERO));
    assert_eq!(cursor.advance(polled(0..0, 0)), Step::Nothing, "told once");
}

#[test]
fn a_place_that_was_never_reached_is_waited_for() {
    let mut cursor = PartitionCursor::new(ReadPosition::Offset(100), false, None);
    assert_eq!(cursor.advance(polled(0..0, 8)), Step::Nothing);
    assert_eq!(cursor.strategy(), PollingStrategy::Offset(Offset::new(100)));
}

fn told(life: u64, extent: std::ops::Range<u64>, polled: PolledMessages) -> PolledMessages {
    let told = galgo_wire::command::lives::LifeHeader {
        life: Life::new(life),
        start: Offset::new(extent.start),
        end: Offset::new(extent.end),
        ..Default::default()
    };
    polled.with_told(told)
}

/// Only a log that was shorter gave a new beginning away; in one as long or longer, messages were skipped.
#[test]
fn another_life_means_a_new_beginning_however_long_it_is() {
    let mut cursor = PartitionCursor::new(ReadPosition::Offset(0), false, None);
    cursor.advance(told(7, 0..10, polled(0..10, 9)));
    assert_eq!(cursor.life(), Life::new(7));
    let anew = cursor.advance(told(8, 0..50, polled(10..20, 49)));
    assert_eq!(anew, Step::Rewound { expected: 10 });
    assert_eq!(cursor.strategy(), PollingStrategy::Offset(Offset::ZERO));
    assert_eq!(offsets(cursor.advance(told(8, 0..50, polled(0..3, 49)))), [0, 1, 2]);
    assert_eq!(cursor.advance(told(8, 0..2, polled(0..0, 1))), Step::Rewound { expected: 3 });
}

#[test]
fn a_reader_with_an_end_reads_another_life_to_where_it_ended_then() {
    let mut cursor =
        PartitionCursor::new(ReadPosition::Offset(5), true, Some(9)).in_life(Life::new(7));
    assert_eq!(cursor.advance(told(8, 0..3, polled(0..0, 2))), Step::Rewound { expected: 5 });
    assert!(!cursor.is_done());
    let Step::LastMessages(last) = cursor.advance(told(8, 0..6, polled(0..6, 5))) else { panic!() };
    assert_eq!(last.len(), 3);
    let mut empty =
        PartitionCursor::new(ReadPosition::Offset(5), true, Some(9)).in_life(Life::new(7));
    empty.advance(told(8, 0..0, polled(0..0, 0)));
    assert!(empty.is_done());
}

#[test]
fn what_is_left_out_of_a_search_by_time_leaves_older_messages_out_too() {
    let mut cursor = PartitionCursor::new(ReadPosition::Time(Timestamp::new(5)), false, None);
    cursor.skip_to(4);
    assert_eq!(cursor.strategy(), PollingStrategy::Offset(Offset::new(4)));
    assert_eq!(offsets(cursor.advance(polled(4..6, 9))), [0u64; 0], "taken at time 0");
    assert_eq!(cursor.strategy(), PollingStrategy::Offset(Offset::new(6)));
}
