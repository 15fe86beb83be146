//! One run: starts who takes the load, prepares it, counts, and throws everything away.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::bench::follow::Follower;
use crate::bench::frame;
use crate::bench::measurement::{Measurement, Sample};
use crate::bench::pipeline;
use crate::bench::plan::{Batch, Load, PRELOADED_REQUESTS, Run, SMALL, Side, TOPIC_PARTITIONS_MAX};
use crate::bench::process::{FreshServer, Process};
use crate::bench::scratch::Scratch;
use crate::bench::source;
use crate::bench::tail;
use crate::bench::worker::{self, Clock, Connection, Share, Work};
use crate::failure::{Failure, Outcome};
use crate::interrupt::StopFlag;

/// Part of the counted time that is run before counting starts.
const WARM_UP_PART: f64 = 0.2;

/// What a tailing consumer asks for: more than ever waits for it.
const TAILED_AT_MOST: Batch = Batch { messages: 1000, ..SMALL };

/// What all runs have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Runner<'a> {
    /// Where the data goes.
    pub(crate) dir: &'a Path,
    /// Time counted.
    pub(crate) counted: Duration,
    /// The wish to stop.
    pub(crate) stop: &'a StopFlag,
}

impl Runner<'_> {
    /// Runs it once. A server that is dear to prepare is left in `kept` for the next time.
    pub(crate) fn run(&self, run: Run, kept: &mut Option<FreshServer>) -> Outcome<Measurement> {
        self.stop.check()?;
        match run.side {
            Side::Server(durability) => self.run_server(durability, run.load, kept),
            Side::Sink { sync } => self.run_sink(sync, run.load),
            Side::Source => self.run_source(run.load),
            Side::Echo => self.run_echo(run.load),
        }
    }

    /// The time of a run.
    pub(crate) fn clock(&self) -> Clock {
        Clock { warm_up: self.counted.mul_f64(WARM_UP_PART), counted: self.counted }
    }

    fn run_server(
        &self,
        durability: &str,
        load: Load,
        kept: &mut Option<FreshServer>,
    ) -> Outcome<Measurement> {
        let (server, prepared) = match kept.take() {
            Some(server) => (server, true),
            None => (FreshServer::start(self.dir, durability)?, false),
        };
        let process = &server.process;
        process.thaw()?;
        let measurement = match load {
            Load::Produce { producers, partitions, batch, .. } => {
                if !prepared {
                    create_partitions(process, partitions)?;
                }
                let mut shares = producers_of(process, producers, partitions, batch)?;
                if !prepared {
                    worker::run_once(&mut shares)?;
                }
                self.produce(process, shares, load)?
            }
            Load::Consume { consumers, batch } => {
                let shares = readers_of(process, consumers, batch)?;
                let work = |clock| worker::run(shares, clock, self.stop);
                self.measure(process, load, work)?
            }
            Load::Tail { rate, batch } => {
                let producer = create_partitions(process, 1)?;
                let follower = follower_of(process, 0, TAILED_AT_MOST)?;
                let message = send_to(0, batch)?;
                let work =
                    |clock| tail::tail(producer, follower, (&message, rate), clock, self.stop);
                self.measure(process, load, work)?
            }
        };
        if load.is_dear_to_prepare() {
            process.freeze()?;
            *kept = Some(server);
        }
        Ok(measurement)
    }

    fn run_sink(&self, sync: bool, load: Load) -> Outcome<Measurement> {
        let Load::Produce { producers, batch, .. } = load else {
            return Err(Failure::usage("the sink takes writes only"));
        };
        let scratch = Scratch::create(self.dir)?;
        let dir = scratch.path().to_string_lossy().into_owned();
        let mut arguments = vec!["bench", "sink", "--dir", &dir];
        if sync {
            arguments.push("--fsync");
        }
        let sink = Process::bare(&arguments)?;
        let open = |_| {
            let request = frame::send(&topic_of(0), 0, batch)?;
            Ok(share(Connection::open(sink.address)?, vec![request], 0))
        };
        let mut shares = (0..producers).map(open).collect::<Outcome<Vec<Share>>>()?;
        worker::run_once(&mut shares)?;
        self.produce(&sink, shares, load)
    }

    fn run_source(&self, load: Load) -> Outcome<Measurement> {
        let Load::Consume { consumers, batch } = load else {
            return Err(Failure::usage("the source takes reads only"));
        };
        let scratch = Scratch::create(self.dir)?;
        let file = scratch.path().join("messages");
        let answer_bytes = frame::polled_bytes(batch);
        write_like_a_log(&file, answer_bytes, PRELOADED_REQUESTS)?;
        let file = file.to_string_lossy().into_owned();
        let source = Process::bare(&["bench", "sendfile-source", &file])?;
        let frames: Vec<_> = (0..u64::from(PRELOADED_REQUESTS))
            .map(|part| source::request(part * answer_bytes, answer_bytes).to_vec())
            .collect();
        let open = |consumer: u32| {
            Ok(share(Connection::open(source.address)?, frames.clone(), consumer as usize))
        };
        let shares = (0..consumers).map(open).collect::<Outcome<Vec<Share>>>()?;
        self.measure(&source, load, |clock| worker::run(shares, clock, self.stop))
    }

    fn run_echo(&self, load: Load) -> Outcome<Measurement> {
        let Load::Tail { rate, batch } = load else {
            return Err(Failure::usage("the echo takes single messages only"));
        };
        let echo = Process::bare(&["bench", "echo"])?;
        let connection = Connection::open(echo.address)?;
        let message = send_to(0, batch)?;
        self.measure(&echo, load, |clock| {
            tail::echo(connection, (&message, rate), clock, self.stop)
        })
    }

    fn produce(&self, process: &Process, shares: Vec<Share>, load: Load) -> Outcome<Measurement> {
        self.measure(process, load, |clock| match load {
            Load::Produce { in_flight, .. } if in_flight > 1 => {
                let work = |share| pipeline::work(share, in_flight, clock, self.stop);
                worker::run_each(shares, work, self.stop)
            }
            _ => worker::run(shares, clock, self.stop),
        })
    }

    fn measure(
        &self,
        process: &Process,
        load: Load,
        work: impl FnOnce(Clock) -> Outcome<Work>,
    ) -> Outcome<Measurement> {
        let clock = self.clock();
        let before = process.cpu_time();
        let Work { latencies, requests } = work(clock)?;
        let spent = process.cpu_time().zip(before).map(|(after, before)| after.abs_diff(before));
        Ok(Measurement::of(&Sample {
            latencies: &latencies,
            elapsed: clock.counted,
            bytes_per_request: load.batch().bytes(),
            cpu: spent.map(|time| (time, requests)),
        }))
    }
}

/// A connection that is logged in.
pub(crate) fn server_connection(server: &Process) -> Outcome<Connection> {
    let mut connection = Connection::open(server.address)?;
    connection.call(&frame::login()?)?;
    Ok(connection)
}

/// Creates a stream with this many partitions, in as few topics as may be.
pub(crate) fn create_partitions(server: &Process, partitions: u32) -> Outcome<Connection> {
    let mut control = server_connection(server)?;
    control.call(&frame::create_stream()?)?;
    for first in (0..partitions).step_by(TOPIC_PARTITIONS_MAX as usize) {
        let count = (partitions - first).min(TOPIC_PARTITIONS_MAX);
        control.call(&frame::create_topic(&topic_of(first), count)?)?;
    }
    Ok(control)
}

/// Producers with the requests of their partitions.
pub(crate) fn producers_of(
    server: &Process,
    producers: u32,
    partitions: u32,
    batch: Batch,
) -> Outcome<Vec<Share>> {
    let open = |producer: u32| {
        let frames = partitions_of(producer, producers, partitions)
            .map(|partition| send_to(partition, batch))
            .collect::<Outcome<Vec<_>>>()?;
        Ok(share(server_connection(server)?, frames, 0))
    };
    (0..producers).map(open).collect()
}

/// The partitions that a producer sends to in turn.
fn partitions_of(producer: u32, producers: u32, partitions: u32) -> impl Iterator<Item = u32> {
    let own = (producer % partitions..partitions).step_by(producers as usize);
    own.take((partitions / producers).max(1) as usize + 1)
}

/// A consumer of one of many partitions.
pub(crate) fn follower_of(server: &Process, partition: u32, at_most: Batch) -> Outcome<Follower> {
    let place = partition % TOPIC_PARTITIONS_MAX;
    Ok(Follower::new(server_connection(server)?, topic_of(partition), place, at_most))
}

/// Sends a batch to one of many partitions.
pub(crate) fn send_to(partition: u32, batch: Batch) -> Outcome<Vec<u8>> {
    frame::send(&topic_of(partition), partition % TOPIC_PARTITIONS_MAX, batch)
}

/// The topic of one of many partitions.
fn topic_of(partition: u32) -> String {
    format!("load-{}", partition / TOPIC_PARTITIONS_MAX)
}

fn readers_of(server: &Process, consumers: u32, batch: Batch) -> Outcome<Vec<Share>> {
    let mut control = create_partitions(server, consumers)?;
    let open = |consumer: u32| {
        let request = send_to(consumer, batch)?;
        for _ in 0..PRELOADED_REQUESTS {
            control.call(&request)?;
        }
        let poll =
            |part: u32| frame::poll(&topic_of(consumer), consumer, part * batch.messages, batch);
        let frames = (0..PRELOADED_REQUESTS).map(poll).collect::<Outcome<Vec<_>>>()?;
        Ok(share(server_connection(server)?, frames, consumer as usize))
    };
    (0..consumers).map(open).collect()
}

fn share(connection: Connection, frames: Vec<Vec<u8>>, number: usize) -> Share {
    // Readers begin at different places, as independent consumers would.
    let first = number * frames.len() / 2 % frames.len().max(1);
    Share { connection, frames: Arc::new(frames), first, pace: None }
}

/// Writes a file as a log gets written, one batch at a time: the sizes of the writes decide how large
/// the pieces are in which the page cache keeps a file, and by that what reading it costs.
fn write_like_a_log(path: &Path, batch_bytes: u64, batches: u32) -> Outcome {
    let failed = |error| Failure::io(format!("cannot write {}: {error}", path.display()));
    let mut file = File::create(path).map_err(failed)?;
    let batch = vec![0; usize::try_from(batch_bytes).unwrap_or_default()];
    for _ in 0..batches {
        file.write_all(&batch).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn producers_share_the_partitions_out() {
        let of = |producer, producers, partitions| {
            partitions_of(producer, producers, partitions).collect::<Vec<_>>()
        };
        assert_eq!(of(63, 64, 1), [0]);
        assert_eq!(of(63, 64, 64), [63]);
        assert_eq!(of(5, 8, 4), [1]);
        assert_eq!(of(1, 4, 10), [1, 5, 9]);
        assert_eq!(of(3, 4, 10), [3, 7]);
        let mut all: Vec<u32> = (0..64).flat_map(|producer| of(producer, 64, 10_000)).collect();
        all.sort_unstable();
        assert_eq!(all, (0..10_000).collect::<Vec<_>>());
    }
}
