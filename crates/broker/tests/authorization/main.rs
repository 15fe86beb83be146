//! Every command, called with each permission alone, at places that exist and places that do not,
//! against a table of the protocol's rules that is written down here once more.
//!
//! The table shares nothing with what the server decides by, so a slip in one of them shows.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that fails by a panic has done its work"
)]

mod cases;
mod costs;
mod held;
mod matrix;
#[path = "../commands/requests.rs"]
#[expect(dead_code, reason = "shared with the tests of commands, which need more of it")]
mod requests;
#[path = "../commands/rig.rs"]
#[expect(dead_code, reason = "shared with the tests of commands, which need more of it")]
mod rig;
mod table;
