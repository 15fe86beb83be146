//! One request and its reply, over whatever connections it takes.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::connection::Connection;
use crate::connection::queue::{Abandoned, Answer, Replay};
use crate::error::{Fate, Loss, NotSent};

/// Why a request has no reply.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// The server answered with this status.
    Refused(u32),
    /// It was sent, nobody knows what became of it.
    Unknown(Fate),
    /// It was not sent.
    NotSent(NotSent),
}

/// A request that is queued or in flight.
pub(crate) struct Pending {
    id: u64,
    deadline: Instant,
    timeout: Duration,
    receiver: oneshot::Receiver<Answer>,
}

impl Pending {
    /// The number of the request, for [`Connection::withdraw`].
    pub(crate) fn id(&self) -> u64 {
        self.id
    }
}

impl Connection {
    /// Takes a request back that was never written, even in part; it fails as not sent.
    pub(crate) fn withdraw(&self, id: u64) {
        self.shared.queue.withdraw(id);
    }

    /// Queues `frame` when there is room, and returns what waits for its reply.
    ///
    /// Requests are written in the order in which this returns.
    pub(crate) async fn submit(
        &self,
        frame: Bytes,
        replay: Replay,
        timeout: Duration,
    ) -> Result<Pending, Failure> {
        let deadline = Instant::now() + timeout;
        let queue = &self.shared.queue;
        let room = match timeout_at(deadline, queue.room(frame.len())).await {
            Ok(room) => room.map_err(Failure::NotSent)?,
            Err(_) => return Err(Failure::NotSent(NotSent::TimedOut(timeout))),
        };
        let (id, receiver) = queue.push(frame, replay, room);
        Ok(Pending { id, deadline, timeout, receiver })
    }

    /// Waits for the reply to `pending`.
    pub(crate) async fn settle(&self, pending: Pending) -> Answer {
        let Pending { id, deadline, timeout, mut receiver } = pending;
        match timeout_at(deadline, &mut receiver).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Failure::Unknown(Fate::Lost(Loss::ClientDropped))),
            Err(_) => match self.shared.queue.abandon(id) {
                Abandoned::NotSent => Err(Failure::NotSent(NotSent::TimedOut(timeout))),
                Abandoned::Unknown => Err(Failure::Unknown(Fate::TimedOut(timeout))),
                // The reply came between the deadline and now.
                Abandoned::Answered => {
                    receiver.try_recv().unwrap_or(Err(Failure::Unknown(Fate::TimedOut(timeout))))
                }
            },
        }
    }

    /// Sends `frame` and waits for the reply, both within the request timeout.
    pub(crate) async fn exchange(&self, frame: Bytes, replay: Replay) -> Answer {
        let pending = self.submit(frame, replay, self.shared.settings.request_timeout).await?;
        self.settle(pending).await
    }
}
