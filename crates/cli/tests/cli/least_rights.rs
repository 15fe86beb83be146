//! The recipes of operations.md for users with the least rights, as they stand there.
//!
//! A producer that might only send could not send by key, nor a consumer that might only poll use `tail` or
//! be in a group: both asked for the topic, which takes the right to read it, and so everybody was given
//! that.

use crate::harness::{Done, Server, run, run_with_input};

/// Runs a command as a user with the password `secret`.
fn run_as(server: &Server, user: &str, line: &str, input: Option<&[u8]>) -> Done {
    let mut command = server.command(line);
    command.env("GALGO_USERNAME", user).env("GALGO_PASSWORD", "secret");
    match input {
        Some(input) => run_with_input(command, input),
        None => run(command),
    }
}

/// Runs what the recipe under `title` says, with `USER` and the topic as the tests have them.
fn follow(server: &Server, title: &str, user: &str) {
    let page = include_str!("../../../../docs/operations.md");
    let (_, rest) = page.split_once(title).unwrap();
    let (_, rest) = rest.split_once("```sh\n").unwrap();
    let (commands, _) = rest.split_once("```").unwrap();
    assert!(!commands.trim().is_empty());
    for line in commands.lines() {
        let line = line.strip_prefix("galgo ").unwrap();
        let line = line.replace("USER", user).replace("shop/orders", "s/t");
        let line = line.replace("shop orders", "s t");
        let mut command = server.command(&line);
        if line.starts_with("user create") {
            command = server.command(&format!("{line} --password-env NEW_PASSWORD"));
            command.env("NEW_PASSWORD", "secret");
        }
        run(command).ok();
    }
}

#[test]
fn a_producers_user_sends_with_and_without_a_key_and_reads_nothing() {
    let server = Server::with_topic(4);
    follow(&server, "**A producer's user**", "shop-web");
    let lines = b"a 1\nb 2\na 3\n".as_slice();
    for line in ["send s t", "send s t --key a", "send s t --key-field 1", "send s t --partition 2"]
    {
        run_as(&server, "shop-web", line, Some(lines)).ok();
    }
    run_as(&server, "shop-web", "send s t --whole", Some(b"all of it")).ok();
    assert_eq!(server.ok("tail s t -n 100").out.lines().count(), 13);
    for line in
        ["tail s t", "poll s t --partition 0", "topic get s t", "group list s t", "stream list"]
    {
        run_as(&server, "shop-web", line, None).fails(4);
    }
    server.ok("topic update s t --deduplication on");
    run_as(&server, "shop-web", "send s t --key a --id 1", Some(lines)).ok();
}

#[test]
fn a_consumers_user_tails_polls_and_is_in_a_group_and_sends_nothing() {
    let server = Server::with_topic(3);
    follow(&server, "**A consumer's user**", "billing");
    server.send("--key-field 1", b"a 1\nb 2\nc 3\nd 4\n");
    let shown = |line: &str| run_as(&server, "billing", line, None).ok().out;
    assert_eq!(shown("tail s t").lines().count(), 4);
    assert_eq!(shown("tail s t --from start -n 3").lines().count(), 3);
    shown("poll s t --partition 0 --first");
    shown("offset set s t --partition 0 --consumer billing 0");
    assert_eq!(shown("tail s t --group billing -n 4").lines().count(), 4);
    let progress = server.json("group get s t billing");
    assert_eq!(progress["lag"], 0, "what it has shown is committed: {progress}");
    assert!(shown("group get s t billing").contains("billing"));
    shown("poll s t --group billing");
    for line in [
        "group delete s t billing --yes",
        "topic purge s t --yes",
        "topic get s t",
        "topic list s",
        "send s t --whole",
    ] {
        run_as(&server, "billing", line, Some(b"x")).fails(4);
    }
    // Without the recipe's last line it may make a group of its own, too.
    shown("group create s t another");
}
