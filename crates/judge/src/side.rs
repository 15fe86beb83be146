//! The sides of a comparison: a server, or the bare program that does the least of the same.

use galgo_bench::Outcome;
use galgo_bench::host::Host;
use galgo_bench::process::Process;
use galgo_bench::scratch::Scratch;

use crate::bare::source;
use crate::measurement::Measurement;
use crate::rows::{JudgedSide, PRELOADED_REQUESTS, RequestSize, SideRun};
use crate::runner::{Prepared, Runner};

impl Runner {
    /// Runs it once. A server that is dear to prepare is left in `kept` for the next time.
    pub(crate) fn run(&self, run: &SideRun, kept: &mut Option<Prepared>) -> Outcome<Measurement> {
        self.stop.check()?;
        let plan = &run.plan;
        match run.side {
            JudgedSide::Server(durability) => {
                let server = match kept.take() {
                    Some(server) => server,
                    None => self.server(durability, plan)?,
                };
                let process = server.host.process();
                process.map_or(Ok(()), Process::thaw)?;
                let measurement = Measurement::of(&server.measure(self, plan)?)?;
                if run.is_dear_to_prepare() {
                    process.map_or(Ok(()), Process::freeze)?;
                    *kept = Some(server);
                }
                Ok(measurement)
            }
            JudgedSide::Sink { sync } => {
                let scratch = Scratch::create(&self.dir)?;
                let dir = scratch.path().to_string_lossy();
                let mut arguments = vec!["sink", "--dir", &dir];
                arguments.extend(sync.then_some("--fsync"));
                self.run_bare(&arguments, None, run)
            }
            JudgedSide::Source => {
                let scratch = Scratch::create(&self.dir)?;
                let file = scratch.path().join("messages");
                let batch = RequestSize { messages: plan.batch, message_bytes: plan.sizes.max };
                source::write_answers(&file, batch, PRELOADED_REQUESTS)?;
                let arguments = ["sendfile-source", &file.to_string_lossy()];
                self.run_bare(&arguments, Some(source::polled_bytes(batch)), run)
            }
            JudgedSide::Echo => self.run_bare(&["echo"], None, run),
        }
    }

    fn run_bare(
        &self,
        arguments: &[&str],
        ranges_of: Option<u64>,
        run: &SideRun,
    ) -> Outcome<Measurement> {
        let arguments = [arguments, &["--until-stdin-ends"]].concat();
        let host = Host::bare(Process::bare(&self.this, &arguments)?, ranges_of);
        Measurement::of(&Prepared::bare(host).measure(self, &run.plan)?)
    }
}
