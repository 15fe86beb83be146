//! Where a segment ends once messages are taken back.
//!
//! INV-CHECKPOINTED: what a checkpoint called durable is never taken back: a recovery trusts those
//! bytes without looking at them.

use super::reader::LogReader;
use super::search::{LandingTarget, SegmentSearch};
use super::state::SegmentView;
use crate::segment::reader::{Effort, WalkError};
use crate::segment::writer::Tip;
use galgo_wire::id::Offset;
use std::io;

/// Bytes of headers read at a time: the messages that are taken back are most often few and right at the end.
const WALK_BYTES: usize = 1 << 16;

/// The end of the segment that ends at `tip`, without the messages from `to` on.
///
/// # Errors
/// Those of the disk; `InvalidData` when the messages cannot be walked over.
pub(super) fn tip_without(reader: &LogReader, tip: Tip, to: Offset) -> io::Result<Tip> {
    let view = SegmentView { base: tip.base, end: tip.place() };
    let file = reader.open(view.base)?;
    let mut search = SegmentSearch::new(reader, view, &*file, Effort::Disk).reading(WALK_BYTES);
    let mut rewound = Tip { end: to, ..tip };
    rewound.last_timestamp = reader.state.read().last_timestamp_before(view.base);
    // From one message earlier: its time is that of the last one then.
    let before = Offset::new(to.get().saturating_sub(1).max(view.base.get()));
    let from = search.land(LandingTarget::Offset(before), None).map_err(walk_error)?;
    let walked = search.walk.find(from, view.end.offset, |frame, place| {
        if place.offset < to {
            rewound.last_timestamp = frame.timestamp;
        } else {
            rewound.checksum = rewound.checksum.map(|sum| sum.wrapping_sub(frame.checksum));
        }
        if place.offset == to {
            rewound.bytes = place.position;
        }
        false
    });
    walked.map_err(walk_error)?;
    assert!(
        rewound.bytes <= tip.bytes && (rewound.bytes > 0 || to == tip.base),
        "INV-END: a segment that gives up its end ends at one of its messages"
    );
    Ok(rewound)
}

fn walk_error(error: WalkError) -> io::Error {
    match error {
        WalkError::Disk(error) => error,
        WalkError::Damaged(_) => io::Error::from(io::ErrorKind::InvalidData),
    }
}
