//! The server from outside: a real data directory, a real socket, bytes written by hand.
//!
//! Nothing here uses the encoders of the product, so that a mistake in them can't hide itself.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use galgo_testkit::{frames as wire, server};

mod bad_input;
mod directory;
mod encryption;
mod golden;
mod large_answers;
mod messages;
mod process;
mod removed_files;
mod requests_in_pieces;
mod slow_readers;
mod start;
mod stop;
