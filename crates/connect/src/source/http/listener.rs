//! Takes connections, so many at a time, and serves what comes over them.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::ReceivedRequest;
use super::request::Reception;
use super::settings::ListenSettings;
use crate::failure::Failure;

/// How long a client may take for a handshake, and for the head of a request.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes the head of a request may have, about.
const HEAD_MAX: usize = 16 << 10;

/// Begins to listen; what is returned serves until it is dropped.
pub(super) async fn bind(
    settings: Arc<ListenSettings>,
    sender: mpsc::Sender<ReceivedRequest>,
) -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
    let acceptor = settings.acceptor()?;
    settings.token()?;
    let address = settings.listen;
    let listener = TcpListener::bind(address).await.map_err(|error| match error.kind() {
        // A process that ends at the moment, or another one that took over.
        ErrorKind::AddrInUse => Failure::away(format!("somebody else listens at {address}")),
        _ => Failure::refused(
            format!("cannot listen at {address}: {error}"),
            "look at listen in [from.http]",
        ),
    })?;
    tracing::info!(%address, path = settings.path, "requests are taken");
    let reception = Arc::new(Reception::new(settings, sender));
    Ok(serve(listener, acceptor, reception))
}

async fn serve(listener: TcpListener, acceptor: Option<TlsAcceptor>, reception: Arc<Reception>) {
    let places = Arc::new(Semaphore::new(reception.settings.connections));
    // All of them end with this.
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let (acceptor, reception) = (acceptor.clone(), Arc::clone(&reception));
                connections.spawn(async move {
                    welcome(stream, acceptor, reception).await;
                    drop(place);
                });
            }
            // The client went again, or there are no more descriptors: others may still come.
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn welcome(stream: TcpStream, acceptor: Option<TlsAcceptor>, reception: Arc<Reception>) {
    let _ = stream.set_nodelay(true);
    match acceptor {
        None => converse(stream, reception).await,
        Some(acceptor) => {
            // Who does not speak TLS, or shows no certificate, gets nothing.
            let shaken = tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await;
            if let Ok(Ok(stream)) = shaken {
                converse(stream, reception).await;
            }
        }
    }
}

async fn converse<S>(stream: S, reception: Arc<Reception>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let reception = Arc::clone(&reception);
        async move { Ok::<_, Infallible>(reception.answer(request).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(HEAD_MAX);
    // A connection that breaks off is the client's affair: he has no answer, and sends again.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}
