//! Any stored bytes: the messages seen lie inside them, and a valid prefix is valid again.
#![no_main]

use galgo_wire::Offset;
use galgo_wire::batch::{MessagesView, Stop, UserHeaders, first_invalid};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut seen = 0;
    for message in MessagesView::new(bytes).flatten() {
        seen += message.bytes.len();
        let _ = UserHeaders::from_bytes(message.user_headers);
    }
    assert!(seen <= bytes.len());
    let prefix = first_invalid(bytes, Offset::ZERO);
    let again = first_invalid(&bytes[..prefix.bytes], Offset::ZERO);
    assert_eq!((again.stop, again.count), (Stop::End, prefix.count));
});
