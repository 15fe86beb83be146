//! A server small enough to trust, and what the tests share.
//!
//! It carries out requests in order, one connection at a time holding the world. A test decides with
//! a hook what becomes of each request: answered, refused, cut off, delayed or dribbled.

mod connection;
mod world;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use galgo::{Client, ClientBuilder, Credentials, Identifier, Message, ReconnectPolicy};
use galgo_wire::command::CommandCode;
use galgo_wire::error_code::ErrorCode;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) use world::World;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Carried out and answered.
    Answer,
    /// Carried out and answered, a byte at a time.
    Dribble,
    /// Not carried out; answered with this code.
    Refuse(ErrorCode),
    /// Not carried out; the connection is closed.
    Close,
    /// Carried out; the connection is closed without an answer.
    CloseUnanswered,
    /// Carried out; the connection is closed in the middle of the answer.
    CloseMidReply,
    /// Carried out; the server says it shuts down, and closes.
    ShutDown,
    /// Carried out and answered after a pause.
    Delay(Duration),
    /// Answered with these bytes instead of a reply.
    Garbage(&'static [u8]),
}

/// Decides about the request with this code; requests are numbered from 0.
pub(crate) type Hook = Box<dyn FnMut(usize, CommandCode) -> Act + Send>;

pub(crate) struct Shared {
    pub(crate) world: Mutex<World>,
    hook: Mutex<Hook>,
    /// Replies are held back while this is false.
    flowing: watch::Sender<bool>,
    received: AtomicUsize,
    connections: AtomicUsize,
    pings: AtomicUsize,
    turned_away: AtomicUsize,
}

/// A running server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) shared: Arc<Shared>,
    accepting: Mutex<JoinHandle<()>>,
}

impl Server {
    /// Starts a server with stream `s` and topic `t` of so many partitions.
    pub(crate) async fn start(partitions: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            world: Mutex::new(World::new(partitions)),
            hook: Mutex::new(Box::new(|_, _| Act::Answer)),
            flowing: watch::Sender::new(true),
            received: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            pings: AtomicUsize::new(0),
            turned_away: AtomicUsize::new(0),
        });
        let accepting = Mutex::new(tokio::spawn(accept(listener, Arc::clone(&shared))));
        Self { address, shared, accepting }
    }

    /// Decides about requests from now on.
    pub(crate) fn on_request(&self, hook: impl FnMut(usize, CommandCode) -> Act + Send + 'static) {
        *self.shared.hook.lock() = Box::new(hook);
    }

    /// Lets the `n`-th request (from 0) with `code` come to `act`, all others be answered.
    pub(crate) fn once(&self, code: CommandCode, n: usize, act: Act) {
        let mut seen = 0;
        self.on_request(move |_, other| {
            if other != code {
                return Act::Answer;
            }
            seen += 1;
            if seen == n + 1 { act } else { Act::Answer }
        });
    }

    /// Holds replies back, or lets them flow.
    pub(crate) fn flow(&self, flowing: bool) {
        self.shared.flowing.send_replace(flowing);
    }

    /// How many requests have been received, pings not counted.
    pub(crate) fn received(&self) -> usize {
        self.shared.received.load(Ordering::SeqCst)
    }

    /// How many connections have been accepted.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Closes the listener; connections stay.
    pub(crate) async fn stop_listening(&self) {
        let accepting = std::mem::replace(&mut *self.accepting.lock(), tokio::spawn(async {}));
        accepting.abort();
        let _ = accepting.await;
    }

    /// Closes every new connection at once, and counts them; those that are there stay.
    pub(crate) async fn turn_away(&self) {
        self.stop_listening().await;
        let listener = TcpListener::bind(self.address).await.unwrap();
        let shared = Arc::clone(&self.shared);
        *self.accepting.lock() = tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                shared.turned_away.fetch_add(1, Ordering::SeqCst);
            }
        });
    }

    /// Waits until so many connections were turned away: a client has noticed that it has none.
    pub(crate) async fn turned_away(&self, count: usize) {
        let turned_away = || self.shared.turned_away.load(Ordering::SeqCst);
        eventually("a client tries to connect", || turned_away() >= count).await;
    }

    /// Pings that were received.
    pub(crate) fn pings(&self) -> usize {
        self.shared.pings.load(Ordering::SeqCst)
    }

    /// Waits until what the tasks of the test have written by now was received. All of them run on one thread, so
    /// whatever was ready to be written or read before a connection is made has been when it is accepted.
    pub(crate) async fn settle(&self) {
        for _ in 0..3 {
            let before = self.connections();
            let _connection = TcpStream::connect(self.address).await.unwrap();
            eventually("a connection is accepted", || self.connections() > before).await;
        }
    }

    /// Listens again where it did.
    pub(crate) async fn listen_again(&self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        *self.accepting.lock() = tokio::spawn(accept(listener, Arc::clone(&self.shared)));
    }

    /// Settings for a client that is logged in and in no mood to wait.
    pub(crate) fn builder(&self) -> ClientBuilder {
        Client::builder()
            .address("127.0.0.1", self.address.port())
            .credentials(Credentials::password("galgo", "galgo"))
            .request_timeout(Duration::from_secs(10))
            .reconnect(
                ReconnectPolicy::default()
                    .delays(Duration::from_millis(5), Duration::from_millis(50)),
            )
    }

    pub(crate) async fn client(&self) -> Client {
        self.builder().connect().await.unwrap()
    }

    /// The payloads in a partition, as texts.
    pub(crate) fn stored(&self, partition: u32) -> Vec<String> {
        self.shared.world.lock().texts(partition)
    }

    /// How often each command was received, in order of arrival.
    pub(crate) fn log(&self) -> Vec<CommandCode> {
        self.shared.world.lock().log.clone()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        shared.connections.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(connection::serve(stream, Arc::clone(&shared)));
    }
}

pub(crate) fn stream() -> Identifier {
    "s".parse().unwrap()
}

pub(crate) fn topic() -> Identifier {
    "t".parse().unwrap()
}

/// Messages whose payloads are the numbers of the range.
pub(crate) fn numbered(range: std::ops::Range<usize>) -> Vec<Message> {
    range.map(|number| Message::new(number.to_string())).collect()
}

/// The texts of the numbers of the range.
pub(crate) fn texts(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

/// No healthy server takes this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `condition` holds; fails the test after five seconds.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not within five seconds: {what}");
}
