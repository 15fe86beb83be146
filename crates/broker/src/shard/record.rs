//! The records inside a journal bundle: batches, and moves of consumer offsets.
//!
//! ```text
//! 0      1         2          4             8               16
//! | kind | version | flags | body length | partition uid | body ...
//! ```
//! Flag 1: whoever does not know the kind or its version may go on without the record. Any other flag
//! belongs to a later version.
//!
//! All integers are little-endian. Bodies:
//!
//! ```text
//! batch (kind 1):         | base offset u64 | high-watermark u64 | messages as in the segment ... |
//! offset stored (kind 2): | consumer kind u8, 3 zero bytes | consumer id u32 | offset u64 |
//!   in version 2 also     | stored at u64 | mark of the user u64 |
//! offset gone (kind 3):   | consumer kind u8, 3 zero bytes | consumer id u32 |
//! start moved (kind 4):   | start u64 |
//! synced end (kind 7):    | end u64 |
//! written end (kind 8):   | end u64 |
//! ```
//!
//! The version is 1, for an offset stored 2; version 1 of it, without time and user (`u64::MAX` for none),
//! is read as well.
//!
//! The high-watermark of a batch is the partition's when the batch was staged: all offsets below
//! it had been acknowledged. Recovery uses it to tell lost messages from ones never promised.
//!
//! A start is the oldest offset that is kept from then on; it is always the end of a sealed segment,
//! so it names the segment files that go: those that begin below it.
//!
//! An end says that all messages below it had been published: synced with their segments (kind 7), or
//! written to them and no more (kind 8), which the death of a process does not take back either.

use std::ops::Range;

use galgo_storage::checkpoint::OffsetNote;
use galgo_wire::consumer::ConsumerKind;
use galgo_wire::id::{ConsumerId, Offset, PartitionUid, Timestamp};
use galgo_wire::index::to_u32;
use galgo_wire::limits::SEND_PAYLOAD_BYTES_MAX_DEFAULT;
use galgo_wire::primitive::Reader;

/// Bytes of a record in front of its body.
const RECORD_HEADER_BYTES: usize = 16;

/// Bytes of a batch body in front of the messages.
const BATCH_HEADER_BYTES: usize = 16;

/// Bytes of a batch in front of the messages.
pub(super) const BATCH_HEAD_BYTES: usize = RECORD_HEADER_BYTES + BATCH_HEADER_BYTES;

/// Whoever does not know the record may go on without it.
const SKIPPABLE: u16 = 1;

/// What a record is, and in which version: how its body is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RecordForm {
    kind: u8,
    version: u8,
}

impl RecordForm {
    const BATCH: Self = Self { kind: 1, version: 1 };
    /// Without when and by whom.
    const OFFSET_STORED_BARE: Self = Self { kind: 2, version: 1 };
    const OFFSET_STORED: Self = Self { kind: 2, version: 2 };
    const OFFSET_GONE: Self = Self { kind: 3, version: 1 };
    const START_MOVED: Self = Self { kind: 4, version: 1 };
    const SYNCED_END: Self = Self { kind: 7, version: 1 };
    const WRITTEN_END: Self = Self { kind: 8, version: 1 };
}

const _: () = assert!(
    RecordForm::BATCH.kind < RecordForm::OFFSET_STORED.kind
        && RecordForm::OFFSET_STORED.kind < RecordForm::OFFSET_GONE.kind
        && RecordForm::OFFSET_GONE.kind < RecordForm::START_MOVED.kind
        && RecordForm::START_MOVED.kind < RecordForm::SYNCED_END.kind
        && RecordForm::SYNCED_END.kind < RecordForm::WRITTEN_END.kind,
    "a kind of record is never used twice"
);
const _: () = assert!(
    RecordForm::OFFSET_STORED_BARE.kind == RecordForm::OFFSET_STORED.kind
        && RecordForm::OFFSET_STORED_BARE.version < RecordForm::OFFSET_STORED.version,
    "what says more of the same is a later version of it"
);

const _: () = assert!(
    BATCH_HEAD_BYTES as u64 + (SEND_PAYLOAD_BYTES_MAX_DEFAULT as u64) < u32::MAX as u64,
    "the length of a record has 32 bits, and a batch is one record"
);

/// Whose offset it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OffsetOwner {
    /// A plain consumer or a group.
    pub kind: ConsumerKind,
    /// Its number.
    pub id: ConsumerId,
}

/// One journaled fact about a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardRecord<'a> {
    /// Messages were staged.
    Batch {
        /// Their partition.
        uid: PartitionUid,
        /// Offset of the first.
        base_offset: Offset,
        /// What had been acknowledged when they were staged.
        high_watermark: Offset,
        /// The messages as the segment holds them.
        messages: &'a [u8],
    },
    /// A consumer's offset was stored.
    OffsetStored {
        /// The partition.
        uid: PartitionUid,
        /// Whose.
        owner: OffsetOwner,
        /// The last processed offset.
        offset: Offset,
        /// When and by whom; `None` where that was not written down.
        note: Option<OffsetNote>,
    },
    /// A consumer's offset was deleted.
    OffsetGone {
        /// The partition.
        uid: PartitionUid,
        /// Whose.
        owner: OffsetOwner,
    },
    /// The oldest segments were given up.
    StartMoved {
        /// The partition.
        uid: PartitionUid,
        /// The oldest offset that is kept.
        start: Offset,
    },
    /// Messages that are in no batch of the journal were published; evidence for a recovery.
    EndReached {
        /// The partition.
        uid: PartitionUid,
        /// The offset behind them.
        end: Offset,
        /// Whether a sync covered them; if not, they outlive the process and no more.
        synced: bool,
    },
}

/// A bundle that passed its checksum but cannot be read: written by a newer version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("journal record of kind {kind} version {version} is not known to this version")]
pub struct UnknownRecord {
    kind: u8,
    version: u8,
}

impl ShardRecord<'_> {
    /// The partition it is about.
    #[must_use]
    pub fn uid(&self) -> PartitionUid {
        match *self {
            Self::Batch { uid, .. }
            | Self::OffsetStored { uid, .. }
            | Self::OffsetGone { uid, .. }
            | Self::StartMoved { uid, .. }
            | Self::EndReached { uid, .. } => uid,
        }
    }

    /// Appends the record to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Batch { uid, base_offset, high_watermark, messages } => {
                put_header(out, RecordForm::BATCH, BATCH_HEADER_BYTES + messages.len(), uid);
                out.extend_from_slice(&base_offset.get().to_le_bytes());
                out.extend_from_slice(&high_watermark.get().to_le_bytes());
                out.extend_from_slice(messages);
            }
            Self::OffsetStored { uid, owner, offset, note } => {
                // An older program reads the bare form alone: it is what a note that was never known is written in
                // again, so that nothing is made up.
                let (form, body_len) = match note {
                    Some(_) => (RecordForm::OFFSET_STORED, 32),
                    None => (RecordForm::OFFSET_STORED_BARE, 16),
                };
                put_header(out, form, body_len, uid);
                put_owner(out, owner);
                out.extend_from_slice(&offset.get().to_le_bytes());
                if let Some(note) = note {
                    out.extend_from_slice(&note.stored_at.get().to_le_bytes());
                    out.extend_from_slice(&note.user.to_le_bytes());
                }
            }
            Self::OffsetGone { uid, owner } => {
                put_header(out, RecordForm::OFFSET_GONE, 8, uid);
                put_owner(out, owner);
            }
            Self::StartMoved { uid, start } => {
                put_header(out, RecordForm::START_MOVED, 8, uid);
                out.extend_from_slice(&start.get().to_le_bytes());
            }
            Self::EndReached { uid, end, synced } => {
                let form = if synced { RecordForm::SYNCED_END } else { RecordForm::WRITTEN_END };
                put_header(out, form, 8, uid);
                out.extend_from_slice(&end.get().to_le_bytes());
            }
        }
    }
}

/// Reads all records of a bundle, in order and with the byte each begins at, but for those this version does not know
/// and may skip.
///
/// # Errors
/// [`UnknownRecord`] for a record this version does not know and may not skip, or one that does not hold
/// together.
pub fn decode_bundle<'a>(
    bundle: &'a [u8],
    visit: &mut dyn FnMut(usize, ShardRecord<'a>),
) -> Result<(), UnknownRecord> {
    let mut reader = Reader::new(bundle);
    while !reader.is_empty() {
        let at = bundle.len() - reader.len();
        if let Some(record) = decode_one(&mut reader)? {
            visit(at, record);
        }
    }
    Ok(())
}

/// The base offset and the bytes of the messages of the batch whose record begins with `head`; `None` when that is
/// the beginning of no batch, or too little of it.
pub(super) fn batch_of(head: &[u8]) -> Option<(Offset, Range<usize>)> {
    let mut reader = Reader::new(head);
    let [kind, version, 0, 0] = reader.array().ok()? else { return None };
    let body = usize::try_from(reader.u32().ok()?).ok()?;
    let (_uid, base) = (reader.u64().ok()?, reader.u64().ok()?);
    let end = RECORD_HEADER_BYTES + body;
    let messages = BATCH_HEAD_BYTES..end;
    let is_batch =
        RecordForm { kind, version } == RecordForm::BATCH && messages.start <= messages.end;
    is_batch.then(|| (Offset::new(base), messages))
}

fn decode_one<'a>(reader: &mut Reader<'a>) -> Result<Option<ShardRecord<'a>>, UnknownRecord> {
    let (mut kind, mut version, mut skippable) = (0, 0, false);
    let mut read = || {
        kind = reader.u8().ok()?;
        version = reader.u8().ok()?;
        let flags = reader.u16().ok()?;
        let len = reader.u32().ok()? as usize;
        let uid = PartitionUid::new(reader.u64().ok()?);
        let mut body = Reader::new(reader.bytes(len).ok()?);
        skippable = flags & SKIPPABLE != 0;
        // A flag that is not known may change what the record means.
        if flags & !SKIPPABLE != 0 {
            return None;
        }
        let form = RecordForm { kind, version };
        match form {
            RecordForm::BATCH => Some(ShardRecord::Batch {
                uid,
                base_offset: Offset::new(body.u64().ok()?),
                high_watermark: Offset::new(body.u64().ok()?),
                messages: body.rest(),
            }),
            RecordForm::OFFSET_STORED | RecordForm::OFFSET_STORED_BARE => {
                Some(ShardRecord::OffsetStored {
                    uid,
                    owner: read_owner(&mut body)?,
                    offset: Offset::new(body.u64().ok()?),
                    note: match form {
                        RecordForm::OFFSET_STORED => Some(read_note(&mut body)?),
                        _ => None,
                    },
                })
            }
            RecordForm::OFFSET_GONE => {
                Some(ShardRecord::OffsetGone { uid, owner: read_owner(&mut body)? })
            }
            RecordForm::START_MOVED => {
                Some(ShardRecord::StartMoved { uid, start: Offset::new(body.u64().ok()?) })
            }
            RecordForm::SYNCED_END | RecordForm::WRITTEN_END => Some(ShardRecord::EndReached {
                uid,
                end: Offset::new(body.u64().ok()?),
                synced: form == RecordForm::SYNCED_END,
            }),
            _ => None,
        }
    };
    match read() {
        None if !skippable => Err(UnknownRecord { kind, version }),
        record => Ok(record),
    }
}

fn put_header(out: &mut Vec<u8>, form: RecordForm, body_len: usize, uid: PartitionUid) {
    // A batch fits a frame, whose length fits 32 bits; the shard checks that before it stages.
    let len = to_u32(body_len);
    out.extend_from_slice(&[form.kind, form.version, 0, 0]);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&uid.get().to_le_bytes());
}

fn put_owner(out: &mut Vec<u8>, owner: OffsetOwner) {
    out.extend_from_slice(&[owner.kind.as_u8(), 0, 0, 0]);
    out.extend_from_slice(&owner.id.get().to_le_bytes());
}

fn read_owner(reader: &mut Reader<'_>) -> Option<OffsetOwner> {
    let kind = ConsumerKind::from_u8(reader.u8().ok()?)?;
    reader.bytes(3).ok()?;
    Some(OffsetOwner { kind, id: ConsumerId::new(reader.u32().ok()?) })
}

/// The owner was seen when it stored.
fn read_note(reader: &mut Reader<'_>) -> Option<OffsetNote> {
    let stored_at = Timestamp::new(reader.u64().ok()?);
    Some(OffsetNote { stored_at, active_at: stored_at, user: reader.u64().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_a_bundle_come_back_in_order() {
        let uid = PartitionUid::new(7);
        let owner = OffsetOwner { kind: ConsumerKind::Consumer, id: ConsumerId::new(9) };
        let at = Timestamp::new(77);
        let note = Some(OffsetNote { stored_at: at, active_at: at, user: 5 });
        let records = [
            ShardRecord::Batch {
                uid,
                base_offset: Offset::new(5),
                high_watermark: Offset::new(4),
                messages: b"not looked at here",
            },
            ShardRecord::OffsetStored { uid, owner, offset: Offset::new(3), note: None },
            ShardRecord::OffsetStored { uid, owner, offset: Offset::new(4), note },
            ShardRecord::OffsetGone { uid, owner },
            ShardRecord::StartMoved { uid, start: Offset::new(2) },
            ShardRecord::EndReached { uid, end: Offset::new(9), synced: true },
            ShardRecord::EndReached { uid, end: Offset::new(11), synced: false },
        ];
        let mut bundle = Vec::new();
        for record in &records {
            record.encode(&mut bundle);
        }
        let mut seen = Vec::new();
        decode_bundle(&bundle, &mut |_, record| seen.push(record)).unwrap();
        assert_eq!(seen, records);
        let (base, messages) = batch_of(&bundle).unwrap();
        assert_eq!((base.get(), &bundle[messages]), (5, &b"not looked at here"[..]));
        let mut begins = Vec::new();
        decode_bundle(&bundle, &mut |at, _| begins.push(at)).unwrap();
        assert!(begins.iter().skip(1).all(|at| batch_of(&bundle[*at..]).is_none()));
        for cut in 1..bundle.len() {
            // A cut bundle never panics; whole records in front of the cut may still be seen.
            let _ = decode_bundle(&bundle[..cut], &mut |_, _| {});
        }
    }

    #[test]
    fn records_of_later_versions_are_skipped_where_they_say_so_and_refused_otherwise() {
        let known = ShardRecord::StartMoved { uid: PartitionUid::new(7), start: Offset::new(2) };
        let bundle = |kind: u8, version: u8, flags: u16| {
            let mut bundle = Vec::new();
            known.encode(&mut bundle);
            bundle.extend_from_slice(&[kind, version]);
            bundle.extend_from_slice(&flags.to_le_bytes());
            bundle.extend_from_slice(&3_u32.to_le_bytes());
            bundle.extend_from_slice(&[7; 8]);
            bundle.extend_from_slice(b"new");
            known.encode(&mut bundle);
            bundle
        };
        for (kind, version) in [(200, 1), (RecordForm::START_MOVED.kind, 9)] {
            let skippable = bundle(kind, version, 1);
            let mut seen = Vec::new();
            decode_bundle(&skippable, &mut |_, record| seen.push(record)).unwrap();
            assert_eq!(seen, [known, known]);
            for flags in [0, 2] {
                let refused = decode_bundle(&bundle(kind, version, flags), &mut |_, _| {});
                assert_eq!(refused, Err(UnknownRecord { kind, version }));
            }
        }
        // A record that is known with a flag that is not says something else than is known.
        let mut flagged = Vec::new();
        known.encode(&mut flagged);
        flagged[2] = 2;
        assert!(decode_bundle(&flagged, &mut |_, _| {}).is_err());
    }
}
