//! Any index beside any messages: entries in order that point to messages, nothing else.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| galgo_storage::fuzzing::index(bytes));
