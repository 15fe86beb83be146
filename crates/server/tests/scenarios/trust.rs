//! Who is let in and believed: certificates of both ends.

use galgo::{Client, ClientBuilder, ConnectError, Credentials, TlsOptions, Transport};

use crate::place::{Carrier, PASSWORD, Place, USERNAME, run};

fn builder(place: &Place) -> ClientBuilder {
    place.builder().credentials(Credentials::password(USERNAME, PASSWORD))
}

async fn refused(builder: ClientBuilder) -> ConnectError {
    builder.connect().await.unwrap_err()
}

fn strangers(place: &Place) -> TlsOptions {
    TlsOptions::default().ca_file(place.file("client-cert.pem"))
}

#[test]
fn a_server_nobody_vouches_for_is_not_believed() {
    for carrier in [Carrier::TcpTls, Carrier::WebSocketTls, Carrier::Quic] {
        run(carrier, async |place| {
            let error = refused(builder(place).tls(strangers(place))).await;
            assert!(matches!(error, ConnectError::Handshake { .. }), "{carrier:?}: {error}");
            assert!(!error.is_transient());
            let error = refused(builder(place).tls(TlsOptions::default())).await;
            assert!(matches!(error, ConnectError::Handshake { .. }), "{carrier:?}: {error}");
        });
    }
}

#[test]
fn a_certificate_for_another_name_is_not_believed() {
    for carrier in [Carrier::TcpTls, Carrier::WebSocketTls, Carrier::Quic] {
        run(carrier, async |place| {
            let options = TlsOptions::default().ca_file(place.file("server-cert.pem"));
            let error = refused(builder(place).tls(options.domain("example.com"))).await;
            assert!(matches!(error, ConnectError::Handshake { .. }), "{carrier:?}: {error}");
        });
    }
}

#[test]
fn without_the_check_anybody_is_believed() {
    for carrier in [Carrier::TcpTls, Carrier::WebSocketTls, Carrier::Quic] {
        run(carrier, async |place| {
            let options = strangers(place).validate_certificate(false);
            builder(place).tls(options).connect().await.unwrap().ping().await.unwrap();
        });
    }
}

#[test]
fn a_client_without_a_certificate_is_not_let_in_where_one_is_asked_for() {
    run(Carrier::TcpMutualTls, async |place| {
        let options = TlsOptions::default().ca_file(place.file("server-cert.pem"));
        refused(builder(place).tls(options)).await;
    });
}

#[test]
fn files_that_are_none_are_told_by_name() {
    run(Carrier::TcpTls, async |place| {
        let options = TlsOptions::default().ca_file(place.file("nothing.pem"));
        let error = refused(builder(place).tls(options)).await;
        assert!(error.to_string().contains("nothing.pem"), "{error}");
        let options = TlsOptions::default().ca_file(place.file("server-key.pem"));
        let error = refused(builder(place).tls(options)).await;
        assert!(matches!(error, ConnectError::TlsSetup(_)), "{error}");
    });
}

#[test]
fn speaking_past_each_other_is_told() {
    run(Carrier::Tcp, async |place| {
        let error = refused(builder(place).tls(TlsOptions::default())).await;
        assert!(!matches!(error, ConnectError::Login(_)), "{error}");
        let error = refused(builder(place).transport(Transport::WebSocket)).await;
        assert!(!matches!(error, ConnectError::Login(_)), "{error}");
    });
    run(Carrier::TcpTls, async |place| {
        let url = place.url().replace("&tls=true", "");
        Client::connect(&url.replace("://", &format!("://{USERNAME}:{PASSWORD}@")))
            .await
            .unwrap_err();
    });
}
