//! Any files of the metadata log and its copy: opened and written on, or refused.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| galgo_storage::fuzzing::metadata_log(bytes));
