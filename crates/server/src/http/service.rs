//! Serves HTTP connections, plain or over TLS, each on one of the lanes.
//!
//! Connections being served, and refused ones being closed, are each counted against a
//! limit before a task exists for them.
//! Headers, bodies and answers that do not move for too long end their connection.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tower::ServiceExt as _;
use tower::util::Oneshot;

use super::patience::Patient;
use super::starting::{Probes, Starting};
use super::stranger::{Measured, TokenShown};
use super::{Api, guard, jwt};
use crate::ServeError;
use crate::config::Config;
use crate::transport::listener::{Listener, tell_refused, wait_for};
use crate::transport::pages::Pages;
use crate::transport::tls::Certificates;
use crate::transport::{Hub, stopped};

/// Bytes a connection keeps of requests it has not parsed: no request line and headers may be longer.
pub(super) const BUFFER_BYTES_MAX: usize = 64 << 10;
const _: () = assert!(BUFFER_BYTES_MAX >= 8 << 10, "the library stops at a buffer below 8 KiB");

/// Most header lines of one request.
const HEADERS_MAX: usize = 100;

/// The answer to one connection too many. Clients try again after a while.
const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\
    connection: close\r\ncontent-length: 0\r\n\r\n";

/// The API before it is served.
pub(crate) struct Service {
    config: Config,
    keys: jwt::SigningKeys,
    certificates: Option<Arc<Certificates>>,
    pages: Pages,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

impl Service {
    /// Takes the keys of tokens as configured.
    ///
    /// # Errors
    /// [`ServeError::TokenKey`] when a configured key cannot sign or check tokens.
    pub(crate) fn new(
        config: &Config,
        certificates: Option<Arc<Certificates>>,
        pages: Pages,
    ) -> Result<Self, ServeError> {
        let keys = jwt::SigningKeys::from_config(&config.http_jwt)
            .map_err(|error| ServeError::TokenKey { reason: error.to_string() })?;
        Ok(Self { config: config.clone(), keys, certificates, pages })
    }

    /// Answers probes on `listener` until the API is served there. Must be called on the runtime.
    pub(crate) fn answer_probes(&self, listener: Listener) -> Starting {
        let certificates = self.certificates.clone();
        Starting::serve(listener, Probes { certificates, metrics: self.config.http.metrics })
    }

    /// Takes what is kept in the data directory.
    ///
    /// # Errors
    /// [`ServeError::Io`] when it can be neither read nor made.
    pub(crate) fn take_secrets(&mut self, data_dir: &Path) -> Result<(), ServeError> {
        self.keys.take_secret(data_dir)
    }

    /// Serves connections until the server stops; then waits `patience` for requests in progress.
    /// Returns how many had to be dropped.
    pub(crate) async fn serve(
        self,
        listener: Listener,
        hub: Arc<Hub>,
        patience: Duration,
    ) -> usize {
        let (api, router) = Api::new(Arc::clone(&hub), &self.config, self.keys, self.pages);
        let mut stopping = hub.stopping.clone();
        let mut door =
            HttpDoor { hub, api, router, certificates: self.certificates, tasks: JoinSet::new() };
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stopping) => break,
                (stream, peer) = listener.accept() => door.admit(stream, peer),
                Some(_) = door.tasks.join_next() => {}
            }
        }
        drop(listener);
        wait_for(door.tasks, patience).await
    }
}

/// Lets connections in, or turns them away.
struct HttpDoor {
    hub: Arc<Hub>,
    api: Arc<Api>,
    router: Router,
    certificates: Option<Arc<Certificates>>,
    tasks: JoinSet<()>,
}

impl HttpDoor {
    fn admit(&mut self, stream: TcpStream, address: SocketAddr) {
        let Some(place) = self.hub.place(address.ip()) else { return self.refuse(stream) };
        let (Some(lane), Ok(stream)) = (self.hub.turns.next(), stream.into_std()) else { return };
        let hub = Arc::clone(&self.hub);
        let router = ForPeer {
            router: self.router.clone(),
            address,
            asked: Arc::default(),
            known: TokenShown::default(),
        };
        let certificates = self.certificates.clone();
        let counted = self.api.traffic.connection();
        let task = async move {
            // Taken up again where it is served, so that the reactor of that thread watches it.
            match TcpStream::from_std(stream) {
                Ok(stream) => carry(stream, &hub, certificates, router).await,
                Err(error) => tracing::warn!(%address, %error, "a connection was not taken up"),
            }
            drop((place, counted));
        };
        self.tasks.spawn_on(task, lane);
    }

    fn refuse(&mut self, stream: TcpStream) {
        // A handshake costs more than a refusal may.
        if self.certificates.is_some() {
            return;
        }
        if let Some(told) = tell_refused(stream, REFUSAL.into(), &self.hub.places) {
            self.tasks.spawn(told);
        }
    }
}

/// The routes for one connection: its requests know where they come from.
struct ForPeer {
    router: Router,
    address: SocketAddr,
    /// Whether there was a request.
    asked: Arc<AtomicBool>,
    /// Whether there was one with a good token.
    known: TokenShown,
}

impl hyper::service::Service<Request<Incoming>> for ForPeer {
    type Response = axum::response::Response;
    type Error = Infallible;
    type Future = Oneshot<Router, Request<Incoming>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.asked.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(guard::From(self.address));
        request.extensions_mut().insert(self.known.clone());
        self.router.clone().oneshot(request)
    }
}

async fn carry(
    stream: TcpStream,
    hub: &Hub,
    certificates: Option<Arc<Certificates>>,
    router: ForPeer,
) {
    let Some(certificates) = certificates else {
        return Box::pin(serve(stream, hub, router)).await;
    };
    let mut stopping = hub.stopping.clone();
    let handshake = hub.handshake(certificates.accept(stream, hub.limits.handshake_timeout));
    let shaken = tokio::select! {
        biased;
        () = stopped(&mut stopping) => return,
        shaken = Box::pin(handshake) => shaken,
    };
    match shaken {
        Ok(stream) => Box::pin(serve(stream, hub, router)).await,
        Err(error) => tracing::debug!(%error, "HTTP connection closed: the handshake failed"),
    }
}

/// Serves one connection to its end, whatever carries it.
async fn serve<S>(stream: S, hub: &Hub, router: ForPeer)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let stream = Measured::new(stream, router.known.clone(), hub.strangers.clone());
    let stream = TokioIo::new(Patient::new(stream, hub.limits.write_timeout));
    let (asked, address) = (Arc::clone(&router.asked), router.address);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(hub.limits.patience.frame)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(stream, router);
    let mut connection = std::pin::pin!(connection);
    let mut stopping = hub.stopping.clone();
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stopping) => {
            // The graceful way waits for a first request, of which nothing may ever come.
            if !asked.load(Ordering::Relaxed) {
                return;
            }
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    match ended {
        Err(error) if error.is_timeout() => hub.ends.half_sent(address),
        Err(error) => tracing::debug!(%error, "HTTP connection ended"),
        Ok(()) => {}
    }
}
