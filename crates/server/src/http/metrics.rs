//! `/metrics`: every number read from what it counts, at the moment it is asked for.
//!
//! INV-EXACT: no gauge is kept up to date beside the state it tells of, so none can drift.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Api;
use crate::telemetry::streams;

/// What the text is.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(String, String)>;

/// What only this API can count.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    requests: AtomicU64,
    /// Each connection holds a clone.
    connections: Arc<()>,
}

impl Traffic {
    /// Counts a request.
    pub(super) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection for as long as the value lives.
    pub(super) fn connection(&self) -> Arc<()> {
        Arc::clone(&self.connections)
    }

    fn connections(&self) -> u64 {
        Arc::strong_count(&self.connections) as u64 - 1
    }
}

/// The text, in the format of OpenMetrics.
pub(super) fn text(api: &Api) -> String {
    let mut page = Page(Registry::default());
    classic(&mut page, api);
    own(&mut page, api);
    let mut text = String::new();
    if encode(&mut text, &page.0).is_err() {
        tracing::error!("metrics could not be written");
    }
    text
}

/// The names classic dashboards know.
fn classic(page: &mut Page, api: &Api) {
    let totals = api.hub.broker.totals();
    page.counter("http_requests", "HTTP requests", api.traffic.requests.load(Ordering::Relaxed));
    page.gauge("streams", "Streams", totals.streams);
    page.gauge("topics", "Topics", totals.topics);
    page.gauge("partitions", "Partitions", totals.partitions);
    page.gauge("segments", "Segments", totals.segments);
    page.gauge("messages", "Messages", totals.messages);
    page.gauge("users", "Users", totals.users);
    page.gauge("galgo_consumer_groups", "Consumer groups", totals.groups);
    page.gauge("clients", "Connections of clients", totals.connections.values().sum());
    page.gauge("galgo_message_bytes", "Bytes of the messages as stored", totals.bytes);
    let damaged = "Ranges of messages that are damaged, as far as is known";
    page.gauge("galgo_damaged_ranges", damaged, totals.damaged_ranges);
    let connections = Family::<Labels, Gauge>::default();
    let http = ("http", api.traffic.connections());
    let others = totals.connections.iter().map(|(transport, count)| (transport.word(), *count));
    for (transport, count) in others.chain([http]) {
        connections.get_or_create(&labels("transport", transport)).set(signed(count));
    }
    page.0.register("galgo_connections", "Connections by what carries them", connections);
}

fn own(page: &mut Page, api: &Api) {
    let counters = api.hub.broker.counters();
    let (messages, bytes) = (counters.messages_appended, counters.bytes_appended);
    page.counter("galgo_messages_appended", "Messages taken since the start", messages);
    page.counter("galgo_bytes_appended", "Bytes of those messages as stored", bytes);
    page.counter("galgo_journal_commits", "Journal bundles made durable", counters.commits);
    page.counter("galgo_checkpoints", "Checkpoints saved", counters.checkpoints);
    let removed = "Segments removed by retention or on request since the start";
    page.counter("galgo_segments_removed", removed, counters.segments_removed);
    let removed = "Bytes of the messages in those segments";
    page.counter("galgo_bytes_removed", removed, counters.bytes_removed);
    let fenced = "Partitions that take no writes after a failure";
    page.gauge("galgo_partitions_fenced", fenced, counters.partitions_fenced);
    let lost = "Log lines lost since the start: standard error was closed, full or not read";
    page.counter("galgo_log_lines_lost", lost, streams::lost_log_lines());
    let requests = Family::<Labels, Counter>::default();
    for (command, count) in api.hub.broker.requests() {
        requests.get_or_create(&labels("command", command.log_name())).inc_by(count);
    }
    page.0.register("galgo_requests", "Requests of each command, over all transports", requests);
}

struct Page(Registry);

impl Page {
    fn counter(&mut self, name: &str, help: &str, value: u64) {
        let counter = Counter::<u64>::default();
        counter.inc_by(value);
        self.0.register(name, help, counter);
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        let gauge = Gauge::<i64>::default();
        gauge.set(signed(value));
        self.0.register(name, help, gauge);
    }
}

fn labels(name: &str, value: &str) -> Labels {
    vec![(name.to_owned(), value.to_owned())]
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
