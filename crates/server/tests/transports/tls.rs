//! TLS over TCP: both versions, files and made certificates, replacement, client certificates.

use rustls::SignatureScheme;
use rustls::version::{TLS12, TLS13};
use tokio::io::AsyncReadExt;

use crate::certificates::{Authority, connect, trusting};
use crate::frames::{Frames, run, stop};
use crate::server::{NO_STOP_TIMEOUT, TestServer};
use crate::wire::{POLL, SEND, Wire, poll_payload, polled, send_payload};

const P256: SignatureScheme = SignatureScheme::ECDSA_NISTP256_SHA256;
const ON: (&str, &str) = ("GALGO_TCP_TLS_ENABLED", "true");

#[test]
fn both_versions_carry_frames_under_a_certificate_made_at_the_start() {
    let server = TestServer::with(&[ON]);
    run(async {
        for version in [&TLS12, &TLS13] {
            let stream = connect(server.address(), trusting(&[version], vec![P256])).await.unwrap();
            let mut frames = Frames::new(stream);
            frames.assert_in_step().await;
            frames.login().await;
        }
    });
}

#[test]
fn large_requests_and_answers_pass_whole() {
    let server = TestServer::with(&[ON]);
    run(async {
        let stream = connect(server.address(), trusting(&[&TLS13], vec![P256])).await.unwrap();
        let mut frames = Frames::new(stream);
        frames.login().await;
        create_topic_over(&mut frames).await;
        // One message, since a poll may return fewer than there are.
        let payload: Vec<u8> = (0..15_000_000u32).map(|i| (i % 251) as u8).collect();
        assert_eq!(frames.call(SEND, &send_payload(&[&payload])).await.0, 0);
        let (status, answer) = frames.call(POLL, &poll_payload(0, 1)).await;
        assert_eq!(status, 0);
        assert!(polled(&answer)[0].payload == payload);
        frames.assert_in_step().await;
    });
}

/// Creates stream "s" and topic "t" through a connection of any kind.
pub(crate) async fn create_topic_over<S>(frames: &mut Frames<S>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let [stream, topic] = crate::wire::topic_requests(1);
    assert_eq!(frames.call(crate::wire::CREATE_STREAM, &stream).await.0, 0);
    assert_eq!(frames.call(crate::wire::CREATE_TOPIC, &topic).await.0, 0);
}

#[test]
fn new_files_are_shown_after_a_reload_and_open_connections_stay() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let files = authority.issue(dir.path(), "server");
    let server = TestServer::with(&[
        ON,
        ("GALGO_TCP_TLS_CERT_FILE", files.cert()),
        ("GALGO_TCP_TLS_KEY_FILE", files.key()),
    ]);
    run(async {
        let address = server.address();
        let mut old = Frames::new(connect(address, authority.client(None)).await.unwrap());
        old.assert_in_step().await;

        let next = Authority::new();
        next.issue(dir.path(), "server");
        server.running().reload_certificates();
        old.assert_in_step().await;
        assert!(connect(address, authority.client(None)).await.is_err());
        let mut new = Frames::new(connect(address, next.client(None)).await.unwrap());
        new.assert_in_step().await;

        std::fs::write(&files.cert_file, "not a certificate").unwrap();
        server.running().reload_certificates();
        let mut still = Frames::new(connect(address, next.client(None)).await.unwrap());
        still.assert_in_step().await;
        old.assert_in_step().await;
    });
}

#[test]
fn a_client_without_the_right_certificate_is_refused_where_one_is_required() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let files = authority.issue(dir.path(), "server");
    let ca = authority.file(dir.path());
    let own = authority.issue(dir.path(), "client");
    let stranger = Authority::new().issue(dir.path(), "stranger");
    for (demand, without) in [("required", false), ("optional", true)] {
        let server = TestServer::with(&[
            ON,
            ("GALGO_TCP_TLS_CERT_FILE", files.cert()),
            ("GALGO_TCP_TLS_KEY_FILE", files.key()),
            ("GALGO_TCP_TLS_CLIENT_CA_FILE", ca.to_str().unwrap()),
            ("GALGO_TCP_TLS_CLIENT_CERTIFICATES", demand),
        ]);
        run(async {
            for (shown, welcome) in [(Some(&own), true), (Some(&stranger), false), (None, without)]
            {
                // In TLS 1.3 the client's side is done before the server has looked at its certificate.
                let stream = connect(server.address(), authority.client(shown)).await;
                let served = match stream {
                    Ok(mut stream) if !welcome => stream.read_u8().await.is_ok(),
                    Ok(stream) => {
                        Frames::new(stream).assert_in_step().await;
                        true
                    }
                    Err(_) => false,
                };
                assert_eq!(served, welcome, "{demand}");
            }
        });
    }
}

#[test]
fn whoever_does_not_speak_tls_is_closed_after_the_deadline_and_holds_up_nobody() {
    let server = TestServer::with(&[ON, ("GALGO_LIMITS_HANDSHAKE_TIMEOUT", "200ms")]);
    let mut silent = Wire::connect(server.address());
    let mut plain = Wire::connect(server.address());
    plain.write(&crate::wire::frame(crate::wire::PING, &[]));
    run(async {
        let stream = connect(server.address(), trusting(&[&TLS13], vec![P256])).await.unwrap();
        Frames::new(stream).assert_in_step().await;
    });
    silent.assert_closed();
    // What it reads is the alert of TLS, not an answer.
    let mut rest = Vec::new();
    let _ = std::io::Read::read_to_end(&mut plain.socket, &mut rest);
    assert!(rest.len() < 8, "{rest:?}");
}

#[test]
fn the_end_of_the_server_is_told_over_tls_too() {
    let mut server = TestServer::with(&[ON, NO_STOP_TIMEOUT]);
    run(async {
        let stream = connect(server.address(), trusting(&[&TLS13], vec![P256])).await.unwrap();
        let mut frames = Frames::new(stream);
        frames.login().await;
        stop(&mut server);
        assert_eq!(frames.answer().await, (8, vec![]));
        frames.assert_closed().await;
    });
}

#[test]
fn a_listener_without_a_certificate_is_a_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [ON, ("GALGO_TCP_TLS_SELF_SIGNED", "false")];
    let error = crate::server::start(&dir.path().join("data"), &settings).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().starts_with("[tcp.tls]: name cert_file"), "{error}");
}

/// A typo in the name made a listener show a certificate of its own making; nobody was told.
#[test]
fn a_named_file_that_is_missing_is_an_error_for_every_listener() {
    let dir = tempfile::tempdir().unwrap();
    let own = crate::certificates::Authority::new().issue(dir.path(), "server");
    for (listener, section, shown) in [
        ("TCP", "TCP_TLS", "[tcp.tls]"),
        ("WEBSOCKET", "WEBSOCKET_TLS", "[websocket.tls]"),
        ("HTTP", "HTTP_TLS", "[http.tls]"),
        ("QUIC", "QUIC_CERTIFICATE", "[quic.certificate]"),
    ] {
        for (cert, key) in [("typo.pem", own.key()), (own.cert(), "typo.pem")] {
            let variables = [
                (format!("GALGO_{listener}_ENABLED"), "true"),
                (format!("GALGO_{section}_ENABLED"), "true"),
                (format!("GALGO_{section}_CERT_FILE"), cert),
                (format!("GALGO_{section}_KEY_FILE"), key),
            ];
            let settings: Vec<_> =
                variables.iter().map(|(name, value)| (name.as_str(), *value)).collect();
            let data_dir = dir.path().join("data");
            let error = crate::server::start(&data_dir, &settings).unwrap_err().to_string();
            assert!(error.starts_with(shown) && error.contains("typo.pem"), "{error}");
            assert!(!data_dir.exists());
        }
    }
}
