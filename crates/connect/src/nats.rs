//! What target and origin of the kind `nats` share: the connection, and headers.

pub(crate) mod headers;
pub(crate) mod link;
