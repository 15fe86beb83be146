//! Metadata records and headers round-trip, and nothing else reads as one.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn records_round_trip_and_truncations_are_none(sequence: u64, payload: Vec<u8>) {
        let bytes = encode_record(sequence, &payload);
        prop_assert_eq!(bytes.len() % RECORD_ALIGN, 0);
        let record = decode_record(&bytes).unwrap();
        prop_assert_eq!(record, Record { sequence, payload: &payload });
        prop_assert_eq!(record.bytes(), bytes.len());
        for len in 0..bytes.len() {
            prop_assert_eq!(decode_record(&bytes[..len]), None);
        }
    }

    #[test]
    fn record_with_a_flipped_bit_is_none(sequence: u64, payload: Vec<u8>, at: usize) {
        let mut bytes = encode_record(sequence, &payload);
        let covered = RECORD_HEADER_BYTES + payload.len();
        bytes[at % covered] ^= 1 << (at % 8);
        prop_assert_eq!(decode_record(&bytes), None);
    }

    #[test]
    fn snapshots_round_trip_and_truncations_are_damaged(sequence: u64, payload: Vec<u8>) {
        let bytes = encode_snapshot(sequence, &payload);
        prop_assert_eq!(decode_snapshot(&bytes), Ok((sequence, &payload[..])));
        for len in 0..bytes.len() {
            prop_assert_eq!(decode_snapshot(&bytes[..len]), Err(HeaderError::Damaged));
        }
    }

    #[test]
    fn log_headers_round_trip(first: u64) {
        let bytes = encode_log_header(first);
        prop_assert_eq!(decode_log_header(&bytes), Ok(first));
        for len in 0..bytes.len() {
            prop_assert_eq!(decode_log_header(&bytes[..len]), Err(HeaderError::Damaged));
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes: Vec<u8>) {
        let _ = decode_record(&bytes);
        let _ = decode_snapshot(&bytes);
        let _ = decode_log_header(&bytes);
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
