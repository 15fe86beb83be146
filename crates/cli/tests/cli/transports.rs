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
