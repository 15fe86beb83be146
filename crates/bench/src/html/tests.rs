//! A page stands alone, holds what was measured, and takes nothing for markup.

use super::*;
use crate::histogram::Latencies;
use crate::plan::LoadKind;
use crate::plan::tests::plan;
use crate::summary::{
    FORMAT, LatencyFacts, OverTime, PlanFacts, RunSummary, ServerFacts, WorkDone,
};
use crate::usage::Usage;

fn named(name: &str) -> NamedRun {
    let mut latencies = Latencies::new().unwrap();
    for micros in 1..=2000 {
        latencies.record(std::time::Duration::from_micros(micros));
    }
    let latency = LatencyFacts::of(&latencies);
    let work = WorkDone {
        requests: 2000,
        messages: 2000,
        bytes: 200_000,
        requests_per_second: 1000.0,
        messages_per_second: 1000.0,
        bytes_per_second: 1e5,
        unsent_requests: 3,
        latency: latency.clone(),
        over_time: OverTime {
            slice_seconds: 0.1,
            messages_per_second: vec![900.0, 1100.0, 1000.0],
            bytes_per_second: vec![9e4, 1.1e5, 1e5],
            slowest_us: vec![10.0, 0.0, 400.0],
        },
    };
    let run = RunSummary {
        format: FORMAT.to_owned(),
        kind: LoadKind::Latency,
        version: "1".to_owned(),
        started_at: "2026-01-01T00:00:00Z".to_owned(),
        server: ServerFacts {
            url: format!("galgo://{name}"),
            transport: "tcp".to_owned(),
            durability: None,
            fresh: false,
            waiting_polls: true,
            client_processors: 2,
        },
        plan: PlanFacts::of(&plan(LoadKind::Latency)),
        interrupted: true,
        seconds: 2.0,
        sent: Some(work.clone()),
        received: Some(WorkDone { latency: None, ..work }),
        end_to_end: latency,
        server_usage: None,
        client_usage: Some(Usage::default()),
        kept_streams: Vec::new(),
    };
    NamedRun { name: name.to_owned(), run }
}

#[test]
fn markup_is_text() {
    assert_eq!(escape("<a href='x'>&\"</a>"), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;&lt;/a&gt;");
    assert_eq!(escape("a\nb\u{202e}c é"), "a b c é");
    let page = page(&[named("<script>alert(1)</script>"), named("b")]);
    assert!(!page.contains("<script"));
    assert!(page.contains("&lt;script&gt;alert(1)"));
}

#[test]
fn a_page_fetches_nothing() {
    let page = page(&[named("a")]);
    for word in ["http:", "https:", "src=", "@import", "url(", "<link"] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(page.contains("prefers-color-scheme: dark"));
}

#[test]
fn a_page_has_a_line_for_each_run_and_side() {
    let page = page(&[named("a"), named("b")]);
    assert_eq!(page.matches("<svg").count(), 3);
    // Two latencies, two amounts and two slowest moments of each.
    assert_eq!(page.matches("<polyline").count(), 12);
    assert!(page.contains("6 requests due in time were never sent"));
    assert!(page.contains("Ended early."));
    assert!(!page.contains("NaN") && !page.contains("inf"));
}
