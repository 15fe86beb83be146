//! Messages: those to be sent and those that came back.

use std::fmt;

use bytes::Bytes;
use galgo_wire::batch::header::MessageHeader;
use galgo_wire::batch::user_headers::{HeaderKey, HeaderValue, UserHeaders};
use galgo_wire::id::{Offset, PartitionId, Timestamp};

/// A message to be sent: a payload, and if wanted an id and headers.
///
/// ```
/// use galgo::Message;
///
/// let plain = Message::new("hello");
/// let named = Message::new(vec![1, 2, 3]).id(42).header("content-type", "application/octet-stream")?;
/// # assert_eq!(plain.payload(), b"hello".as_slice());
/// # assert_eq!(named.payload().len(), 3);
/// # Ok::<(), galgo::InvalidRequest>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    id: u128,
    payload: Bytes,
    user_headers: Bytes,
}
