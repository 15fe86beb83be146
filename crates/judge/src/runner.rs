//! What all runs have in common, and a server with what a load needs on it.

use std::path::PathBuf;
use std::time::Duration;

use galgo::Durability;
use galgo_bench::destination::ServerAddress;
use galgo_bench::engine::Engine;
use galgo_bench::host::Host;
use galgo_bench::plan::{LoadPlan, RunLength};
use galgo_bench::process::{FreshOptions, OnePort, Process};
use galgo_bench::stage::{Stage, StreamNames};
use galgo_bench::summary::RunSummary;
use galgo_bench::{Observer, Outcome, StopFlag};

/// Part of the counted time that is run before counting starts.
const WARM_UP_PART: f64 = 0.2;
const _: () = assert!(
    0.0 < WARM_UP_PART && WARM_UP_PART < 1.0,
    "something is run before, and most of a run is counted"
);

/// What all runs have in common.
#[derive(Debug)]
pub(crate) struct Runner {
    /// The program whose server is measured.
    pub(crate) galgo: PathBuf,
    /// This program, which has the bare ones in it.
    pub(crate) this: PathBuf,
    /// Where the data goes.
    pub(crate) dir: PathBuf,
    /// Time counted in each run.
    pub(crate) counted: Duration,
    /// Runs of each side.
    pub(crate) rounds: u32,
    /// The wish to stop.
    pub(crate) stop: StopFlag,
    /// Where remarks go.
    pub(crate) say: Say,
}

impl Runner {
    /// Says that the row of this name comes next.
    pub(crate) fn announce(&self, what: &str) {
        self.say.remark(&format!("running: {what}"));
    }

    /// A server of its own with the streams of a plan.
    pub(crate) fn server(&self, durability: Durability, plan: &LoadPlan) -> Outcome<Prepared> {
        let host = Host::fresh(&FreshOptions {
            program: &self.galgo,
            dir: &self.dir,
            durability,
            listener: OnePort::TCP,
        })?;
        self.prepare(host, plan)
    }

    /// The server of a process that is kept, with the streams of a plan.
    pub(crate) fn prepare_process(&self, process: &Process, plan: &LoadPlan) -> Outcome<Prepared> {
        self.prepare(Host::given(ServerAddress::dev(process.address, OnePort::TCP)?), plan)
    }

    fn prepare(&self, host: Host, plan: &LoadPlan) -> Outcome<Prepared> {
        let names = StreamNames::unique();
        let mut stage = Stage::open(&host, &Silent)?;
        stage.build(plan, &names, None, &self.stop)?;
        let waits = plan.prefers_waiting() && stage.can_wait()?;
        // They go with the server.
        stage.keep();
        drop(stage);
        Ok(Prepared { host, names, waits })
    }

    /// `plan` for as long as runs are here.
    fn timed(&self, plan: &LoadPlan) -> LoadPlan {
        LoadPlan {
            length: RunLength::Time(self.counted),
            warm_up: self.counted.mul_f64(WARM_UP_PART),
            ..plan.clone()
        }
    }

    /// Measures each of so many rounds.
    pub(crate) fn each_round<T>(
        &self,
        mut measure: impl FnMut() -> Outcome<Option<T>>,
    ) -> Outcome<Vec<T>> {
        let mut measured = Vec::new();
        for _ in 0..self.rounds {
            self.stop.check()?;
            measured.extend(measure()?);
        }
        Ok(measured)
    }
}

/// What takes a load, with all that it needs.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// What takes it.
    pub(crate) host: Host,
    names: StreamNames,
    waits: bool,
}

impl Prepared {
    /// A bare program, which needs nothing.
    pub(crate) fn bare(host: Host) -> Self {
        Self { host, names: StreamNames::unique(), waits: false }
    }

    /// Puts it under the load of a plan.
    pub(crate) fn measure(&self, runner: &Runner, plan: &LoadPlan) -> Outcome<RunSummary> {
        let plan = runner.timed(plan).checked()?;
        let engine = Engine::new(&self.host, &plan, &self.names, &runner.stop);
        let summary = engine.waits(self.waits).measure(&Silent)?;
        // A run that was ended early is no figure.
        runner.stop.check()?;
        Ok(summary)
    }

    /// Sends each request of the producers of a plan so often.
    pub(crate) fn fill(&self, runner: &Runner, plan: &LoadPlan, times: u32) -> Outcome {
        Engine::new(&self.host, plan, &self.names, &runner.stop).prime(times)
    }

    /// A figure of its process, where the system tells.
    pub(crate) fn of_process<T>(&self, figure: impl FnOnce(&Process) -> Option<T>) -> Option<T> {
        self.host.process().and_then(figure)
    }
}

/// Tells whoever waits what is being done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Say {
    /// Whether a program waits, not a person.
    pub(crate) is_quiet: bool,
}

impl Observer for Say {
    fn remark(&self, sentence: &str) {
        if !self.is_quiet {
            eprintln!("{sentence}");
        }
    }
}

/// Tells nobody: a run is one of many.
struct Silent;

impl Observer for Silent {
    fn remark(&self, _sentence: &str) {}
}
