//! What answers mean at a place: messages, a new beginning, a gap.

use bytes::Bytes;
use galgo_wire::batch::MessageHeader;
use galgo_wire::command::lives::LifeHeader;
use galgo_wire::id::Offset;

use super::*;

fn classic(offsets: std::ops::Range<u64>, current_offset: u64) -> PolledMessages {
    let messages = offsets.map(|offset| {
        let header = MessageHeader { offset: Offset::new(offset), ..MessageHeader::default() };
        ReceivedMessage::new(0, Life::UNKNOWN, header, Bytes::new(), Bytes::new())
    });
    PolledMessages::for_test(current_offset, messages.collect())
}

fn told(life: u64, extent: std::ops::Range<u64>, offsets: std::ops::Range<u64>) -> PolledMessages {
    let told = LifeHeader {
        life: Life::new(life),
        start: Offset::new(extent.start),
        end: Offset::new(extent.end),
        ..LifeHeader::default()
    };
    classic(offsets, extent.end.saturating_sub(1)).with_told(told)
}

fn place(next: u64, life: u64) -> ReadPlace {
    ReadPlace { next, life: Life::new(life) }
}

/// What was found, in one word and a number.
fn found(place: ReadPlace, polled: PolledMessages) -> (&'static str, u64) {
    match place.find(polled) {
        Found::Messages(messages) => ("messages", messages.len() as u64),
        Found::Nothing => ("nothing", 0),
        Found::Rewound => ("rewound", 0),
        Found::Gap(first) => ("gap", first),
    }
}

#[test]
fn an_answer_is_what_comes_next_or_says_what_became_of_it() {
    for (at, polled, means) in [
        (place(3, 7), told(7, 0..9, 3..6), ("messages", 3)),
        (place(9, 7), told(7, 0..9, 0..0), ("nothing", 0)),
        (place(0, 0), told(7, 0..9, 0..2), ("messages", 2)),
        (place(3, 7), told(7, 5..9, 5..9), ("gap", 5)),
        (place(3, 7), told(7, 9..9, 0..0), ("gap", 9)),
        (place(0, 0), told(7, 9..9, 0..0), ("gap", 9)),
        (place(3, 7), told(8, 0..9, 0..0), ("rewound", 0)),
        (place(3, 7), told(8, 0..9, 3..6), ("rewound", 0)),
        (place(3, 7), told(7, 0..2, 0..0), ("rewound", 0)),
        (place(3, 0), classic(3..4, 3), ("messages", 1)),
        (place(3, 0), classic(0..0, 2), ("nothing", 0)),
        (place(3, 0), classic(0..0, 1), ("rewound", 0)),
        (place(1, 0), classic(0..0, 0), ("nothing", 0)),
        (place(3, 0), classic(5..6, 9), ("gap", 5)),
    ] {
        let text = format!("{at:?} {polled:?}");
        assert_eq!(found(at, polled), means, "{text}");
    }
}

#[test]
fn the_place_moves_behind_what_is_handed_out_and_keeps_its_life() {
    let messages = classic(3..6, 9).into_messages();
    assert_eq!(place(3, 7).behind(&messages), place(6, 7));
    assert_eq!(place(3, 7).behind(&[]), place(3, 7));
}
