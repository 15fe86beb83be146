//! Any bytes in any split: the decoder never panics and never holds more than has arrived.
#![no_main]

use galgo_wire::frame::{Decoder, Event, FrameLimits};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (bytes, splits) = input;
    let limits = FrameLimits { send_bytes_max: 4_096, ..FrameLimits::default() };
    let mut decoder = Decoder::new(limits);
    let mut rest = bytes.as_slice();
    let mut splits = splits.iter().cycle();
    while !rest.is_empty() {
        let wanted = splits.next().map_or(rest.len(), |split| usize::from(*split) + 1);
        let space = decoder.space();
        let count = rest.len().min(space.len()).min(wanted);
        assert!(count > 0, "there is always room");
        space[..count].copy_from_slice(&rest[..count]);
        decoder.filled(count);
        rest = &rest[count..];
        while let Some(event) = decoder.next_event() {
            if let Event::Frame(frame) = event {
                assert!(frame.payload.len() <= bytes.len());
            }
        }
        assert!(decoder.memory() <= 4 * bytes.len() + (256 << 10));
    }
});
