//! Opens a link and logs in on it, before any other request is written.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use galgo_wire::command::system::Ping;
use galgo_wire::frame::{Cut, ReplyCutter};
use galgo_wire::limits::RESPONSE_HEADER_BYTES;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::call::frame;
use crate::connection::exchange::NoReply;
use crate::connection::link::StreamLink;
use crate::connection::reader::{answer, take};
use crate::connection::{Shared, dial};
use crate::error::Loss;
use crate::error::advice::{
    CHECK_PORT, CONNECTIONS_LIMIT, SPEAKS_HTTP, SPEAKS_TLS, silence_advice,
};
use crate::login::{login_frame, who};
use crate::{ConnectError, ErrorCode, ServerError};

/// A reply to a login is a user id; anything much longer comes from something else.
const LOGIN_REPLY_BYTES_MAX: usize = 1 << 10;
const _: () = assert!(
    LOGIN_REPLY_BYTES_MAX > 4 * RESPONSE_HEADER_BYTES,
    "the reply to a login is small, and larger than a header"
);

impl Shared {
    /// Connects and logs in, within the connect timeout.
    pub(super) async fn establish(&self) -> Result<StreamLink, ConnectError> {
        let after = self.settings.connect_timeout;
        let link = timeout(after, self.open_and_log_in()).await;
        let link = link.map_err(|_| ConnectError::TimedOut {
            address: self.address.clone(),
            after,
            hint: silence_advice(self.settings.transport, self.settings.tls.is_some()),
        })??;
        self.connects.fetch_add(1, Ordering::Release);
        Ok(link)
    }

    async fn open_and_log_in(&self) -> Result<StreamLink, ConnectError> {
        let mut link = dial::open(&self.settings, &self.address).await?;
        match self.log_in(&mut link).await {
            Ok(()) => Ok(link),
            Err(error) => {
                link.close().await;
                Err(error)
            }
        }
    }

    async fn log_in(&self, link: &mut StreamLink) -> Result<(), ConnectError> {
        let Some(credentials) = self.credentials.lock().clone() else { return Ok(()) };
        let request = login_frame(&credentials)?;
        let answered = exchange(link, &request).await.map_err(|loss| match loss {
            Loss::Garbled(hint @ (SPEAKS_TLS | SPEAKS_HTTP)) => self.not_galgo(hint),
            Loss::Garbled(_) | Loss::ReplyTooLarge { .. } => self.not_galgo(CHECK_PORT),
            loss => ConnectError::Lost { address: self.address.clone(), loss },
        })?;
        match answered {
            Err(NoReply::Refused(number)) => {
                let target = format!("{} at {}", who(&credentials), self.address);
                let refusal = ServerError::new(number, "log in as", target);
                let refusal = match refusal.is(ErrorCode::UsersLimitReached) {
                    true => refusal.meaning(&CONNECTIONS_LIMIT),
                    false => refusal,
                };
                Err(refusal.into())
            }
            _ => Ok(()),
        }
    }

    fn not_galgo(&self, hint: &'static str) -> ConnectError {
        ConnectError::NotGalgo { address: self.address.clone(), hint }
    }
}

/// Writes one request and reads its reply, on a link nobody else uses.
async fn exchange(link: &mut StreamLink, request: &[u8]) -> Result<Result<Bytes, NoReply>, Loss> {
    let lost = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Loss::Closed,
        _ => Loss::Network(Arc::new(error)),
    };
    link.writer.write_all(request).await.map_err(lost)?;
    link.writer.flush().await.map_err(lost)?;
    let cutter = ReplyCutter::new(LOGIN_REPLY_BYTES_MAX);
    let mut buffer = BytesMut::new();
    loop {
        if let Some(other) = other_protocol(&buffer) {
            return Err(Loss::Garbled(other));
        }
        let missing = match cutter.cut(&buffer)? {
            Cut::Frame { header, payload } => return answer(header, take(&mut buffer, payload)),
            Cut::Partial { whole } => whole - buffer.len(),
        };
        assert!(
            missing > 0,
            "a reply that is not whole lacks a byte, or its end would be taken for that of the link"
        );
        // Not a byte more: what follows is for the reader of the link.
        let mut reading = (&mut link.reader).take(missing as u64);
        if reading.read_buf(&mut buffer).await.map_err(lost)? == 0 {
            return Err(Loss::Closed);
        }
    }
}

/// What the first bytes of an answer are when they are no reply: no status is as large.
fn other_protocol(answer: &[u8]) -> Option<&'static str> {
    match answer {
        // An alert, which is shorter than the head of a reply.
        [0x15, 3, 1..=4, ..] => Some(SPEAKS_TLS),
        [b'H', b'T', b'T', b'P', ..] => Some(SPEAKS_HTTP),
        _ => None,
    }
}

/// The request of a heartbeat.
pub(super) fn ping_frame() -> Bytes {
    let Ok(frame) = frame(&Ping) else {
        unreachable!("a ping has no payload, so it fits into a frame");
    };
    frame
}
