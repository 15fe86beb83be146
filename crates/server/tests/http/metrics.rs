//! `/metrics`, `/stats`, `/clients` and `/cluster/metadata`: exact at any moment.

use serde_json::json;

use crate::server::TestServer;

fn value(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

/// Asks until the connections before this one are gone: their clients close them, which the server sees a moment
/// later.
fn metrics_of_one_connection(server: &TestServer) -> String {
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let text = server.http().get("/metrics").text();
        if value(&text, "galgo_connections{transport=\"http\"}") == Some(1) {
            return text;
        }
        assert!(std::time::Instant::now() < patience, "connections that are gone count:\n{text}");
    }
}

#[test]
fn gauges_follow_what_they_count_both_ways() {
    let server = TestServer::start();
    let root = server.with_topic(3);
    let balanced = json!({"kind": "balanced", "value": ""});
    let body =
        json!({"partitioning": balanced, "messages": [{"payload": "YQ=="}, {"payload": "Yg=="}]});
    assert_eq!(root.post("/streams/s/topics/t/messages", &body).status, 201);
    let text = metrics_of_one_connection(&server);
    let gauges = [("streams", 1), ("topics", 1), ("partitions", 3), ("messages", 2), ("users", 1)];
    for (name, expected) in gauges {
        assert_eq!(value(&text, name), Some(expected), "{name}");
    }
    assert_eq!(value(&text, "clients"), Some(0));
    assert_eq!(value(&text, "galgo_requests_total{command=\"message.send\"}"), Some(1));
    assert_eq!(value(&text, "galgo_messages_appended_total"), Some(2));
    let before = value(&text, "http_requests_total").unwrap();

    assert_eq!(root.delete("/streams/s").status, 204);
    let text = server.http().get("/metrics").text();
    for name in ["streams", "topics", "partitions", "segments", "messages"] {
        assert_eq!(value(&text, name), Some(0), "{name}");
    }
    assert_eq!(value(&text, "http_requests_total"), Some(before + 2));
}

/// `/metrics` was OpenMetrics for everybody: browsers saved it to a file, and `promtool check metrics` found
/// counters without help.
#[test]
fn metrics_come_in_the_form_that_is_asked_for() {
    let server = TestServer::start();
    let plain = server.http().get("/metrics");
    assert_eq!(
        plain.header("content-type").as_deref(),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let text = plain.text();
    assert!(!text.contains("# EOF"), "{text}");
    let mut described = None;
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            described = help.split(' ').next();
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            assert_eq!(kind.split(' ').next(), described, "{line}");
        } else {
            let name = line.split(['{', ' ']).next();
            assert_eq!(name, described, "a sample without help: {line}");
        }
    }
    let accept = "accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    let open = server.http().raw("GET", "/metrics", &[accept], b"");
    let kind = open.header("content-type").unwrap();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    assert!(open.text().ends_with("# EOF\n"), "{}", open.text());
}

#[test]
fn health_is_told_to_anyone() {
    let server = TestServer::start();
    for path in ["/health/live", "/health/ready"] {
        assert_eq!(server.http().get(path).status, 200, "{path}");
    }
}

#[test]
fn metrics_can_be_turned_off() {
    let server = TestServer::with(&[("GALGO_HTTP_METRICS", "false")]);
    assert_eq!(server.http().get("/metrics").status, 404);
}

#[test]
fn statistics_have_the_shape_clients_read() {
    let server = TestServer::start();
    let stats = server.root().get("/stats").json();
    let sizes = [
        "memory_usage",
        "total_memory",
        "available_memory",
        "read_bytes",
        "written_bytes",
        "messages_size_bytes",
        "free_disk_space",
        "total_disk_space",
    ];
    for name in sizes {
        let text = stats[name].as_str().unwrap();
        assert!(text.strip_suffix(" B").unwrap().parse::<u64>().is_ok(), "{name}: {text}");
    }
    let numbers = [
        "process_id",
        "run_time",
        "start_time",
        "streams_count",
        "topics_count",
        "partitions_count",
        "segments_count",
        "messages_count",
        "clients_count",
        "consumer_groups_count",
        "threads_count",
        "iggy_server_semver",
    ];
    for name in numbers {
        assert!(stats[name].is_u64(), "{name}");
    }
    assert_eq!(stats["cache_metrics"], json!({}));
    for name in ["hostname", "os_name", "os_version", "kernel_version", "iggy_server_version"] {
        assert!(stats[name].is_string(), "{name}");
    }
    assert!(stats["cpu_usage"].is_f64() && stats["total_cpu_usage"].is_f64());
}

#[test]
fn requests_over_http_are_no_clients() {
    let server = TestServer::start();
    let root = server.root();
    assert_eq!(root.get("/clients").json(), json!([]));
    assert_eq!(root.get("/clients/0").error(), (404, 404));
    assert_eq!(root.get("/clients/77").error(), (404, 404));
    assert_eq!(root.get("/clients/x").status, 400);
    let cluster = root.get("/cluster/metadata").json();
    assert_eq!(cluster["nodes"][0]["role"], "leader");
    assert_eq!(cluster["nodes"][0]["endpoints"]["http"], root.address.port());
}
