//! The same commands over every transport, with TLS and without.

use crate::harness::{Server, galgo, run};

#[test]
fn every_transport_carries_a_command() {
    let server = Server::start();
    for (transport, word) in [("tcp", "tcp"), ("quic", "quic"), ("websocket", "ws")] {
        let address = server.listener(transport);
        for (scheme, options) in
            [("galgo".to_owned(), vec!["--transport", transport]), (scheme(transport), vec![])]
        {
            let mut command = galgo();
            command.args(["me", "--output", "json", "--server"]);
            command.arg(format!("{scheme}://{address}")).args(options);
            assert_eq!(run(command).ok().json()["transport"], word);
        }
    }
}

fn scheme(transport: &str) -> String {
    match transport {
        "tcp" => "galgo+tcp".to_owned(),
        "quic" => "galgo+quic".to_owned(),
        _ => "galgo+ws".to_owned(),
    }
}

#[test]
fn tls_takes_no_certificate_that_nobody_vouches_for() {
    let server = Server::start_with(&[("GALGO_TCP_TLS_ENABLED", "true")]);
    let mut command = galgo();
    command.args(["ping", "--tls", "--server", &format!("galgo://{}", server.address())]);
    let refused = run(command).fails(3);
    assert!(refused.err.to_lowercase().contains("certificate"), "{}", refused.err);
    let mut command = galgo();
    let url = format!("galgo://{}?tls=true&tls_validate_certificate=false", server.address());
    command.args(["ping", "--server", &url]);
    run(command).ok();
    let mut command = galgo();
    command.args(["ping", "--tls", "--tls-ca", "/nonexistent.pem", "--server"]);
    command.arg(format!("galgo://{}", server.address()));
    let refused = run(command);
    assert!(refused.code != 0 && refused.err.contains("/nonexistent.pem"), "{}", refused.err);
}

#[test]
fn a_quic_session_is_over_when_its_command_is() {
    // Long enough that only a word of the tool can end the session in time.
    let server = Server::start_with(&[("GALGO_QUIC_MAX_IDLE_TIMEOUT", "1h")]);
    let place = format!("{}?max_idle_timeout=1h", server.listener("quic"));
    for (login, code) in [("", 0), ("galgo:galgo@", 0), ("galgo:wrong@", 4)] {
        let mut command = galgo();
        command.args(["me", "--server", &format!("galgo+quic://{login}{place}")]);
        assert_eq!(run(command).code, code, "{login}");
    }
    let config = tempfile::tempdir().unwrap();
    for line in ["login --username galgo --password-env SECRET", "logout"] {
        let mut command = galgo();
        command.args(line.split(' ')).env("XDG_CONFIG_HOME", config.path()).env("SECRET", "galgo");
        if line != "logout" {
            command.args(["--server", &format!("galgo+quic://{place}")]);
        }
        run(command).ok();
    }
    crate::harness::eventually("the sessions are gone", || {
        server.json("clients").as_array().unwrap().len() == 1
    });
}

/// A closed port took the whole connect timeout over QUIC, and then the tool asked about TLS.
#[test]
fn a_port_nobody_listens_on_is_refused_over_quic_as_over_tcp() {
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = galgo();
    // A minute: only the word of the system ends the attempt before the test's own patience does.
    command.args(["ping", "--server", &format!("galgo+quic://{free}?connect_timeout=60s")]);
    let refused = run(command);
    assert_eq!(refused.code, 3, "{}", refused.err);
    assert!(refused.err.contains("refused") && !refused.err.contains("TLS"), "{}", refused.err);
}
