//! The requests of a connection: those that wait to be written and those that wait for a reply.
//!
//! Part of INV-PIPELINE: `in_flight` holds, in the order of writing, exactly the requests that were handed
//! to the writer and have no reply yet.
//! Part of INV-FATE: of those, the first `written - answered` may have reached the server completely; the
//! others certainly have not, so writing them again repeats nothing.
//! No more requests and bytes are in flight than allowed; what waits is one request for
//! each caller who waits, and goes when the caller goes.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::connection::exchange::NoReply;
use crate::error::{Fate, Loss, NotSent};

/// Whether a request may be written again when its fate is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replay {
    /// No: it might be carried out twice.
    Never,
    /// Yes: carrying it out twice is the same as once.
    Safe,
    /// Yes: the caller takes duplicates rather than losses.
    Allowed,
}

pub(super) type Answer = Result<Bytes, NoReply>;

struct QueuedCall {
    id: u64,
    frame: Bytes,
    replay: Replay,
    /// How the connection was lost to which the request was written before.
    lost_before: Option<Loss>,
    /// `None`: nobody waits, as for a heartbeat.
    reply: Option<oneshot::Sender<Answer>>,
    /// Whether the server may wait with its answer, until something else is sent.
    waits: bool,
}

/// Both lists are ordered by id.
#[derive(Default)]
struct QueueState {
    waiting: VecDeque<QueuedCall>,
    in_flight: VecDeque<QueuedCall>,
    in_flight_bytes: usize,
    /// Requests written completely since the connect.
    written: u64,
    /// Requests answered since the connect; can be ahead of `written` for a moment.
    answered: u64,
    next_id: u64,
    closed: bool,
}

/// What became of a request nobody wants to wait for any longer.
#[derive(Debug)]
pub(super) enum Abandoned {
    /// It was never written, and will not be.
    NotSent,
    /// It was written, at least in part.
    Unknown,
    /// It has been answered.
    Answered,
}

pub(super) struct RequestQueue {
    state: Mutex<QueueState>,
    /// Wakes the writer.
    work: Notify,
    limits: InFlightLimits,
}

/// Bounds of what is in flight.
#[derive(Debug, Clone, Copy)]
pub(super) struct InFlightLimits {
    pub(super) requests: usize,
    pub(super) bytes: usize,
}

impl RequestQueue {
    pub(super) fn new(limits: InFlightLimits) -> Self {
        Self { state: Mutex::default(), work: Notify::new(), limits }
    }

    /// Queues a request; it is written after all that were queued before it. `waits`: the server may
    /// wait with the answer.
    pub(super) fn push(
        &self,
        frame: Bytes,
        replay: Replay,
        waits: bool,
    ) -> (u64, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        if state.closed {
            let _ = sender.send(Err(NoReply::NotSent(NotSent::ClientDropped)));
            return (state.next_id, receiver);
        }
        let id = state.append(frame, replay, Some(sender), waits);
        drop(state);
        self.work.notify_one();
        (id, receiver)
    }

    /// Queues a request whose reply nobody waits for, and which is not worth repeating; not if such
    /// a request waits already.
    pub(super) fn push_unheeded(&self, frame: Bytes) {
        let mut state = self.state.lock();
        if state.waiting.iter().all(|call| call.reply.is_some()) {
            state.append(frame, Replay::Never, None, false);
            drop(state);
            self.work.notify_one();
        }
    }

    /// Waits for requests and moves them, up to `frames_max` and about `bytes_max`, among those in
    /// flight; appends their frames to `frames`.
    pub(super) async fn take(&self, frames: &mut Vec<Bytes>, frames_max: usize, bytes_max: usize) {
        loop {
            if self.try_take(frames, frames_max, bytes_max) {
                return;
            }
            self.work.notified().await;
        }
    }

    fn try_take(&self, frames: &mut Vec<Bytes>, frames_max: usize, bytes_max: usize) -> bool {
        let mut state = self.state.lock();
        let mut bytes = 0;
        while frames.len() < frames_max && bytes < bytes_max {
            let Some(call) = state.next(self.limits) else { break };
            bytes += call.frame.len();
            frames.push(call.frame.clone());
            state.in_flight_bytes += call.frame.len();
            let last = state.in_flight.back().map(|last| last.id);
            assert!(last < Some(call.id), "INV-PIPELINE: requests are written in their order");
            state.in_flight.push_back(call);
        }
        assert!(
            state.in_flight.len() <= self.limits.requests.max(1),
            "INV-CLIENT-BOUND: more requests are in flight than may"
        );
        !frames.is_empty()
    }

    /// Notes that `frames` more requests have been written completely.
    pub(super) fn wrote(&self, frames: usize) {
        self.state.lock().written += frames as u64;
    }

    /// Gives the reply that came to the request it belongs to.
    pub(super) fn answer(&self, answer: Answer) -> Result<(), Loss> {
        let mut state = self.state.lock();
        let Some(call) = state.in_flight.pop_front() else {
            return Err(Loss::Garbled("a reply came that nobody asked for"));
        };
        state.answered += 1;
        let is_counted = call.frame.len() <= state.in_flight_bytes;
        assert!(is_counted, "INV-CLIENT-BOUND: a request in flight was not counted");
        state.in_flight_bytes -= call.frame.len();
        assert!(
            state.in_flight_bytes == 0 || !state.in_flight.is_empty(),
            "INV-CLIENT-BOUND: bytes are counted of which none are in flight"
        );
        let has_work = !state.waiting.is_empty();
        drop(state);
        if has_work {
            // The writer may have been waiting for room.
            self.work.notify_one();
        }
        if let Some(reply) = call.reply {
            // The caller may have gone away; its reply is read all the same (INV-PIPELINE).
            let _ = reply.send(answer);
        }
        Ok(())
    }

    /// Whether a reply is owed.
    pub(super) fn is_owed(&self) -> bool {
        !self.state.lock().in_flight.is_empty()
    }

    /// Whether nothing is asked but one thing for which the server waits: it counts the client as alive
    /// then, and anything sent would end the wait.
    pub(super) fn only_waits(&self) -> bool {
        let state = self.state.lock();
        let alone = state.waiting.is_empty() && state.in_flight.len() == 1;
        alone && state.in_flight.front().is_some_and(|call| call.waits && call.is_wanted())
    }

    /// Resolves when something waits to be written.
    pub(super) async fn has_work(&self) {
        while self.state.lock().waiting.is_empty() {
            self.work.notified().await;
        }
        // The permit belongs to the writer.
        self.work.notify_one();
    }

    /// Decides about everything in flight when the connection is lost: what may be written again
    /// goes back to the front, in its order, the rest fails.
    pub(super) fn lose(&self, loss: &Loss) {
        let mut failed = Vec::new();
        let mut state = self.state.lock();
        let (written, answered) = (state.written, state.answered);
        // Both count from the connect, and the next connection begins with neither.
        (state.written, state.answered) = (0, 0);
        let maybe_done_count = written.saturating_sub(answered);
        let in_flight = std::mem::take(&mut state.in_flight);
        assert!(
            maybe_done_count <= in_flight.len() as u64,
            "INV-FATE: what was written and not answered is in flight"
        );
        state.in_flight_bytes = 0;
        let mut again = VecDeque::with_capacity(in_flight.len() + state.waiting.len());
        for (position, mut call) in (0..).zip(in_flight) {
            let maybe_done = position < maybe_done_count;
            let is_culprit = position == 0 && loss.is_by_reply();
            let again_is_safe = match call.replay {
                Replay::Never => false,
                Replay::Safe => !is_culprit,
                Replay::Allowed => true,
            };
            if !call.is_wanted() || (maybe_done && !again_is_safe) {
                failed.push(call);
            } else {
                if maybe_done {
                    call.lost_before = Some(loss.clone());
                }
                again.push_back(call);
            }
        }
        let (last, first) = (again.back(), state.waiting.front());
        let is_ordered = last.zip(first).is_none_or(|(last, first)| last.id < first.id);
        assert!(is_ordered, "INV-PIPELINE: what goes again is in front of what never went");
        again.append(&mut state.waiting);
        state.waiting = again;
        drop(state);
        for call in failed {
            call.fail(NoReply::Unknown(Fate::Lost(loss.clone())));
        }
    }

    /// Fails everything that waits, because there will be no connection soon.
    pub(super) fn give_up(&self, reason: &NotSent) {
        let waiting = std::mem::take(&mut self.state.lock().waiting);
        for call in waiting {
            // A read whose answer got lost changed nothing: for it, only the reason counts.
            let failure = match (&call.lost_before, call.replay) {
                (Some(loss), Replay::Allowed) => NoReply::Unknown(Fate::Lost(loss.clone())),
                _ => NoReply::NotSent(reason.clone()),
            };
            call.fail(failure);
        }
    }

    /// Fails everything and takes nothing more.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.lose(&Loss::ClientDropped);
        self.give_up(&NotSent::ClientDropped);
    }

    /// Fails request `id` if it waits to be written.
    pub(super) fn withdraw(&self, id: u64) {
        let call = self.state.lock().remove_waiting(id);
        if let Some(call) = call {
            let failure = match &call.lost_before {
                Some(loss) => NoReply::Unknown(Fate::Lost(loss.clone())),
                None => NoReply::NotSent(NotSent::Withdrawn),
            };
            call.fail(failure);
        }
    }

    /// Stops waiting for request `id`.
    pub(super) fn abandon(&self, id: u64) -> Abandoned {
        let mut state = self.state.lock();
        match state.remove_waiting(id) {
            Some(QueuedCall { lost_before: Some(_), .. }) => Abandoned::Unknown,
            Some(_) => Abandoned::NotSent,
            None => match state.in_flight.binary_search_by_key(&id, |call| call.id) {
                Ok(_) => Abandoned::Unknown,
                Err(_) => Abandoned::Answered,
            },
        }
    }
}

impl QueueState {
    fn append(
        &mut self,
        frame: Bytes,
        replay: Replay,
        reply: Option<oneshot::Sender<Answer>>,
        waits: bool,
    ) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let is_last = self.waiting.back().is_none_or(|last| last.id < id);
        assert!(is_last, "INV-PIPELINE: requests wait in the order of their numbers");
        self.waiting.push_back(QueuedCall { id, frame, replay, lost_before: None, reply, waits });
        id
    }

    /// The next request that fits; one over the bound goes alone.
    fn next(&mut self, limits: InFlightLimits) -> Option<QueuedCall> {
        let front = self.waiting.front()?;
        let fits = self.in_flight.len() < limits.requests
            && self.in_flight_bytes + front.frame.len() <= limits.bytes;
        match fits || self.in_flight.is_empty() {
            true => self.waiting.pop_front(),
            false => None,
        }
    }

    fn remove_waiting(&mut self, id: u64) -> Option<QueuedCall> {
        let position = self.waiting.binary_search_by_key(&id, |call| call.id).ok()?;
        self.waiting.remove(position)
    }
}

impl QueuedCall {
    /// Whether somebody still waits for the reply.
    fn is_wanted(&self) -> bool {
        self.reply.as_ref().is_some_and(|reply| !reply.is_closed())
    }

    fn fail(self, failure: NoReply) {
        if let Some(reply) = self.reply {
            let _ = reply.send(Err(failure));
        }
    }
}

#[cfg(test)]
mod tests;
