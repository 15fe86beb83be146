//! Exit codes and error messages: what happened, to what, what to do next.

use std::net::TcpListener;

use crate::harness::{Server, galgo, run, run_with_input};

fn nobody_listens_here() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("galgo://{}", listener.local_addr().unwrap())
}

#[test]
fn a_usage_error_is_2() {
    for line in ["frobnicate", "stream", "poll s t", "ping --output xml", "--server http://x ping"]
    {
        let mut command = galgo();
        command.args(line.split(' '));
        run(command).fails(2);
    }
}

#[test]
fn a_usage_error_is_json_when_json_is_asked_for() {
    let mut command = galgo();
    command.args(["--output", "json", "poll", "s", "t"]);
    let failed = run(command).fails(2);
    let error = failed.error();
    assert_eq!(error["kind"], "usage");
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with("the following required arguments"), "{message}");
    assert!(error["hint"].as_str().unwrap().starts_with("Usage: galgo"), "{error}");
}

#[test]
fn no_server_is_3_and_says_where_it_looked() {
    let url = nobody_listens_here();
    let mut command = galgo();
    command.args(["ping", "--server", &url]);
    let failed = run(command).fails(3);
    assert!(failed.err.contains(url.trim_start_matches("galgo://")), "{}", failed.err);
    let mut command = galgo();
    command.args(["ping", "--output", "json", "--server", &url]);
    let failed = run(command).fails(3);
    assert_eq!(failed.error()["kind"], "connection");
    assert_eq!(failed.out, "");
}

#[test]
fn a_refusal_is_4_and_carries_the_code() {
    let server = Server::start();
    for line in [
        "stream get nowhere",
        "stream delete nowhere --yes",
        "topic list nowhere",
        "topic get nowhere t",
        "topic create nowhere t",
        "poll nowhere t --partition 0",
        "tail nowhere t",
        "partition create nowhere t --count 1",
    ] {
        let refused = server.run(line).fails(4);
        assert!(refused.err.contains("nowhere"), "{line}: {}", refused.err);
    }
    server.ok("stream create s");
    let refused = server.run("--output json stream create s").fails(4);
    assert_eq!(refused.error()["server_code"], 1012);
    assert_eq!(refused.error()["exit_code"], 4);
}

#[test]
fn a_name_that_cannot_be_one_is_refused() {
    let server = Server::start();
    let long = "x".repeat(256);
    server.run(&format!("stream create {long}")).fails(2);
    let mut command = server.command("stream create");
    command.arg("");
    run(command).fails(2);
}

#[test]
fn refused_credentials_say_how_to_give_others() {
    let server = Server::start();
    let mut command = server.command("stats");
    command.env("GALGO_SERVER", format!("galgo://ann:s3cret@{}", server.address()));
    let refused = run(command).fails(4);
    assert!(refused.err.contains("server URL"), "{}", refused.err);
    assert!(!refused.err.contains("s3cret"), "{}", refused.err);

    let mut command = server.command("stats");
    command.env("GALGO_USERNAME", "ann").env("GALGO_PASSWORD", "s3cret");
    let refused = run(command).fails(4);
    assert!(refused.err.contains("GALGO_PASSWORD"), "{}", refused.err);

    let mut command = server.command("stats");
    command.env("GALGO_USERNAME", "galgo").env("GALGO_PASSWORD", "galgo");
    run(command).ok();

    let mut command = server.command("stats");
    command.env("GALGO_USERNAME", "galgo");
    run(command).fails(2);
}

#[test]
fn a_user_without_a_password_is_taken_for_a_token_and_told_so() {
    let server = Server::start();
    let mut command = server.command("stats");
    command.env("GALGO_SERVER", format!("galgo://ann@{}", server.address()));
    let refused = run(command).fails(4);
    assert!(refused.err.contains("did you mean USER:PASSWORD@?"), "{}", refused.err);
}

#[test]
fn a_topic_without_partitions_is_not_called_missing() {
    let server = Server::with_topic(1);
    server.ok("partition delete s t --count 1 --yes");
    for line in ["send s t", "send s t --partition 0", "send s t --key k", "send s t --whole"] {
        let refused = run_with_input(server.command(line), b"a\n");
        assert_ne!(refused.code, 0, "{line}");
        assert!(refused.err.contains("has no partitions"), "{line}: {}", refused.err);
        assert!(
            refused.err.contains("galgo partition create s t --count 1"),
            "{line}: {}",
            refused.err
        );
        assert_eq!(refused.err.matches("topic t").count(), 1, "{line}: {}", refused.err);
    }
}

#[test]
fn a_failed_send_names_its_topic_once() {
    let server = Server::start();
    server.ok("stream create s");
    let refused = run_with_input(server.command("send s t"), b"a\n").fails(4);
    assert!(refused.err.contains("standard input"), "{}", refused.err);
    assert_eq!(refused.err.matches("stream s").count(), 1, "{}", refused.err);
}

#[test]
fn a_missing_offset_says_what_is_missing() {
    let server = Server::with_topic(1);
    for (line, missing) in [
        ("offset get x t --partition 0 --consumer me", "stream x does not exist"),
        ("offset get s x --partition 0 --consumer me", "topic x of stream s does not exist"),
        ("offset get s t --partition 7 --consumer me", "partition 7 of topic t of stream s does"),
        ("offset get s t --partition 0 --consumer me", "a stored offset of consumer me"),
    ] {
        let refused = server.run(line).fails(4);
        assert!(refused.err.contains(missing), "{line}: {}", refused.err);
    }
}

#[test]
fn a_file_that_is_not_there_is_1() {
    let server = Server::with_topic(1);
    let failed = server.run("send s t /nowhere/at/all").fails(1);
    assert!(failed.err.contains("/nowhere/at/all"), "{}", failed.err);
    server.run("send s t /").fails(2);
}

#[test]
fn a_file_with_authorities_that_is_not_there_is_1_too() {
    let server = Server::start();
    let failed = server.run("ping --tls-ca /nowhere/ca.pem").fails(1);
    assert!(failed.err.contains("cannot read /nowhere/ca.pem"), "{}", failed.err);
    assert!(failed.err.contains("No such file"), "{}", failed.err);
    let failed = server.run("ping --tls-ca /dev/null").fails(1);
    assert!(failed.err.contains("not a PEM file"), "{}", failed.err);
}

#[test]
fn a_port_of_something_else_is_told_apart_from_no_server() {
    let server = Server::start();
    for line in ["ping --tls", "ping --transport websocket"] {
        let failed = server.run(line).fails(3);
        assert!(!failed.err.contains("is the server running"), "{line}: {}", failed.err);
        assert!(
            failed.err.contains("TLS") || failed.err.contains("port"),
            "{line}: {}",
            failed.err
        );
    }
    let mut command = galgo();
    command.args(["ping", "--server", &format!("galgo://{}", server.listener("websocket"))]);
    let failed = run(command).fails(3);
    assert!(failed.err.contains("port"), "{}", failed.err);
}

#[test]
fn deleting_an_offset_is_asked_for_as_other_deletes_are() {
    let server = Server::with_topic(1);
    server.send("", b"a\n");
    server.ok("offset set s t --partition 0 --consumer me 0");
    let refused = server.run("offset delete s t --partition 0 --consumer me").fails(2);
    assert!(refused.err.contains("--yes"), "{}", refused.err);
    server.ok("offset get s t --partition 0 --consumer me");
    server.ok("offset delete s t --partition 0 --consumer me --yes");
    server.run("offset get s t --partition 0 --consumer me").fails(4);
}

#[test]
fn the_hint_for_dev_credentials_names_the_ways_to_give_others() {
    // Something that is not a Galgo server, on loopback.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("galgo://{}", listener.local_addr().unwrap());
    let answer = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        // Refuses every request with InvalidCredentials.
        let (mut socket, _) = listener.accept().unwrap();
        let mut buffer = [0; 1024];
        while socket.read(&mut buffer).is_ok_and(|read| read > 0) {
            if socket.write_all(&[42, 0, 0, 0, 0, 0, 0, 0]).is_err() {
                break;
            }
        }
    });
    let mut command = galgo();
    command.args(["stats", "--server", &url]);
    let refused = run(command).fails(4);
    assert!(refused.err.contains("GALGO_USERNAME"), "{}", refused.err);
    assert!(refused.err.contains("galgo://USER:PASSWORD@"), "{}", refused.err);
    answer.join().unwrap();
}
