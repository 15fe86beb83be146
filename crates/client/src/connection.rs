//! One connection that keeps itself open: requests in, replies out, in order.
//!
//! A request is queued, written by the writer task, moved among those in flight, and answered by the
//! reader, which takes replies in order. When the connection ends, the driver task opens the next
//! one and the queue decides which requests are written again.
//!
//! Part of INV-PIPELINE: a request is among those in flight before its first byte is written, and leaves
//! them only with its reply or with the connection.

mod dial;
mod driver;
mod exchange;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod handshake;
mod link;
mod queue;
mod quic;
mod reader;
mod tls;
mod websocket;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use galgo_wire::command::extensions::FeatureFlags;
use parking_lot::Mutex;
use tokio::sync::watch;

pub(crate) use crate::connection::exchange::NoReply;
pub(crate) use crate::connection::queue::Replay;
pub use crate::connection::tls::TlsSetupError;

use crate::builder::ClientBuilder;
use crate::connection::queue::{InFlightLimits, RequestQueue};
use crate::{ConnectError, Credentials, Transport};

/// The client's end of a connection. Dropping it closes the connection.
pub(crate) struct Connection {
    shared: Arc<Shared>,
    /// Which extensions the server has, and in which generation it said so.
    pub(crate) extensions: Mutex<Option<(u64, FeatureFlags)>>,
    /// The next number of a chain of sends.
    lanes: AtomicU32,
}

/// What the callers, the driver, the reader and the writer share.
pub(crate) struct Shared {
    settings: ClientBuilder,
    address: String,
    /// Who to log in as on the next connect; follows logins and logouts made on the connection.
    credentials: Mutex<Option<Credentials>>,
    queue: RequestQueue,
    /// Grows with every read, so that silence can be told from slowness.
    reads: AtomicU64,
    /// Grows with every connect, so that what was learned about a server can be forgotten.
    connects: AtomicU64,
    closed: watch::Sender<bool>,
    /// Set when the last task of the connection has nothing left to do.
    ended: watch::Sender<bool>,
}

impl Connection {
    /// Connects, logs in and starts the tasks of the connection.
    pub(crate) async fn open(settings: ClientBuilder) -> Result<Self, ConnectError> {
        let shared = Arc::new(Shared::new(settings));
        let link = shared.establish().await?;
        tokio::spawn(driver::run(Arc::clone(&shared), link));
        Ok(Self { shared, extensions: Mutex::new(None), lanes: AtomicU32::new(0) })
    }

    /// Host and port, as they were given.
    pub(crate) fn address(&self) -> &str {
        &self.shared.address
    }

    /// What carries it.
    pub(crate) fn transport(&self) -> Transport {
        self.shared.settings.transport
    }

    /// How long the server may owe an answer without sending anything.
    pub(crate) fn silence_max(&self) -> Duration {
        self.shared.settings.silence_max
    }

    /// A number for a chain of sends that no other chain of this connection has.
    pub(crate) fn next_lane(&self) -> u32 {
        self.lanes.fetch_add(1, Ordering::Relaxed)
    }

    /// The largest reply it takes.
    pub(crate) fn reply_bytes_max(&self) -> usize {
        self.shared.settings.reply_bytes_max
    }

    /// The time between two pings.
    pub(crate) fn heartbeat_interval(&self) -> Duration {
        self.shared.settings.heartbeat_interval
    }

    /// The number of the current connect; another number means another server process, perhaps.
    pub(crate) fn generation(&self) -> u64 {
        self.shared.connects.load(Ordering::Acquire)
    }

    /// Resolves when the connection was dropped and the server was told, as far as it can be.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut ended = self.shared.ended.subscribe();
        async move {
            // A driver that is gone without a word has ended as well.
            let _ = ended.wait_for(|ended| *ended).await;
        }
    }

    /// Sets who to log in as on the next connect.
    pub(crate) fn remember(&self, credentials: Option<Credentials>) {
        *self.shared.credentials.lock() = credentials;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.closed.send_replace(true);
    }
}

impl Shared {
    fn new(mut settings: ClientBuilder) -> Self {
        let address = match settings.host.contains(':') {
            true => format!("[{}]:{}", settings.host, settings.port),
            false => format!("{}:{}", settings.host, settings.port),
        };
        let queue = RequestQueue::new(InFlightLimits {
            requests: settings.requests_in_flight_max,
            bytes: settings.bytes_in_flight_max,
        });
        Self {
            address,
            credentials: Mutex::new(settings.credentials.take()),
            queue,
            reads: AtomicU64::new(0),
            connects: AtomicU64::new(0),
            closed: watch::Sender::new(false),
            ended: watch::Sender::new(false),
            settings,
        }
    }

    /// Resolves when the last client is dropped.
    async fn closing(&self) {
        let mut closed = self.closed.subscribe();
        // The sender lives as long as `self`, so this cannot fail before the value is there.
        let _ = closed.wait_for(|closed| *closed).await;
    }
}
