//! What the tests of bridges share: lanes, rows, deliveries, what the log says.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use galgo::UserHeaders;
use galgo_connect::config::Surroundings;
use galgo_connect::gate::Gate;
use galgo_connect::kind;
use galgo_connect::lane::deliver::{DeadLetters, RowCounts};
use galgo_connect::lane::{Delivery, OnBad};
use galgo_connect::sink::Sinks;
use galgo_connect::status::LaneStatus;
use galgo_connect::{Batch, Form, LaneName, Place, Position, Row, SinkSpec, SourceSpec};
use tokio::sync::watch;
use toml::Table;

/// A value that no log line, error or finding may hold.
pub(crate) const MARK: &str = "MARKED-VALUE";

pub(crate) fn lane() -> LaneName {
    LaneName {
        pipeline: "bridge".into(),
        stream: "shop".into(),
        topic: "orders".into(),
        partition: 3,
    }
}

pub(crate) fn surroundings() -> Surroundings {
    Surroundings { pipeline: "bridge".into(), folder: PathBuf::new() }
}

pub(crate) fn sink_spec(kind: &str, section: &str) -> Arc<dyn SinkSpec> {
    let kind = kind::sinks().iter().find(|it| it.name == kind).unwrap();
    let table: Table = section.parse().unwrap();
    Arc::from((kind.read)(table, &surroundings()).unwrap())
}

pub(crate) fn source_spec(kind: &str, section: &str) -> Arc<dyn SourceSpec> {
    let kind = kind::sources().iter().find(|it| it.name == kind).unwrap();
    let table: Table = section.parse().unwrap();
    Arc::from((kind.read)(table, &surroundings()).unwrap())
}

pub(crate) fn row(offset: u64, payload: &str) -> Row {
    Row {
        place: Place { offset, part: 0 },
        id: offset.into(),
        time: 1_000_000 + offset,
        origin_time: 5_000_000_000 + offset,
        headers_block: Bytes::new(),
        form: Form::Json,
        payload: Bytes::from(payload.to_owned()),
    }
}

pub(crate) fn with_headers(mut row: Row, headers: &UserHeaders) -> Row {
    row.headers_block = Bytes::from(headers.to_bytes().unwrap());
    row
}

/// `{"n":OFFSET,"secret":MARK}` for each offset.
pub(crate) fn numbered(offsets: std::ops::Range<u64>) -> Batch {
    let payload = |n: u64| format!("{{\"n\":{n},\"secret\":\"{MARK}\"}}");
    batch(offsets.clone(), offsets.map(|n| row(n, &payload(n))).collect())
}

pub(crate) fn batch(offsets: std::ops::Range<u64>, rows: Vec<Row>) -> Batch {
    let end = Position { next: offsets.end, topic_made_at: 7, last_id: 0, last_time: offsets.end };
    Batch::new(offsets.start, end, rows)
}

/// The number of a payload that [`numbered`] made.
pub(crate) fn number_of(payload: &[u8]) -> u64 {
    let value: serde_json::Value = serde_json::from_slice(payload).unwrap();
    value["n"].as_u64().unwrap()
}

/// Numbers without what came again.
pub(crate) fn first_times(numbers: &[u64]) -> Vec<u64> {
    let mut seen = std::collections::HashSet::new();
    numbers.iter().copied().filter(|number| seen.insert(*number)).collect()
}

/// Dead letters in memory.
#[derive(Default)]
pub(crate) struct Buried(pub(crate) Mutex<Vec<(u64, String)>>);

#[async_trait]
impl DeadLetters for Buried {
    async fn bury(&self, _: &LaneName, offsets: &[u64], reason: &str) -> Result<(), String> {
        let letters = offsets.iter().map(|offset| (*offset, reason.to_owned()));
        self.0.lock().unwrap().extend(letters);
        Ok(())
    }
}

pub(crate) fn delivery(spec: &dyn SinkSpec, on_bad: OnBad) -> (Delivery, watch::Sender<bool>) {
    let (stop, stopping) = watch::channel(false);
    let sinks = (0..spec.connections()).map(|_| spec.sink()).collect();
    let delivery = Delivery {
        lane: lane(),
        sinks: Arc::new(Sinks::new(sinks)),
        gate: Arc::new(Gate::default()),
        on_bad,
        retry_for: None,
        waits_for_people: true,
        stop: stopping,
        counts: RowCounts::default(),
        status: Arc::new(LaneStatus::new(lane())),
        done: watch::Sender::new(0),
    };
    (delivery, stop)
}

/// All lines of the log of this process since [`listen_to_log`] was called first.
static LOG: OnceLock<Mutex<String>> = OnceLock::new();

/// Has the log be kept.
pub(crate) fn listen_to_log() {
    if LOG.set(Mutex::new(String::new())).is_ok() {
        tracing::subscriber::set_global_default(Kept).unwrap();
    }
}

/// INV-MUTE: the log holds nothing of any message.
pub(crate) fn assert_log_is_mute() {
    let log = LOG.get().unwrap().lock().unwrap();
    assert!(!log.contains(MARK), "INV-MUTE: {log}");
}

/// The log has so many lines with this in them.
#[cfg(any(feature = "mqtt", feature = "redis"))]
#[allow(dead_code, reason = "not every test looks for something in the log")]
pub(crate) fn assert_log_holds(text: &str, times: usize) {
    let log = LOG.get().unwrap().lock().unwrap();
    assert_eq!(log.lines().filter(|line| line.contains(text)).count(), times, "{text} in {log}");
}

struct Kept;

struct Line<'a>(&'a mut String);

impl tracing::field::Visit for Line<'_> {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, "{field}={value:?} ");
    }
}

impl tracing::Subscriber for Kept {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("galgo")
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = String::new();
        event.record(&mut Line(&mut line));
        let mut log = LOG.get().unwrap().lock().unwrap();
        log.push_str(&line);
        log.push('\n');
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}
