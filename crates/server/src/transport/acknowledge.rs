//! Acknowledging at once what came of a request that is not here as a whole.
//!
//! A client that leaves Nagle's algorithm on and writes a request in pieces holds the last of them back
//! until the ones before it are acknowledged; and the kernel, which waits for an answer to send the
//! acknowledgement along with, lets it wait for 40 ms. There is no answer before the request is whole.

use tokio::net::TcpStream;

/// Has the kernel acknowledge what was received so far. It falls back to waiting by itself, so this is to be
/// said after each read that leaves a request unfinished. Does nothing where the system has no word for it.
#[cfg(target_os = "linux")]
pub(crate) fn now(socket: &TcpStream) {
    // A hint: without it the client waits a little longer.
    let _ = rustix::net::sockopt::set_tcp_quickack(socket, true);
}

/// Does nothing: this system has no word for it.
#[cfg(not(target_os = "linux"))]
pub(crate) fn now(_socket: &TcpStream) {}
