//! Every command, called with each permission alone, at places that exist and places that do not,
//! against a table of the protocol's rules that is written down here once more.
//!
//! The table shares nothing with what the server decides by, so a slip in one of them shows.

#![expect(clippy::unwrap_used, reason = "a test that fails by a panic has done its work")]

use galgo_testkit::authorization::{cases, held, table};
use galgo_testkit::{requests, rig};

mod costs;
mod matrix;
