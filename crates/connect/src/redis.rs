//! What target and origin of the kind `redis` share: the connection, and entries of streams.

pub(crate) mod entry;
pub(crate) mod link;
