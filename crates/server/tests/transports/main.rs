//! Every way of carrying frames, from outside: raw bytes of the protocol over the libraries of others.
//!
//! Nothing here uses the encoders of the product, so that a mistake in them can't hide itself.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use galgo_testkit::{frames as wire, server};

mod certificates;
mod frames;
mod polls;
mod quic;
mod tls;
mod websocket;
