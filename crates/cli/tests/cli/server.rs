//! `galgo server` as the tool starts it.

use crate::harness::{Server, galgo, run};

/// P-ONE.
#[test]
fn the_printed_configuration_is_one_the_server_takes() {
    let mut command = galgo();
    command.args(["server", "--print-config"]);
    let printed = run(command).ok().out;
    let table: toml::Table = printed.parse().unwrap();
    assert_eq!(table["tcp"]["address"].as_str(), Some("127.0.0.1:8090"));
}

#[test]
fn a_taken_port_is_3_and_a_taken_directory_is_4() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let mut command = galgo();
    command.args(["server", "--dev", "--tcp", server.address(), "--quic", "off"]);
    command.args(["--websocket", "off", "--http", "off", "--data-dir"]).arg(dir.path());
    let refused = run(command).fails(3);
    assert!(refused.err.contains(server.address()), "{}", refused.err);

    let mut command = galgo();
    command.args(["server", "--dev", "--tcp", "127.0.0.1:0", "--quic", "off"]);
    command.args(["--websocket", "off", "--http", "off", "--data-dir"]);
    command.arg(server.data_dir());
    let refused = run(command).fails(4);
    assert!(refused.err.contains("in use"), "{}", refused.err);
    server.ok("ping");
}

#[test]
fn a_configuration_that_makes_no_sense_is_2() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("galgo.toml");
    std::fs::write(&file, "[tcp]\nadress = \"127.0.0.1:0\"\n").unwrap();
    let mut command = galgo();
    command.args(["server", "--config"]).arg(&file).current_dir(dir.path());
    let refused = run(command).fails(2);
    assert!(refused.err.contains("address"), "{}", refused.err);
}

/// An INFO line stood before the JSON error, so that no program could parse what it got.
#[test]
fn a_start_that_fails_is_one_json_object_for_a_program() {
    let server = Server::start();
    let mut command = galgo();
    command.args(["server", "--output", "json", "--dev", "--tcp", "127.0.0.1:0", "--quic", "off"]);
    command.args(["--websocket", "off", "--http", "off", "--data-dir"]);
    command.arg(server.data_dir());
    let refused = run(command).fails(4);
    assert_eq!(refused.err.lines().count(), 1, "{}", refused.err);
    assert_eq!(refused.error()["exit_code"], 4, "{}", refused.err);
}

/// The advice was to set one variable; done literally it was refused for want of the other.
#[test]
fn the_advice_for_dev_on_another_address_works() {
    let dir = tempfile::tempdir().unwrap();
    let start = |dev: bool| {
        let mut command = galgo();
        command.args(["server", "--tcp", "0.0.0.0:0", "--quic", "off", "--websocket", "off"]);
        command.args(["--http", "off", "--data-dir"]).arg(dir.path().join("data"));
        command.args(dev.then_some("--dev"));
        command
    };
    let refused = run(start(true)).fails(2);
    assert!(refused.err.contains("leave --dev out"), "{}", refused.err);
    assert!(refused.err.contains("GALGO_ROOT_USERNAME and GALGO_ROOT_PASSWORD"), "{}", refused.err);
    let mut command = start(false);
    command.env("GALGO_ROOT_USERNAME", "admin").env("GALGO_ROOT_PASSWORD", "something long");
    let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    let ready = dir.path().join("data/runtime/current_config.toml");
    crate::harness::eventually("ready", || ready.exists());
    child.kill().unwrap();
    child.wait().unwrap();
}
