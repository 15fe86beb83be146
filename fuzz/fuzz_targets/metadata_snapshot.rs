//! Any snapshot of the metadata: a state that encodes to itself, or a refusal.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| galgo_broker::fuzzing::metadata_snapshot(bytes));
