//! An open byte stream to the server, whatever carries it.

use tokio::io::{AsyncRead, AsyncWrite};

/// The reading half of a link.
pub(super) type ReadHalf = Box<dyn AsyncRead + Send + Unpin>;
/// The writing half of a link.
pub(super) type WriteHalf = Box<dyn AsyncWrite + Send + Unpin>;

/// Both halves of an open byte stream.
pub(super) struct Link {
    pub(super) reader: ReadHalf,
    pub(super) writer: WriteHalf,
}
