//! The readers of a round, and what they were shown. Each reads until it has the last message of every partition.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use galgo::{ConsumerBuilder, PollRequest, PollingStrategy, ReceivedMessage, Start};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::mirroring;
use crate::producing::end_of;
use crate::round::{PARTITIONS, PATIENCE, Place, TOPIC, connect, named};

/// A way to consume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// A consumer of the SDK.
    Alone,
    /// Two members of a group.
    Group,
    /// Polls that wait.
    Waiting,
    /// `galgo tail -f`.
    Tail,
    /// `galgo mirror --follow`.
    Mirror,
}

impl Reader {
    /// All of them.
    pub(crate) const ALL: [Self; 5] =
        [Self::Alone, Self::Group, Self::Waiting, Self::Tail, Self::Mirror];
}

impl fmt::Display for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alone => "alone",
            Self::Group => "group",
            Self::Waiting => "waiting",
            Self::Tail => "tail",
            Self::Mirror => "mirror",
        })
    }
}

/// A message as a reader was shown it.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    /// Which of the readers.
    pub(crate) reader: u32,
    pub(crate) partition: u32,
    /// The life of the partition, where the reader is told.
    pub(crate) life: Option<u64>,
    pub(crate) offset: u64,
    /// The first words of its payload.
    pub(crate) text: String,
}

/// Cuts the padding off a payload.
pub(crate) fn text_of(payload: &[u8]) -> String {
    let text = String::from_utf8_lossy(payload);
    text.split(" x").next().unwrap_or_default().to_owned()
}

/// Everything the readers of a round were shown.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// In the order in which each reader was shown it.
    pub(crate) shown: Vec<Shown>,
    ended: BTreeSet<u32>,
    /// What a reader said last when it had no message, for the story.
    trouble: String,
}

impl Seen {
    fn take(&mut self, shown: Shown) {
        if shown.text == end_of(shown.partition) {
            self.ended.insert(shown.partition);
        }
        self.shown.push(shown);
    }

    fn is_complete(&self) -> bool {
        self.ended.len() == PARTITIONS as usize
    }
}

type Shared = Arc<Mutex<Seen>>;

/// Reads the round's topic to its end.
///
/// # Errors
///
/// When the end does not come.
pub(crate) async fn read(place: Arc<Place>) -> Result<Seen, String> {
    let seen = Shared::default();
    let mut tasks = JoinSet::new();
    match place.course.reader {
        Reader::Alone => drop(tasks.spawn(consume(Arc::clone(&place), Arc::clone(&seen), 0))),
        Reader::Group => {
            for member in 0..2 {
                tasks.spawn(consume(Arc::clone(&place), Arc::clone(&seen), member));
            }
        }
        Reader::Waiting => {
            for partition in 0..PARTITIONS {
                tasks.spawn(poll(Arc::clone(&place), Arc::clone(&seen), partition));
            }
        }
        Reader::Tail => drop(tasks.spawn(tail(Arc::clone(&place), Arc::clone(&seen)))),
        Reader::Mirror => return mirroring::mirror(&place).await.map(|()| Seen::default()),
    }
    while let Some(task) = tasks.join_next().await {
        task.map_err(|error| error.to_string())??;
    }
    let seen = Arc::into_inner(seen).unwrap().into_inner().unwrap();
    if seen.is_complete() {
        return Ok(seen);
    }
    let Seen { ended, trouble, shown } = seen;
    let count = shown.len();
    Err(format!("the readers saw {count} messages, the ends of {ended:?} alone; last: {trouble}"))
}

impl Place {
    fn show(&self, seen: &Shared, shown: Shown) {
        self.is_reading.store(true, Ordering::SeqCst);
        seen.lock().unwrap().take(shown);
    }
}

/// A consumer of the SDK, alone or as a member of a group.
async fn consume(place: Arc<Place>, seen: Shared, reader: u32) -> Result<(), String> {
    let client = connect(&place.url).await?;
    let begun = Instant::now();
    let settings = || -> ConsumerBuilder {
        let settings = client.consumer(&place.stream, &named(TOPIC));
        let settings = settings.poll_interval(Duration::from_millis(5));
        match place.course.reader {
            Reader::Group => settings.group("group"),
            _ => settings.start(Start::First),
        }
    };
    let mut consumer = None;
    while begun.elapsed() < PATIENCE && !seen.lock().unwrap().is_complete() {
        let Some(running) = &mut consumer else {
            match settings().build().await {
                Ok(built) => consumer = Some(built),
                Err(error) => wait(&seen, error.to_string()).await,
            }
            continue;
        };
        match timeout(Duration::from_millis(50), running.next()).await {
            Ok(Some(Ok(message))) => place.show(&seen, shown(reader, &message)),
            // The same consumer is asked again: it says that it goes on where it was.
            Ok(Some(Err(error))) => wait(&seen, error.to_string()).await,
            Ok(None) => return Err("the consumer came to an end".to_owned()),
            Err(_) => {}
        }
    }
    Ok(())
}

async fn wait(seen: &Shared, trouble: String) {
    seen.lock().unwrap().trouble = trouble;
    sleep(Duration::from_millis(10)).await;
}

fn shown(reader: u32, message: &ReceivedMessage) -> Shown {
    Shown {
        reader,
        partition: message.partition(),
        life: Some(message.life().get()),
        offset: message.offset(),
        text: text_of(message.payload()),
    }
}

/// Polls one partition by offset, each poll waiting for something to come.
async fn poll(place: Arc<Place>, seen: Shared, partition: u32) -> Result<(), String> {
    let client = connect(&place.url).await?;
    let begun = Instant::now();
    let (mut next, mut life) = (0_u64, galgo::Life::UNKNOWN);
    while begun.elapsed() < PATIENCE && !seen.lock().unwrap().ended.contains(&partition) {
        let request = PollRequest::new(&place.stream, &named(TOPIC), partition)
            .strategy(PollingStrategy::Offset(next.into()))
            .count(50)
            .life(life)
            .wait(Duration::from_millis(500));
        match client.poll(request).await {
            Ok(polled) if polled.is_of_other_life() => (next, life) = (0, polled.life()),
            Ok(polled) => {
                life = polled.life();
                for message in polled.messages() {
                    next = message.offset() + 1;
                    place.show(&seen, shown(partition, message));
                }
            }
            Err(error) => wait(&seen, error.to_string()).await,
        }
    }
    Ok(())
}

/// The tool, following.
async fn tail(place: Arc<Place>, seen: Shared) -> Result<(), String> {
    let (mut child, mut lines) = start_tail(&place);
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE && !seen.lock().unwrap().is_complete() {
        match timeout(Duration::from_millis(200), lines.recv()).await {
            Ok(Some(line)) => {
                let message: serde_json::Value =
                    serde_json::from_str(&line).map_err(|error| format!("{error}: {line}"))?;
                let number = |field: &str| message[field].as_u64().unwrap_or(u64::MAX);
                let payload = message["payload"].as_str().unwrap_or_default();
                let shown = Shown {
                    reader: 0,
                    partition: u32::try_from(number("partition")).unwrap(),
                    life: None,
                    offset: number("offset"),
                    text: text_of(payload.as_bytes()),
                };
                place.show(&seen, shown);
            }
            Ok(None) => {
                let end = child.complaint();
                if !place.course.may_end_a_tool(&end) {
                    return Err(format!("tail -f came to an end: {end}"));
                }
                (child, lines) = start_tail(&place);
            }
            Err(_) => {}
        }
    }
    Ok(())
}

fn start_tail(place: &Place) -> (Tool, UnboundedReceiver<String>) {
    let line = format!("tail {} {TOPIC} --from start --follow --format json", place.stream_name);
    let mut child = tool(&place.url, &line, Stdio::piped());
    let out = BufReader::new(child.0.stdout.take().unwrap());
    let (sender, lines) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in out.lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    (child, lines)
}

/// A running tool; killed when dropped.
pub(crate) struct Tool(Child);

/// Starts the tool with this line, connecting as `url` says.
pub(crate) fn tool(url: &str, line: &str, out: Stdio) -> Tool {
    let mut command = Command::new(env!("CARGO_BIN_EXE_galgo"));
    command.env("GALGO_SERVER", url).args(line.split(' ')).stdin(Stdio::null());
    Tool(command.stdout(out).stderr(Stdio::piped()).spawn().unwrap())
}

impl Tool {
    /// How it ended, and why; `None` while it runs.
    pub(crate) fn end(&mut self) -> Option<String> {
        let status = self.0.try_wait().unwrap()?;
        Some(format!("{status}: {}", self.complaint()))
    }

    fn complaint(&mut self) -> String {
        let mut text = String::new();
        if let Some(err) = &mut self.0.stderr {
            let _ = std::io::Read::read_to_string(err, &mut text);
        }
        text
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
