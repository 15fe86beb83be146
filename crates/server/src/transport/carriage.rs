//! What becomes of an accepted socket: plain frames, or frames in TLS, in WebSocket messages, or in both.
//!
//! INV-HANDSHAKE: handshakes have a deadline, and go on off the thread that accepts connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use galgo_broker::Peer;
use galgo_wire::command::Transport;
use tokio::net::TcpStream;

use crate::transport::connection::{Carrier, End, serve};
use crate::transport::listener::limit_frame;
use crate::transport::tls::Certificates;
use crate::transport::{Hub, stopped};

/// How a listener's connections carry frames.
#[derive(Debug, Clone)]
pub(crate) struct Carriage {
    /// What clients are told carries them.
    pub(crate) transport: Transport,
    /// The certificate, when the port speaks TLS.
    pub(crate) certificates: Option<Arc<Certificates>>,
}

impl Carriage {
    /// Serves one connection to its end.
    pub(crate) async fn carry(self, stream: TcpStream, address: SocketAddr, hub: Arc<Hub>) {
        tracing::debug!(%address, transport = self.transport.word(), "connection opened");
        let Self { transport, certificates } = self;
        let patience = hub.limits.handshake_timeout;
        // Each kind of connection gets a box of its own size: a plain one, of which there may be many
        // idle, does not pay for the state of the others.
        match certificates {
            None => Box::pin(frames(stream, Peer { address, transport }, hub)).await,
            Some(certificates) => {
                let mut stopping = hub.stopping.clone();
                let shaken = tokio::select! {
                    biased;
                    () = stopped(&mut stopping) => return,
                    shaken = Box::pin(certificates.accept(stream, patience)) => shaken,
                };
                match shaken {
                    Ok(stream) => Box::pin(frames(stream, Peer { address, transport }, hub)).await,
                    Err(error) => log_handshake(address, &error),
                }
            }
        }
    }

    /// What a client is told that finds no place, if there is a way to tell it cheaply.
    pub(crate) fn refusal(&self) -> Option<Vec<u8>> {
        match (self.transport, &self.certificates) {
            (_, Some(_)) => None,
            _ => Some(limit_frame()),
        }
    }
}

async fn frames<S: Carrier>(stream: S, peer: Peer, hub: Arc<Hub>) {
    let address = peer.address;
    let session = hub.broker.connect(peer);
    log_end(address, &serve(stream, session, hub).await);
}

/// Says why a handshake came to nothing.
pub(crate) fn log_handshake(address: SocketAddr, error: &io::Error) {
    tracing::debug!(%address, %error, "connection closed: the handshake failed");
}

/// Says why a connection ended.
pub(crate) fn log_end(address: SocketAddr, end: &End) {
    match end {
        End::Peer | End::Stopping => tracing::debug!(%address, "connection closed"),
        End::Refused(error) => {
            tracing::debug!(%address, error = error.as_u32(), "connection refused");
        }
        End::FrameTimeout => {
            tracing::info!(%address, "connection closed: a request stayed half sent");
        }
        End::LoginTimeout => tracing::info!(%address, "connection closed: no login"),
        End::Failed(error) if error.kind() == io::ErrorKind::TimedOut => {
            tracing::info!(%address, "connection closed: the client reads too slowly");
        }
        End::Failed(error) => tracing::debug!(%address, %error, "connection lost"),
    }
}
