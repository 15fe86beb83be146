//! `galgo bench produce`, `consume`, `both`, `latency` and `report`, as short as they can be.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::harness::{Done, Server, eventually, galgo, run};

/// Runs a load that is counted by messages, so that its amounts are exact.
fn load(server: &Server, line: &str) -> Value {
    let run = server.json(&format!("bench {line} --warm-up 0s"));
    assert_eq!(run["format"], "galgo-bench-1");
    assert_eq!(run["interrupted"], false);
    assert_eq!(run["server"]["fresh"], false);
    assert!(run["seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(streams(server), 0, "{line}");
    run
}

fn streams(server: &Server) -> usize {
    server.json("stream list").as_array().unwrap().len()
}

#[track_caller]
fn is_latency(facts: &Value, count: u64) {
    assert_eq!(facts["count"], count);
    let percentiles = ["p50_us", "p90_us", "p99_us", "p999_us", "p9999_us"];
    let values: Vec<f64> = percentiles.iter().map(|name| facts[name].as_f64().unwrap()).collect();
    assert!(values.is_sorted() && values[0] > 0.0, "{facts}");
}

#[test]
fn producers_send_exactly_the_total() {
    let server = Server::start();
    let line = "produce --producers 3 --partitions 4 --streams 2 --topics 2 --message-size 10..90 \
                --messages-per-request 10 --total 1000";
    let sent = &load(&server, line)["sent"];
    assert_eq!((&sent["messages"], &sent["requests"]), (&1000.into(), &100.into()));
    assert!((10_000..=90_000).contains(&sent["bytes"].as_u64().unwrap()));
    is_latency(&sent["latency"], 100);
}

#[test]
fn requests_in_flight_are_counted_once() {
    let server = Server::start();
    for size in [100, 10_000] {
        let line = format!(
            "produce --in-flight 16 --messages-per-request 1 --message-size {size} --total 500"
        );
        let run = load(&server, &line);
        assert_eq!(run["sent"]["requests"], 500);
        is_latency(&run["sent"]["latency"], 500);
        // The server is a process of this machine that listens on the port it was asked at.
        assert!(run["server_usage"]["peak_resident_bytes"].as_u64().unwrap() > 0);
    }
}

#[test]
fn consumers_read_what_was_written_before() {
    let server = Server::start();
    let line = "consume --consumers 3 --partitions 2 --messages-per-request 50 --preload 1000 \
                --message-size 20 --total 3000";
    let received = &load(&server, line)["received"];
    assert_eq!(received["requests"], 60);
    assert_eq!(received["messages"], 3000);
    assert_eq!(received["bytes"], 60_000);
    is_latency(&received["latency"], 60);
}

#[test]
fn a_group_reads_everything_once() {
    let server = Server::start();
    let line = "consume --group --consumers 2 --partitions 4 --messages-per-request 50 \
                --message-size 20 --total 2000";
    let received = &load(&server, line)["received"];
    assert_eq!(received["messages"], 2000, "{received}");
}

#[test]
fn what_is_sent_is_received() {
    let server = Server::start();
    for group in ["", "--group"] {
        let line = format!(
            "both --producers 2 --consumers 2 --partitions 2 --messages-per-request 10 \
             --message-size 50 --total 1000 {group}"
        );
        let run = load(&server, &line);
        assert_eq!(run["sent"]["messages"], 1000);
        assert_eq!(run["received"]["messages"], 1000);
        assert_eq!(run["received"]["bytes"], 50_000);
    }
}

#[test]
fn latency_is_from_due_to_received() {
    let server = Server::start();
    let run = load(&server, "latency --producers 2 --rate 2000 --total 300");
    is_latency(&run["end_to_end"], 300);
    is_latency(&run["sent"]["latency"], 300);
    assert_eq!(run["received"]["messages"], 300);
    assert_eq!(run["received"]["latency"], Value::Null);
    assert_eq!(run["plan"]["messages_per_second"], 2000.0);
    // 300 messages at 2,000 a second: the schedule was kept.
    assert!(run["seconds"].as_f64().unwrap() > 0.14);
}

#[test]
fn quic_and_websocket_carry_a_load() {
    let server = Server::start();
    for (section, scheme, line) in [
        ("quic", "galgo+quic", "both --messages-per-request 10"),
        ("websocket", "galgo+ws", "both --messages-per-request 10 --in-flight 4"),
    ] {
        let mut command = galgo();
        command.args(["--output", "json", "--server"]);
        command.arg(format!("{scheme}://{}", server.listener(section)));
        command.args(["bench"]).args(line.split_whitespace());
        command.args(["--message-size", "100", "--total", "200", "--warm-up", "0s"]);
        let run = run(command).ok().json();
        assert_eq!(run["sent"]["messages"], 200, "{section}");
        assert_eq!(run["received"]["messages"], 200, "{section}");
        assert_eq!(streams(&server), 0);
    }
}

#[test]
fn without_a_server_one_is_started_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for (transport, carrier) in [("tcp", "tcp"), ("websocket", "wss")] {
        let mut command = galgo();
        command.args(["--output", "json", "--transport", transport, "bench", "produce"]);
        command.args(["--duration", "100ms", "--warm-up", "0s", "--durability", "os"]);
        command.args(["--message-size", "100", "--messages-per-request", "5", "--dir"]);
        command.arg(dir.path());
        if carrier == "wss" {
            command.arg("--tls");
        }
        let run = run(command).ok().json();
        assert_eq!(
            (&run["server"]["fresh"], &run["server"]["durability"]),
            (&true.into(), &"os".into())
        );
        assert_eq!(run["server"]["transport"], carrier);
        assert!(run["sent"]["messages"].as_u64().unwrap() > 0);
        assert!(run["server_usage"]["peak_resident_bytes"].as_u64().unwrap() > 0);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

#[test]
fn saved_runs_make_one_page() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let line = "--output json bench produce --message-size 10 --messages-per-request 2 --total 400";
    for name in ["a.json", "b<i>.json"] {
        let mut command = server.command(line);
        command.args(["--warm-up", "0s", "--report"]).arg(path("one.html"));
        std::fs::write(path(name), run(command).ok().out).unwrap();
    }
    assert!(std::fs::read_to_string(path("one.html")).unwrap().contains("<svg"));
    let report = |files: &[&str]| -> Done {
        let mut command = galgo();
        command.args(["bench", "report", "--html"]).arg(path("both.html"));
        run({
            command.args(files.iter().map(|name| path(name)));
            command
        })
    };
    report(&["a.json", "b<i>.json"]).ok();
    let page = std::fs::read_to_string(path("both.html")).unwrap();
    assert!(
        page.contains("2 runs compared") && page.contains("b&lt;i&gt;") && !page.contains("<i>.")
    );
    std::fs::write(path("other.json"), "{\"format\":\"x\"}").unwrap();
    assert!(report(&["other.json"]).fails(2).err.contains("not a run of galgo bench"));
    assert!(report(&["missing.json"]).fails(1).err.contains("missing.json"));
}

#[test]
fn streams_are_kept_on_request_only() {
    let server = Server::start();
    let run = server.json("bench produce --total 10 --messages-per-request 1 --warm-up 0s --keep");
    let kept = run["kept_streams"][0].as_str().unwrap();
    assert_eq!(server.json("stream list")[0]["name"], kept);
}

#[test]
fn impossible_loads_are_refused_before_anything_starts() {
    let server = Server::start();
    let quic = format!("galgo+quic://{}", server.listener("quic"));
    let refused = |arguments: &[&str], word: &str| {
        let mut command = galgo();
        command.args(["bench"]).args(arguments);
        let done = run(command).fails(2);
        assert!(done.err.contains(word), "{}", done.err);
    };
    refused(&["produce", "--in-flight", "2", "--server", &quic], "QUIC");
    refused(&["produce", "--keep"], "--keep");
    refused(&["produce", "--group"], "--group");
    refused(&["produce", "--total", "5", "--duration", "1s"], "--duration");
    refused(&["produce", "--message-size", "9..5"], "5..9");
    refused(&["latency", "--message-size", "7"], "8 bytes");
    refused(&["produce", "--report", "/nonexistent/a.html"], "/nonexistent");
    refused(&["produce", "--dir", "/tmp", "--server", &quic], "--dir");
    assert_eq!(streams(&server), 0);
}

#[test]
fn failures_say_who_has_to_act() {
    let mut command = galgo();
    command.args(["bench", "produce", "--server", "galgo://127.0.0.1:1"]);
    assert!(run(command).fails(3).err.contains("127.0.0.1:1"));
    let server = Server::start();
    let mut command = server.command("user create anna --password-env NEW_PASSWORD");
    run({
        command.env("NEW_PASSWORD", "secret1");
        command
    })
    .ok();
    let mut command = galgo();
    command.args(["bench", "produce", "--server"]);
    command.arg(format!("galgo://anna:secret1@{}", server.address()));
    let refused = run(command).fails(4);
    assert!(refused.err.contains("the right to manage streams"), "{}", refused.err);
}

#[test]
fn an_interrupted_run_reports_and_leaves_nothing() {
    let server = Server::start();
    let line = "--output json bench both --message-size 10 --messages-per-request 1 --duration 1h";
    let mut command = server.command(line);
    command.args(["--warm-up", "0s"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    eventually("the load has begun", || {
        let stats = server.json("stats");
        stats["messages_count"].as_u64().is_some_and(|messages| messages > 10)
    });
    let process = Path::new("/proc").join(child.id().to_string());
    assert!(process.exists());
    let mut kill = std::process::Command::new("kill");
    assert!(kill.args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let run: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(run["interrupted"], true);
    assert!(run["sent"]["messages"].as_u64().unwrap() > 0);
    assert_eq!(streams(&server), 0);
}
