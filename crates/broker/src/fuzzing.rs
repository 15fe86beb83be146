//! Entries for fuzzers: they take any bytes for records, and assert what holds whatever those are.
//!
//! Only there with the feature `fuzzing` and in the tests of this crate. Checksums lie around what these take.

use crate::metadata::State;
use crate::metadata::record::{CreatedTopic, Record};
use crate::shard::decode_bundle;

#[cfg(test)]
mod tests;

/// A bundle of the journal: its records encode to what is read as the same records.
pub fn journal_record(bundle: &[u8]) {
    let mut again = Vec::new();
    let mut records = Vec::new();
    let _ = decode_bundle(bundle, &mut |_, record| {
        record.encode(&mut again);
        records.push(record);
    });
    let mut read = Vec::new();
    let decoded = decode_bundle(&again, &mut |_, record| read.push(record));
    assert_eq!((decoded, &read), (Ok(()), &records));
}

/// A record of the metadata log: one that encodes to itself, or a refusal.
pub fn metadata_record(bytes: &[u8]) {
    if let Ok(record) = Record::from_bytes(bytes) {
        assert_eq!(Record::from_bytes(&record.to_bytes()), Ok(record));
    }
}

/// `| bytes of the snapshot u16 | snapshot | a record ... |`: a state that encodes to itself, or a refusal; and a
/// record that does not fit it leaves it as it was.
pub fn metadata_snapshot(input: &[u8]) {
    let Some((len, bytes)) = input.split_first_chunk() else { return };
    let len = usize::from(u16::from_le_bytes(*len)).min(bytes.len());
    let (snapshot, record) = bytes.split_at(len);
    let Ok(mut state) = State::from_snapshot(snapshot) else { return };
    let again = state.to_snapshot();
    assert_eq!(State::from_snapshot(&again).map(|state| state.to_snapshot()), Ok(again));
    let Ok(record) = Record::from_bytes(record) else { return };
    // Nobody prepares as many, and making them is all there would be to see.
    if many_partitions(&record) {
        return;
    }
    let before = state.clone();
    if state.apply(&record).is_err() {
        assert_eq!(before, state, "{record:?} was refused and changed something");
    }
}

fn many_partitions(record: &Record) -> bool {
    match record {
        Record::CreateTopic(CreatedTopic { partitions, .. })
        | Record::AddPartitions { partitions, .. } => partitions.count > 1_000,
        _ => false,
    }
}
