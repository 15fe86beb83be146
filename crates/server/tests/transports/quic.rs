//! QUIC: one stream for each request, one session for each connection.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint};
use rustls::SignatureScheme;
use rustls::version::TLS13;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::certificates::{Authority, trusting};
use crate::frames::{run, stop};
use crate::server::{PASSWORD, TestServer, USERNAME};
use crate::wire::*;

const ON: (&str, &str) = ("GALGO_QUIC_ENABLED", "true");
const PATIENCE: Duration = Duration::from_secs(20);

const POLL_WAITING: u32 = 10_005;
/// The strategy of a poll, in its payload.
const BY_TIMESTAMP: u8 = 2;

pub(crate) struct Client {
    _endpoint: Endpoint,
    connection: Connection,
}

async fn try_connect(server: &TestServer, tls: rustls::ClientConfig) -> Result<Client, String> {
    connect_to(server.running().quic_address().unwrap(), tls).await
}

async fn connect_to(address: SocketAddr, tls: rustls::ClientConfig) -> Result<Client, String> {
    let mut endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let crypto = QuicClientConfig::try_from(tls).unwrap();
    endpoint.set_default_client_config(ClientConfig::new(Arc::new(crypto)));
    let connecting = endpoint.connect(address, "localhost").unwrap();
    let connection = timeout(PATIENCE, connecting).await.unwrap().map_err(|e| e.to_string())?;
    Ok(Client { _endpoint: endpoint, connection })
}

pub(crate) async fn connect(server: &TestServer) -> Client {
    // What classic clients offer: any certificate, one scheme, no ALPN.
    let tls = trusting(&[&TLS13], vec![SignatureScheme::ECDSA_NISTP256_SHA256]);
    try_connect(server, tls).await.unwrap()
}

impl Client {
    /// What the server answers to `bytes` on a stream of their own, to its end.
    async fn exchange(&self, bytes: &[u8]) -> Vec<u8> {
        let (mut send, mut recv) = self.connection.open_bi().await.unwrap();
        send.write_all(bytes).await.unwrap();
        send.finish().unwrap();
        timeout(PATIENCE, recv.read_to_end(100 << 20)).await.unwrap().unwrap()
    }

    pub(crate) async fn call(&self, code: u32, payload: &[u8]) -> (u32, Vec<u8>) {
        let bytes = self.exchange(&frame(code, payload)).await;
        let (header, payload) = bytes.split_at(8);
        assert_eq!(header[4..], (payload.len() as u32).to_le_bytes());
        (u32::from_le_bytes(header[..4].try_into().unwrap()), payload.to_vec())
    }

    pub(crate) async fn login(&self) {
        assert_eq!(self.call(LOGIN, &login_payload(USERNAME, PASSWORD)).await.0, 0);
    }

    pub(crate) async fn create_topic(&self) {
        let [stream, topic] = topic_requests(1);
        assert_eq!(self.call(CREATE_STREAM, &stream).await.0, 0);
        assert_eq!(self.call(CREATE_TOPIC, &topic).await.0, 0);
    }
}

#[test]
fn a_connection_is_a_session_and_each_request_has_a_stream() {
    let server = TestServer::with(&[ON]);
    run(async {
        let client = connect(&server).await;
        assert_eq!(client.call(PING, &[]).await, (0, vec![]));
        assert_eq!(client.call(GET_STATS, &[]).await, (40, vec![]));
        client.login().await;
        let me = client.call(GET_ME, &[]).await;
        assert_eq!((me.0, me.1[8]), (0, 2), "{me:?}");
        assert_eq!(client.call(9_999_999, &[1, 2, 3]).await, (3, vec![]));
        assert_eq!(connect(&server).await.call(GET_ME, &[]).await.0, 40);
    });
}

#[test]
fn a_length_that_is_none_ends_its_stream_without_a_byte() {
    let server = TestServer::with(&[ON]);
    run(async {
        let client = connect(&server).await;
        assert_eq!(client.exchange(&[3, 0, 0, 0, 1, 0, 0, 0]).await, Vec::<u8>::new());
        assert_eq!(client.call(PING, &[]).await, (0, vec![]));
    });
}

#[test]
fn the_answer_comes_before_the_client_has_finished_its_side() {
    let server = TestServer::with(&[ON]);
    run(async {
        let client = connect(&server).await;
        let (mut send, mut recv) = client.connection.open_bi().await.unwrap();
        let bytes = frame(PING, &[]);
        send.write_all(&bytes[..5]).await.unwrap();
        // What was written first on the connection has come before this is answered.
        assert_eq!(client.call(PING, &[]).await, (0, vec![]));
        send.write_all(&bytes[5..]).await.unwrap();
        assert_eq!(timeout(PATIENCE, recv.read_to_end(100)).await.unwrap().unwrap(), [0; 8]);
    });
}

#[test]
fn requests_and_answers_larger_than_the_window_pass_whole() {
    let server = TestServer::with(&[ON, ("GALGO_QUIC_RECEIVE_WINDOW", "64 KiB")]);
    run(async {
        let client = connect(&server).await;
        client.login().await;
        client.create_topic().await;
        // One message, since a poll may return fewer than there are.
        let payload: Vec<u8> = (0..5_000_000u32).map(|i| (i % 251) as u8).collect();
        assert_eq!(client.call(SEND, &send_payload(&[&payload])).await.0, 0);
        let (status, answer) = client.call(POLL, &poll_payload(0, 1)).await;
        assert_eq!(status, 0);
        assert!(polled(&answer)[0].payload == payload);
    });
}

#[test]
fn many_requests_may_be_open_at_once_and_each_gets_its_own_answer() {
    let server = TestServer::with(&[ON]);
    run(async {
        let client = connect(&server).await;
        client.login().await;
        client.create_topic().await;
        let sends = (0..60u32).map(|i| {
            let request = send_payload(&[&vec![i as u8; 20_000]]);
            let client = &client;
            async move { client.call(SEND, &request).await }
        });
        for (status, _) in futures_util::future::join_all(sends).await {
            assert_eq!(status, 0);
        }
        let polls = (0..60u64).map(|i| {
            let client = &client;
            async move { (i, client.call(POLL, &poll_payload(i, 1)).await) }
        });
        let mut seen = Vec::new();
        for (offset, (status, answer)) in futures_util::future::join_all(polls).await {
            assert_eq!(status, 0);
            let messages = polled(&answer);
            assert_eq!((messages.len(), messages[0].offset), (1, offset));
            seen.push(messages[0].payload[0]);
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..60).collect::<Vec<u8>>());
    });
}

#[test]
fn a_half_sent_request_is_given_up_and_the_connection_stays() {
    let server = TestServer::with(&[ON, ("GALGO_LIMITS_FRAME_TIMEOUT", "200ms")]);
    run(async {
        let client = connect(&server).await;
        let (mut send, mut recv) = client.connection.open_bi().await.unwrap();
        send.write_all(&frame(PING, &[1, 2, 3, 4])[..9]).await.unwrap();
        // Others go on meanwhile.
        assert_eq!(client.call(PING, &[]).await, (0, vec![]));
        assert!(timeout(PATIENCE, recv.read_to_end(100)).await.unwrap().is_err());
        assert_eq!(client.call(PING, &[]).await, (0, vec![]));
    });
}

#[test]
fn an_oversize_request_is_answered_on_its_stream() {
    let server = TestServer::with(&[ON]);
    run(async {
        let client = connect(&server).await;
        assert_eq!(client.call(SEND, &[0; 200_000]).await, (40, vec![]));
        client.login().await;
        let too_large = vec![0; (10 << 20) + 1];
        assert_eq!(client.call(GET_STATS, &too_large).await, (3, vec![]));
        assert_eq!(client.call(PING, &[]).await, (0, vec![]));
    });
}

#[test]
fn a_connection_over_the_limit_is_refused() {
    let server = TestServer::with(&[ON, ("GALGO_LIMITS_CONNECTIONS_PER_ADDRESS", "1")]);
    run(async {
        let first = connect(&server).await;
        let tls = trusting(&[&TLS13], vec![SignatureScheme::ECDSA_NISTP256_SHA256]);
        let refused = try_connect(&server, tls).await.map(|_| ()).unwrap_err();
        assert!(refused.contains("refused"), "{refused}");
        assert_eq!(first.call(PING, &[]).await, (0, vec![]));
    });
}

#[test]
fn the_end_of_the_server_closes_the_connection_without_an_answer() {
    let mut server = TestServer::with(&[ON]);
    run(async {
        let client = connect(&server).await;
        assert_eq!(client.call(PING, &[]).await, (0, vec![]));
        stop(&mut server);
        let reason = timeout(PATIENCE, client.connection.closed()).await.unwrap();
        assert!(matches!(reason, quinn::ConnectionError::ApplicationClosed(_)), "{reason}");
    });
}

/// A look by time is a job. A stop let about half of those run that ended waits needed, and the first
/// that did not threw away the answers of all others.
#[test]
fn all_polls_that_wait_are_answered_when_the_server_stops() {
    const WAITS: usize = 16;
    let mut server = TestServer::with(&[ON]);
    run(async move {
        let client = connect(&server).await;
        client.login().await;
        client.create_topic().await;
        let mut payload = poll_payload(0, 1);
        let strategy = payload.len() - 14;
        payload[strategy] = BY_TIMESTAMP;
        payload.extend(u64::MAX.to_le_bytes());
        payload.extend(1_u32.to_le_bytes());
        let mut answers = Vec::new();
        for _ in 0..WAITS {
            let (mut send, recv) = client.connection.open_bi().await.unwrap();
            send.write_all(&frame(POLL_WAITING, &payload)).await.unwrap();
            answers.push((send, recv));
        }
        // Comes behind them, so they wait by now.
        assert_eq!(client.call(PING, &[]).await, (0, vec![]));
        // Not on this thread, which takes the answers meanwhile.
        let stopped = tokio::task::spawn_blocking(move || server.stop());
        for (_, recv) in &mut answers {
            let answer = timeout(PATIENCE, recv.read_to_end(100)).await.unwrap().unwrap();
            assert_eq!(answer[..8], [0, 0, 0, 0, 16, 0, 0, 0], "what an ordinary poll would get");
        }
        stopped.await.unwrap();
    });
}

/// Carries packets between one client and the server it is told of; without one it loses them.
struct Relay {
    address: SocketAddr,
    server: Arc<Mutex<Option<SocketAddr>>>,
}

impl Relay {
    async fn to(server: SocketAddr) -> Self {
        let inside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let outside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let relay = Self {
            address: inside.local_addr().unwrap(),
            server: Arc::new(Mutex::new(Some(server))),
        };
        let server = Arc::clone(&relay.server);
        tokio::spawn(async move {
            let (mut packet, mut answer) = (vec![0; 1 << 16], vec![0; 1 << 16]);
            let mut client = None;
            loop {
                tokio::select! {
                    Ok((bytes, from)) = inside.recv_from(&mut packet) => {
                        client = Some(from);
                        let to = *server.lock().unwrap();
                        if let Some(to) = to {
                            outside.send_to(&packet[..bytes], to).await.unwrap();
                        }
                    }
                    Ok((bytes, from)) = outside.recv_from(&mut answer) => {
                        let known = *server.lock().unwrap() == Some(from);
                        if let (true, Some(client)) = (known, client) {
                            inside.send_to(&answer[..bytes], client).await.unwrap();
                        }
                    }
                }
            }
        });
        relay
    }

    fn now_to(&self, server: Option<SocketAddr>) {
        *self.server.lock().unwrap() = server;
    }
}

#[test]
fn after_a_crash_the_next_packet_is_answered_by_a_reset() {
    let mut server = TestServer::with(&[ON]);
    run(async {
        let relay = Relay::to(server.running().quic_address().unwrap()).await;
        let tls = trusting(&[&TLS13], vec![SignatureScheme::ECDSA_NISTP256_SHA256]);
        let client = connect_to(relay.address, tls).await.unwrap();
        assert_eq!(client.call(PING, &[]).await, (0, vec![]));
        // The packets that would tell of an orderly end are lost, as they are never sent by a crash.
        relay.now_to(None);
        stop(&mut server);
        server.restart();
        relay.now_to(server.running().quic_address());
        let (mut send, _recv) = client.connection.open_bi().await.unwrap();
        send.write_all(&frame(PING, &[])).await.unwrap();
        // The idle timeout is longer than the patience, so only a reset ends it.
        let reason = timeout(PATIENCE, client.connection.closed()).await.unwrap();
        assert!(matches!(reason, quinn::ConnectionError::Reset), "{reason}");
    });
}

#[test]
fn own_certificates_are_shown_checked_and_replaced() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let files = authority.issue(dir.path(), "server");
    let ca = authority.file(dir.path());
    let own = authority.issue(dir.path(), "client");
    let server = TestServer::with(&[
        ON,
        ("GALGO_QUIC_CERTIFICATE_SELF_SIGNED", "false"),
        ("GALGO_QUIC_CERTIFICATE_CERT_FILE", files.cert()),
        ("GALGO_QUIC_CERTIFICATE_KEY_FILE", files.key()),
        ("GALGO_QUIC_CERTIFICATE_CLIENT_CA_FILE", ca.to_str().unwrap()),
    ]);
    run(async {
        let client = try_connect(&server, authority.client(Some(&own))).await.unwrap();
        assert_eq!(client.call(PING, &[]).await, (0, vec![]));
        if let Ok(stranger) = try_connect(&server, authority.client(None)).await {
            let reason = timeout(PATIENCE, stranger.connection.closed()).await.unwrap();
            assert!(matches!(reason, quinn::ConnectionError::ConnectionClosed(_)), "{reason}");
        }
        let next = Authority::new();
        next.issue(dir.path(), "server");
        server.running().reload_certificates();
        assert_eq!(client.call(PING, &[]).await, (0, vec![]));
        assert!(try_connect(&server, authority.client(Some(&own))).await.is_err());
        let client = try_connect(&server, next.client(Some(&own))).await.unwrap();
        assert_eq!(client.call(PING, &[]).await, (0, vec![]));
    });
}
