//! Users, permissions and tokens.

use crate::harness::{Done, Server, run, run_with_input};

/// Creates a user with the password `secret`.
fn create(server: &Server, line: &str) -> Done {
    let mut command = server.command(&format!("user create {line} --password-env NEW_PASSWORD"));
    command.env("NEW_PASSWORD", "secret");
    run(command).ok()
}

/// Runs a command as a user with the password `secret`.
fn run_as(server: &Server, user: &str, line: &str) -> Done {
    let mut command = server.command(line);
    command.env("GALGO_USERNAME", user).env("GALGO_PASSWORD", "secret");
    run(command)
}

#[test]
fn a_user_lives_from_create_to_delete() {
    let server = Server::start();
    assert_eq!(create(&server, "anna").out, "user anna created, number 1\n");
    let list = server.ok("user list").out;
    assert!(list.starts_with("ID  NAME   STATUS  CREATED\n"), "{list}");
    assert_eq!(server.json("user list")[1]["username"], "anna");
    run_as(&server, "anna", "ping").ok();
    server.ok("user rename anna ann");
    assert_eq!(server.json("user get 1")["username"], "ann");
    server.ok("user deactivate ann");
    assert_eq!(server.json("user get ann")["status"], "inactive");
    run_as(&server, "ann", "ping").fails(4);
    server.ok("user activate ann");
    server.ok("user update ann --name bea --status active");
    assert!(server.ok("user get bea").out.contains("no permissions"));
    server.ok("user delete bea --yes");
    let missing = server.run("user get bea").fails(4);
    assert!(missing.err.contains("user bea does not exist"), "{}", missing.err);
    assert!(server.run("user update 0").fails(2).err.contains("nothing to change"));
}

#[test]
fn a_password_is_changed_and_never_an_argument() {
    let server = Server::start();
    let made = run_with_input(server.command("user create anna --password-stdin"), b"secret\n");
    made.ok();
    let refused = server.run("user create bea").fails(2);
    assert!(refused.err.contains("--password-stdin"), "{}", refused.err);
    let mut command = server.command("user password --password-stdin");
    command.env("GALGO_USERNAME", "anna").env("GALGO_PASSWORD", "secret");
    run_with_input(command, b"secret\nchanged\n").ok();
    run_as(&server, "anna", "ping").fails(4);
    let mut command =
        server.command("user password anna --password-env OLD --new-password-env NEW");
    command.env("OLD", "changed").env("NEW", "secret");
    run(command).ok();
    run_as(&server, "anna", "ping").ok();
    let wrong = server.command("user password anna --password-stdin");
    run_with_input(wrong, b"not it\nwhatever\n").fails(4);
}

#[test]
fn permissions_are_set_shown_by_name_and_taken_away() {
    let server = Server::with_topic(1);
    create(&server, "anna --stream s:read-topics");
    run_as(&server, "anna", "topic list s").ok();
    let refused = run_as(&server, "anna", "stats").fails(4);
    assert!(
        refused.err.contains("the flag read-servers of galgo permission set"),
        "{}",
        refused.err
    );
    server.ok("permission set anna --global read-servers --topic s/t:poll-messages,send-messages");
    let shown = server.ok("permission show anna").out;
    for part in ["global  -     read-servers", "topic   s/t   poll-messages, send-messages"] {
        assert!(shown.contains(part), "{shown}");
    }
    let document = server.json("permission show anna");
    assert_eq!(document["global"][0], "read-servers");
    assert_eq!(document["streams"][0]["topics"][0]["name"], "t");
    assert_eq!(server.json("user get anna")["permissions"]["streams"][0]["name"], "s");
    run_as(&server, "anna", "stats").ok();
    run_as(&server, "anna", "poll s t --partition 0").ok();
    run_as(&server, "anna", "topic delete s t --yes").fails(4);
    let missing = server.run("permission set anna --stream nowhere:all").fails(4);
    assert!(missing.err.contains("nowhere"), "{}", missing.err);
    server.run("permission set anna").fails(2);
    server.run("permission clear anna").fails(2);
    server.ok("permission clear anna --yes");
    assert_eq!(server.ok("permission show anna").out, "no permissions\n");
    server.run("permission clear galgo --yes").fails(4);
}

#[test]
fn a_token_is_printed_once_and_logs_in() {
    let server = Server::start();
    let made = server.ok("token create deploy --expiry 12h");
    let token = made.out.trim().to_owned();
    assert!(!token.contains(char::is_whitespace) && made.err.contains("not shown again"));
    let mut command = server.command("ping");
    command.env("GALGO_SERVER", format!("galgo://{token}@{}", server.address()));
    run(command).ok();
    server.ok("token create ever --expiry never");
    let list = server.ok("token list").out;
    assert!(list.contains("never") && !list.contains(&token), "{list}");
    assert_eq!(server.json("token list").as_array().map(Vec::len), Some(2));
    assert!(server.json("token create third")["token"].is_string());
    server.run("token create deploy").fails(4);
    server.run("token delete deploy").fails(2);
    server.ok("token delete deploy --yes");
    server.run("token delete deploy --yes").fails(4);
}

#[test]
fn an_administrator_resets_a_password_and_nobody_resets_roots() {
    let server = Server::start();
    create(&server, "anna");
    create(&server, "chief --global manage-users");
    let reset = |by: Option<&str>, user: &str, password: &str| {
        let mut command =
            server.command(&format!("user reset-password {user} --password-env NEW_PASSWORD"));
        command.env("NEW_PASSWORD", password);
        if let Some(by) = by {
            command.env("GALGO_USERNAME", by).env("GALGO_PASSWORD", "secret");
        }
        run(command)
    };
    reset(None, "anna", "changed").ok();
    run_as(&server, "anna", "ping").fails(4);
    let done = reset(Some("chief"), "anna", "secret").ok();
    assert!(done.out.contains("its logins and tokens have ended"), "{}", done.out);
    run_as(&server, "anna", "ping").ok();
    for user in ["galgo", "chief"] {
        let refused = reset(Some("chief"), user, "mine now").fails(4);
        assert!(refused.err.contains("every right that the user has"), "{}", refused.err);
    }
    let refused = server.run("user deactivate galgo").ok();
    assert!(refused.err.is_empty(), "another one may manage users");
    let refused = run_as(&server, "chief", "user deactivate chief").fails(4);
    assert!(refused.err.contains("the last active user who may manage users"), "{}", refused.err);
    run_as(&server, "chief", "user activate galgo").ok();
    let refused = server.run("user reset-password anna").fails(2);
    assert!(refused.err.contains("--password-stdin"), "{}", refused.err);
}
