//! The HTTP API from outside: requests written by hand over a blocking socket, JSON compared as a whole.
//!
//! Nothing here uses the encoders of the product, so that a mistake in them can't hide itself.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use galgo_testkit::http::{self as client, server};

mod cors_and_limits;
mod description;
mod extensions;
mod groups;
mod logins;
mod messages;
mod metrics;
mod rights;
mod snapshot;
mod streams;
mod users;
