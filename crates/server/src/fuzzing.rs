//! Entries for fuzzers: they take any bytes of clients, and assert what holds whatever those are.
//!
//! Only there with the feature `fuzzing` and in the tests of this crate. The port of TCP has a fuzzer of its own,
//! `cargo xtask fuzz-tcp`.

pub use crate::transport::websocket::fuzzing::websocket;
