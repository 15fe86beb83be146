//! Frames by hand, over a blocking socket.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

pub const PING: u32 = 1;
pub const GET_STATS: u32 = 10;
pub const GET_ME: u32 = 20;
pub const LOGIN: u32 = 38;
pub const LOGIN_WITH_TOKEN: u32 = 44;
pub const POLL: u32 = 100;
pub const SEND: u32 = 101;
pub const CREATE_STREAM: u32 = 202;
pub const CREATE_TOPIC: u32 = 302;

/// No answer of a healthy server takes this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// One connection.
pub struct Wire {
    pub socket: TcpStream,
}

impl Wire {
    pub fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { socket }
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    pub fn send(&mut self, code: u32, payload: &[u8]) {
        self.write(&frame(code, payload));
    }

    /// Status and payload of the next answer.
    pub fn answer(&mut self) -> (u32, Vec<u8>) {
        let mut header = [0; 8];
        self.socket.read_exact(&mut header).unwrap();
        let status = u32::from_le_bytes(header[..4].try_into().unwrap());
        let length = u32::from_le_bytes(header[4..].try_into().unwrap());
        let mut payload = vec![0; length as usize];
        self.socket.read_exact(&mut payload).unwrap();
        assert!(status == 0 || length == 0, "an error has no payload");
        (status, payload)
    }

    pub fn call(&mut self, code: u32, payload: &[u8]) -> (u32, Vec<u8>) {
        self.send(code, payload);
        self.answer()
    }

    pub fn status(&mut self, code: u32, payload: &[u8]) -> u32 {
        self.call(code, payload).0
    }

    pub fn login(&mut self, username: &str, password: &str) -> u32 {
        self.status(LOGIN, &login_payload(username, password))
    }

    /// Checks that the server still finds the next header where the client puts it.
    pub fn assert_in_step(&mut self) {
        assert_eq!(self.call(PING, &[]), (0, vec![]));
    }

    /// Checks that the server closes the connection without another byte.
    pub fn assert_closed(&mut self) {
        let mut rest = Vec::new();
        match self.socket.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
        assert!(rest.is_empty(), "{rest:?}");
    }

    pub fn finish_sending(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }
}

pub fn frame(code: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32 + 4).to_le_bytes().to_vec();
    bytes.extend_from_slice(&code.to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

pub fn login_payload(username: &str, password: &str) -> Vec<u8> {
    let mut payload = name(username);
    payload.extend(name(password));
    payload.extend(6u32.to_le_bytes());
    payload.extend(b"0.10.0");
    payload.extend(0u32.to_le_bytes());
    payload
}

/// A text with its length in one byte.
pub fn name(text: &str) -> Vec<u8> {
    let mut bytes = vec![text.len() as u8];
    bytes.extend(text.as_bytes());
    bytes
}

/// The identifier of something by its name.
pub fn named(text: &str) -> Vec<u8> {
    [vec![2], name(text)].concat()
}

/// Creates stream "s" with topic "t" of `partitions`.
pub fn create_topic(wire: &mut Wire, partitions: u32) {
    let [stream, topic] = topic_requests(partitions);
    assert_eq!(wire.status(CREATE_STREAM, &stream), 0);
    assert_eq!(wire.status(CREATE_TOPIC, &topic), 0);
}

/// The payloads that create stream "s" and topic "t" of `partitions` in it.
pub fn topic_requests(partitions: u32) -> [Vec<u8>; 2] {
    let mut topic = named("s");
    topic.extend(partitions.to_le_bytes());
    topic.push(1);
    topic.extend([0; 16]);
    topic.push(0);
    topic.extend(name("t"));
    [name("s"), topic]
}

/// A request that sends `messages` to partition 0 of "s" and "t".
pub fn send_payload(messages: &[&[u8]]) -> Vec<u8> {
    send_payload_to(0, messages)
}

/// The same to another partition.
pub fn send_payload_to(partition: u32, messages: &[&[u8]]) -> Vec<u8> {
    let mut target = [named("s"), named("t")].concat();
    target.extend([2, 4]);
    target.extend(partition.to_le_bytes());
    target.extend((messages.len() as u32).to_le_bytes());
    let mut payload = (target.len() as u32).to_le_bytes().to_vec();
    payload.extend(target);
    let mut end = 0;
    for message in messages {
        end += 64 + message.len() as u32;
        payload.extend([0; 4]);
        payload.extend(end.to_le_bytes());
        payload.extend([0; 8]);
    }
    for message in messages {
        payload.extend([0; 40]);
        payload.extend(7u64.to_le_bytes());
        payload.extend(0u32.to_le_bytes());
        payload.extend((message.len() as u32).to_le_bytes());
        payload.extend([0; 8]);
        payload.extend(*message);
    }
    payload
}

/// A request for up to `count` messages of partition 0 from `offset` on.
pub fn poll_payload(offset: u64, count: u32) -> Vec<u8> {
    let mut payload = vec![1, 1, 4, 1, 0, 0, 0];
    payload.extend(named("s"));
    payload.extend(named("t"));
    payload.extend([1, 0, 0, 0, 0]);
    payload.push(1);
    payload.extend(offset.to_le_bytes());
    payload.extend(count.to_le_bytes());
    payload.push(0);
    payload
}

/// A message as a poll returned it.
#[derive(Debug, PartialEq)]
pub struct Polled {
    pub offset: u64,
    pub payload: Vec<u8>,
}

/// Takes an answer to a poll apart.
pub fn polled(answer: &[u8]) -> Vec<Polled> {
    let number = |at: usize| u32::from_le_bytes(answer[at..at + 4].try_into().unwrap()) as usize;
    let mut messages = Vec::new();
    let mut at = 16;
    while at < answer.len() {
        let (headers, len) = (number(at + 48), number(at + 52));
        let offset = u64::from_le_bytes(answer[at + 24..at + 32].try_into().unwrap());
        messages.push(Polled { offset, payload: answer[at + 64..at + 64 + len].to_vec() });
        at += 64 + len + headers;
    }
    assert_eq!(messages.len(), number(12), "the count of the header");
    messages
}
