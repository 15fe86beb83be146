//! Pages of other origins, bodies that are too large or of the wrong kind, and slow or many connections.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;

use galgo_testkit::server::NO_STOP_TIMEOUT;

use crate::client::{Http, answer};
use crate::server::{PASSWORD, TestServer, USERNAME};

const PREFLIGHT: [&str; 2] = ["origin: http://page", "access-control-request-method: POST"];

/// The header that lets a page of this origin read an answer, and the status of it.
fn asked_by(server: &TestServer, origin: &str) -> (u16, Option<String>) {
    let answer = server.http().raw("GET", "/ping", &[&format!("origin: {origin}")], b"");
    (answer.status, answer.header("access-control-allow-origin"))
}

/// Any page that was open in a browser on the machine of a server could log in there and read its streams:
/// every origin was allowed unless one said otherwise.
#[test]
fn pages_of_other_origins_may_ask_only_where_they_are_configured() {
    let server = TestServer::start();
    assert_eq!(server.http().raw("OPTIONS", "/streams", &PREFLIGHT, b"").status, 403);
    for origin in ["http://page", "null", "http://localhost.page"] {
        assert_eq!(asked_by(&server, origin), (403, None), "{origin}");
    }
    let login = format!("{{\"username\":\"{USERNAME}\",\"password\":\"{PASSWORD}\"}}");
    let json = "content-type: application/json";
    let from = ["origin: http://page", json];
    let refused = server.http().raw("POST", "/users/login", &from, login.as_bytes());
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(refused.text().contains("http.cors.allowed_origins"), "{}", refused.text());
    let own = format!("http://{}", server.http().address);
    assert_eq!(asked_by(&server, &own).0, 200, "its own");
    assert_eq!(asked_by(&server, "http://localhost:9"), (200, None), "sent, but not read");

    let server = TestServer::with(&[("GALGO_HTTP_CORS_ALLOWED_ORIGINS", "http://page, http://b")]);
    let asked = server.http().raw("OPTIONS", "/streams", &PREFLIGHT, b"");
    assert_eq!(asked.status, 200);
    assert_eq!(asked.header("access-control-allow-origin").as_deref(), Some("http://page"));
    let methods = asked.header("access-control-allow-methods");
    assert_eq!(methods.as_deref(), Some("GET,POST,PUT,PATCH,DELETE"));
    let headers = asked.header("access-control-allow-headers");
    assert_eq!(headers.as_deref(), Some("content-type,authorization"));
    assert_eq!(asked_by(&server, "http://b"), (200, Some("http://b".to_owned())));
    assert_eq!(asked_by(&server, "http://c"), (403, None));

    let server = TestServer::with(&[("GALGO_HTTP_CORS_ALLOWED_ORIGINS", "http://a, *")]);
    assert_eq!(asked_by(&server, "http://page"), (200, Some("*".to_owned())));

    let off = ("GALGO_HTTP_CORS_ENABLED", "false");
    let server = TestServer::with(&[off, ("GALGO_HTTP_CORS_ALLOWED_ORIGINS", "*")]);
    assert_eq!(asked_by(&server, "http://page"), (403, None));
}

/// A page that has its own name point at 127.0.0.1 is of the same origin as the server, for the browser.
#[test]
fn a_request_says_whom_it_is_for_and_a_strange_name_is_refused() {
    let server = TestServer::with(&[("GALGO_HTTP_ALLOWED_HOSTS", "galgo.internal")]);
    let status = |head: &str| {
        let mut stream = TcpStream::connect(server.http().address).unwrap();
        stream.write_all(format!("GET /ping HTTP/{head}\r\n\r\n").as_bytes()).unwrap();
        answer(&mut stream).status
    };
    assert_eq!(status("1.1"), 400);
    assert_eq!(status("1.1\r\nhost: a\r\nhost: a"), 400);
    assert_eq!(status("1.0"), 200, "it had no such header");
    for host in ["localhost", "localhost:80", "127.0.0.1:80", "[::1]:80", "galgo.internal"] {
        assert_eq!(status(&format!("1.1\r\nhost: {host}")), 200, "{host}");
    }
    assert_eq!(status("1.1\r\nhost: rebound.page"), 421);
}

#[test]
fn a_body_has_to_be_json_of_the_right_size() {
    let server = TestServer::with(&[("GALGO_HTTP_MAX_REQUEST_SIZE", "1 KiB")]);
    let root = server.root();
    let json = "content-type: application/json";
    let post = |headers: &[&str], body: &str| {
        let answer = root.raw("POST", "/streams", headers, body.as_bytes());
        let kind = answer.header("content-type").unwrap();
        assert!(answer.status < 300 || kind.starts_with("text/plain"), "{kind}");
        answer.status
    };
    assert_eq!(post(&[], "{\"name\":\"a\"}"), 415);
    assert_eq!(post(&["content-type: text/plain"], "{\"name\":\"a\"}"), 415);
    assert_eq!(post(&[json], "{\"name\""), 400);
    assert_eq!(post(&[json], ""), 400);
    assert_eq!(post(&[json], "{}"), 422);
    assert_eq!(post(&[json], "{\"name\":1}"), 422);
    assert_eq!(post(&[json], "[]"), 422);
    assert_eq!(post(&[json], &format!("{{\"name\":\"{}\"}}", "a".repeat(1100))), 413);
    assert_eq!(
        post(&["content-type: application/json; charset=utf-8"], "{\"name\":\"a\",\"x\":1}"),
        200
    );
}

#[test]
fn a_body_of_unknown_length_stops_at_the_limit() {
    let server = TestServer::with(&[("GALGO_HTTP_MAX_REQUEST_SIZE", "1 KiB")]);
    let token = server.root().token.unwrap();
    let mut stream = TcpStream::connect(server.http().address).unwrap();
    let head = format!(
        "POST /streams HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = format!("400\r\n{}\r\n", "a".repeat(1024));
    stream.write_all(chunk.repeat(2).as_bytes()).unwrap();
    assert_eq!(answer(&mut stream).status, 413);
}

/// INV-HTTP-STRANGER.
#[test]
fn nobody_gets_memory_for_a_large_body_before_a_login() {
    let server = TestServer::start();
    let body = format!("{{\"token\":\"{}\"}}", "a".repeat(65 << 10));
    let json = ["content-type: application/json"];
    let public = ["/users/login", "/users/refresh-token", "/personal-access-tokens/login"];
    for path in public {
        assert_eq!(server.http().raw("POST", path, &json, body.as_bytes()).status, 413);
        let http = server.root();
        assert_eq!(http.raw("POST", path, &json, body.as_bytes()).status, 413, "token or not");
    }
    // The same body is not too large for who is logged in.
    assert_eq!(server.root().raw("POST", "/streams", &json, body.as_bytes()).status, 422);
}

#[test]
fn a_connection_too_many_is_told_to_come_back() {
    let server = TestServer::with(&[("GALGO_LIMITS_CONNECTIONS", "1")]);
    let mut first = TcpStream::connect(server.http().address).unwrap();
    first.write_all(b"GET /ping HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    assert_eq!(answer(&mut first).status, 200);
    let refused = Http::new(server.http().address).get("/ping");
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after").as_deref(), Some("1"));
}

#[test]
fn half_a_request_does_not_hold_a_connection_for_ever() {
    let server = TestServer::with(&[("GALGO_LIMITS_FRAME_TIMEOUT", "100ms")]);
    let mut stream = TcpStream::connect(server.http().address).unwrap();
    stream.write_all(b"GET /ping HTTP/1.1\r\nhost:").unwrap();
    let mut rest = Vec::new();
    // The end of the stream is what is waited for; what is said before it does not matter.
    let _ = stream.read_to_end(&mut rest);

    let token = server.root().token.unwrap();
    let mut stream = TcpStream::connect(server.http().address).unwrap();
    let head = format!(
        "POST /streams HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: 20\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(answer(&mut stream).status, 408);
}

#[test]
fn a_connection_that_waits_does_not_hold_up_the_stop() {
    let mut server = TestServer::start();
    let mut stream = TcpStream::connect(server.http().address).unwrap();
    stream.write_all(b"GET /ping HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    assert_eq!(answer(&mut stream).status, 200);
    server.stop();
    let mut rest = Vec::new();
    assert_eq!(stream.read_to_end(&mut rest).unwrap_or_default(), 0);
}

/// A browser opens connections ahead of its requests; each kept the server from stopping for as long as it
/// waits for requests in progress.
#[test]
fn connections_that_have_asked_nothing_do_not_hold_up_the_stop() {
    let mut server = TestServer::with(&[NO_STOP_TIMEOUT]);
    let silent = TcpStream::connect(server.http().address).unwrap();
    let mut begun = TcpStream::connect(server.http().address).unwrap();
    begun.write_all(b"GET /ping HTTP/1.1\r\nhost:").unwrap();
    // An answered request, so that the connections before it have been taken up.
    assert_eq!(server.http().get("/ping").status, 200);
    server.stop_in_time();
    drop((silent, begun));
}

#[test]
fn methods_and_numbers_out_of_range_are_refused_politely() {
    let server = TestServer::start();
    let root = server.with_topic(1);
    let too_large = json!({"name": "x", "partitions_count": 1, "compression_algorithm": "none",
        "message_expiry": -1, "max_topic_size": 0});
    assert_eq!(root.post("/streams/s/topics", &too_large).status, 422);
    assert_eq!(root.get(&format!("/streams/{}", "a".repeat(256))).error(), (400, 6));
    assert_eq!(root.get("/streams/%ff").status, 400);
}

/// 4,900 bodies that were left half sent took 802 MiB, which no limit counted: memory was taken for what a body
/// announced, and below 16 KiB for nothing.
#[test]
fn bodies_of_strangers_share_one_budget_and_logins_go_on() {
    let server = TestServer::with(&[
        ("GALGO_LIMITS_ANONYMOUS_BYTES", "1 MiB"),
        ("GALGO_LIMITS_FRAME_TIMEOUT", "1s"),
    ]);
    let mut half =
        b"POST /users/login HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
        content-length: 65536\r\n\r\n"
            .to_vec();
    half.extend([b' '; 60_000]);
    let mut half_sent: Vec<_> = (0..100)
        .map(|_| {
            let mut stream = TcpStream::connect(server.http().address).unwrap();
            stream.write_all(&half).unwrap();
            stream
        })
        .collect();
    server.root();
    for stream in &mut half_sent {
        // Those that got memory were too slow, the others waited for it in vain.
        let status = answer(stream).status;
        assert!([408, 503].contains(&status), "{status}");
    }
    let mut body = json!({"username": "iggy", "password": "wrong"}).to_string();
    body.extend([' '; 60_000]);
    let headers = ["content-type: application/json"];
    let refused = server.http().raw("POST", "/users/login", &headers, body.as_bytes());
    assert_eq!(refused.error(), (400, 42), "there is memory again");
}
