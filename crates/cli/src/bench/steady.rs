//! Figures of a server under a steady load: the slowest answers at half of the peak, and memory at its highest.

use std::time::{Duration, Instant};

use crate::bench::compare::Options;
use crate::bench::follow::Follower;
use crate::bench::measurement::median;
use crate::bench::plan::{Batch, LARGE, MANY_PRODUCERS, SMALL};
use crate::bench::process::{FreshServer, Process};
use crate::bench::report::FootprintRow;
use crate::bench::runs::{self, Runner};
use crate::bench::worker::{self, Clock, Pace, Share, Work};
use crate::failure::{Failure, Outcome};
use crate::interrupt::StopFlag;

/// Most that the 999th of 1,000 answers may take, in times of the 500th.
const TAIL_TIMES_MAX: f64 = 10.0;

/// Most a server with many producers and consumers may hold.
const RUNNING_MIB_MAX: f64 = 128.0;

const MIB: f64 = 1024.0 * 1024.0;

/// The rows that were asked for, in order.
pub(crate) fn measure(options: &Options, runner: Runner<'_>) -> Outcome<Vec<FootprintRow>> {
    let mut rows = Vec::new();
    rows.extend(half_of_peak(options, runner)?);
    for (size, batch) in [("100 B", SMALL), ("1 MB", LARGE)] {
        let what = format!("peak memory, 64 producers and 64 consumers, {size} requests");
        rows.extend(running_memory(options, runner, &what, batch)?);
    }
    Ok(rows)
}

/// What one round of the open loop gave.
#[derive(Clone, Copy, Debug)]
struct OpenLoop {
    rate: f64,
    p50: f64,
    p999: f64,
}

/// The slowest answers of producers that send when they mean to, not when they are answered.
fn half_of_peak(options: &Options, runner: Runner<'_>) -> Outcome<Option<FootprintRow>> {
    let what = "p99.9 / p50, 100 B, fsync, 64 producers, open loop at half of the peak";
    if !options.wants(what) {
        return Ok(None);
    }
    options.announce(what);
    let mut rounds = Vec::new();
    for _ in 0..options.rounds {
        runner.stop.check()?;
        rounds.push(open_loop(runner)?);
    }
    let of = |figure: fn(&OpenLoop) -> f64| median(rounds.iter().map(figure).collect());
    let Some(value) = of(|round| round.p999 / round.p50.max(1e-3)) else { return Ok(None) };
    let mut row = FootprintRow::new(what, value, TAIL_TIMES_MAX, "times");
    for (name, figure) in [
        ("p50_us", of(|round| round.p50)),
        ("p99.9_us", of(|round| round.p999)),
        ("rate_per_second", of(|round| round.rate)),
    ] {
        row.details.extend(figure.map(|figure| (name, figure)));
    }
    Ok(Some(row))
}

fn open_loop(runner: Runner<'_>) -> Outcome<OpenLoop> {
    let server = FreshServer::start(runner.dir, "fsync")?;
    runs::create_partitions(&server.process, 1)?;
    let open = || runs::producers_of(&server.process, MANY_PRODUCERS, 1, SMALL);
    let clock = runner.clock();
    let peak = worker::run(open()?, clock, runner.stop)?;
    let rate = (peak.latencies.count() as f64 / clock.counted.as_secs_f64() / 2.0).max(1.0);
    let between = Duration::from_secs_f64(1.0 / rate);
    let mut shares = open()?;
    for (number, share) in (0..).zip(&mut shares) {
        share.pace = Some(Pace { delay: between * number, interval: between * MANY_PRODUCERS });
    }
    let work = worker::run(shares, clock, runner.stop)?;
    if work.latencies.count() == 0 {
        return Err(Failure::usage("no request was answered in time; use more --seconds"));
    }
    let micros = |part| work.latencies.quantile(part).as_secs_f64() * 1e6;
    Ok(OpenLoop { rate, p50: micros(0.5), p999: micros(0.999) })
}

/// What one thread does while memory is watched.
#[derive(Debug)]
enum Role {
    Produce(Share),
    Follow(Follower),
}

/// Memory at its highest while each partition has a producer and a consumer.
fn running_memory(
    options: &Options,
    runner: Runner<'_>,
    what: &str,
    batch: Batch,
) -> Outcome<Option<FootprintRow>> {
    if !options.wants(what) {
        return Ok(None);
    }
    options.announce(what);
    let mut peaks = Vec::new();
    for _ in 0..options.rounds {
        runner.stop.check()?;
        let server = FreshServer::start(runner.dir, "fsync")?;
        let roles = producers_and_consumers(&server.process, batch)?;
        let clock = runner.clock();
        worker::run_each(roles, |role| play(role, clock, runner.stop), runner.stop)?;
        peaks.extend(server.process.peak_bytes().map(|bytes| bytes as f64 / MIB));
    }
    Ok(median(peaks).map(|value| FootprintRow::new(what, value, RUNNING_MIB_MAX, "MiB")))
}

fn producers_and_consumers(server: &Process, batch: Batch) -> Outcome<Vec<Role>> {
    runs::create_partitions(server, MANY_PRODUCERS)?;
    let producers = runs::producers_of(server, MANY_PRODUCERS, MANY_PRODUCERS, batch)?;
    let mut roles: Vec<Role> = producers.into_iter().map(Role::Produce).collect();
    for partition in 0..MANY_PRODUCERS {
        let at_most = Batch { messages: LARGE.messages, ..batch };
        roles.push(Role::Follow(runs::follower_of(server, partition, at_most)?));
    }
    Ok(roles)
}

fn play(role: Role, clock: Clock, stop: &StopFlag) -> Outcome<Work> {
    match role {
        Role::Produce(share) => worker::work(share, clock, stop),
        Role::Follow(follower) => follow(follower, clock, stop),
    }
}

fn follow(mut follower: Follower, clock: Clock, stop: &StopFlag) -> Outcome<Work> {
    let mut work = Work::none()?;
    let end = Instant::now() + clock.warm_up + clock.counted;
    while Instant::now() < end && !stop.is_set() {
        work.requests += 1;
        follower.poll()?;
    }
    Ok(work)
}
