//! One bidirectional stream: a request comes in on it, its answer goes out on it.
//!
//! A stream whose request stays half sent is given up.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use galgo_broker::{Answer, Reply};
use galgo_wire::ErrorCode;
use galgo_wire::id::UserId;
use quinn::{RecvStream, SendStream};
use std::ops::Range;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout_at};

use crate::conversation::deadlines::{Deadlines, Patience};
use crate::transport::Hub;
use crate::transport::connection::Carrier;
use crate::transport::connection::admission::Caller;
use crate::transport::connection::inbox::{Front, Inbox};
use crate::transport::connection::outbox::Outbox;
use crate::transport::connection::supply::Supply;

/// Who is logged in on a connection, for requests that are being received.
#[derive(Debug, Default)]
pub(super) struct CurrentUser(Mutex<Option<UserId>>);

impl CurrentUser {
    /// Who it is.
    pub(super) fn get(&self) -> Option<UserId> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets who it is, and returns who it was.
    pub(super) fn set(&self, user: Option<UserId>) -> Option<UserId> {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), user)
    }
}

/// Both halves of a stream.
#[derive(Debug)]
pub(super) struct Stream {
    recv: RecvStream,
    send: SendStream,
}

/// What was received on a stream.
pub(super) enum Received {
    /// A request that is here in full.
    Request(Request),
    /// A request that is answered with this error.
    Refused(Stream, ErrorCode),
}

/// A request that is here in full, and where its answer goes.
pub(super) struct Request {
    /// The stream it came on.
    pub(super) stream: Stream,
    /// The command.
    pub(super) code: u32,
    /// Its bytes.
    pub(super) inbox: Inbox,
    /// Where its payload is; see [`Inbox::payload`].
    pub(super) payload: Range<usize>,
}

impl Stream {
    pub(super) fn new(send: SendStream, recv: RecvStream) -> Self {
        Self { recv, send }
    }

    /// Waits until the peer gives up on the answer.
    pub(super) fn given_up(&self) -> impl Future<Output = ()> + use<> {
        let stopped = self.send.stopped();
        async move {
            let _ = stopped.await;
        }
    }
}

/// Receives one request; `None` when none came or it is to have no answer.
pub(super) async fn receive(
    mut stream: Stream,
    hub: Arc<Hub>,
    user: Arc<CurrentUser>,
) -> Option<Received> {
    let mut inbox = Inbox::new();
    let mut allowance = hub.allowance(None);
    let (mut begun, mut refusal) = (false, None);
    let patience = Patience { frame: hub.limits.patience.frame, login: None };
    let mut deadlines = Deadlines::new(patience, Instant::now());
    deadlines.waits_for_rest(true, Instant::now);
    loop {
        if !begun && let Some(is_header) = inbox.begins_with_header() {
            if !is_header {
                let _ = stream.send.finish();
                return None;
            }
            begun = true;
        }
        let caller = Caller {
            authenticated: user.get().is_some(),
            send_bytes_max: hub.limits.send_bytes_max,
        };
        match inbox.front(caller) {
            Front::Request { code, payload } if refusal.is_none() => {
                return Some(Received::Request(Request { stream, code, inbox, payload }));
            }
            Front::Refused(error) => refusal = Some(error),
            Front::Request { .. } | Front::Partial => {}
        }
        if let Some(error) = refusal
            && !inbox.is_discarding()
        {
            return Some(Received::Refused(stream, error));
        }
        let now = user.get();
        if now != allowance.user() {
            allowance = hub.allowance(now);
            inbox.change_hands();
        }
        if !inbox.try_make_room(&allowance) {
            let begun = Instant::now();
            inbox.make_room(&allowance).await;
            deadlines.held_up(begun.elapsed());
        }
        let due = deadlines.next().unwrap_or_else(Instant::now);
        let filled = timeout_at(due, inbox.fill(&mut stream));
        match filled.await {
            Ok(Ok(bytes @ 1..)) => deadlines.received(bytes),
            // Dropping both halves tells the peer that nothing will come of it.
            Ok(Ok(0) | Err(_)) | Err(_) => {
                let _ = stream.send.reset(0u32.into());
                return None;
            }
        }
    }
}

/// Sends an answer once it is due, with what `supply` adds to it, and ends the stream; an answer that cannot be sent
/// whole breaks it off, so that its beginning is not taken for all of it. Returns the half it went out on: its bytes may
/// still be on their way.
pub(super) async fn answer(
    mut stream: Stream,
    answer: Answer,
    supply: Supply,
) -> io::Result<SendStream> {
    match write(&mut stream, answer.settled().await, supply).await {
        Ok(()) => {
            // A peer that gave up on the stream has no use for its end.
            let _ = stream.send.finish();
            Ok(stream.send)
        }
        Err(error) => {
            let _ = stream.send.reset(0u32.into());
            Err(error)
        }
    }
}

async fn write(stream: &mut Stream, reply: Reply, supply: Supply) -> io::Result<()> {
    let mut outbox = Outbox::new(supply.hub.limits.write_timeout);
    outbox.reply(reply, stream, || supply).await?;
    outbox.flush(stream).await
}

impl Carrier for Stream {}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        AsyncRead::poll_read(Pin::new(&mut self.get_mut().recv), cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.get_mut().send), cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = parts.iter().find(|part| !part.is_empty());
        self.poll_write(cx, first.map_or(&[], |part| part))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.get_mut().send), cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(Pin::new(&mut self.get_mut().send), cx)
    }
}
