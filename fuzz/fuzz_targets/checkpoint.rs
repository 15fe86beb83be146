//! Any checkpoint file: one that encodes to itself, or a refusal.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| galgo_storage::fuzzing::checkpoint(bytes));
