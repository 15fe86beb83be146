//! One bidirectional stream: a request comes in on it, its answer goes out on it.
//!
//! A stream whose request stays half sent is given up.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use galgo_broker::{Answer, Reply};
use galgo_wire::ErrorCode;
use galgo_wire::id::UserId;
use parking_lot::Mutex;
use quinn::{RecvStream, SendStream};
use std::ops::Range;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout_at};

use crate::conversation::deadlines::{ReadingPauses, RequestClock};
use crate::transport::Hub;
use crate::transport::connection::Carrier;
use crate::transport::connection::admission::PeerStanding;
use crate::transport::connection::inbox::{Front, Inbox};
use crate::transport::connection::outbox::Outbox;
use crate::transport::connection::supply::Supply;

/// What requests that are being received have to know of their connection.
#[derive(Debug, Default)]
pub(super) struct Listening {
    /// Who is logged in.
    user: Mutex<Option<UserId>>,
    reading: Mutex<ReadingPauses>,
}

impl Listening {
    /// Who is logged in.
    pub(super) fn user(&self) -> Option<UserId> {
        *self.user.lock()
    }

    /// Sets who is logged in, and returns who was.
    pub(super) fn set_user(&self, user: Option<UserId>) -> Option<UserId> {
        std::mem::replace(&mut *self.user.lock(), user)
    }

    /// No stream is read from now on: a request is at hand, or too many answers are.
    pub(super) fn pauses(&self) {
        self.reading.lock().pauses(Instant::now());
    }

    /// Streams are read again.
    pub(super) fn goes_on(&self) {
        let mut reading = self.reading.lock();
        // The clock is asked only behind a pause: most waits come behind none.
        if reading.is_paused() {
            reading.goes_on(Instant::now());
        }
    }
}

/// Both halves of a stream.
#[derive(Debug)]
pub(super) struct RequestStream {
    recv: RecvStream,
    send: SendStream,
}

/// What was received on a stream.
pub(super) enum Received {
    /// A request that is here in full.
    Request(StreamRequest),
    /// A request that is answered with this error.
    Refused(RequestStream, ErrorCode),
}

/// A request that is here in full, and where its answer goes.
pub(super) struct StreamRequest {
    /// The stream it came on.
    pub(super) stream: RequestStream,
    /// The command.
    pub(super) code: u32,
    /// Its bytes.
    pub(super) inbox: Inbox,
    /// Where its payload is; see [`Inbox::payload`].
    pub(super) payload: Range<usize>,
}

impl RequestStream {
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
    mut stream: RequestStream,
    hub: Arc<Hub>,
    listening: Arc<Listening>,
) -> Option<Received> {
    let mut inbox = Inbox::new();
    let mut allowance = hub.allowance(None);
    let (mut begun, mut refusal) = (false, None);
    let patience = hub.limits.patience.frame;
    let mut clock = RequestClock::new(patience, Instant::now(), &listening.reading.lock());
    loop {
        if !begun && let Some(is_header) = inbox.begins_with_header() {
            if !is_header {
                let _ = stream.send.finish();
                return None;
            }
            begun = true;
        }
        let caller = PeerStanding {
            authenticated: listening.user().is_some(),
            send_bytes_max: hub.limits.send_bytes_max,
        };
        match inbox.front(caller) {
            Front::Request { code, payload } if refusal.is_none() => {
                return Some(Received::Request(StreamRequest { stream, code, inbox, payload }));
            }
            Front::Refused(error) => refusal = Some(error),
            Front::Request { .. } | Front::Partial => {}
        }
        if let Some(error) = refusal
            && !inbox.is_discarding()
        {
            return Some(Received::Refused(stream, error));
        }
        let now = listening.user();
        if now != allowance.user() {
            allowance = hub.allowance(now);
            inbox.change_hands();
        }
        if !inbox.try_make_room(&allowance) {
            let begun = Instant::now();
            inbox.make_room(&allowance).await;
            clock.held_up(begun.elapsed());
        }
        let due = clock.due(&listening.reading.lock());
        let filled = timeout_at(due, inbox.fill(&mut stream));
        match filled.await {
            Ok(Ok(bytes @ 1..)) => clock.received(bytes),
            // The time may have passed while nobody read.
            Err(_) if clock.due(&listening.reading.lock()) > due => {}
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
    mut stream: RequestStream,
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

async fn write(stream: &mut RequestStream, reply: Reply, supply: Supply) -> io::Result<()> {
    let mut outbox = Outbox::new(supply.hub.limits.write_timeout);
    outbox.reply(reply, stream, || supply).await?;
    outbox.flush(stream).await
}

impl Carrier for RequestStream {}

impl AsyncRead for RequestStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        AsyncRead::poll_read(Pin::new(&mut self.get_mut().recv), cx, buf)
    }
}

impl AsyncWrite for RequestStream {
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
