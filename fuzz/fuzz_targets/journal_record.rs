//! Any bundle of the journal: records, or a refusal.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| galgo_broker::fuzzing::journal_record(bytes));
