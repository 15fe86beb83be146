//! What target and origin of the kind `postgres` share: the address, TLS, a session, and what its errors mean.

pub(crate) mod address;
pub(crate) mod fields;
pub(crate) mod frame;
pub(crate) mod session;
pub(crate) mod tls;
pub(crate) mod trouble;

/// Bytes of a name in PostgreSQL.
pub(crate) const NAME_BYTES_MAX: usize = 63;
