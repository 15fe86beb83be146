//! A data directory that lost something, and root that lost its password, by the tool alone.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::{Done, Server, galgo, run, run_with_input};

fn on(data_dir: &Path, line: &str) -> Command {
    let mut command = galgo();
    command.args(line.split_whitespace()).arg("--data-dir").arg(data_dir);
    command
}

fn start_fails(data_dir: &Path) -> Done {
    run(on(data_dir, "server --dev --tcp 127.0.0.1:0 --quic off --websocket off --http off"))
        .fails(4)
}

#[test]
fn metadata_comes_back_from_its_copy_and_the_topic_is_there() {
    let mut server = Server::with_topic(1);
    server.send("", b"a line\n");
    let in_use = run(on(&server.data_dir(), "repair")).fails(4);
    assert!(in_use.err.contains("in use"), "{}", in_use.err);
    server.kill();
    let data_dir = server.data_dir();
    assert_eq!(run(on(&data_dir, "repair --dry-run")).ok().out, "nothing to repair\n");
    fs::remove_dir_all(data_dir.join("metadata")).unwrap();
    let refused = start_fails(&data_dir);
    assert!(refused.err.contains("galgo repair --data-dir"), "{}", refused.err);
    let told = run(on(&data_dir, "repair --dry-run")).ok();
    assert!(told.out.starts_with("to be restored from its second copy"), "{}", told.out);
    assert!(!data_dir.join("metadata").exists());
    let document = run(on(&data_dir, "--output json repair")).ok().json();
    assert_eq!(document["whole"], true);
    assert!(document["restored"][0]["path"].as_str().unwrap().ends_with("metadata"));
    server.restart();
    assert!(server.ok("tail s t --from start").out.contains("a line"));
}

/// INV-REPAIR.
#[test]
fn what_is_lost_is_given_up_only_when_that_is_accepted() {
    let mut server = Server::with_topic(1);
    server.send("", b"a line\n");
    server.kill();
    let data_dir = server.data_dir();
    for dir in ["metadata", "copy/metadata"] {
        fs::remove_dir_all(data_dir.join(dir)).unwrap();
    }
    let refused = start_fails(&data_dir);
    assert!(refused.err.contains("--accept-loss"), "{}", refused.err);
    let refused = run(on(&data_dir, "repair")).fails(4);
    assert!(refused.out.contains("lost: all of the metadata"), "{}", refused.out);
    assert!(!data_dir.join("aside").exists());
    let done = run(on(&data_dir, "repair --accept-loss")).ok();
    assert!(done.out.contains("moved aside: "), "{}", done.out);
    assert_eq!(fs::read_dir(data_dir.join("aside")).unwrap().count(), 1);
    server.restart();
    server.ok("stream create s");
    server.ok("topic create s t");
    assert_eq!(server.ok("tail s t --from start").out, "");
}

#[test]
fn root_gets_a_new_password_without_a_server() {
    let mut server = Server::start();
    let in_use = run(on(&server.data_dir(), "server reset-root --generate")).fails(4);
    assert!(in_use.err.contains("in use"), "{}", in_use.err);
    server.kill();
    let data_dir = server.data_dir();
    let mut command = on(&data_dir, "server reset-root --password-env NEW");
    command.env("NEW", "quite another");
    assert_eq!(run(command).ok().out, "root user galgo has a new password\n");
    server.restart();
    let ping = |server: &Server, password: &str| {
        let mut command = server.command("stream list");
        command.env("GALGO_USERNAME", "galgo").env("GALGO_PASSWORD", password);
        run(command)
    };
    ping(&server, "quite another").ok();
    ping(&server, "galgo").fails(4);
    server.kill();
    let done = run(on(&data_dir, "--output json server reset-root --generate")).ok().json();
    server.restart();
    ping(&server, done["password"].as_str().unwrap()).ok();
    server.kill();
    run_with_input(on(&data_dir, "server reset-root --password-stdin"), b"a third\n").ok();
    server.restart();
    ping(&server, "a third").ok();
    // Nothing is made where there is no data directory.
    let nowhere = data_dir.join("nowhere");
    run(on(&nowhere, "server reset-root --generate")).fails(4);
    run(on(&nowhere, "repair")).fails(4);
    assert!(!nowhere.exists());
}
