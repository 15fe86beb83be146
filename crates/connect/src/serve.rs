//! What a process of pipelines tells over HTTP: `/metrics`, `/healthz`, `/readyz`, `/status`.
//!
//! Metrics are made of the same reports that `/status` shows, when they are asked for; nothing is counted twice.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

use crate::clock::now_micros;
use crate::status::{LaneActivity, LaneReport, PipelineReport, PipelineStatus};

/// Lanes of a pipeline that have series of their own; what is of the others is in the sums of the pipeline only.
const LANES_MAX: usize = 64;

/// The pipelines of a process.
#[derive(Clone)]
pub struct Window {
    pipelines: Arc<Vec<Arc<PipelineStatus>>>,
    stalled_after: Duration,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LaneLabels {
    pipeline: String,
    lane: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabels {
    pipeline: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PipelineLabels {
    pipeline: String,
}

type Seconds = Gauge<f64, AtomicU64>;

/// The families that are filled at each request.
#[derive(Default)]
struct Families {
    messages: Family<OutcomeLabels, Counter>,
    bytes: Family<PipelineLabels, Counter>,
    batches: Family<PipelineLabels, Counter>,
    batch_seconds: Family<PipelineLabels, Counter<f64, AtomicU64>>,
    retries: Family<PipelineLabels, Counter>,
    moved: Family<PipelineLabels, Counter>,
    paused: Family<PipelineLabels, Gauge>,
    up: Family<PipelineLabels, Gauge>,
    in_flight: Family<PipelineLabels, Gauge>,
    slot_retained: Family<PipelineLabels, Gauge>,
    lag_messages: Family<LaneLabels, Gauge>,
    lag_seconds: Family<LaneLabels, Seconds>,
    stalled_seconds: Family<LaneLabels, Seconds>,
}

impl Window {
    /// Of these pipelines; one that stands still for longer with something to deliver is not ready.
    #[must_use]
    pub fn new(pipelines: Vec<Arc<PipelineStatus>>, stalled_after: Duration) -> Self {
        Self { pipelines: Arc::new(pipelines), stalled_after }
    }

    /// What the pipelines tell now.
    #[must_use]
    pub fn reports(&self) -> Vec<PipelineReport> {
        let now = now_micros();
        self.pipelines.iter().map(|pipeline| pipeline.report(now)).collect()
    }

    /// Serves until the process ends.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn serve(self, address: SocketAddr) -> std::io::Result<()> {
        let listener = tokio::net::TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        tracing::info!(%address, "metrics, readyz and status are served");
        tokio::spawn(async move {
            // It ends with the process.
            let _ = axum::serve(listener, self.router()).await;
        });
        Ok(())
    }

    fn router(self) -> Router {
        Router::new()
            .route("/healthz", get(|| async { "the process answers\n" }))
            .route("/readyz", get(ready))
            .route("/status", get(status))
            .route("/metrics", get(metrics))
            .with_state(self)
    }

    /// The metrics, as text in the format OpenMetrics.
    #[must_use]
    pub fn metrics(&self) -> String {
        let families = Families::default();
        for report in self.reports() {
            families.fill(&report);
        }
        let mut registry = Registry::with_prefix("galgo_connect");
        families.register(&mut registry);
        let mut text = String::new();
        let written = prometheus_client::encoding::text::encode(&mut text, &registry);
        assert!(written.is_ok(), "a text takes whatever is written to it");
        text
    }
}

async fn ready(State(window): State<Window>) -> Response {
    let stalled_after = window.stalled_after;
    let troubles: Vec<String> =
        window.reports().iter().filter_map(|report| report.trouble(stalled_after)).collect();
    match troubles.is_empty() {
        true => "ready\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, troubles.join("\n") + "\n").into_response(),
    }
}

async fn status(State(window): State<Window>) -> Response {
    axum::Json(window.reports()).into_response()
}

async fn metrics(State(window): State<Window>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], window.metrics()).into_response()
}

impl Families {
    fn fill(&self, report: &PipelineReport) {
        let pipeline = PipelineLabels { pipeline: report.pipeline.clone() };
        let sum = |field: fn(&LaneReport) -> u64| report.lanes.iter().map(field).sum::<u64>();
        let outcomes = [
            ("delivered", sum(|lane| lane.counts.delivered)),
            ("filtered", sum(|lane| lane.filtered)),
            ("dead", sum(|lane| lane.counts.dead)),
            ("skipped", sum(|lane| lane.counts.skipped)),
            ("gone", sum(|lane| lane.gone)),
        ];
        for (outcome, messages) in outcomes {
            let labels = OutcomeLabels { pipeline: report.pipeline.clone(), outcome };
            self.messages.get_or_create(&labels).inc_by(messages);
        }
        self.bytes.get_or_create(&pipeline).inc_by(sum(|lane| lane.bytes));
        self.batches.get_or_create(&pipeline).inc_by(sum(|lane| lane.batches));
        let seconds = report.lanes.iter().map(|lane| lane.batch_seconds).sum();
        self.batch_seconds.get_or_create(&pipeline).inc_by(seconds);
        self.retries.get_or_create(&pipeline).inc_by(sum(|lane| lane.counts.retries));
        self.moved.get_or_create(&pipeline).inc_by(sum(|lane| lane.counts.moved));
        let paused = report.lanes.iter().filter(|lane| lane.activity == LaneActivity::Paused);
        self.paused.get_or_create(&pipeline).set(paused.count() as i64);
        self.up.get_or_create(&pipeline).set(i64::from(report.is_there));
        self.in_flight.get_or_create(&pipeline).set(saturating(report.in_flight_bytes));
        if let Some(bytes) = report.slot_retained_bytes {
            self.slot_retained.get_or_create(&pipeline).set(saturating(bytes));
        }
        let active = report.lanes.iter().filter(|lane| lane.activity != LaneActivity::Ended);
        for lane in active.take(LANES_MAX) {
            let labels = LaneLabels {
                pipeline: report.pipeline.clone(),
                lane: format!("{}/{}/{}", lane.stream, lane.topic, lane.partition),
            };
            self.lag_messages.get_or_create(&labels).set(saturating(lane.lag_messages));
            self.lag_seconds.get_or_create(&labels).set(lane.lag_seconds);
            self.stalled_seconds.get_or_create(&labels).set(lane.stalled_seconds);
        }
    }

    fn register(self, registry: &mut Registry) {
        registry.register("messages", "Messages by what became of them", self.messages);
        registry.register("bytes", "Bytes delivered", self.bytes);
        registry.register("batches", "Batches delivered", self.batches);
        registry.register("batch_seconds", "Time that delivering batches took", self.batch_seconds);
        registry.register("retries", "Tries of a batch that failed", self.retries);
        let help = "How often a target was at another position than expected";
        registry.register("moved", help, self.moved);
        registry.register("paused_lanes", "Lanes that wait for somebody", self.paused);
        registry.register(
            "up",
            "Whether the other system answered when it was asked last",
            self.up,
        );
        registry.register("in_flight_bytes", "Bytes read and not yet delivered", self.in_flight);
        let help = "Bytes a replication slot keeps in the origin";
        registry.register("slot_retained_bytes", help, self.slot_retained);
        registry.register("lag_messages", "Messages that are to be delivered", self.lag_messages);
        let help = "Age of the message delivered last while there are others behind it";
        registry.register("lag_seconds", help, self.lag_seconds);
        let help = "For how long there was something to deliver and nothing was";
        registry.register("stalled_seconds", help, self.stalled_seconds);
    }
}

/// A number for a gauge, which is signed.
fn saturating(number: u64) -> i64 {
    number.min(i64::MAX.cast_unsigned()).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::RowCounts;
    use crate::place::LaneName;

    #[test]
    fn metrics_say_what_the_reports_say() {
        let status = Arc::new(PipelineStatus::new("p", "galgo", "memory"));
        for partition in 0..100 {
            let text = |text: &str| text.to_owned();
            let name =
                LaneName { pipeline: text("p"), stream: text("s"), topic: text("t"), partition };
            let lane = status.lane(&name);
            lane.begins(0, 5, 0);
            lane.count(RowCounts { delivered: 2, retries: 1, ..RowCounts::default() });
            lane.holds(LaneActivity::Paused, "no");
        }
        let window = Window::new(vec![status], Duration::from_secs(60));
        let text = window.metrics();
        for line in [
            "galgo_connect_messages_total{pipeline=\"p\",outcome=\"delivered\"} 200",
            "galgo_connect_retries_total{pipeline=\"p\"} 100",
            "galgo_connect_paused_lanes{pipeline=\"p\"} 100",
            "galgo_connect_lag_messages{pipeline=\"p\",lane=\"s/t/7\"} 5",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert_eq!(text.matches("galgo_connect_lag_messages{").count(), LANES_MAX);
    }
}
