//! A process of pipelines: built from files, run side by side, stopped together.
//!
//! One that ends or cannot begin does not stop the others.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use galgo::{Deduplication, Message, Producer, TopicOptions};
use tokio::sync::{OnceCell, watch};
use tokio::task::JoinSet;

use crate::budget::MemoryBudget;
use crate::config::ConfigError;
use crate::config::file::{BadChoice, Direction, GalgoServer, PipelineFile};
use crate::dead_letter::{DeadTopic, Letter};
use crate::failure::Failure;
use crate::inbound::Inbound;
use crate::inbound::topic::{NotStored, not_stored};
use crate::lane::LaneSettings;
use crate::manage::LetterShape;
use crate::outbound::{Dial, Outbound, PipelineEnd, joined};
use crate::serve::Window;
use crate::shape::{Shape, Shaper};
use crate::sink::Sinks;
use crate::status::PipelineStatus;
use crate::transform::Transforms;

/// After so long a standstill with something to deliver a process says that it is not ready.
const STALLED_AFTER: Duration = Duration::from_secs(120);

/// How a process runs.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions {
    /// Whether pipelines end where their origins end when they begin.
    pub once: bool,
    /// Where metrics are served.
    pub http: Option<SocketAddr>,
    /// How much of what was read and not delivered may be in memory, in bytes, of all pipelines together.
    pub memory: usize,
    /// How long what is under way may take after a stop.
    pub stop_timeout: Duration,
}

/// A pipeline and how it ended.
#[derive(Debug)]
pub struct Ended {
    /// Its name.
    pub pipeline: String,
    /// How it ended.
    pub end: PipelineEnd,
}

/// The files of these paths; a folder stands for the `.toml` files in it, in the order of their names.
///
/// # Errors
/// A folder cannot be read, or has no such files.
pub fn files_of(paths: &[PathBuf]) -> Result<Vec<PathBuf>, ConfigError> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let wrong = |what: String| ConfigError { at: path.display().to_string(), what };
        let entries = std::fs::read_dir(path).map_err(|error| wrong(error.to_string()))?;
        let mut found = Vec::new();
        for entry in entries {
            let file = entry.map_err(|error| wrong(error.to_string()))?.path();
            if file.extension().is_some_and(|extension| extension == "toml") {
                found.push(file);
            }
        }
        if found.is_empty() {
            return Err(wrong("there is no file in it that ends in .toml".to_owned()));
        }
        found.sort();
        files.extend(found);
    }
    Ok(files)
}

/// Refuses two files of one name: they would share a group and positions.
///
/// # Errors
/// Which two.
pub fn refuse_namesakes(files: &[PathBuf], pipelines: &[&PipelineFile]) -> Result<(), ConfigError> {
    let mut names = BTreeMap::new();
    for (path, file) in files.iter().zip(pipelines) {
        if let Some(other) = names.insert(&file.name, path) {
            let what = format!(
                "its name, {}, is that of {}, too: they would share a group and positions; give each a name of its own",
                file.name,
                other.display()
            );
            return Err(ConfigError { at: path.display().to_string(), what });
        }
    }
    Ok(())
}

/// Runs pipelines until all have ended; `told` hears of each end as it comes.
///
/// # Errors
/// The address for metrics cannot be bound.
pub async fn run(
    files: Vec<PipelineFile>,
    options: RunOptions,
    dial: Arc<dyn Dial>,
    mut stop: watch::Receiver<bool>,
    mut told: impl FnMut(&Ended),
) -> std::io::Result<Vec<Ended>> {
    let memory = options.memory / files.len().max(1);
    let stalled_after =
        files.iter().filter_map(|file| file.errors.stalled_after).map(|span| span.0).min();
    let mut statuses = Vec::new();
    let mut running = JoinSet::new();
    for file in files {
        let status = Arc::new(status_of(&file));
        statuses.push(Arc::clone(&status));
        let (name, dial, stop) = (file.name.clone(), Arc::clone(&dial), stop.clone());
        running.spawn(async move {
            let budget = MemoryBudget::new(memory);
            let running = PipelineRun { budget, options, is_of_letters: false };
            let end = run_one(file, Arc::clone(&status), dial, stop, running).await;
            if let Some(trouble) = trouble_of(&end) {
                status.set_trouble(Some(trouble));
            }
            Ended { pipeline: name, end }
        });
    }
    if let Some(address) = options.http {
        Window::new(statuses, stalled_after.unwrap_or(STALLED_AFTER)).serve(address).await?;
    }
    let mut ends = Vec::new();
    let mut deadline = None;
    while !running.is_empty() {
        let ended = tokio::select! {
            ended = running.join_next() => ended,
            _ = stop.wait_for(|stop| *stop), if deadline.is_none() => {
                deadline = Some(tokio::time::Instant::now() + options.stop_timeout);
                continue;
            }
            () = until(deadline) => {
                // Ending in the middle of a write is always safe; it only may repeat a batch.
                tracing::warn!("what is under way takes too long to wait for; it is left");
                break;
            }
        };
        if let Some(ended) = ended {
            let ended = joined(ended);
            told(&ended);
            ends.push(ended);
        }
    }
    Ok(ends)
}

async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn status_of(file: &PipelineFile) -> PipelineStatus {
    match &file.direction {
        Direction::Out { kind, .. } => PipelineStatus::new(&file.name, "galgo", kind.name),
        Direction::In { kind, .. } => PipelineStatus::new(&file.name, kind.name, "galgo"),
    }
}

/// Why a pipeline that has ended is a trouble, if it is.
fn trouble_of(end: &PipelineEnd) -> Option<String> {
    match end {
        PipelineEnd::Stopped | PipelineEnd::Complete => None,
        PipelineEnd::Refused { reason, advice } => Some(format!("{reason}; {advice}")),
        PipelineEnd::GaveUp(failure) => Some(format!("given up: {failure}")),
        PipelineEnd::Stands(why) => Some(why.clone()),
    }
}

/// Runs a pipeline from the topic of its dead letters, up to the end there is now.
pub(crate) async fn run_letters(
    file: PipelineFile,
    status: Arc<PipelineStatus>,
    dial: Arc<dyn Dial>,
    stop: watch::Receiver<bool>,
    options: RunOptions,
) -> PipelineEnd {
    let budget = MemoryBudget::new(options.memory);
    let options = RunOptions { once: true, ..options };
    run_one(file, status, dial, stop, PipelineRun { budget, options, is_of_letters: true }).await
}

/// How a pipeline runs.
struct PipelineRun {
    budget: MemoryBudget,
    options: RunOptions,
    /// Whether what it reads are its dead letters.
    is_of_letters: bool,
}

async fn run_one(
    file: PipelineFile,
    status: Arc<PipelineStatus>,
    dial: Arc<dyn Dial>,
    stop: watch::Receiver<bool>,
    running: PipelineRun,
) -> PipelineEnd {
    let PipelineRun { budget, options: RunOptions { once, stop_timeout, .. }, is_of_letters } =
        running;
    let PipelineFile { name, direction, transforms, batch, errors } = file;
    let transforms = match Transforms::compile(&transforms) {
        Ok(transforms) => transforms,
        Err(error) => {
            return PipelineEnd::Refused {
                reason: error.to_string(),
                advice: "correct the file".to_owned(),
            };
        }
    };
    let dead = |server: GalgoServer| -> Option<Arc<dyn DeadTopic>> {
        let path = errors.dead_letter.clone().filter(|_| errors.on_bad == BadChoice::DeadLetter)?;
        let dial = Arc::clone(&dial);
        Some(Arc::new(GalgoDeadTopic { path, server, dial, producer: OnceCell::new() }))
    };
    match direction {
        Direction::Out { from, to, .. } => {
            let sinks = (0..to.connections()).map(|_| to.sink()).collect();
            let shaper = Shaper { format: from.format, transforms, needs_json: to.needs_json() };
            let shape: Arc<dyn Shape> = match is_of_letters {
                true => Arc::new(LetterShape(shaper)),
                false => Arc::new(shaper),
            };
            let settings = LaneSettings {
                batch,
                shape,
                sinks: Arc::new(Sinks::new(sinks)),
                gate: Arc::default(),
                on_bad: errors.on_bad,
                dead: dead(from.server()),
                retry_for: errors.retry_for.map(|span| span.0),
                budget,
                from,
            };
            let settings = Arc::new(settings);
            Outbound { name, to, settings, dial, status, stop, once, stop_timeout }.run().await
        }
        Direction::In { from, to, .. } => {
            let shape = Shaper { format: to.format, transforms, needs_json: false };
            let (on_bad, dead) = (errors.on_bad, dead(to.server()));
            Inbound {
                name,
                from,
                to,
                shape,
                on_bad,
                dead,
                budget,
                dial,
                status,
                stop,
                once,
                stop_timeout,
            }
            .run()
            .await
        }
    }
}

/// A topic of dead letters of a Galgo server, made when the first one comes.
struct GalgoDeadTopic {
    /// `STREAM/TOPIC`.
    path: String,
    server: GalgoServer,
    dial: Arc<dyn Dial>,
    producer: OnceCell<Producer>,
}

impl GalgoDeadTopic {
    async fn open(&self) -> Result<Producer, Failure> {
        let Some((stream, topic)) = self.path.split_once('/') else {
            unreachable!("the file was checked: a topic of dead letters is STREAM/TOPIC")
        };
        let name = |text: &str| {
            let parsed = text.parse();
            parsed
                .map_err(|error: galgo::NameError| Failure::away(format!("{}: {error}", self.path)))
        };
        let (stream, topic) = (name(stream)?, name(topic)?);
        let client = self.dial.dial(&self.server).await?;
        // What is buried again after a kill has the same id, and is dropped.
        let options = TopicOptions::default().deduplication(Deduplication::On);
        let ensured = client.ensure_topic(&stream, &topic, options).await;
        ensured.map_err(|error| Failure::away(error.to_string()))?;
        // One partition for all, so that what is repeated comes to where it was before.
        let by = galgo::PartitionBy::Key(self.path.as_bytes().iter().copied().take(255).collect());
        let producer = client.producer(&stream, &topic).partition_by(by).build().await;
        producer.map_err(|error| Failure::away(error.to_string()))
    }
}

#[async_trait]
impl DeadTopic for GalgoDeadTopic {
    async fn store(&self, letters: &[Letter]) -> Result<(), String> {
        let opened = self.producer.get_or_try_init(|| self.open()).await;
        let producer = opened.map_err(|failure| failure.to_string())?;
        let told = |error: NotStored| match error {
            NotStored::Unfit(reason) | NotStored::BehindUnfit(reason) => {
                format!("{}: {reason}", self.path)
            }
            NotStored::Failed(failure) => format!("{}: {failure}", self.path),
        };
        match send(producer, letters.iter().map(Letter::message)).await {
            Err(NotStored::Unfit(_)) => {}
            sent => return sent.map_err(told),
        }
        // One of them is too large; which, is found out by sending each alone. Those that are there are dropped by their ids.
        for letter in letters {
            let sent = match send(producer, [letter.message()]).await {
                Err(NotStored::Unfit(_)) => send(producer, [letter.without_payload()]).await,
                sent => sent,
            };
            sent.map_err(told)?;
        }
        Ok(())
    }
}

/// Sends messages; returns when they are durable.
async fn send(
    producer: &Producer,
    messages: impl IntoIterator<Item = Message>,
) -> Result<(), NotStored> {
    let sending = async {
        let mut receipts = Vec::new();
        for message in messages {
            receipts.push(producer.send_with_receipt(message).await?);
        }
        for receipt in receipts {
            receipt.await?;
        }
        Ok::<(), galgo::ProduceError>(())
    };
    let sent = sending.await;
    if sent.is_err() {
        // It takes nothing more before that was told.
        let _ = producer.flush().await;
    }
    sent.map_err(|error| not_stored(&error))
}
