//! One request and its reply, over whatever connections it takes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::connection::queue::{Abandoned, Answer, Replay};
use crate::connection::{Connection, handshake};
use crate::error::{Fate, Loss, NotSent};

/// Why a request has no reply.
#[derive(Debug, Clone)]
pub(crate) enum NoReply {
    /// The server answered with this status.
    Refused(u32),
    /// It was sent, nobody knows what became of it.
    Unknown(Fate),
    /// It was not sent.
    NotSent(NotSent),
}

/// A request that is queued or in flight. Dropped, it is not written if it was not yet. A poll for which
/// the server waits is ended by a ping then, so that nothing is delivered to nobody for long.
pub(crate) struct PendingRequest {
    connection: Arc<Connection>,
    id: u64,
    deadline: Instant,
    timeout: Duration,
    waits: bool,
    receiver: oneshot::Receiver<Answer>,
}

impl PendingRequest {
    /// The number of the request, for [`Connection::withdraw`].
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Waits for the reply.
    pub(crate) async fn settle(mut self) -> Answer {
        match timeout_at(self.deadline, &mut self.receiver).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(NoReply::Unknown(Fate::Lost(Loss::ClientDropped))),
            Err(_) => self.time_out(),
        }
    }

    fn time_out(&mut self) -> Answer {
        let unknown = Err(NoReply::Unknown(Fate::TimedOut(self.timeout)));
        match self.abandon() {
            Abandoned::NotSent => Err(NoReply::NotSent(NotSent::TimedOut(self.timeout))),
            Abandoned::Unknown => unknown,
            // The reply came between the deadline and now.
            Abandoned::Answered => self.receiver.try_recv().unwrap_or(unknown),
        }
    }

    fn abandon(&self) -> Abandoned {
        let queue = &self.connection.shared.queue;
        let abandoned = queue.abandon(self.id);
        if self.waits && matches!(abandoned, Abandoned::Unknown) {
            queue.push_unheeded(handshake::ping_frame());
        }
        abandoned
    }
}

impl Drop for PendingRequest {
    fn drop(&mut self) {
        // After an answer there is nothing left to abandon.
        if !self.receiver.is_terminated() {
            self.abandon();
        }
    }
}

impl Connection {
    /// Takes a request back that was never written, even in part; it fails as not sent.
    pub(crate) fn withdraw(&self, id: u64) {
        self.shared.queue.withdraw(id);
    }

    /// Queues `frame`; requests are written in the order of the calls.
    pub(crate) fn submit(
        self: &Arc<Self>,
        frame: Bytes,
        replay: Replay,
        timeout: Duration,
    ) -> PendingRequest {
        self.submit_waiting(frame, replay, timeout, Duration::ZERO)
    }

    fn submit_waiting(
        self: &Arc<Self>,
        frame: Bytes,
        replay: Replay,
        timeout: Duration,
        wait: Duration,
    ) -> PendingRequest {
        let waits = !wait.is_zero();
        let (id, receiver) = self.shared.queue.push(frame, replay, waits);
        let timeout = timeout.saturating_add(wait);
        let (connection, deadline) = (Arc::clone(self), Instant::now() + timeout);
        PendingRequest { connection, id, deadline, timeout, waits, receiver }
    }

    /// Sends `frame` and waits for the reply, both within the request timeout.
    pub(crate) async fn exchange(self: &Arc<Self>, frame: Bytes, replay: Replay) -> Answer {
        self.exchange_waiting(frame, replay, Duration::ZERO).await
    }

    /// As [`Connection::exchange`] for a request that the server may answer by so much later.
    pub(crate) async fn exchange_waiting(
        self: &Arc<Self>,
        frame: Bytes,
        replay: Replay,
        wait: Duration,
    ) -> Answer {
        let timeout = self.shared.settings.request_timeout;
        self.submit_waiting(frame, replay, timeout, wait).settle().await
    }
}
