//! Any files of a journal: opened, read as they were written or told, and written on.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| galgo_storage::fuzzing::journal(bytes));
