//! Every command over TCP and over HTTP, with each permission alone, against the table that the broker's
//! own test has.
//!
//! Cases, callers and table are the broker's, so there is one of each; what HTTP makes of them is
//! written down here.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that fails by a panic has done its work"
)]

use galgo_testkit::authorization::{cases, held, table};
use galgo_testkit::http::{self as client, server};
use galgo_testkit::{frames as wire, requests};

mod answers;
mod http;
mod routes;
mod tcp;
mod world;
