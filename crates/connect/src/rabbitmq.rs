//! What target and origin of the kind `rabbitmq` share: the connection, and the headers of AMQP.

pub(crate) mod link;
pub(crate) mod properties;
mod stranger;

/// A text of AMQP: exchanges, queues, routing keys, ids.
pub(crate) const SHORT_TEXT_BYTES_MAX: usize = 255;

const _: () = assert!(SHORT_TEXT_BYTES_MAX == u8::MAX as usize, "its length is told in a byte");
