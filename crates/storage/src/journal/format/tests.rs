//! Journal headers round-trip, and nothing else reads as one.

use proptest::prelude::*;

use super::*;

fn header() -> impl Strategy<Value = FrameHeader> {
    let words = (0..=COUNTER_MAX, 1..=COUNTER_MAX, any::<u64>(), any::<u64>(), 0..EPOCH_MAX);
    (words, any::<u32>(), any::<u32>()).prop_map(
        |((generation, lsn, first, synced, epoch), payload_len, payload_crc)| FrameHeader {
            generation,
            lsn,
            first_lsn: 1 + first % lsn,
            synced_lsn: synced % lsn,
            epoch: Epoch::new(epoch),
            payload_len,
            payload_crc,
        },
    )
}

proptest! {
    #[test]
    fn frame_headers_round_trip(header in header(), salt: u64) {
        let bytes = header.encode(salt);
        prop_assert_eq!(FrameHeader::decode(&bytes, salt), Some(header));
        for len in 0..bytes.len() {
            prop_assert_eq!(FrameHeader::decode(&bytes[..len], salt), None);
        }
    }

    #[test]
    fn frame_header_with_a_flipped_bit_or_another_salt_is_none(
        header in header(), salt: u64, bit in 0..512_usize,
    ) {
        let mut bytes = header.encode(salt);
        prop_assert_eq!(FrameHeader::decode(&bytes, salt ^ 1), None);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(FrameHeader::decode(&bytes, salt), None);
    }

    #[test]
    fn file_headers_round_trip(number: u32, file_bytes: u64, salt: u64, bit in 0..256_usize) {
        let header = FileHeader { version: VERSION, number, file_bytes, salt_check: salt_check(salt) };
        let mut bytes = header.encode();
        prop_assert_eq!(FileHeader::decode(&bytes), Some(header));
        for len in 0..32 {
            prop_assert_eq!(FileHeader::decode(&bytes[..len]), None);
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(FileHeader::decode(&bytes), None);
    }

    #[test]
    fn any_bytes_are_survived(bytes: Vec<u8>) {
        let _ = FileHeader::decode(&bytes);
        let _ = FrameHeader::decode(&bytes, 0);
    }
}

/// A frame of the highest generation there is, with a right checksum, stopped a start: it looked for what came after it.
#[test]
fn a_frame_with_a_number_that_nothing_can_follow_is_none() {
    let header = |generation, lsn| FrameHeader {
        generation,
        lsn,
        first_lsn: 1,
        synced_lsn: 0,
        epoch: Epoch::default(),
        payload_len: 0,
        payload_crc: 0,
    };
    for epoch in [EPOCH_MAX, u64::MAX] {
        let frame = FrameHeader { epoch: Epoch::new(epoch), ..header(1, 1) };
        assert_eq!(FrameHeader::decode(&frame.encode(7), 7), None, "epoch {epoch}");
    }
    for (generation, lsn, sound) in [
        (COUNTER_MAX, COUNTER_MAX, true),
        (COUNTER_MAX + 1, 5, false),
        (u64::MAX, 5, false),
        (5, COUNTER_MAX + 1, false),
        (5, u64::MAX, false),
    ] {
        let read = FrameHeader::decode(&header(generation, lsn).encode(7), 7);
        assert_eq!(read.is_some(), sound, "{generation} {lsn}");
    }
}

/// Written by version 1; a reader of today must read it for ever.
#[test]
fn version_1_bytes_are_golden() {
    let file =
        FileHeader { version: 1, number: 3, file_bytes: 16 << 20, salt_check: salt_check(7) };
    let frame = FrameHeader {
        generation: 2,
        lsn: 9,
        first_lsn: 5,
        synced_lsn: 8,
        epoch: Epoch::default(),
        payload_len: 3,
        payload_crc: payload_crc(7, 2, b"abc"),
    };
    assert_eq!(
        hex(&file.encode()[..32]),
        include_str!("../../../fixtures/v1/journal_file_header.hex").trim()
    );
    assert_eq!(
        hex(&frame.encode(7)),
        include_str!("../../../fixtures/v1/journal_frame_header.hex").trim()
    );
    // Since epochs are written down; who does not know of them reads the rest.
    let owned = FrameHeader { epoch: Epoch::new(0x0102), ..frame };
    assert_eq!(
        hex(&owned.encode(7)),
        include_str!("../../../fixtures/v1/journal_frame_header_epoch.hex").trim()
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
