//! Any bytes of a WebSocket client: the same messages however they are cut.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| galgo_server::fuzzing::websocket(bytes));
