//! Listening on a TCP port, accepting, and the options every socket gets; shared by the carriers over TCP.
//!
//! A connection over the limit is accepted, told so and closed, because a client left in the backlog
//! would wait without a word. It is told with error 55: of the codes of the protocol that do not send
//! classic clients into a reconnect loop, the one that speaks of a limit. A WebSocket client is told
//! with HTTP status 503. Over TLS it is closed without a word: a handshake costs more than a refusal may.
//!
//! Connections being served, and refused ones being closed, are each counted against a
//! limit before a task exists for them.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use galgo_storage::disk::advice;
use galgo_wire::ErrorCode;
use galgo_wire::frame::ResponseHeader;
use parking_lot::Mutex;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::ServeError;
use crate::transport::carriage::Carriage;
use crate::transport::{Hub, Places, stopped};

/// Connections the system keeps for us until they are accepted.
const BACKLOG: i32 = 1024;

/// How long a refused connection may take to read its error.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(1);

/// Pause after the system could not give us a connection, most often for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Shortest time between two lines of the log about that: while few descriptors are left, it comes and goes.
const STARVED_PERIOD: Duration = Duration::from_secs(10);
const _: () = assert!(
    ACCEPT_PAUSE.as_millis() * 10 < STARVED_PERIOD.as_millis(),
    "many failures make one line of the log"
);

/// Silence after which the system asks whether the peer still exists.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// Time between two such questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Questions without an answer after which the peer counts as gone.
const KEEPALIVE_PROBES: u32 = 5;
const _: () = assert!(
    KEEPALIVE_IDLE.as_secs() + KEEPALIVE_INTERVAL.as_secs() * (KEEPALIVE_PROBES as u64) <= 120,
    "a peer that is gone without a word is noticed within two minutes"
);

/// Where to listen, and which setting says so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Address {
    /// The address; port 0 takes any free one.
    pub(crate) address: SocketAddr,
    /// Whether other processes may listen there as well.
    pub(crate) reuse_port: bool,
    /// What an operator sets to choose another address.
    pub(crate) variable: &'static str,
}

/// An address that is taken and not listened on yet: connections to it are refused.
#[derive(Debug)]
pub(crate) struct TcpBinding {
    socket: Socket,
    address: SocketAddr,
    at: Address,
}

/// A bound listener.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: TcpListener,
    address: SocketAddr,
    /// When the log last told that the system gave no connection.
    starved_told: Mutex<Option<Instant>>,
}

impl Address {
    /// Why it can't be listened on.
    pub(crate) fn refused(self, source: io::Error) -> ServeError {
        let Self { address, variable, .. } = self;
        match source.kind() {
            io::ErrorKind::AddrInUse => ServeError::AddressInUse { address, variable },
            _ => ServeError::Listen { address, source },
        }
    }
}

impl TcpBinding {
    /// Takes the address `at`.
    pub(crate) fn bind(at: Address) -> Result<Self, ServeError> {
        let bound = bind(at.address, at.reuse_port).and_then(|socket| {
            let address = socket.local_addr()?.as_socket();
            let address = address.ok_or(io::ErrorKind::AddrNotAvailable)?;
            Ok(Self { socket, address, at })
        });
        bound.map_err(|source| at.refused(source))
    }

    /// The address it is bound to, with the real port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets the system take connections, which are served once they are accepted. Must be called on the
    /// runtime.
    pub(crate) fn listen(self) -> Result<Listener, ServeError> {
        let Self { socket, address, at } = self;
        // Before the reactor sees it: to the system a socket that does not listen is one that was hung
        // up, and the reactor never takes that back.
        let listening = socket.listen(BACKLOG).and_then(|()| TcpListener::from_std(socket.into()));
        let listener = listening.map_err(|source| at.refused(source))?;
        Ok(Listener { listener, address, starved_told: Mutex::default() })
    }
}

impl Listener {
    /// The address it is bound to, with the real port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection, with the options of every socket set.
    ///
    /// Goes on after failures of one connection; pauses when the system has none to give.
    pub(crate) async fn accept(&self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => match set_options(&stream) {
                    Ok(()) => return (stream, address),
                    Err(error) => {
                        tracing::debug!(%address, %error, "a connection was gone before it was served");
                    }
                },
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) => {
                    self.tell_starved(&error);
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn tell_starved(&self, error: &io::Error) {
        let mut told = self.starved_told.lock();
        if told.is_none_or(|told| told.elapsed() >= STARVED_PERIOD) {
            *told = Some(Instant::now());
            let next = advice(error).unwrap_or("the server tries again");
            tracing::warn!(listener = %self.address, %error, next, "no connection could be accepted");
        }
    }

    /// Serves connections as `carriage` says until the server stops; then waits `patience` for those in
    /// progress. Returns how many had to be dropped.
    pub(crate) async fn serve(
        self,
        hub: Arc<Hub>,
        carriage: Carriage,
        patience: Duration,
    ) -> usize {
        let mut stopping = hub.stopping.clone();
        let mut door = Door { hub, carriage, tasks: JoinSet::new() };
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stopping) => break,
                (stream, peer) = self.accept() => door.admit(stream, peer),
                Some(_) = door.tasks.join_next() => {}
            }
        }
        drop(self.listener);
        wait_for(door.tasks, patience).await
    }
}

/// Waits `patience` for `tasks` to end; returns how many had to be dropped.
pub(crate) async fn wait_for(mut tasks: JoinSet<()>, patience: Duration) -> usize {
    let all = async { while tasks.join_next().await.is_some() {} };
    if timeout(patience, all).await.is_ok() {
        return 0;
    }
    let late = tasks.len();
    tasks.shutdown().await;
    late
}

/// Lets connections in, or turns them away.
struct Door {
    hub: Arc<Hub>,
    carriage: Carriage,
    tasks: JoinSet<()>,
}

impl Door {
    fn admit(&mut self, stream: TcpStream, address: SocketAddr) {
        let Some(place) = self.hub.place(address.ip()) else { return self.refuse(stream) };
        let (hub, carriage) = (Arc::clone(&self.hub), self.carriage.clone());
        let (Some(lane), Ok(stream)) = (self.hub.turns.next(), stream.into_std()) else { return };
        let task = async move {
            // Taken up again where it is served, so that the reactor of that thread watches it.
            match TcpStream::from_std(stream) {
                Ok(stream) => carriage.carry(stream, address, hub).await,
                Err(error) => tracing::warn!(%address, %error, "a connection was not taken up"),
            }
            drop(place);
        };
        self.tasks.spawn_on(task, lane);
    }

    fn refuse(&mut self, stream: TcpStream) {
        let Some(answer) = self.carriage.refusal() else { return };
        if let Some(told) = tell_refused(stream, answer.into(), &self.hub.places) {
            self.tasks.spawn(told);
        }
    }
}

/// Gives a refused connection its `answer`, and time to read it; `None` when so many are being told that this
/// one is closed without a word.
pub(crate) fn tell_refused(
    mut stream: TcpStream,
    answer: Cow<'static, [u8]>,
    places: &Places,
) -> Option<impl Future<Output = ()> + Send + use<>> {
    let place = places.refusal()?;
    Some(async move {
        let _ = timeout(REFUSAL_PATIENCE, async {
            stream.write_all(&answer).await?;
            stream.shutdown().await?;
            // The answer must be read before the connection goes, or a reset overtakes it.
            let mut scratch = [0; 1024];
            while stream.read(&mut scratch).await? > 0 {}
            io::Result::Ok(())
        })
        .await;
        drop(place);
    })
}

/// The frame that tells a client of a limit.
pub(crate) fn limit_frame() -> Vec<u8> {
    ResponseHeader::error(ErrorCode::UsersLimitReached).to_bytes().to_vec()
}

fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Lets a restarted server have its port back while old connections fade out. Two listeners still
    // exclude each other: on Linux that takes SO_REUSEPORT on both.
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
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
