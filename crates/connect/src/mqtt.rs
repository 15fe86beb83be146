//! What target and origin of the kind `mqtt` share: the connection.

pub(crate) mod link;
