//! Messages that come as requests.

#![expect(clippy::unwrap_used, reason = "a test that fails by a panic has done its work")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use galgo_connect::config::Surroundings;
use galgo_connect::source::Beginning;
use galgo_connect::{Chunk, Form, Source, SourceSpec, Weight, kind};
use galgo_testkit::service::free_ports;

fn origin(file: &str) -> Result<Box<dyn SourceSpec>, String> {
    let kind = kind::sources().iter().find(|kind| kind.name == "http").unwrap();
    let around = Surroundings { pipeline: "in".to_owned(), folder: std::env::temp_dir() };
    (kind.read)(file.parse().unwrap(), &around).map_err(|error| error.to_string())
}

async fn listening(port: u16, more: &str) -> Box<dyn Source> {
    let origin = origin(&format!("listen = '127.0.0.1:{port}'\npath = '/in'\n{more}")).unwrap();
    let mut source = origin.source();
    source.begin(Beginning { cursor: None, once: false }).await.unwrap();
    source
}

/// The answer to a request.
fn asked(port: u16, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request =
        format!("{head}\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(request.as_bytes()).unwrap();
    // Who is turned away may be so before all was sent.
    let _ = stream.write_all(body);
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn ask(port: u16, head: &str, body: &[u8]) -> tokio::task::JoinHandle<String> {
    let (head, body) = (head.to_owned(), body.to_owned());
    tokio::task::spawn_blocking(move || asked(port, &head, &body))
}

async fn next(source: &mut Box<dyn Source>) -> Chunk {
    source.next().await.unwrap().unwrap()
}

/// Nobody is told that a message is stored before it is.
#[tokio::test(flavor = "multi_thread")]
async fn who_sends_is_answered_when_it_is_stored() {
    let port = free_ports(1);
    let mut source = listening(port, "").await;
    let one = ask(
        port,
        "POST /in HTTP/1.1\r\ncontent-type: application/json\r\nidempotency-key: k1",
        b"{\"a\":1.10}",
    );
    let chunk = next(&mut source).await;
    assert_eq!(chunk.messages.len(), 1);
    assert_eq!(
        (chunk.messages[0].form, &chunk.messages[0].payload[..]),
        (Form::Json, &b"{\"a\":1.10}"[..])
    );
    assert!(chunk.messages[0].id.is_some());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!one.is_finished(), "it is not stored yet");
    source.settled(&chunk.cursor).await.unwrap();
    let answer = one.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("{\"stored\":1}"), "{answer}");

    let many = ask(port, "POST /in HTTP/1.1\r\ncontent-type: application/x-ndjson", b"1\n2\n3\n");
    let chunk = next(&mut source).await;
    assert_eq!(chunk.messages.len(), 3);
    source.settled(&chunk.cursor).await.unwrap();
    assert!(many.await.unwrap().contains("{\"stored\":3}"));

    // When the pipeline begins again nobody is told that it was stored.
    let lost = ask(port, "POST /in HTTP/1.1", b"x");
    next(&mut source).await;
    drop(source);
    let answer = lost.await.unwrap();
    assert!(!answer.contains(" 200 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_asked_for_is_sent_again_later() {
    let port = free_ports(1);
    let mut source = listening(port, "timeout = '500ms'").await;
    let late = ask(port, "POST /in HTTP/1.1", b"x").await.unwrap();
    assert!(late.starts_with("HTTP/1.1 503") && late.contains("retry-after: 1"), "{late}");
    assert!(late.contains("same Idempotency-Key"), "{late}");
    // 64 wait already; the others are told at once that there is no room.
    let all: Vec<_> = (0..80).map(|_| ask(port, "POST /in HTTP/1.1", b"x")).collect();
    let mut without_room = 0;
    for answer in all {
        let answer = answer.await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        without_room += usize::from(answer.contains("no room"));
    }
    assert!(without_room > 0);
    // What came is still handed on: nobody knows whether the client has given up.
    assert!(!next(&mut source).await.messages.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_turned_away() {
    let port = free_ports(1);
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "s3cret\n").unwrap();
    let token = format!("token = {{ file = '{}' }}\nbody_max = '100KiB'", secret.path().display());
    let mut source = listening(port, &token).await;
    for (head, status) in [
        ("POST /in HTTP/1.1", " 401 "),
        ("POST /in HTTP/1.1\r\nauthorization: Bearer wrong", " 401 "),
        ("POST /in HTTP/1.1\r\nauthorization: s3cret", " 401 "),
        ("GET /in HTTP/1.1\r\nauthorization: Bearer s3cret", " 405 "),
        ("POST /else HTTP/1.1\r\nauthorization: Bearer s3cret", " 404 "),
    ] {
        let answer = ask(port, head, b"MARKED-VALUE").await.unwrap();
        assert!(answer.contains(status) && !answer.contains("MARKED"), "{head}: {answer}");
    }
    let with_token = "POST /in HTTP/1.1\r\nauthorization: Bearer s3cret";
    let long = ask(port, with_token, &vec![b'x'; 200 << 10]).await.unwrap();
    assert!(long.contains(" 413 "), "{long}");
    let bad = "\r\ncontent-type: application/json";
    let bad = ask(port, &format!("{with_token}{bad}"), b"MARKED-VALUE").await.unwrap();
    assert!(bad.contains(" 400 ") && !bad.contains("MARKED"), "INV-MUTE: {bad}");
    // The token is read again.
    std::fs::write(secret.path(), "another").unwrap();
    assert!(ask(port, with_token, b"x").await.unwrap().contains(" 401 "));
    let whole =
        ask(port, "POST /in HTTP/1.1\r\nauthorization: Bearer another", &vec![b'x'; 90 << 10]);
    let chunk = next(&mut source).await;
    source.settled(&chunk.cursor).await.unwrap();
    assert!(whole.await.unwrap().contains(" 200 "));
    drop(source);

    let port = free_ports(1);
    let _source = listening(port, "body_max = '1MiB'").await;
    let stranger = ask(port, "POST /in HTTP/1.1", &vec![b'x'; 65 << 10]).await.unwrap();
    assert!(stranger.contains("at most 65536 bytes"), "{stranger}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_slow_does_not_hold_a_place_for_ever() {
    let port = free_ports(1);
    let _source = listening(port, "connections = 1").await;
    for begun in [&b"POST /in HTTP/1.1\r\nhost:"[..], b""] {
        let mut slow = TcpStream::connect(("127.0.0.1", port)).unwrap();
        slow.write_all(begun).unwrap();
        let other = ask(port, "GET /in HTTP/1.1", b"");
        let answer = tokio::time::timeout(Duration::from_secs(100), other).await.unwrap().unwrap();
        assert!(answer.contains(" 405 "), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_does_not_fit_together_says_so() {
    for (file, said) in [
        ("path = '/'", "missing field `listen`"),
        ("listen = 'x'", "invalid socket address"),
        ("listen = '127.0.0.1:1'\npath = 'in'", "path begins with /"),
        ("listen = '127.0.0.1:1'\nbody_max = '100MiB'", "body_max"),
        ("listen = '127.0.0.1:1'\nin_flight = '1KiB'", "in_flight"),
        ("listen = '127.0.0.1:1'\nkey_file = 'x'", "belong together"),
        ("listen = '127.0.0.1:1'\nclient_ca_file = 'x'", "needs cert_file"),
        ("listen = '127.0.0.1:1'\ntokn = { env = 'X' }", "did you mean \"token\"?"),
    ] {
        let what = origin(file).err().unwrap();
        assert!(what.contains(said), "{file}: {what}");
    }
    let kind = kind::sources().iter().find(|kind| kind.name == "http").unwrap();
    let whole: toml::Table = kind.example.replace("\n# ", "\n").parse().unwrap();
    let table = whole["from"]["http"].as_table().unwrap().clone();
    let around = Surroundings { pipeline: "in".to_owned(), folder: std::env::temp_dir() };
    assert!((kind.read)(table, &around).is_ok());

    let open = origin("listen = '0.0.0.0:1'").unwrap().check().await.unwrap();
    assert_eq!(open[0].weight, Weight::Warning);
    let no_token = origin("listen = '0.0.0.0:1'\ntoken = { env = 'GALGO_NO_SUCH' }").unwrap();
    assert!(no_token.check().await.unwrap_err().to_string().contains("GALGO_NO_SUCH"));
    let mut source = origin("listen = '127.0.0.1:0'").unwrap().source();
    let failure = source.begin(Beginning { cursor: None, once: true }).await.unwrap_err();
    assert!(failure.to_string().contains("--once"), "{failure}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    let mut source = origin(&format!("listen = '{at}'")).unwrap().source();
    let failure = source.begin(Beginning { cursor: None, once: false }).await.unwrap_err();
    assert_eq!(failure.class(), "away", "{failure}");
}
