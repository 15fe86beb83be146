//! QUIC: listening, accepting, and the limits every connection gets. TLS 1.3, no ALPN.
//!
//! What a connection may make the server keep is taken from the budget of strangers before its
//! handshake, and given back when somebody logs in.
//! A connection over the limit is refused before its handshake; when places are getting
//! few, a client first proves that its address is its own, which costs one packet and no memory.

mod connection;
mod reset;
mod stream;

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use galgo_broker::Peer;
use galgo_wire::command::Transport;
use galgo_wire::index::{to_u32, to_usize};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, IdleTimeout, Incoming, TokioRuntime, TransportConfig, VarInt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::ServeError;
use crate::config::Quic;
use crate::conversation::CLOSE_PATIENCE;
use crate::transport::carriage::log_handshake;
use crate::transport::connection::BUFFER_BYTES_IDLE;
use crate::transport::listener::{Address, wait_for};
use crate::transport::places::ConnectionPlace;
use crate::transport::tls::{Certificates, TlsError};
use crate::transport::{Grant, Hub, stopped};

/// Bytes on their way to the server of a connection that is not logged in.
const ANONYMOUS_WINDOW: u32 = 16 << 10;

/// Streams such a connection may have open at once.
const ANONYMOUS_STREAMS: u32 = 4;
const _: () = assert!(
    ANONYMOUS_STREAMS as usize * BUFFER_BYTES_IDLE <= ANONYMOUS_WINDOW as usize,
    "a stranger fills the buffers of its streams from one window"
);

/// What such a connection may make the server keep: its window, its handshake, and a buffer for each stream.
const ANONYMOUS_BYTES: usize =
    ANONYMOUS_WINDOW as usize + (8 << 10) + ANONYMOUS_STREAMS as usize * BUFFER_BYTES_IDLE;

/// Connections that wait to be accepted, and the bytes they may send meanwhile.
const INCOMING_MAX: usize = 1024;
const INCOMING_BYTES: u64 = 16 << 10;
const INCOMING_BYTES_ALL: u64 = 8 << 20;
const _: () = assert!(
    INCOMING_BYTES <= INCOMING_BYTES_ALL && ANONYMOUS_WINDOW as u64 <= INCOMING_BYTES,
    "what a connection sends before it is accepted is no less than its window then"
);

/// Buffers asked of the system for the one socket of all connections.
const SOCKET_BYTES: usize = 2 << 20;

/// How long a stopping listener lets its last packets go out.
const LAST_PACKETS: Duration = Duration::from_millis(200);
const _: () = assert!(
    LAST_PACKETS.as_millis() < CLOSE_PATIENCE.as_millis(),
    "the last packets have less to carry than the last answers"
);

/// What a connection gets once somebody is logged in.
#[derive(Debug, Clone, Copy)]
struct Windows {
    receive: VarInt,
    streams: VarInt,
}

impl Windows {
    /// How many polls may wait at once.
    fn waits_max(self) -> usize {
        to_usize(self.streams.into_inner() / 2)
    }
}

/// An address that is taken; what is sent there waits for the listener.
#[derive(Debug)]
pub(crate) struct QuicBinding {
    socket: UdpSocket,
    at: Address,
    rules: EndpointRules,
    server_config: quinn::ServerConfig,
}

/// A bound listener.
#[derive(Debug)]
pub(crate) struct QuicListener {
    endpoint: Endpoint,
    address: SocketAddr,
    rules: EndpointRules,
}

/// What makes the listener's rules anew when its certificate changes.
#[derive(Debug, Clone)]
pub(crate) struct EndpointRules {
    config: Quic,
    certificates: Arc<Certificates>,
}

/// A running listener's certificate, to be replaced.
#[derive(Debug, Clone)]
pub(crate) struct Renewal {
    endpoint: Endpoint,
    rules: EndpointRules,
}

impl Renewal {
    /// Reads the files again, for handshakes from now on.
    pub(crate) fn reload(&self) {
        if !self.rules.certificates.reload() {
            return;
        }
        match self.rules.server_config() {
            Ok(config) => self.endpoint.set_server_config(Some(config)),
            Err(error) => {
                tracing::error!(listener = "quic", %error, "certificate not replaced: the old one stays");
            }
        }
    }
}

impl EndpointRules {
    fn server_config(&self) -> Result<quinn::ServerConfig, TlsError> {
        let crypto =
            QuicServerConfig::try_from(self.certificates.server_config()).map_err(|error| {
                let subject = "of the QUIC listener".to_owned();
                TlsError::Refused { subject, reason: error.to_string() }
            })?;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        config
            .max_incoming(INCOMING_MAX)
            .incoming_buffer_size(INCOMING_BYTES)
            .incoming_buffer_size_total(INCOMING_BYTES_ALL)
            .transport_config(Arc::new(self.transport()));
        Ok(config)
    }

    fn transport(&self) -> TransportConfig {
        let Quic { receive_window, send_window, initial_mtu, .. } = self.config;
        let keep_alive = self.config.keep_alive_interval.0;
        let Ok(initial_mtu) = u16::try_from(initial_mtu) else {
            unreachable!("the configuration was checked: no packet has 64 KiB");
        };
        let mut transport = TransportConfig::default();
        transport
            .max_concurrent_bidi_streams(ANONYMOUS_STREAMS.into())
            .max_concurrent_uni_streams(0u32.into())
            .datagram_receive_buffer_size(None)
            .receive_window(ANONYMOUS_WINDOW.into())
            .stream_receive_window(varint(receive_window.0))
            .send_window(send_window.0)
            .initial_mtu(initial_mtu)
            // Asked without a pause, a client would do nothing but answer.
            .keep_alive_interval(keep_alive)
            // A time out of range for the protocol is none.
            .max_idle_timeout(IdleTimeout::try_from(self.config.max_idle_timeout.0).ok());
        transport
    }

    fn windows(&self) -> Windows {
        Windows {
            receive: varint(self.config.receive_window.0),
            streams: self.config.max_concurrent_bidi_streams.into(),
        }
    }
}

impl QuicBinding {
    /// Takes the configured address.
    pub(crate) fn bind(config: &Quic, certificates: Arc<Certificates>) -> Result<Self, ServeError> {
        let rules = EndpointRules { config: config.clone(), certificates };
        let server_config = rules
            .server_config()
            .map_err(|source| ServeError::Tls { section: "quic.certificate", source })?;
        let at = Address {
            address: config.address,
            reuse_port: config.reuse_port,
            variable: "--quic or GALGO_QUIC_ADDRESS",
        };
        let socket = socket(at).map_err(|source| at.refused(source))?;
        Ok(Self { socket, at, rules, server_config })
    }

    /// Answers whoever sends there. Must be called on the runtime.
    ///
    /// `data_dir` is where the secret for resets is kept.
    pub(crate) fn listen(self, data_dir: &Path) -> Result<QuicListener, ServeError> {
        let Self { socket, at, rules, server_config } = self;
        let settings = reset::endpoint_config(data_dir)?;
        let runtime = Arc::new(TokioRuntime);
        let listening = Endpoint::new(settings, Some(server_config), socket, runtime)
            .and_then(|endpoint| Ok((endpoint.local_addr()?, endpoint)));
        let (address, endpoint) = listening.map_err(|source| at.refused(source))?;
        Ok(QuicListener { endpoint, address, rules })
    }
}

impl QuicListener {
    /// The address it is bound to, with the real port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What replaces its certificate while it runs.
    pub(crate) fn renewal(&self) -> Renewal {
        Renewal { endpoint: self.endpoint.clone(), rules: self.rules.clone() }
    }

    /// Serves connections until the server stops; then waits `patience` for those in progress. Returns
    /// how many had to be dropped.
    pub(crate) async fn serve(self, hub: Arc<Hub>, patience: Duration) -> usize {
        let mut stopping = hub.stopping.clone();
        let windows = self.rules.windows();
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stopping) => break,
                Some(incoming) = self.endpoint.accept() => {
                    if let Some((incoming, room)) = admit(incoming, &hub)
                        && let Some(lane) = hub.turns.next()
                    {
                        let task = carry(incoming, room, Arc::clone(&hub), windows);
                        tasks.spawn_on(task, lane);
                    }
                }
                Some(_) = tasks.join_next() => {}
            }
        }
        self.endpoint.set_server_config(None);
        let late = wait_for(tasks, patience).await;
        let _ = timeout(LAST_PACKETS, self.endpoint.wait_idle()).await;
        late
    }
}

/// Lets a connection in if there is a place for it.
fn admit(incoming: Incoming, hub: &Hub) -> Option<(Incoming, Admitted)> {
    if hub.places.is_tight() && !incoming.remote_address_validated() && incoming.may_retry() {
        // A client that is gone by now needs no answer.
        let _ = incoming.retry();
        return None;
    }
    let place = hub.place(incoming.remote_address().ip());
    let room = place.and_then(|place| {
        hub.strangers.try_take(ANONYMOUS_BYTES).map(|memory| Admitted { place, memory })
    });
    match room {
        Some(room) => Some((incoming, room)),
        None => {
            incoming.refuse();
            None
        }
    }
}

/// What a connection has before it is let in.
struct Admitted {
    place: ConnectionPlace,
    /// Until somebody logs in.
    memory: Grant,
}

async fn carry(incoming: Incoming, room: Admitted, hub: Arc<Hub>, windows: Windows) {
    let Admitted { place, memory } = room;
    let address = incoming.remote_address();
    tracing::debug!(%address, transport = "quic", "connection opened");
    let mut stopping = hub.stopping.clone();
    let shaken = tokio::select! {
        biased;
        () = stopped(&mut stopping) => return,
        shaken = timeout(hub.limits.handshake_timeout, async { incoming.accept()?.await }) => shaken,
    };
    match shaken {
        Ok(Ok(connection)) => {
            let session = hub.broker.connect(Peer { address, transport: Transport::Quic });
            let ends = Arc::clone(&hub.ends);
            let end = connection::serve(connection, session, hub, windows, memory).await;
            ends.note(address, &end);
        }
        Ok(Err(error)) => log_handshake(address, &error.into()),
        Err(late) => log_handshake(address, &late.into()),
    }
    drop(place);
}

/// The one socket of all connections.
///
/// Unlike on TCP, SO_REUSEADDR would let two servers share the port without a word, so it stays off.
fn socket(at: Address) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(at.address), Type::DGRAM, Some(Protocol::UDP))?;
    if at.reuse_port {
        socket.set_reuse_port(true)?;
    }
    // The system may allow less; then bursts lose packets, which are sent again.
    let _ = socket.set_recv_buffer_size(SOCKET_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BYTES);
    socket.set_nonblocking(true)?;
    socket.bind(&at.address.into())?;
    Ok(socket.into())
}

/// A window as the protocol has it: the configuration allows none of 32 bits.
fn varint(bytes: u64) -> VarInt {
    VarInt::from_u32(to_u32(bytes))
}
