//! Logging in once, and commands that use what was kept.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::harness::{Server, galgo, run, run_with_input};

/// A command of a user whose configuration directory is `home`.
fn command(home: &Path, line: &str) -> Command {
    let mut command = galgo();
    command.env("XDG_CONFIG_HOME", home).args(line.split_whitespace());
    command
}

fn login(home: &Path, server: &Server, options: &str) {
    let url = format!("galgo://{}", server.address());
    let line = format!("login --server {url} --username galgo --password-stdin {options}");
    run_with_input(command(home, &line), b"galgo\n").ok();
}

#[test]
fn a_login_is_used_by_the_commands_after_it_until_the_logout() {
    let (home, server) = (tempfile::tempdir().unwrap(), Server::start());
    login(home.path(), &server, "--profile work");
    let file = home.path().join("galgo/profiles.toml");
    let kept = fs::read_to_string(&file).unwrap();
    assert!(!kept.contains("password") && kept.contains("token"), "{kept}");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));

    run(command(home.path(), "stats --profile work")).ok();
    let mut by_environment = command(home.path(), "stats");
    by_environment.env("GALGO_PROFILE", "work");
    run(by_environment).ok();
    let list = run(command(home.path(), "profile list")).ok().out;
    assert!(list.contains("work") && list.contains(server.address()), "{list}");
    let both = run(command(home.path(), "stats --profile work --server galgo://h")).fails(2);
    assert!(both.err.contains("both"), "{}", both.err);
    let unknown = run(command(home.path(), "stats --profile play")).fails(2);
    assert!(unknown.err.contains("galgo login --profile play"), "{}", unknown.err);

    assert_eq!(server.json("token list").as_array().map(Vec::len), Some(1));
    // A second login replaces the first one's token.
    login(home.path(), &server, "--profile work");
    assert_eq!(server.json("token list").as_array().map(Vec::len), Some(1));
    run(command(home.path(), "logout --profile work")).ok();
    assert_eq!(server.json("token list").as_array().map(Vec::len), Some(0));
    run(command(home.path(), "logout --profile work")).fails(2);
    assert!(!fs::read_to_string(&file).unwrap().contains("work"));
}

#[test]
fn the_default_profile_is_used_when_nothing_else_is_said() {
    let (home, server) = (tempfile::tempdir().unwrap(), Server::start());
    login(home.path(), &server, "");
    let pong = run(command(home.path(), "ping --output json")).ok().json();
    assert_eq!(pong["server"], server.address());
    server.ok(&format!(
        "token delete {} --yes",
        server.json("token list")[0]["name"].as_str().unwrap()
    ));
    let stale = run(command(home.path(), "ping")).fails(4);
    assert!(stale.err.contains("galgo login --profile default"), "{}", stale.err);
    let done = run(command(home.path(), "logout --output json")).ok().json();
    assert_eq!(done["token_deleted"], false);
}

#[test]
fn a_file_that_others_can_read_is_not_used() {
    let (home, server) = (tempfile::tempdir().unwrap(), Server::start());
    login(home.path(), &server, "");
    let file = home.path().join("galgo/profiles.toml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = run(command(home.path(), "ping")).fails(2);
    assert!(refused.err.contains("chmod 600"), "{}", refused.err);
}

#[test]
fn a_server_that_is_gone_keeps_its_profile_unless_told_otherwise() {
    let (home, mut server) = (tempfile::tempdir().unwrap(), Server::start());
    login(home.path(), &server, "");
    server.kill();
    let refused = run(command(home.path(), "logout")).fails(3);
    assert!(refused.err.contains("--local"), "{}", refused.err);
    run(command(home.path(), "logout --local")).ok();
    assert_eq!(run(command(home.path(), "profile list --output json")).ok().out, "[]\n");
}
