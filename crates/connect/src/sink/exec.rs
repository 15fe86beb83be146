//! A program as a target: `[to.exec]`.
//!
//! One program takes the batches of all lanes; each lane has one batch with it at a time, and there are four in all, so that it has
//! something to do while an answer is on its way.

mod running;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use tokio::sync::Mutex;
use toml::Table;

use self::running::{BatchAnswer, RunningTarget};
use crate::batch::{Batch, Row};
use crate::config::value::Span;
use crate::config::{ConfigError, Surroundings, settings};
use crate::exec::{Launch, LaunchKeys};
use crate::failure::{Failure, Finding};
use crate::kind::SinkKind;
use crate::line::put_envelope;
use crate::place::{LaneName, Position};
use crate::secret::SecretSource;
use crate::sink::{Promise, Sink, SinkSpec};

/// This kind.
pub(crate) const KIND: SinkKind = SinkKind {
    name: "exec",
    promise: "at least once; exactly once if the program keeps positions",
    example: EXAMPLE,
    read,
};

const SECTION: &str = "to.exec";
/// Batches that are with the program at a time.
const BATCHES: usize = 4;

const EXAMPLE: &str = r#"[to.exec]
# The program and what it is called with; it runs in the folder of this file.
command = ["python3", "print_sink.py"]
# What it is told at its start.
settings = { prefix = "> " }
# Added to its environment, read again at each start: { env = "NAME" } or { file = "PATH" }.
# env = { API_TOKEN = { file = "/run/secrets/api" } }
# Whether it has to keep positions itself, in one step with what it stores: that makes it exactly once.
positions = false
# It is ended, and started again, when an answer takes longer.
timeout = "60s"
"#;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExecSinkSettings {
    command: Vec<String>,
    #[serde(default)]
    settings: Table,
    #[serde(default)]
    env: BTreeMap<String, SecretSource>,
    #[serde(default)]
    positions: bool,
    timeout: Option<Span>,
}

fn read(table: Table, surroundings: &Surroundings) -> Result<Box<dyn SinkSpec>, ConfigError> {
    let ExecSinkSettings { command, settings, env, positions, timeout } = settings(SECTION, table)?;
    let keys = LaunchKeys { command, settings, env, timeout };
    let launch = Launch::new(SECTION, keys, surroundings)?;
    Ok(Box::new(ExecSpec(Arc::new(SharedProgram { launch, positions, running: Mutex::default() }))))
}

/// What the connections share: the program.
#[derive(Debug)]
struct SharedProgram {
    launch: Launch,
    /// Whether it has to keep positions.
    positions: bool,
    running: Mutex<Option<Arc<RunningTarget>>>,
}

impl SharedProgram {
    /// The program; started if it does not run.
    async fn running(&self) -> Result<Arc<RunningTarget>, Failure> {
        let mut place = self.running.lock().await;
        if let Some(running) = place.as_ref().filter(|running| running.ended().is_none()) {
            return Ok(Arc::clone(running));
        }
        *place = None;
        let running = Arc::new(RunningTarget::start(&self.launch, self.positions).await?);
        *place = Some(Arc::clone(&running));
        Ok(running)
    }
}

#[derive(Debug)]
struct ExecSpec(Arc<SharedProgram>);

#[derive(Debug)]
struct ExecSink(Arc<SharedProgram>);

#[async_trait]
impl SinkSpec for ExecSpec {
    fn promise(&self) -> Promise {
        if self.0.positions { Promise::ExactlyOnce } else { Promise::AtLeastOnce }
    }

    fn needs_json(&self) -> bool {
        false
    }

    fn connections(&self) -> usize {
        BATCHES
    }

    fn sink(&self) -> Box<dyn Sink> {
        Box::new(ExecSink(Arc::clone(&self.0)))
    }

    async fn prepare(&self) -> Result<(), Failure> {
        self.0.running().await.map(drop)
    }

    async fn check(&self, _: &[Row]) -> Result<Vec<Finding>, Failure> {
        Ok(self.0.launch.check())
    }

    fn preview(&self, _: &LaneName, row: &Row) -> Result<String, String> {
        let mut line = String::new();
        put_envelope(row, &mut line);
        Ok(line)
    }
}

#[async_trait]
impl Sink for ExecSink {
    async fn position(&mut self, lane: &LaneName) -> Result<Option<Position>, Failure> {
        let running = self.0.running().await?;
        let kept = running.position(lane).filter(|_| running.keeps_positions);
        // Which topic that was of, it does not know.
        Ok(kept.map(|next| Position { next, ..Position::default() }))
    }

    async fn write(&mut self, lane: &LaneName, batch: &Batch) -> Result<(), Failure> {
        let running = self.0.running().await?;
        if running.keeps_positions
            && running.position(lane).is_some_and(|next| next != batch.begin())
        {
            return Err(Failure::Moved);
        }
        let answer = running.write(lane, batch, self.0.launch.timeout).await;
        match answer {
            BatchAnswer::Done => Ok(()),
            BatchAnswer::NotSent(reason) => Err(Failure::away(format!("the program {reason}"))),
            // What it did with the batch before it ended, only its positions tell.
            BatchAnswer::Ended(reason) if running.keeps_positions => {
                Err(Failure::Unknown { reason: format!("the program {reason}") })
            }
            BatchAnswer::Ended(reason) => Err(Failure::away(format!("the program {reason}"))),
            BatchAnswer::Failed(failure) => Err(failure),
        }
    }

    async fn finish(&mut self) -> Result<(), Failure> {
        let running = self.0.running.lock().await.take();
        match running {
            Some(running) => running.stop().await,
            None => Ok(()),
        }
    }
}
