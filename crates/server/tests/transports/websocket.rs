//! WebSocket: messages both ways as a stream of bytes, control frames, and what is not allowed.

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use rustls::SignatureScheme;
use rustls::version::TLS13;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::certificates::{connect as connect_tls, trusting};
use crate::frames::{run, stop};
use crate::server::{PASSWORD, TestServer, USERNAME};
use crate::wire::*;

const ON: (&str, &str) = ("GALGO_WEBSOCKET_ENABLED", "true");

pub(crate) type Socket<S = TcpStream> = WebSocketStream<S>;

pub(crate) async fn connect(server: &TestServer, path: &str) -> Socket {
    let address = address(server);
    let stream = TcpStream::connect(address).await.unwrap();
    client_async(format!("ws://{address}{path}"), stream).await.unwrap().0
}

fn address(server: &TestServer) -> SocketAddr {
    server.running().websocket_address().unwrap()
}

/// The next binary message, which must be one whole answer.
async fn answer<S>(socket: &mut Socket<S>) -> (u32, Vec<u8>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let bytes = loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Binary(bytes) => break bytes,
            Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    };
    let (header, payload) = bytes.split_at(8);
    assert_eq!(header[4..], (payload.len() as u32).to_le_bytes());
    (u32::from_le_bytes(header[..4].try_into().unwrap()), payload.to_vec())
}

pub(crate) async fn call(socket: &mut Socket, code: u32, payload: &[u8]) -> (u32, Vec<u8>) {
    socket.send(Message::binary(frame(code, payload))).await.unwrap();
    answer(socket).await
}

pub(crate) async fn login(socket: &mut Socket) {
    assert_eq!(call(socket, LOGIN, &login_payload(USERNAME, PASSWORD)).await.0, 0);
}

#[test]
fn requests_come_in_any_messages_at_any_path_and_each_answer_is_one() {
    let server = TestServer::with(&[ON]);
    run(async {
        let mut socket = connect(&server, "/any/path?at=all").await;
        login(&mut socket).await;
        let ping = frame(PING, &[]);
        // Two requests in one message, and one in two.
        socket.send(Message::binary([ping.clone(), ping.clone()].concat())).await.unwrap();
        socket.send(Message::binary(ping[..3].to_vec())).await.unwrap();
        socket.send(Message::binary(ping[3..].to_vec())).await.unwrap();
        // A message in frames, with a ping between them and an empty one at the end.
        for (data, bytes, last) in [
            (Data::Binary, &ping[..5], false),
            (Data::Continue, &ping[5..], false),
            (Data::Continue, &[][..], true),
        ] {
            let part = Frame::message(bytes.to_vec(), OpCode::Data(data), last);
            socket.send(Message::Frame(part)).await.unwrap();
            socket.send(Message::Ping(Bytes::from_static(b"there?"))).await.unwrap();
        }
        for _ in 0..4 {
            assert_eq!(answer(&mut socket).await, (0, vec![]));
        }
        let me = call(&mut socket, GET_ME, &[]).await;
        // Client id and user, then the number of the transport.
        assert_eq!((me.0, me.1[8]), (0, 4), "{me:?}");
    });
}

#[test]
fn text_is_ignored_and_a_ping_answered() {
    let server = TestServer::with(&[ON]);
    run(async {
        let mut socket = connect(&server, "/").await;
        socket.send(Message::text("x".repeat(100_000))).await.unwrap();
        socket.send(Message::Ping(Bytes::from_static(b"there?"))).await.unwrap();
        let pong = socket.next().await.unwrap().unwrap();
        assert_eq!(pong, Message::Pong(Bytes::from_static(b"there?")));
        assert_eq!(call(&mut socket, PING, &[]).await, (0, vec![]));
        // Errors keep the connection in step, as on TCP.
        assert_eq!(call(&mut socket, GET_STATS, &[]).await, (40, vec![]));
        socket.send(Message::binary([2u32.to_le_bytes(), [0; 4]].concat())).await.unwrap();
        assert_eq!(answer(&mut socket).await, (3, vec![]));
        assert_eq!(call(&mut socket, PING, &[]).await, (0, vec![]));
    });
}

#[test]
fn large_requests_and_answers_pass_whole_within_the_limits_of_a_default_client() {
    let server = TestServer::with(&[ON]);
    run(async {
        let mut socket = connect(&server, "/").await;
        login(&mut socket).await;
        let [stream, topic] = topic_requests(1);
        assert_eq!(call(&mut socket, CREATE_STREAM, &stream).await.0, 0);
        assert_eq!(call(&mut socket, CREATE_TOPIC, &topic).await.0, 0);
        // One message each, since a poll may return fewer than there are.
        let payload: Vec<u8> = (0..60_000_000u32).map(|i| (i % 251) as u8).collect();
        let (large, largest) = (&payload[..20_000_000], &payload[..]);
        for message in [large, largest] {
            assert_eq!(call(&mut socket, SEND, &send_payload(&[message])).await.0, 0);
        }
        // Larger than the largest frame the client takes.
        let (status, bytes) = call(&mut socket, POLL, &poll_payload(0, 1)).await;
        assert_eq!(status, 0);
        assert!(polled(&bytes)[0].payload == large);
        // Many small answers at once.
        let many: Vec<u8> = (0..5000).flat_map(|_| frame(PING, &[])).collect();
        socket.send(Message::binary(many)).await.unwrap();
        for _ in 0..5000 {
            assert_eq!(answer(&mut socket).await, (0, vec![]));
        }
        // An answer that comes near the largest message the client takes comes in several.
        socket.send(Message::binary(frame(POLL, &poll_payload(1, 1)))).await.unwrap();
        let mut whole = Vec::new();
        while whole.len() < 8
            || whole.len() - 8 < u32::from_le_bytes(whole[4..8].try_into().unwrap()) as usize
        {
            whole.extend(socket.next().await.unwrap().unwrap().into_data());
        }
        assert!(polled(&whole[8..])[0].payload == largest);
        assert_eq!(call(&mut socket, PING, &[]).await, (0, vec![]));
    });
}

#[test]
fn a_close_is_answered_and_the_end_of_the_server_is_told() {
    let mut server = TestServer::with(&[ON]);
    run(async {
        let mut polite = connect(&server, "/").await;
        polite.close(None).await.unwrap();
        let last = polite.next().await;
        assert!(matches!(last, None | Some(Ok(Message::Close(_)))), "{last:?}");

        let mut socket = connect(&server, "/").await;
        assert_eq!(call(&mut socket, PING, &[]).await, (0, vec![]));
        stop(&mut server);
        assert_eq!(answer(&mut socket).await, (8, vec![]));
        let last = socket.next().await.unwrap().unwrap();
        assert!(matches!(last, Message::Close(Some(_))), "{last:?}");
    });
}

#[test]
fn an_unmasked_frame_ends_the_connection() {
    let server = TestServer::with(&[ON]);
    run(async {
        let mut stream = connect(&server, "/").await.into_inner();
        stream.write_all(&[0x82, 8, 4, 0, 0, 0, 1, 0, 0, 0]).await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert_eq!(rest, [0x88, 2, 0x03, 0xea], "a close frame with 1002");
    });
}

#[test]
fn whoever_does_not_make_the_handshake_is_closed() {
    let server = TestServer::with(&[ON, ("GALGO_LIMITS_HANDSHAKE_TIMEOUT", "200ms")]);
    let mut silent = Wire::connect(address(&server));
    silent.assert_closed();
}

#[test]
fn a_connection_over_the_limit_is_told_with_a_status() {
    let server = TestServer::with(&[ON, ("GALGO_LIMITS_CONNECTIONS_PER_ADDRESS", "1")]);
    run(async {
        let mut first = connect(&server, "/").await;
        let address = address(&server);
        let stream = TcpStream::connect(address).await.unwrap();
        let error = client_async(format!("ws://{address}/"), stream).await.unwrap_err();
        assert!(error.to_string().contains("503"), "{error}");
        assert_eq!(call(&mut first, PING, &[]).await, (0, vec![]));
    });
}

#[test]
fn it_works_over_tls() {
    let server = TestServer::with(&[ON, ("GALGO_WEBSOCKET_TLS_ENABLED", "true")]);
    run(async {
        let config = trusting(&[&TLS13], vec![SignatureScheme::ECDSA_NISTP256_SHA256]);
        let stream = connect_tls(address(&server), config).await.unwrap();
        let (mut socket, _) = client_async("wss://localhost/", stream).await.unwrap();
        socket.send(Message::binary(frame(PING, &[]))).await.unwrap();
        assert_eq!(answer(&mut socket).await, (0, vec![]));
    });
}

/// A page of a stranger could open a connection to a server on the machine of whoever looked at it.
#[test]
fn a_page_of_a_stranger_gets_no_connection() {
    use tokio_tungstenite::tungstenite::Error;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

    let server = TestServer::with(&[ON, ("GALGO_HTTP_CORS_ALLOWED_ORIGINS", "https://shop")]);
    run(async {
        let asked = async |headers: &[(&'static str, &str)]| {
            let address = address(&server);
            let stream = TcpStream::connect(address).await.unwrap();
            let mut request = format!("ws://{address}/").into_client_request().unwrap();
            for (name, value) in headers {
                request.headers_mut().insert(*name, value.parse().unwrap());
            }
            match client_async(request, stream).await {
                Ok(_) => 101,
                Err(Error::Http(answer)) => answer.status().as_u16(),
                Err(other) => panic!("{other}"),
            }
        };
        assert_eq!(asked(&[]).await, 101);
        for origin in ["https://shop", "http://localhost:5173"] {
            assert_eq!(asked(&[("origin", origin)]).await, 101, "{origin}");
        }
        for origin in ["https://page", "http://shop", "null"] {
            assert_eq!(asked(&[("origin", origin)]).await, 403, "{origin}");
        }
        let rebound = [("host", "page:8092"), ("origin", "http://page:8092")];
        assert_eq!(asked(&rebound).await, 421);
    });
}
