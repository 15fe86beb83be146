//! Plain TCP: listening, accepting, and the options every socket gets.
//!
//! A connection over the limit is accepted, told so and closed, because a client left in the backlog
//! would wait without a word. It is told with error 55: of the codes of the protocol that do not send
//! classic clients into a reconnect loop, the one that speaks of a limit.
//!
//! INV-TCP-BOUND: connections being served, and refused ones being closed, are each counted against a
//! limit before a task exists for them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use galgo_broker::Peer;
use galgo_wire::ErrorCode;
use galgo_wire::command::Transport;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::ServerError;
use crate::config::Tcp;
use crate::transport::connection::{End, serve};
use crate::transport::{Hub, stopped};

/// Connections the system keeps for us until they are accepted.
const BACKLOG: i32 = 1024;

/// Refused connections being told so at once; beyond it they are closed without a word.
const REFUSALS_MAX: usize = 64;

/// How long a refused connection may take to read its error.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(1);

/// Pause after the system could not give us a connection, most often for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Silence after which the system asks whether the peer still exists.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// Time between two such questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Questions without an answer after which the peer counts as gone.
const KEEPALIVE_PROBES: u32 = 5;

/// A bound listener.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds the configured address. Must be called on the runtime.
    pub(crate) fn bind(config: &Tcp) -> Result<Self, ServerError> {
        let address = config.address;
        let bound = listen(address, config.reuse_port).and_then(|socket| {
            let listener = TcpListener::from_std(socket.into())?;
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        });
        bound.map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => {
                ServerError::AddressInUse { address, variable: "--tcp or GALGO_TCP_ADDRESS" }
            }
            _ => ServerError::Listen { address, source },
        })
    }

    /// The address it is bound to, with the real port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves connections, `connections_max` at a time, until the server stops; then waits `patience`
    /// for those in progress. Returns how many had to be dropped.
    pub(crate) async fn serve(
        self,
        hub: Arc<Hub>,
        connections_max: u32,
        patience: Duration,
    ) -> usize {
        let mut door = Door {
            hub,
            places: Arc::new(Semaphore::new(connections_max as usize)),
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
            tasks: JoinSet::new(),
            full: false,
        };
        let mut stopping = door.hub.stopping.clone();
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stopping) => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => door.admit(stream, peer),
                    Err(error) if is_of_the_connection(&error) => {}
                    Err(error) => {
                        tracing::warn!(%error, "no connection could be accepted");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = door.tasks.join_next() => {}
            }
        }
        drop(self.listener);
        door.close(patience).await
    }
}

/// Lets connections in, or turns them away.
struct Door {
    hub: Arc<Hub>,
    places: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    tasks: JoinSet<()>,
    /// Whether the last connection found no place, so that the log tells it once.
    full: bool,
}

impl Door {
    fn admit(&mut self, stream: TcpStream, address: SocketAddr) {
        if let Err(error) = set_options(&stream) {
            tracing::debug!(%address, %error, "a connection was gone before it was served");
            return;
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            if !self.full {
                tracing::warn!("connection limit reached: further connections are refused");
                self.full = true;
            }
            return self.refuse(stream);
        };
        self.full = false;
        let session = self.hub.broker.connect(Peer { address, transport: Transport::Tcp });
        let hub = Arc::clone(&self.hub);
        let (Some(lane), Ok(stream)) = (self.hub.turns.next(), stream.into_std()) else { return };
        let task = async move {
            tracing::debug!(%address, "connection opened");
            // Taken up again where it is served, so that the reactor of that thread watches it.
            match TcpStream::from_std(stream) {
                Ok(stream) => log_end(address, &serve(stream, session, hub).await),
                Err(error) => tracing::warn!(%address, %error, "a connection was not taken up"),
            }
            drop(place);
        };
        self.tasks.spawn_on(task, lane);
    }

    fn refuse(&mut self, mut stream: TcpStream) {
        let Ok(place) = Arc::clone(&self.refusals).try_acquire_owned() else { return };
        self.tasks.spawn(async move {
            let _ = timeout(REFUSAL_PATIENCE, async {
                let mut answer = [0; 8];
                answer[..4].copy_from_slice(&ErrorCode::UsersLimitReached.as_u32().to_le_bytes());
                stream.write_all(&answer).await?;
                stream.shutdown().await?;
                // The answer must be read before the connection goes, or a reset overtakes it.
                let mut scratch = [0; 1024];
                while stream.read(&mut scratch).await? > 0 {}
                io::Result::Ok(())
            })
            .await;
            drop(place);
        });
    }

    async fn close(mut self, patience: Duration) -> usize {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(patience, all).await.is_ok() {
            return 0;
        }
        let late = self.tasks.len();
        self.tasks.shutdown().await;
        late
    }
}

fn listen(address: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Lets a restarted server have its port back while old connections fade out. Two listeners still
    // exclude each other: on Linux that takes SO_REUSEPORT on both.
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Whether accepting failed for the one connection only.
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

fn log_end(address: SocketAddr, end: &End) {
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
