//! Frames made by hand, for what the classic client refuses to send.

use anyhow::bail;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{PASSWORD, Server, Transport, USERNAME};

pub const PING: u32 = 1;
pub const GET_ME: u32 = 20;
pub const LOGIN_USER: u32 = 38;
pub const LOGOUT_USER: u32 = 39;
pub const POLL_MESSAGES: u32 = 100;
pub const SEND_MESSAGES: u32 = 101;

/// A plain TCP connection that speaks frames.
pub struct Raw(TcpStream);

impl Raw {
    pub async fn connect(server: &Server) -> anyhow::Result<Raw> {
        let stream = TcpStream::connect(server.address_of(Transport::Tcp)).await?;
        stream.set_nodelay(true)?;
        Ok(Raw(stream))
    }

    /// A connection on which the root user is logged in.
    pub async fn logged_in(server: &Server) -> anyhow::Result<Raw> {
        let mut raw = Raw::connect(server).await?;
        let (status, _) = raw.call(LOGIN_USER, &login(USERNAME, PASSWORD)).await?;
        if status != 0 {
            bail!("expected the login to be accepted, got status {status}");
        }
        Ok(raw)
    }

    /// Sends one request and gives back the status and the payload of the answer.
    pub async fn call(&mut self, code: u32, payload: &[u8]) -> anyhow::Result<(u32, Vec<u8>)> {
        self.send(code, payload).await?;
        self.answer().await
    }

    /// Sends one request without waiting for its answer.
    pub async fn send(&mut self, code: u32, payload: &[u8]) -> anyhow::Result<()> {
        let length = u32::try_from(payload.len())? + 4;
        self.send_bytes(&length.to_le_bytes()).await?;
        self.send_bytes(&code.to_le_bytes()).await?;
        self.send_bytes(payload).await
    }

    /// Sends bytes that need not be a frame.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.0.write_all(bytes).await?)
    }

    /// Reads one answer.
    pub async fn answer(&mut self) -> anyhow::Result<(u32, Vec<u8>)> {
        let status = self.0.read_u32_le().await?;
        let length = self.0.read_u32_le().await?;
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).await?;
        Ok((status, payload))
    }
}

/// The payload of a login.
pub fn login(username: &str, password: &str) -> Vec<u8> {
    let mut payload = Vec::new();
    for text in [username, password] {
        payload.push(u8::try_from(text.len()).expect("credentials are short"));
        payload.extend_from_slice(text.as_bytes());
    }
    for text in ["0.10.0", ""] {
        payload.extend_from_slice(&u32::try_from(text.len()).expect("short").to_le_bytes());
        payload.extend_from_slice(text.as_bytes());
    }
    payload
}

/// A numeric or a named identifier.
pub fn identifier(name: &str) -> Vec<u8> {
    let (kind, value) = match name.parse::<u32>() {
        Ok(number) => (1, number.to_le_bytes().to_vec()),
        Err(_) => (2, name.as_bytes().to_vec()),
    };
    let mut bytes = vec![kind, u8::try_from(value.len()).expect("names are short")];
    bytes.extend(value);
    bytes
}

/// One message as a producer writes it.
#[derive(Clone, Default)]
pub struct RawMessage {
    pub id: u128,
    pub payload: Vec<u8>,
    pub user_headers: Vec<u8>,
    pub reserved: u64,
}

impl RawMessage {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; 8];
        bytes.extend_from_slice(&self.id.to_le_bytes());
        bytes.extend_from_slice(&[0; 16]);
        bytes.extend_from_slice(&123_u64.to_le_bytes());
        for part in [&self.user_headers, &self.payload] {
            bytes.extend_from_slice(&u32::try_from(part.len()).expect("parts fit").to_le_bytes());
        }
        bytes.extend_from_slice(&self.reserved.to_le_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes.extend_from_slice(&self.user_headers);
        bytes
    }
}

/// The payload of a send to one partition; `shift` moves every index position away from the truth.
pub fn send_to(
    stream: &str,
    topic: &str,
    partition: u32,
    messages: &[RawMessage],
    shift: u32,
) -> Vec<u8> {
    let mut metadata = identifier(stream);
    metadata.extend(identifier(topic));
    metadata.extend([2, 4]);
    metadata.extend(partition.to_le_bytes());
    metadata.extend(u32::try_from(messages.len()).expect("few messages").to_le_bytes());

    let (mut indexes, mut block) = (Vec::new(), Vec::new());
    for message in messages {
        block.extend(message.bytes());
        indexes.extend(0_u32.to_le_bytes());
        indexes.extend((u32::try_from(block.len()).expect("batches fit") + shift).to_le_bytes());
        indexes.extend(0_u64.to_le_bytes());
    }

    let mut payload = u32::try_from(metadata.len()).expect("short").to_le_bytes().to_vec();
    payload.extend(metadata);
    payload.extend(indexes);
    payload.extend(block);
    payload
}
