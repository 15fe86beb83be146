//! The log of the real binary tells who did what, and who was refused what, by name.

use crate::harness::{Server, eventually, run, run_with_input};

/// Whether some line has all of these.
fn has(log: &str, parts: &[&str]) -> bool {
    log.lines().any(|line| parts.iter().all(|part| line.contains(part)))
}

/// Waits for the line: the log has a thread of its own, which nobody who did something waits for.
#[track_caller]
fn assert_has(server: &Server, parts: &[&str]) {
    eventually(&format!("a line with {parts:?}"), || has(&server.log(), parts));
}

/// Nothing told who had deleted a topic.
#[test]
fn every_change_is_a_line_with_user_address_and_names() {
    let server = Server::start();
    let as_root = ["user=\"galgo\"", "address=127.0.0.1:"];
    for (line, parts) in [
        ("stream create shop", &["stream created", "stream=\"shop\""][..]),
        ("stream update shop store", &["stream renamed", "stream=\"shop\"", "to=\"store\""]),
        (
            "topic create store orders --partitions 2",
            &["topic created", "stream=\"store\"", "topic=\"orders\"", "2 partitions"],
        ),
        ("topic update store orders --expiry 1h", &["topic updated", "topic=\"orders\""]),
        (
            "partition create store orders --count 3",
            &["partitions added", "topic=\"orders\"", "to=\"3\""],
        ),
        (
            "partition delete store orders --count 1 --yes",
            &["partitions removed", "topic=\"orders\"", "to=\"1\""],
        ),
        (
            "group create store orders billing",
            &["group created", "topic=\"orders\"", "group=\"billing\""],
        ),
        (
            "group delete store orders billing --yes",
            &["group deleted", "stream=\"store\"", "group=\"billing\""],
        ),
        ("topic purge store orders --yes", &["messages purged", "topic=\"orders\""]),
        (
            "token create robot",
            &["access token created", "target_user=\"galgo\"", "token=\"robot\""],
        ),
        ("token delete robot --yes", &["access token deleted", "token=\"robot\""]),
    ] {
        server.ok(line);
        assert_has(&server, &[parts, &as_root].concat());
    }
    let with_password = |line: &str| {
        let mut command = server.command(&format!("{line} --password-env NEW_PASSWORD"));
        command.env("NEW_PASSWORD", "not in the log");
        run(command).ok();
    };
    with_password("user create anna");
    assert_has(&server, &["user created", "target_user=\"anna\"", as_root[0]]);
    server.ok("permission set anna --global read-users --topic store/orders:send-messages");
    let rights = ["permissions of a user replaced", "read_users; store/orders: send_messages"];
    assert_has(&server, &rights);
    with_password("user reset-password anna");
    assert_has(&server, &["password of a user replaced", "target_user=\"anna\"", as_root[0]]);
    server.ok("user deactivate anna");
    assert_has(&server, &["user deactivated", "target_user=\"anna\""]);
    server.ok("user delete anna --yes");
    assert_has(&server, &["user deleted", "target_user=\"anna\""]);
    server.ok("topic delete store orders --yes");
    assert_has(&server, &["topic deleted", "stream=\"store\"", "topic=\"orders\"", as_root[1]]);
    server.ok("stream delete store --yes");
    assert_has(&server, &["stream deleted", "stream=\"store\""]);
    let log = server.log();
    assert!(!log.contains("not in the log") && !log.contains("argon2"), "{log}");
}

/// Failed logins and refused requests left no trace, refused connections one that nobody sees.
#[test]
fn what_was_refused_is_a_line_and_a_flood_of_it_no_flood_of_lines() {
    let server = Server::start_with(&[("GALGO_LIMITS_CONNECTIONS_PER_ADDRESS", "2")]);
    server.ok("stream create shop");
    server.ok("topic create shop orders");
    let mut command = server.command("user create anna --password-env NEW_PASSWORD");
    command.env("NEW_PASSWORD", "secret");
    run(command).ok();
    for _ in 0..12 {
        let mut command = server.command("stream list");
        command.env("GALGO_USERNAME", "admin").env("GALGO_PASSWORD", "a guess");
        run(command).fails(4);
    }
    let refused = "login refused";
    assert_has(&server, &[refused, "user=\"admin\"", "address=127.0.0.1", "wrong username"]);
    assert_has(&server, &["login slowed", "user=\"admin\""]);
    let lines = server.log().lines().filter(|line| line.contains(refused)).count();
    assert_eq!(lines, 1, "{}", server.log());

    for _ in 0..3 {
        let mut command = server.command("topic delete shop orders --yes");
        command.env("GALGO_USERNAME", "anna").env("GALGO_PASSWORD", "secret");
        run(command).fails(4);
    }
    let names = ["stream=\"shop\"", "topic=\"orders\"", "user=\"anna\"", "manage_topic"];
    assert_has(&server, &[&["request refused"][..], &names].concat());

    let held: Vec<_> =
        (0..2).map(|_| std::net::TcpStream::connect(server.address()).unwrap()).collect();
    crate::harness::eventually("a connection is refused", || server.run("ping").code != 0);
    drop(held);
    assert_has(&server, &["connection refused", "limits.connections_per_address"]);
}

/// Each offset that somebody stored who does not manage the topic left a line of a refusal, although nothing was refused.
#[test]
fn an_offset_that_is_stored_is_no_refusal() {
    let server = Server::with_topic(1);
    server.send("--batch 10", b"a\nb\n");
    let mut command =
        server.command("user create anna --password-env NEW_PASSWORD --topic s/t:poll-messages");
    command.env("NEW_PASSWORD", "secret");
    run(command).ok();
    let mut command = server.command("offset set s t --partition 0 --consumer me 1");
    command.env("GALGO_USERNAME", "anna").env("GALGO_PASSWORD", "secret");
    run(command).ok();
    // What was refused is told at once, so that what would come of the offset comes before what comes of this.
    let mut command = server.command("topic delete s t --yes");
    command.env("GALGO_USERNAME", "anna").env("GALGO_PASSWORD", "secret");
    run(command).fails(4);
    assert_has(&server, &["request refused", "user=\"anna\""]);
    let refused = |line: &&str| line.contains("request refused") && line.contains("anna");
    assert_eq!(server.log().lines().filter(refused).count(), 1, "{}", server.log());
}

/// A ping takes no login, but each one counted as a failed login of the user `galgo`.
#[test]
fn a_ping_without_credentials_is_no_login() {
    let settings = &[("GALGO_LOGIN_FREE_FAILURES", "0"), ("GALGO_LOGIN_FAILURES_MAX", "1")];
    let server = Server::start_with(settings);
    let mut command = server.command("user password --password-env OLD --new-password-env NEW");
    command.env("OLD", "galgo").env("NEW", "another one");
    run(command).ok();
    for _ in 0..3 {
        server.ok("ping");
    }
    assert!(!server.log().contains("login refused"), "{}", server.log());
    let mut command = server.command("stream list");
    command.env("GALGO_USERNAME", "galgo").env("GALGO_PASSWORD", "another one");
    run(command).ok();
}

/// Lines about damage and recovery had the number of a directory, which is not that of a partition.
#[test]
fn damage_is_told_by_the_names_of_stream_and_topic() {
    let mut server = Server::start();
    for line in ["stream create before", "topic create before t --partitions 3"] {
        server.ok(line);
    }
    let sent = run_with_input(server.command("send before t --partition 2"), b"one\ntwo\nthree\n");
    sent.ok();
    server.stop_and_start(&[]);
    server.ok("stream update before after");
    let partitions = std::fs::read_dir(server.data_dir().join("partitions")).unwrap();
    let dir = partitions.map(|entry| entry.unwrap().path()).next().unwrap();
    let segment = dir.join("00000000000000000000.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    let payload = bytes.windows(3).position(|window| window == b"two").unwrap();
    bytes[payload] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let _ = server.run("poll after t --partition 2 --first --count 3");
    let fenced = ["damaged messages fenced", "stream=\"after\"", "topic=\"t\"", "partition=2"];
    eventually("the line", || has(&server.log(), &fenced));
}
