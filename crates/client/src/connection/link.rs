//! An open byte stream to the server, whatever carries it.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

/// The reading half of a link.
pub(super) type ReadHalf = Box<dyn AsyncRead + Send + Unpin>;
/// The writing half of a link.
pub(super) type WriteHalf = Box<dyn AsyncWrite + Send + Unpin>;

/// Both halves of an open byte stream.
pub(super) struct StreamLink {
    pub(super) reader: ReadHalf,
    pub(super) writer: WriteHalf,
    /// Ends when the server was told that the link is over, once both halves are dropped. Without it the
    /// system tells, even if the process is gone.
    pub(super) goodbye: Option<JoinHandle<()>>,
}

impl StreamLink {
    /// Gives the link up, and waits until the server was told, where somebody has to.
    pub(super) async fn close(self) {
        drop((self.reader, self.writer));
        if let Some(goodbye) = self.goodbye {
            // One that panicked has told nobody, and there is nothing left to do about it.
            let _ = goodbye.await;
        }
    }
}
