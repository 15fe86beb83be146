//! Connection strings, good and bad, and that secrets stay out of texts.

use std::time::Duration;

use super::*;

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
    assert_eq!(error("iggy+quic://u:p@h:1"), E::Scheme { scheme: "iggy+quic".into() });
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
    assert!(text.contains("the options are heartbeat_interval, "), "{text}");
}

#[test]
fn values_that_make_no_sense_are_refused() {
    for option in ["nodelay=yes", "tls=true", "reconnection_retries=-1", "request_timeout=soon"] {
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
