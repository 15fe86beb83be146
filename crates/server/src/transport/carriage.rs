//! What becomes of an accepted socket: plain frames, or frames in TLS, in WebSocket messages, or in both.
//!
//! Handshakes have a deadline, and go on off the thread that accepts connections. What they keep
//! in memory is taken from the budget of strangers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use galgo_broker::{Peer, Refusal};
use galgo_wire::command::Transport;
use tokio::net::TcpStream;

use crate::transport::connection::{Carrier, serve};
use crate::transport::listener::limit_frame;
use crate::transport::pages::{Pages, Stranger};
use crate::transport::tls::Certificates;
use crate::transport::{Hub, stopped, websocket};

/// How a listener's connections carry frames.
#[derive(Debug, Clone)]
pub(crate) struct Carriage {
    /// What clients are told carries them.
    pub(crate) transport: Transport,
    /// The certificate, when the port speaks TLS.
    pub(crate) certificates: Option<Arc<Certificates>>,
    /// Which web pages may talk to it.
    pub(crate) pages: Arc<Pages>,
}

impl Carriage {
    /// Serves one connection to its end.
    pub(crate) async fn carry(self, stream: TcpStream, address: SocketAddr, hub: Arc<Hub>) {
        let Self { transport, certificates, pages } = self;
        tracing::debug!(%address, transport = transport.word(), "connection opened");
        let patience = hub.limits.handshake_timeout;
        let door = Arrival { peer: Peer { address, transport }, hub };
        // Each kind of connection gets a box of its own size: a plain one, of which there may be many
        // idle, does not pay for the state of the others.
        match (certificates, transport) {
            (None, Transport::WebSocket) => {
                if let Some(stream) = door.shake(websocket::accept(stream, &pages, patience)).await
                {
                    Box::pin(door.frames(stream)).await;
                }
            }
            (None, _) => Box::pin(door.frames(stream)).await,
            (Some(certificates), _) => {
                let shaken = door.shake(certificates.accept(stream, patience)).await;
                let Some(stream) = shaken else { return };
                if transport != Transport::WebSocket {
                    Box::pin(door.frames(stream)).await;
                } else if let Some(stream) =
                    door.shake(websocket::accept(stream, &pages, patience)).await
                {
                    Box::pin(door.frames(stream)).await;
                }
            }
        }
    }

    /// What a client is told that finds no place, if there is a way to tell it cheaply.
    pub(crate) fn refusal(&self) -> Option<Vec<u8>> {
        match (self.transport, &self.certificates) {
            (_, Some(_)) => None,
            (Transport::WebSocket, None) => Some(websocket::REFUSAL.to_vec()),
            _ => Some(limit_frame()),
        }
    }
}

/// A connection on its way in.
struct Arrival {
    peer: Peer,
    hub: Arc<Hub>,
}

impl Arrival {
    /// Makes a handshake, unless the server stops meanwhile.
    async fn shake<S>(&self, handshake: impl Future<Output = io::Result<S>>) -> Option<S> {
        let mut stopping = self.hub.stopping.clone();
        let shaken = tokio::select! {
            biased;
            () = stopped(&mut stopping) => return None,
            shaken = Box::pin(self.hub.handshake(handshake)) => shaken,
        };
        shaken.inspect_err(|error| self.note(error)).ok()
    }

    /// Says why a handshake came to nothing, and leaves a trace of a page that was refused.
    fn note(&self, error: &io::Error) {
        let address = self.peer.address;
        if error.get_ref().is_some_and(|source| source.is::<Stranger>()) {
            let refusal = Refusal::new("page refused", address.ip(), &error.to_string());
            self.hub.broker.trail().note(refusal);
        }
        log_handshake(address, error);
    }

    async fn frames<S: Carrier>(self, stream: S) {
        let address = self.peer.address;
        let session = self.hub.broker.connect(self.peer);
        let ends = Arc::clone(&self.hub.ends);
        ends.note(address, &serve(stream, session, self.hub).await);
    }
}

/// Says why a handshake came to nothing.
pub(crate) fn log_handshake(address: SocketAddr, error: &io::Error) {
    tracing::debug!(%address, %error, "connection closed: the handshake failed");
}
