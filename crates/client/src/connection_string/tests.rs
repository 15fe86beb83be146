//! Connection strings, good and bad, and that secrets stay out of texts.

use std::time::Duration;

use super::*;
use crate::TlsOptions;

fn parse(text: &str) -> ConnectionString {
    text.parse().unwrap()
}

fn error(text: &str) -> ConnectionStringError {
    text.parse::<ConnectionString>().unwrap_err()
}

#[test]
fn hosts_and_ports() {
    for (text, host, port) in [
        ("galgo://127.0.0.1:8091", "127.0.0.1", 8091),
        ("galgo://localhost", "localhost", 8090),
        ("galgo+tcp://a.example.com/", "a.example.com", 8090),
        ("iggy://u:p@h:1", "h", 1),
        ("iggy+tcp://token@h:65535?nodelay=true", "h", 65535),
        ("galgo://[::1]", "::1", 8090),
        ("galgo+quic://h", "h", 8080),
        ("galgo+ws://h", "h", 8092),
        ("galgo+wss://h", "h", 8092),
        ("iggy+ws://u:p@h:9", "h", 9),
        ("galgo://u:p@[fe80::2]:7", "fe80::2", 7),
    ] {
        let string = parse(text);
        assert_eq!((string.host(), string.port()), (host, port), "{text}");
    }
}

#[test]
fn what_is_no_address_is_told() {
    use ConnectionStringError as E;
    assert_eq!(error("localhost:8090"), E::NoScheme);
    assert_eq!(error("iggy+http://u:p@h:1"), E::Scheme { scheme: "iggy+http".into() });
    assert_eq!(error("galgo://"), E::NoHost);
    assert_eq!(error("galgo://:8090"), E::NoHost);
    assert_eq!(error("galgo://::1:8090"), E::Host { host: "::1:8090".into() });
    assert_eq!(error("galgo://[::1"), E::Host { host: "[::1".into() });
    assert_eq!(error("galgo://[::1]8090"), E::Host { host: "[::1]8090".into() });
    assert_eq!(error("galgo://[localhost]"), E::Host { host: "[localhost]".into() });
    assert_eq!(error("galgo://a/b"), E::Host { host: "a/b".into() });
    for port in ["", "0", "65536", "x"] {
        assert_eq!(error(&format!("galgo://h:{port}")), E::Port { port: port.into() });
    }
}

#[test]
fn credentials_are_optional_and_decoded() {
    assert_eq!(parse("galgo://h").credentials(), None);
    let of = |text: &str| parse(text).credentials().cloned().unwrap();
    assert_eq!(of("galgo://ann:p%40%3A%3f@h"), Credentials::password("ann", "p@:?"));
    assert_eq!(of("galgo://ann:p@ss:word@h"), Credentials::password("ann", "p@ss:word"));
    assert_eq!(of("galgo://a/b+c%3D@h"), Credentials::token("a/b+c="));
    assert_eq!(of("iggy://ann:100%25@h:1"), Credentials::password("ann", "100%25"));
    for text in ["galgo://@h", "galgo://:p@h", "galgo://u:@h"] {
        assert_eq!(error(text), ConnectionStringError::Credentials);
    }
    for text in ["galgo://u:100%@h", "galgo://u:%zz@h", "galgo://u:%ff@h"] {
        assert_eq!(error(text), ConnectionStringError::Escape);
    }
}

#[test]
fn options_are_those_of_classic_clients_and_two_more() {
    let builder = parse(
        "galgo://h?heartbeat_interval=2s&reconnection_retries=3&reconnection_interval=7s\
         &reestablish_after=1m&nodelay=false&connect_timeout=500ms&request_timeout=4s&tls=false",
    )
    .into_builder();
    assert_eq!(builder.heartbeat_interval, Duration::from_secs(2));
    assert_eq!(builder.reconnect.attempts_max, Some(3));
    assert_eq!(builder.reconnect.first_delay, Duration::from_secs(7));
    assert_eq!(builder.reconnect.delay_max, Duration::from_secs(7));
    assert_eq!(builder.reconnect.reestablish_after, Duration::from_secs(60));
    assert!(!builder.nodelay);
    assert_eq!(builder.connect_timeout, Duration::from_millis(500));
    assert_eq!(builder.request_timeout, Duration::from_secs(4));
    let builder = parse("galgo://h?reconnection_retries=unlimited").into_builder();
    assert_eq!(builder.reconnect.attempts_max, None);
}

#[test]
fn an_unknown_option_names_the_nearest_one() {
    let text = error("galgo://h?heartbeat_intervall=2s").to_string();
    assert_eq!(text, "there is no option heartbeat_intervall; do you mean heartbeat_interval?");
    let text = error("galgo://h?zzz=1").to_string();
    assert!(text.contains("see the documentation"), "{text}");
    let text = error("galgo://h?initial_mtu=1").to_string();
    assert_eq!(text, "the option initial_mtu is not one of TCP");
}

#[test]
fn values_that_make_no_sense_are_refused() {
    for option in ["nodelay=yes", "tls=1", "reconnection_retries=-1", "request_timeout=soon"] {
        let error = error(&format!("galgo://h?{option}"));
        assert!(matches!(error, ConnectionStringError::Value { .. }), "{error:?}");
    }
    for option in ["nodelay", "nodelay="] {
        let error = error(&format!("galgo://h?{option}"));
        assert_eq!(error, ConnectionStringError::NoValue { option: "nodelay".into() });
    }
}

#[test]
fn no_secret_is_shown() {
    for text in ["galgo://ann:secret@h", "galgo://secret@h"] {
        let string = parse(text);
        assert!(!format!("{string:?} {string}").contains("secret"));
    }
}

#[test]
fn the_scheme_names_the_transport_and_whether_certificates_are_checked() {
    for (text, transport, validates) in [
        ("galgo://h", Transport::Tcp, None),
        ("galgo+tcp://h?tls=true", Transport::Tcp, Some(true)),
        ("iggy+tcp://u:p@h:1?tls=true", Transport::Tcp, Some(true)),
        ("galgo+quic://h", Transport::Quic, Some(false)),
        ("iggy+quic://u:p@h:1?validate_certificate=true", Transport::Quic, Some(true)),
        ("galgo+ws://h", Transport::WebSocket, None),
        ("galgo+wss://h", Transport::WebSocket, Some(true)),
        ("galgo+wss://h?tls_validate_certificate=false", Transport::WebSocket, Some(false)),
        ("iggy+ws://u:p@h:1?tls=true", Transport::WebSocket, Some(false)),
    ] {
        let builder = parse(text).into_builder();
        assert_eq!(builder.transport, transport, "{text}");
        assert_eq!(builder.tls.map(|tls| tls.validate_certificate), validates, "{text}");
    }
    assert_eq!(parse("galgo+wss://h").to_string(), "galgo+wss://h:8092");
}

#[test]
fn tls_options_name_files_and_a_domain() {
    let text = "galgo://h?tls=true&tls_domain=d&tls_ca_file=/ca&tls_cert_file=/c&tls_key_file=/k";
    let tls = parse(text).into_builder().tls.unwrap();
    let wanted = TlsOptions::default().domain("d").ca_file("/ca").client_certificate("/c", "/k");
    assert_eq!(tls, wanted);
    assert_eq!(
        error("galgo://h?tls=true&tls_cert_file=/c"),
        ConnectionStringError::NoValue { option: "tls_key_file".into() }
    );
    assert_eq!(parse("galgo://h?tls_domain=d").into_builder().tls, None);
}

#[test]
fn quic_and_websocket_have_their_own_options() {
    let text = "iggy+quic://u:p@h:1?response_buffer_size=5&max_concurrent_bidi_streams=6\
                &datagram_send_buffer_size=7&initial_mtu=1300&send_window=9&receive_window=10\
                &keep_alive_interval=11&max_idle_timeout=12s&reconnection_max_retries=3\
                &reconnection_reestablish_after=4s";
    let builder = parse(text).into_builder();
    let quic = &builder.quic;
    assert_eq!(builder.reply_bytes_max, 5);
    assert_eq!((quic.max_concurrent_bidi_streams, quic.datagram_send_buffer_size), (6, 7));
    assert_eq!((quic.initial_mtu, quic.send_window), (1300, Some(9)));
    assert_eq!(quic.receive_window, Some(10));
    assert_eq!(quic.keep_alive_interval, Duration::from_millis(11));
    assert_eq!(quic.max_idle_timeout, Duration::from_secs(12));
    assert_eq!(builder.reconnect.attempts_max, Some(3));
    assert_eq!(builder.reconnect.reestablish_after, Duration::from_secs(4));
    let text = "galgo+ws://h?read_buffer_size=1&write_buffer_size=2&max_write_buffer_size=3\
                &max_message_size=4&max_frame_size=5&accept_unmasked_frames=true&nodelay=false";
    let websocket = parse(text).into_builder().websocket;
    assert_eq!(websocket.read_buffer_size, Some(1));
    assert_eq!(websocket.write_buffer_size, Some(2));
    assert_eq!(websocket.max_write_buffer_size, Some(3));
    assert_eq!(websocket.max_message_size, Some(4));
    assert_eq!(websocket.max_frame_size, Some(5));
    assert!(websocket.accept_unmasked_frames);
}

#[test]
fn an_at_sign_may_be_in_a_password_and_in_the_value_of_an_option() {
    for (rest, login, place) in [
        ("h:1", None, "h:1"),
        ("u:p@h:1", Some("u:p"), "h:1"),
        ("u:p@q@h", Some("u:p@q"), "h"),
        ("u:p?q@h", Some("u:p?q"), "h"),
        ("u:p?q@h?tls_ca_file=/a@b/c.pem", Some("u:p?q"), "h?tls_ca_file=/a@b/c.pem"),
        ("u:p@h?tls=true&tls_ca_file=/a@b", Some("u:p"), "h?tls=true&tls_ca_file=/a@b"),
        ("h:1?tls_ca_file=/a@b", None, "h:1?tls_ca_file=/a@b"),
        ("[::1]?tls_ca_file=/a@b", None, "[::1]?tls_ca_file=/a@b"),
        // Not an address: the beginning of a password.
        ("u:p?tls=x@h", Some("u:p?tls=x"), "h"),
        ("u:p?nothing=x@h", Some("u:p?nothing=x"), "h"),
        ("h?", None, "h?"),
    ] {
        assert_eq!(ConnectionString::split_login(rest), (login, place), "{rest}");
    }
    let string: ConnectionString = "galgo://u:p@h?tls=true&tls_ca_file=/a@b.pem".parse().unwrap();
    assert_eq!(string.host(), "h");
}
