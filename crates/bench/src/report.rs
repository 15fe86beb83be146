//! A run as a person reads it.

use std::time::Duration;

use crate::plan::Sizes;
use crate::show::{measure, table};
use crate::summary::{LatencyFacts, PlanFacts, RunSummary, WorkDone};
use crate::usage::Usage;

/// The tables and sentences of a run.
pub fn render(run: &RunSummary) -> String {
    let mut parts = vec![conditions(run), amounts(run)];
    let latencies = latencies(run);
    if !latencies.is_empty() {
        parts.push(latencies);
    }
    parts.push(usage(run));
    parts.extend(remarks(run));
    parts.join("\n\n")
}

/// What was run, in one sentence.
pub(crate) fn conditions(run: &RunSummary) -> String {
    let plan = &run.plan;
    let mut workers = Vec::new();
    if plan.producers > 0 {
        let ahead = match plan.in_flight {
            1 => String::new(),
            ahead => format!(" with up to {ahead} requests in flight"),
        };
        workers.push(format!("{}{ahead}", measure::counted(plan.producers.into(), "producer")));
    }
    if plan.consumers > 0 {
        let group = if plan.group { " in a group" } else { "" };
        workers.push(format!("{}{group}", measure::counted(plan.consumers.into(), "consumer")));
    }
    let mut server = match run.server.fresh {
        true => "a fresh server".to_owned(),
        false => run.server.url.clone(),
    };
    if let Some(durability) = &run.server.durability {
        server = format!("{server}, {durability},");
    }
    format!(
        "{}: {}, {}, {}, {}; {} over {}",
        run.kind.word(),
        workers.join(" and "),
        places(plan),
        load(plan),
        loop_kind(plan),
        server,
        run.server.transport,
    )
}

fn places(plan: &PlanFacts) -> String {
    let mut text = measure::counted(plan.partitions.into(), "partition");
    if u64::from(plan.topics) * u64::from(plan.streams) > 1 {
        let topics = measure::counted(plan.topics.into(), "topic");
        let streams = measure::counted(plan.streams.into(), "stream");
        text = format!("{text} in each of {topics} in {streams}");
    }
    text
}

fn load(plan: &PlanFacts) -> String {
    let Sizes { min, max } = plan.message_bytes;
    let messages = measure::count(plan.messages_per_request.into());
    match min == max {
        true => format!("{messages} x {} bytes per request", measure::count(min.into())),
        false => format!("{messages} x {min} to {max} bytes per request"),
    }
}

fn loop_kind(plan: &PlanFacts) -> String {
    match plan.messages_per_second {
        Some(rate) => format!("open loop at {} messages/s", measure::count(rate as u64)),
        None => "closed loop".to_owned(),
    }
}

fn amounts(run: &RunSummary) -> String {
    let columns = [
        table::text(""),
        table::number("MESSAGES"),
        table::number("REQUESTS"),
        table::number("MESSAGES/S"),
        table::number("REQUESTS/S"),
        table::number("PAYLOAD"),
    ];
    let row = |name: &str, work: &WorkDone| {
        vec![
            name.to_owned(),
            measure::count(work.messages),
            measure::count(work.requests),
            measure::per_second(work.messages_per_second),
            measure::per_second(work.requests_per_second),
            measure::bytes_per_second(work.bytes_per_second),
        ]
    };
    let sent = run.sent.iter().map(|work| row("sent", work));
    let received = run.received.iter().map(|work| row("received", work));
    table::columns(&columns, sent.chain(received), "nothing was done")
}

/// All latencies of a run, with what they are of.
pub(crate) fn named_latencies(run: &RunSummary) -> Vec<(&'static str, &LatencyFacts)> {
    let requests = [("send", &run.sent), ("poll", &run.received)].map(|(name, work)| {
        let latency = work.as_ref()?.latency.as_ref()?;
        Some((name, latency))
    });
    let end_to_end = run.end_to_end.as_ref().map(|facts| ("end to end", facts));
    requests.into_iter().chain([end_to_end]).flatten().collect()
}

fn latencies(run: &RunSummary) -> String {
    let columns = [
        table::text("LATENCY"),
        table::number("P50"),
        table::number("P90"),
        table::number("P99"),
        table::number("P99.9"),
        table::number("P99.99"),
        table::number("MAX"),
    ];
    let rows = named_latencies(run).into_iter().map(|(name, facts)| {
        let mut row = vec![name.to_owned()];
        row.extend(percentiles(facts).map(micros));
        row
    });
    table::columns(&columns, rows, "")
}

/// The latencies that are shown: p50, p90, p99, p99.9, p99.99 and the longest.
pub(crate) fn percentiles(facts: &LatencyFacts) -> [f64; 6] {
    [facts.p50_us, facts.p90_us, facts.p99_us, facts.p999_us, facts.p9999_us, facts.max_us]
}

/// A latency with its unit.
pub(crate) fn micros(value: f64) -> String {
    measure::duration(Duration::from_nanos((value * 1e3) as u64))
}

fn usage(run: &RunSummary) -> String {
    let columns = [
        table::text(""),
        table::number("CPU"),
        table::number("CPU PER GB"),
        table::number("PER REQUEST"),
        table::number("PEAK MEMORY"),
    ];
    let row = |name: &str, usage: &Option<Usage>| {
        let mut row = vec![name.to_owned()];
        row.extend(usage_cells(usage));
        row
    };
    let rows = [row("server", &run.server_usage), row("this tool", &run.client_usage)];
    table::columns(&columns, rows, "")
}

/// Processor time, the same per gigabyte and per request, and memory; `unknown` where the system does not tell.
pub(crate) fn usage_cells(usage: &Option<Usage>) -> [String; 4] {
    let unknown = || "unknown".to_owned();
    match usage {
        None => [unknown(), unknown(), unknown(), unknown()],
        Some(usage) => [
            match usage.cpu_seconds {
                // The system counts in hundredths.
                0.0 => "< 0.01 s".to_owned(),
                seconds => format!("{seconds:.2} s"),
            },
            usage.cpu_seconds_per_gb.map_or_else(|| "-".to_owned(), |it| format!("{it:.2} s")),
            usage.cpu_us_per_request.map_or_else(|| "-".to_owned(), |it| format!("{it:.1} us")),
            measure::bytes(usage.peak_resident_bytes),
        ],
    }
}

fn remarks(run: &RunSummary) -> Vec<String> {
    let plan = &run.plan;
    let mut remarks = vec![format!(
        "Counted {:.2} s after a warm-up of {} s; {} on the machine of this tool.",
        run.seconds,
        plan.warm_up_seconds,
        measure::counted(run.server.client_processors as u64, "processor"),
    )];
    let unsent = |work: &Option<WorkDone>| work.as_ref().map_or(0, |work| work.unsent_requests);
    let unsent = unsent(&run.sent) + unsent(&run.received);
    if unsent > 0 {
        remarks.push(format!(
            "{} due until then were never sent: the server or this machine did not keep up, and the\n\
             latencies would be longer still. Lower --rate.",
            measure::counted(unsent, "request"),
        ));
    }
    if run.interrupted {
        remarks.push("Ended early; the figures are of what was done until then.".to_owned());
    }
    if !run.kept_streams.is_empty() {
        remarks.push(format!("Left on the server: {}", run.kept_streams.join(", ")));
    }
    remarks
}
