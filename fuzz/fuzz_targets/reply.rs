//! Any bytes of a server: the same replies to the SDK however they are cut, and none that takes it apart.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| galgo::fuzzing::reply(bytes));
