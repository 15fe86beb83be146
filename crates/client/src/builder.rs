//! The settings of a connection.

use std::sync::Arc;
use std::time::Duration;

use galgo_wire::limits::{LIFE_HEADER_BYTES, MESSAGE_BYTES_MAX, SEND_PAYLOAD_BYTES_MAX_DEFAULT};

use crate::connection::Connection;
use crate::groups::SESSION;
use crate::{
    Client, ConnectError, Credentials, QuicOptions, ReconnectPolicy, TlsOptions, Transport,
    WebSocketOptions,
};

/// Port of the server when none is given and the transport is TCP.
pub const DEFAULT_PORT: u16 = 8090;

/// Time between two pings.
const HEARTBEAT_DEFAULT: Duration = Duration::from_secs(5);
/// How long a server may owe an answer without sending anything.
pub(crate) const SILENCE_MAX_DEFAULT: Duration = Duration::from_secs(30);
const _: () = assert!(
    HEARTBEAT_DEFAULT.as_secs() * 3 < SILENCE_MAX_DEFAULT.as_secs()
        && HEARTBEAT_DEFAULT.as_secs() * 3 < SESSION.as_secs(),
    "who says nothing was asked several times, and who is asked was heard of several times"
);
const BYTES_IN_FLIGHT_DEFAULT: usize = 64 << 20;
/// Largest reply that is taken.
pub(crate) const REPLY_BYTES_MAX_DEFAULT: usize = 256 << 20;
const _: () = assert!(
    MESSAGE_BYTES_MAX < SEND_PAYLOAD_BYTES_MAX_DEFAULT
        && SEND_PAYLOAD_BYTES_MAX_DEFAULT as usize + LIFE_HEADER_BYTES < REPLY_BYTES_MAX_DEFAULT,
    "what was sent with one request is taken in one reply, any single message at that"
);

/// Settings of a connection; every one has a default.
///
/// Made by [`Client::builder`]; see there for an example.
#[derive(Debug, Clone)]
pub struct ClientBuilder {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) transport: Transport,
    pub(crate) tls: Option<TlsOptions>,
    pub(crate) quic: QuicOptions,
    pub(crate) websocket: WebSocketOptions,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) reconnect: ReconnectPolicy,
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) silence_max: Duration,
    pub(crate) nodelay: bool,
    pub(crate) requests_in_flight_max: usize,
    pub(crate) bytes_in_flight_max: usize,
    pub(crate) reply_bytes_max: usize,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: DEFAULT_PORT,
            transport: Transport::Tcp,
            tls: None,
            quic: QuicOptions::default(),
            websocket: WebSocketOptions::default(),
            credentials: None,
            reconnect: ReconnectPolicy::default(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            heartbeat_interval: HEARTBEAT_DEFAULT,
            silence_max: SILENCE_MAX_DEFAULT,
            nodelay: true,
            requests_in_flight_max: 1024,
            bytes_in_flight_max: BYTES_IN_FLIGHT_DEFAULT,
            reply_bytes_max: REPLY_BYTES_MAX_DEFAULT,
        }
    }
}

impl ClientBuilder {
    /// Sets host (a name, an IPv4 or an IPv6 address) and port. Default: `127.0.0.1`, 8090.
    pub fn address(mut self, host: impl Into<String>, port: u16) -> Self {
        self.host = host.into();
        self.port = port;
        self
    }

    /// Sets what carries the connection. Default: TCP.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Encrypts the connection, and proves who is at its ends as `options` ask. Default: TCP and
    /// WebSocket are plain; QUIC is encrypted, but takes any certificate.
    pub fn tls(mut self, options: TlsOptions) -> Self {
        self.tls = Some(options);
        self
    }

    /// Sets what only QUIC has.
    pub fn quic(mut self, options: QuicOptions) -> Self {
        self.quic = options;
        self
    }

    /// Sets what only WebSocket has.
    pub fn websocket(mut self, options: WebSocketOptions) -> Self {
        self.websocket = options;
        self
    }

    /// Logs in with `credentials` on every connect and reconnect. Default: stays anonymous.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Sets what to do when the connection is lost. Default: reconnects without end.
    pub fn reconnect(mut self, policy: ReconnectPolicy) -> Self {
        self.reconnect = policy;
        self
    }

    /// Sets how long connecting and logging in may take. Default: 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how long a request may take, reconnects included. Default: 30 s.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets the time between two pings. Default: 5 s.
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        self.heartbeat_interval = interval.max(Duration::from_millis(1));
        self
    }

    /// Sets how long the server may owe an answer without sending a byte before the connection is
    /// taken for dead. Default: 30 s.
    pub fn silence_max(mut self, silence: Duration) -> Self {
        self.silence_max = silence;
        self
    }

    /// Sets whether small requests are sent at once (`TCP_NODELAY`). Default: yes.
    pub fn nodelay(mut self, nodelay: bool) -> Self {
        self.nodelay = nodelay;
        self
    }

    /// Bounds the requests and the bytes of requests that wait or are in flight; beyond them,
    /// callers wait. Default: 1,024 requests, 64 MiB.
    pub fn in_flight_max(mut self, requests: usize, bytes: usize) -> Self {
        self.requests_in_flight_max = requests.max(1);
        self.bytes_in_flight_max = bytes.clamp(1, u32::MAX as usize);
        self
    }

    /// Bounds the size of a reply; a larger one ends the connection. Default: 256 MiB.
    pub fn reply_bytes_max(mut self, bytes: usize) -> Self {
        self.reply_bytes_max = bytes;
        self
    }

    /// Connects and, if credentials are set, logs in.
    ///
    /// # Errors
    /// [`ConnectError`]: the server cannot be reached or refuses the login. The first connection is
    /// tried once; the reconnect policy is for later.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        let connection = Connection::open(self).await?;
        Ok(Client { connection: Arc::new(connection) })
    }
}
