//! What HTTP answers while the server starts: probes, and nothing else.
//!
//! A start after a crash takes as long as there is to recover. A probe that got no answer meanwhile would have
//! the process killed, and the recovery begun again.
//!
//! Nothing of the data directory is behind these answers; each connection gets one, and a bounded
//! number of them is open.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::metrics;
use crate::ServeError;
use crate::transport::listener::Listener;
use crate::transport::tls::Certificates;

/// Connections that are answered at once; those beyond are closed.
const CONNECTIONS_MAX: usize = 64;

/// How long one connection may take, its handshake included.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of a request; probes send few.
const REQUEST_BYTES_MAX: usize = 8 << 10;
const _: () = assert!(REQUEST_BYTES_MAX >= 8 << 10, "the library stops at a buffer below 8 KiB");
const _: () = assert!(
    CONNECTIONS_MAX * REQUEST_BYTES_MAX <= 1 << 20,
    "probes cost a MiB at most before the budgets are there"
);

/// Answers while the server starts.
#[derive(Debug)]
pub(crate) struct Starting {
    address: SocketAddr,
    enough: oneshot::Sender<()>,
    listener: mpsc::Receiver<Listener>,
}

/// What is answered, and through what.
#[derive(Debug, Clone)]
pub(super) struct Probes {
    /// Those of the listener, if it speaks TLS.
    pub(super) certificates: Option<Arc<Certificates>>,
    /// Whether `/metrics` answers.
    pub(super) metrics: bool,
}

impl Starting {
    /// Answers on `listener` until [`Starting::end`]. Must be called on the runtime.
    pub(super) fn serve(listener: Listener, probes: Probes) -> Self {
        let (enough, ended) = oneshot::channel();
        let (give_back, given_back) = mpsc::channel();
        let address = listener.address();
        tokio::spawn(async move {
            answer_until(ended, &listener, &probes).await;
            // Nobody waits for it when the start has failed.
            let _ = give_back.send(listener);
        });
        Self { address, enough, listener: given_back }
    }

    /// Gives the listener back for the API; who connects from now on waits for it.
    ///
    /// # Errors
    /// [`ServeError::Listen`] when the runtime is gone.
    pub(crate) fn end(self) -> Result<Listener, ServeError> {
        let Self { address, enough, listener } = self;
        let gone = |_| ServeError::Listen { address, source: io::ErrorKind::BrokenPipe.into() };
        // When nobody hears it the listener does not come either.
        let _ = enough.send(());
        listener.recv().map_err(gone)
    }
}

async fn answer_until(mut ended: oneshot::Receiver<()>, listener: &Listener, probes: &Probes) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = &mut ended => break,
            (stream, _) = listener.accept() => {
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                let probes = probes.clone();
                tasks.spawn(async move {
                    // Who is slow is not waited for.
                    let _ = timeout(PATIENCE, answer(stream, &probes)).await;
                    drop(place);
                });
            }
            Some(_) = tasks.join_next() => {}
        }
    }
    // Their answers are about to go out.
    tasks.detach_all();
}

async fn answer(stream: TcpStream, probes: &Probes) {
    match &probes.certificates {
        None => serve(stream, probes.metrics).await,
        Some(certificates) => {
            if let Ok(stream) = certificates.accept(stream, PATIENCE).await {
                serve(stream, probes.metrics).await;
            }
        }
    }
}

async fn serve<S>(stream: S, with_metrics: bool)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| async move {
        Ok::<_, Infallible>(answer_to(request.uri().path(), with_metrics))
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .max_buf_size(REQUEST_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "HTTP connection ended while the server starts");
    }
}

fn answer_to(path: &str, with_metrics: bool) -> Response {
    let starting = StatusCode::SERVICE_UNAVAILABLE;
    let mut response = match path {
        "/health/live" => return "live".into_response(),
        "/metrics" if with_metrics => {
            return ([(CONTENT_TYPE, metrics::TEXT)], metrics::while_starting()).into_response();
        }
        "/health/ready" => (starting, "starting").into_response(),
        _ => (starting, "the server is starting: try again in a moment").into_response(),
    };
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
