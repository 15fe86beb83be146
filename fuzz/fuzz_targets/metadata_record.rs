//! Any record of the metadata: one that encodes to itself, or a refusal.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| galgo_broker::fuzzing::metadata_record(bytes));
