//! Metadata records and headers round-trip, and nothing else reads as one.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn records_round_trip_and_truncations_are_none(sequence in 0..=COUNTER_MAX, payload: Vec<u8>) {
        let bytes = encode_record(sequence, &payload);
        prop_assert_eq!(bytes.len() % RECORD_ALIGN, 0);
        let record = decode_record(&bytes).unwrap();
        prop_assert_eq!(record, MetadataRecord { sequence, payload: &payload });
        prop_assert_eq!(record.bytes(), bytes.len());
        for len in 0..bytes.len() {
            prop_assert_eq!(decode_record(&bytes[..len]), None);
        }
    }

    #[test]
    fn record_with_a_flipped_bit_is_none(sequence in 0..=COUNTER_MAX, payload: Vec<u8>, at: usize) {
        let mut bytes = encode_record(sequence, &payload);
        let covered = RECORD_HEADER_BYTES + payload.len();
        bytes[at % covered] ^= 1 << (at % 8);
        prop_assert_eq!(decode_record(&bytes), None);
    }

    #[test]
    fn snapshots_round_trip_and_truncations_are_damaged(sequence in 0..=COUNTER_MAX, payload: Vec<u8>) {
        let bytes = encode_snapshot(sequence, &payload);
        prop_assert_eq!(decode_snapshot(&bytes), Ok((sequence, &payload[..])));
        for len in 0..bytes.len() {
            prop_assert_eq!(decode_snapshot(&bytes[..len]), Err(FileHeaderError::Damaged));
        }
    }

    #[test]
    fn log_headers_round_trip(first in 0..=COUNTER_MAX) {
        let bytes = encode_log_header(first);
        prop_assert_eq!(decode_log_header(&bytes), Ok(first));
        for len in 0..bytes.len() {
            prop_assert_eq!(decode_log_header(&bytes[..len]), Err(FileHeaderError::Damaged));
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes: Vec<u8>) {
        let _ = decode_record(&bytes);
        let _ = decode_snapshot(&bytes);
        let _ = decode_log_header(&bytes);
    }
}

/// A snapshot with the highest number there is, and a right checksum, stopped a start: it looked for the next one.
#[test]
fn a_number_that_nothing_can_follow_is_damage() {
    for (number, sound) in [(COUNTER_MAX, true), (COUNTER_MAX + 1, false), (u64::MAX, false)] {
        assert_eq!(decode_record(&encode_record(number, b"abc")).is_some(), sound, "{number}");
        assert_eq!(decode_snapshot(&encode_snapshot(number, b"abc")).is_ok(), sound, "{number}");
        assert_eq!(decode_log_header(&encode_log_header(number)).is_ok(), sound, "{number}");
    }
}

/// Written by version 1; a reader of today must read it for ever.
#[test]
fn version_1_bytes_are_golden() {
    assert_eq!(
        hex(&encode_log_header(5)),
        include_str!("../../../fixtures/v1/metadata_log_header.hex").trim()
    );
    assert_eq!(
        hex(&encode_record(7, b"abc")),
        include_str!("../../../fixtures/v1/metadata_record.hex").trim()
    );
    assert_eq!(
        hex(&encode_snapshot(6, b"state")),
        include_str!("../../../fixtures/v1/metadata_snapshot.hex").trim()
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
