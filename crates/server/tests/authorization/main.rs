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

mod answers;
#[path = "../../../broker/tests/authorization/cases.rs"]
mod cases;
#[path = "../http/client.rs"]
#[expect(dead_code, reason = "shared with the tests of the API, which need more of it")]
mod client;
#[path = "../../../broker/tests/authorization/held.rs"]
mod held;
mod http;
#[path = "../../../broker/tests/commands/requests.rs"]
#[expect(dead_code, reason = "shared with the tests of commands, which need more of it")]
mod requests;
mod routes;
#[path = "../http/server.rs"]
#[expect(dead_code, reason = "shared with the tests of the API, which need more of it")]
mod server;
#[path = "../../../broker/tests/authorization/table.rs"]
mod table;
mod tcp;
#[path = "../end_to_end/wire.rs"]
#[expect(dead_code, reason = "shared with the tests of frames, which need more of it")]
mod wire;
mod world;
