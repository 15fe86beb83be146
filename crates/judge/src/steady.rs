//! Figures of a server under a steady load: the slowest answers at half of the peak, and memory at its highest.

use galgo::Durability;
use galgo_bench::Outcome;
use galgo_bench::plan::{LoadPlan, Rate};
use galgo_bench::process::Process;

use crate::footprints::IDLE_MIB_MAX;
use crate::measurement::{Measurement, median};
use crate::report::FootprintRow;
use crate::rows::{
    LARGE, MANY_PRODUCERS, RequestSize, SMALL, WantedRows, produce, produce_and_tail,
};
use crate::runner::Runner;

/// Most that the 999th of 1,000 answers may take, in times of the 500th.
const TAIL_TIMES_MAX: f64 = 10.0;

/// Most a server with many producers and consumers may hold.
const RUNNING_MIB_MAX: f64 = 128.0;
const _: () = assert!(
    RUNNING_MIB_MAX > IDLE_MIB_MAX,
    "a server under load may hold more than one that is left alone"
);

const MIB: f64 = 1024.0 * 1024.0;

/// The rows that were asked for, in order.
pub(crate) fn measure(runner: &Runner, wanted: WantedRows<'_>) -> Outcome<Vec<FootprintRow>> {
    let mut rows = Vec::new();
    let what = "p99.9 / p50, 100 B, fsync, 64 producers, open loop at half of the peak";
    if wanted.has(what) {
        rows.extend(half_of_peak(runner, what)?);
    }
    for (size, batch) in [("100 B", SMALL), ("1 MB", LARGE)] {
        let what = format!("peak memory, 64 producers and 64 consumers, {size} requests");
        if wanted.has(&what) {
            rows.extend(running_memory(runner, &what, batch)?);
        }
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
fn half_of_peak(runner: &Runner, what: &str) -> Outcome<Option<FootprintRow>> {
    runner.announce(what);
    let rounds = runner.each_round(|| open_loop(runner).map(Some))?;
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

fn open_loop(runner: &Runner) -> Outcome<OpenLoop> {
    let closed = LoadPlan { primes: false, ..produce(MANY_PRODUCERS, 1, SMALL) };
    let server = runner.server(Durability::Fsync, &closed)?;
    let peak = Measurement::of(&server.measure(runner, &closed)?)?;
    let rate = (peak.requests_per_second / 2.0).max(1.0);
    let open = LoadPlan { rate: Some(Rate::Requests(rate)), ..closed };
    let measured = Measurement::of(&server.measure(runner, &open)?)?;
    Ok(OpenLoop { rate, p50: measured.p50_us, p999: measured.p999_us })
}

/// Memory at its highest while each partition has a producer and a consumer.
fn running_memory(
    runner: &Runner,
    what: &str,
    batch: RequestSize,
) -> Outcome<Option<FootprintRow>> {
    runner.announce(what);
    let plan = produce_and_tail(MANY_PRODUCERS, batch);
    let peaks = runner.each_round(|| {
        let server = runner.server(Durability::Fsync, &plan)?;
        server.measure(runner, &plan)?;
        Ok(server.of_process(Process::peak_bytes).map(|bytes| bytes as f64 / MIB))
    })?;
    Ok(median(peaks).map(|value| FootprintRow::new(what, value, RUNNING_MIB_MAX, "MiB")))
}
