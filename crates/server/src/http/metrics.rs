//! `/metrics`: every number read from what it counts, at the moment it is asked for.
//!
//! No gauge is kept up to date beside the state it tells of, so none can drift.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, header};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Api;
use crate::telemetry::streams;

/// The form for whoever asks for it.
pub(super) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The form for everybody else, which browsers show and every scraper reads.
pub(super) const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether a request asks for OpenMetrics.
pub(super) fn wants_open_metrics(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        // A weight of zero is a refusal.
        let refused = parts.any(|part| {
            let weight = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
            weight.is_some_and(|weight| weight.parse() == Ok(0.0_f32))
        });
        kind.eq_ignore_ascii_case("application/openmetrics-text") && !refused
    })
}

/// The older text form of the same: counters are described by the names of their samples, and nothing says
/// where the text ends.
pub(super) fn as_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        // A description stands before the kind of what it describes.
        let kind = match line.strip_prefix("# HELP ") {
            Some(_) => lines.peek().copied().unwrap_or_default(),
            None => line,
        };
        let counter = kind.strip_prefix("# TYPE ").and_then(|rest| rest.strip_suffix(" counter"));
        let renamed = counter.and_then(|name| {
            let (word, rest) = line.split_at_checked("# HELP ".len())?;
            let rest = rest.strip_prefix(name).filter(|rest| rest.starts_with(' '))?;
            Some(format!("{word}{name}_total{rest}"))
        });
        text.push_str(renamed.as_deref().unwrap_or(line));
        text.push('\n');
    }
    text
}

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

/// What is there to tell before the data directory is open, in the form of [`TEXT`].
pub(super) fn while_starting() -> String {
    let mut page = Page(Registry::default());
    ready(&mut page, false);
    let mut text = String::new();
    if encode(&mut text, &page.0).is_err() {
        tracing::error!("metrics could not be written");
    }
    as_text(&text)
}

fn ready(page: &mut Page, is_ready: bool) {
    let help = "1 when the server takes requests, 0 while it starts or stops";
    page.gauge("galgo_ready", help, u64::from(is_ready));
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
    let fenced = "Partitions that take no writes after a failure";
    page.gauge("galgo_partitions_fenced", fenced, totals.fenced_partitions);
    let offline = "Those of them that cannot be read either, as their logs could not be opened";
    page.gauge("galgo_partitions_offline", offline, totals.offline_partitions);
    let connections = Family::<Labels, Gauge>::default();
    let http = ("http", api.traffic.connections());
    let others = totals.connections.iter().map(|(transport, count)| (transport.word(), *count));
    for (transport, count) in others.chain([http]) {
        connections.get_or_create(&labels("transport", transport)).set(signed(count));
    }
    page.0.register("galgo_connections", "Connections by what carries them", connections);
}

fn own(page: &mut Page, api: &Api) {
    ready(page, !*api.hub.stopping.borrow());
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
    let expired = "Stored offsets forgotten because their consumers were not seen any more";
    page.counter("galgo_offsets_expired", expired, counters.offsets_expired);
    let refused = "Offsets not stored because the partition keeps as many as it may";
    page.counter("galgo_offsets_refused", refused, counters.offsets_refused);
    held(page, api);
    let lost = "Log lines lost since the start: standard error was closed, full or not read";
    page.counter("galgo_log_lines_lost", lost, streams::lost_log_lines());
    let shard = api.hub.broker.shards().first();
    let usage = shard.journal_usage();
    let failed = "1 when the journal takes no writes since a sync of it failed, until a restart";
    page.gauge("galgo_journal_fenced", failed, u64::from(shard.is_fenced()));
    let in_use = "Journal files that hold what no checkpoint covers";
    page.gauge("galgo_journal_files_in_use", in_use, usage.parts_in_use.into());
    page.gauge("galgo_journal_files_max", "Journal files there may be", usage.parts_max.into());
    let errors = "Writes to a journal file that failed and were made in another, or refused";
    page.counter("galgo_journal_write_errors", errors, usage.write_errors);
    let requests = Family::<Labels, Counter>::default();
    for (command, count) in api.hub.broker.requests() {
        requests.get_or_create(&labels("command", command.log_name())).inc_by(count);
    }
    page.0.register("galgo_requests", "Requests of each command, over all transports", requests);
}

/// Who holds back what retention would remove.
fn held(page: &mut Page, api: &Api) {
    let segments = Family::<Labels, Gauge>::default();
    for held in api.hub.broker.held_back() {
        let partition = held.partition.to_string();
        let names =
            [("stream", &*held.stream), ("topic", &*held.topic), ("partition", &*partition)];
        let names = names.into_iter().chain([("holder", held.holder.as_str())]);
        let labels = names.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        segments.get_or_create(&labels).set(signed(held.segments));
    }
    let help = "Segments that are due and stay, because the holder has not committed them";
    page.0.register("galgo_retention_held_segments", help, segments);
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

/// The number as gauges have it; the largest of theirs stands for all above it.
fn signed(value: u64) -> i64 {
    value.min(i64::MAX.unsigned_abs()).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_describes_counters_by_the_names_of_their_samples() {
        let open = "# HELP a Things.\n# TYPE a counter\na_total 1\n# HELP b_counter Now.\n\
            # TYPE b_counter gauge\nb_counter 2\n# HELP c By x.\n# TYPE c counter\n\
            c_total{x=\"a counter\"} 3\n# EOF\n";
        let text = "# HELP a_total Things.\n# TYPE a_total counter\na_total 1\n\
            # HELP b_counter Now.\n# TYPE b_counter gauge\nb_counter 2\n\
            # HELP c_total By x.\n# TYPE c_total counter\nc_total{x=\"a counter\"} 3\n";
        assert_eq!(as_text(open), text);
    }

    #[test]
    fn open_metrics_are_for_whoever_asks() {
        let wants = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            wants_open_metrics(&headers)
        };
        assert!(!wants_open_metrics(&HeaderMap::new()));
        assert!(!wants("text/html,application/xhtml+xml,*/*;q=0.8") && !wants("*/*"));
        assert!(wants("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3"));
        assert!(!wants("application/openmetrics-text;q=0, text/plain"));
    }
}
