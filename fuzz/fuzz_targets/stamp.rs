//! Any index block and messages: refused, or stored messages that are valid to the last byte.
#![no_main]

use galgo_wire::batch::{StampOptions, Stop, first_invalid, stamp};
use galgo_wire::{Offset, Timestamp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, Vec<u8>, u32)| {
    let (indexes, mut messages, count) = input;
    let mut new_id = |_| 1;
    let first_offset = Offset::new(9);
    let options = StampOptions { first_offset, timestamp: Timestamp::new(5), new_id: &mut new_id };
    if let Ok(stamped) = stamp(&indexes, &mut messages, count, options) {
        let prefix = first_invalid(&messages, first_offset);
        assert_eq!(prefix.stop, Stop::End);
        assert_eq!((prefix.count, prefix.bytes), (stamped.count, stamped.bytes as usize));
    }
});
