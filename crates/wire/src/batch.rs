//! Messages: their one form on the wire and on disk.
//!
//! ```text
//! 0          8    24       32          40                 48                    52
//! | checksum | id | offset | timestamp | origin timestamp | user headers length | payload length |
//! 56         64        64 + payload length
//! | reserved | payload | user headers
//! ```
//! INV-CHECKSUM: the checksum is the XXH3-64 of everything behind it, up to the end of the message.

mod builder;
mod header;
pub mod reserved_headers;
mod stamp;
mod user_headers;
mod view;

pub use builder::{BatchBuilder, BatchError, NewMessage};
pub use header::{MESSAGE_HEADER_BYTES, MessageHeader, checksum};
pub use stamp::{BatchIndexEntry, StampOptions, Stamped, index_end, stamp};
pub use user_headers::{HeaderError, HeaderField, HeaderKey, HeaderKind, HeaderValue, UserHeaders};
pub use view::{
    MessageRef, MessagesView, Stop, ValidPrefix, ViewError, first_invalid, first_invalid_after,
};

#[cfg(test)]
mod tests;
