//! The load generator: blocking threads, each with one connection and one request in flight.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Barrier};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use crate::bench::histogram::Latencies;
use crate::failure::{Failure, Outcome};
use crate::interrupt::StopFlag;

/// Bytes of an answer read at once; its payload is looked at by nobody.
const READ_BYTES: usize = 256 * 1024;

/// Longest wait for an answer before the run counts as failed.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(30);

/// Largest answer kept by [`Connection::call`].
const REPLY_BYTES_MAX: usize = 64 << 20;

/// A connection that sends frames built in advance.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects to `address`.
    pub(crate) fn open(address: SocketAddr) -> Outcome<Self> {
        let connect = || {
            let socket = TcpStream::connect(address)?;
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(ANSWER_WAIT_MAX))?;
            Ok(socket)
        };
        let socket = connect().map_err(|error: io::Error| {
            Failure::connection(format!("cannot connect to {address}: {error}"))
        })?;
        Ok(Self { socket, buffer: vec![0; READ_BYTES] })
    }

    /// The socket itself, for loads that are not one request and one answer at a time.
    pub(crate) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Sends `frame` and returns the answer's payload.
    pub(crate) fn call(&mut self, frame: &[u8]) -> Outcome<Vec<u8>> {
        let length = self.ask(frame).map_err(|error| lost(&error))??;
        if length > REPLY_BYTES_MAX {
            return Err(Failure::connection(format!("an answer claims {length} bytes")));
        }
        let mut payload = vec![0; length];
        self.socket.read_exact(&mut payload).map_err(|error| lost(&error))?;
        Ok(payload)
    }

    /// Sends `frame` and reads over the answer.
    pub(crate) fn exchange(&mut self, frame: &[u8]) -> Outcome {
        let mut left = self.ask(frame).map_err(|error| lost(&error))??;
        while left > 0 {
            let ask = left.min(READ_BYTES);
            let part = self.buffer.get_mut(..ask).unwrap_or_default();
            match self.socket.read(part).map_err(|error| lost(&error))? {
                0 => return Err(lost(&io::ErrorKind::UnexpectedEof.into())),
                read => left -= read,
            }
        }
        Ok(())
    }

    /// Sends `frame`; returns the length of the answer's payload, or the refusal.
    fn ask(&mut self, frame: &[u8]) -> io::Result<Outcome<usize>> {
        self.socket.write_all(frame)?;
        let (mut status, mut length) = ([0; 4], [0; 4]);
        let mut header = [0; 8];
        self.socket.read_exact(&mut header)?;
        status.copy_from_slice(&header[..4]);
        length.copy_from_slice(&header[4..]);
        Ok(match u32::from_le_bytes(status) {
            0 => Ok(u32::from_le_bytes(length) as usize),
            code => Err(Failure::refused("the server refused a request of the bench", code, "")),
        })
    }
}

/// A broken connection, as a failure of the bench.
pub(crate) fn lost(error: &io::Error) -> Failure {
    Failure::connection(format!("the connection broke during the bench: {error}"))
}

/// One thread's share of the load.
#[derive(Debug)]
pub(crate) struct Share {
    /// Ready to send: connected and logged in.
    pub(crate) connection: Connection,
    /// The requests, sent in turn, again and again.
    pub(crate) frames: Arc<Vec<Vec<u8>>>,
    /// Which of them comes first.
    pub(crate) first: usize,
    /// When they are sent; as soon as the answer before is there, without one.
    pub(crate) pace: Option<Pace>,
}

/// A fixed schedule. A request counts from when it was due, so that a server that is slow for a moment
/// pays for all that had to wait behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// From the start to the first request.
    pub(crate) delay: Duration,
    /// From one request to the next.
    pub(crate) interval: Duration,
}

/// How long to run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// Not counted.
    pub(crate) warm_up: Duration,
    /// Counted.
    pub(crate) counted: Duration,
}

/// What all threads did together.
#[derive(Debug)]
pub(crate) struct Work {
    /// Latencies of the requests that started and ended in the counted time.
    pub(crate) latencies: Latencies,
    /// All requests, warm-up included.
    pub(crate) requests: u64,
}

impl Work {
    /// Nothing done yet.
    pub(crate) fn none() -> Outcome<Self> {
        Ok(Self { latencies: Latencies::new()?, requests: 0 })
    }
}

/// Runs all shares at once.
///
/// # Errors
/// The first failure of any thread, or the wish to stop.
pub(crate) fn run(shares: Vec<Share>, clock: Clock, stop: &StopFlag) -> Outcome<Work> {
    run_each(shares, |share| work(share, clock, stop), stop)
}

/// Runs `work` on a thread for each of `shares`, all beginning at once, and adds up what they did.
///
/// # Errors
/// The first failure of any thread, or the wish to stop.
pub(crate) fn run_each<S: Send>(
    shares: Vec<S>,
    work: impl Fn(S) -> Outcome<Work> + Sync,
    stop: &StopFlag,
) -> Outcome<Work> {
    let start_together = Barrier::new(shares.len());
    let (barrier, work) = (&start_together, &work);
    let results: Vec<Outcome<Work>> = std::thread::scope(|scope| {
        let begin = |share| {
            scope.spawn(move || {
                barrier.wait();
                work(share)
            })
        };
        let threads: Vec<_> = shares.into_iter().map(begin).collect();
        let panicked = || Failure::io("a bench thread panicked");
        let join =
            |thread: ScopedJoinHandle<'_, _>| thread.join().unwrap_or_else(|_| Err(panicked()));
        threads.into_iter().map(join).collect()
    });
    stop.check()?;
    let mut total = Work::none()?;
    for result in results {
        let part = result?;
        total.latencies.merge(&part.latencies)?;
        total.requests += part.requests;
    }
    Ok(total)
}

/// Sends every request of all shares once, so that what only the first one costs is not counted.
///
/// # Errors
/// The first failure of any thread.
pub(crate) fn run_once(shares: &mut [Share]) -> Outcome {
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for share in shares {
            let exchange_all =
                || share.frames.iter().try_for_each(|frame| share.connection.exchange(frame));
            threads.push(scope.spawn(exchange_all));
        }
        let panicked = || Failure::io("a bench thread panicked");
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err(panicked())))
    })
}

/// Does the work of one thread.
pub(crate) fn work(mut share: Share, clock: Clock, stop: &StopFlag) -> Outcome<Work> {
    let counted_from = Instant::now() + clock.warm_up;
    let end = counted_from + clock.counted;
    let mut done = Work::none()?;
    let frames = Arc::clone(&share.frames);
    let mut asked = Instant::now();
    if let Some(pace) = share.pace {
        asked += pace.delay;
    }
    for frame in frames.iter().cycle().skip(share.first) {
        if asked >= end || stop.is_set() {
            break;
        }
        if share.pace.is_some() {
            std::thread::sleep(asked.saturating_duration_since(Instant::now()));
        }
        share.connection.exchange(frame)?;
        let answered = Instant::now();
        done.requests += 1;
        if asked >= counted_from && answered <= end {
            done.latencies.record(answered - asked);
        }
        asked = share.pace.map_or(answered, |pace| asked + pace.interval);
    }
    Ok(done)
}
