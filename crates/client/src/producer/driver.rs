//! The task of a producer: takes batches, keeps several in flight, retries, settles.
//!
//! Part of INV-LANE: batches are chained, so that the server takes none whose predecessor it did not take, and answers so.
//! After a refusal that may pass, and after a lost connection, they go again in their order, from the first that was
//! not taken. After one that lasts, everything behind it fails with it. A server that knows no chains gets
//! the next batch of a partition when the one before it is answered.
//! Answers are looked at in the order of sending, so what is behind a batch is decided after it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use galgo_wire::command::Payload as _;
use galgo_wire::command::send_with::{ChainLink, SendOutcome, SendReply};
use galgo_wire::id::PartitionId;
use galgo_wire::limits::DELIVERY_SECONDS_DEFAULT;
use tokio::time::{Instant, sleep_until};

use crate::connection::{NoReply, Replay};
use crate::error::NotSent;
use crate::messages::{SendFrame, SendTo, begin_chain, send_frame};
use crate::producer::batcher::{SendBatch, SendLane};
use crate::producer::builder::SendRetry;
use crate::producer::send::ProducerShared;
use crate::retry::is_passing;
use crate::topics::path;
use crate::{Partitioning, SendError};

/// Pause before batches that were refused go again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
const _: () = assert!(
    RETRY_PAUSE.as_secs() < DELIVERY_SECONDS_DEFAULT,
    "a batch that is refused is tried again before it is given up"
);

/// A batch with its request, made once.
struct Parcel {
    batch: SendBatch,
    frame: Bytes,
    /// Whether the chain begins with it.
    begins: bool,
}

type Arrival = (Parcel, Result<Bytes, NoReply>);

/// How far the chain of the producer is.
struct SendChain {
    lane: u32,
    /// The position of the next batch.
    next: u64,
    /// Whether the batches behind the last one that was sent may go on from it.
    goes_on: bool,
}

/// What an answer means for its batch.
enum AnswerVerdict {
    /// Stored; so many of its messages had been stored before.
    Stored {
        before: u64,
    },
    /// Certainly not stored, and to be sent again.
    Again,
    Failed(SendError),
}

/// Runs until the producer is closed and everything is settled. `lane`: the number of its chain, on a server that
/// knows chains.
pub(super) async fn run(shared: Arc<ProducerShared>, lane: Option<u32>) {
    let mut driver = Driver {
        in_flight: FuturesOrdered::new(),
        requests: VecDeque::new(),
        lanes: VecDeque::new(),
        held: VecDeque::new(),
        not_before: Instant::now(),
        failed: None,
        chain: lane.map(|lane| SendChain { lane, next: 0, goes_on: false }),
        shared,
    };
    loop {
        driver.fill().await;
        if driver.shared.is_finished() {
            let is_idle = driver.in_flight.is_empty() && driver.held.is_empty();
            assert!(is_idle, "INV-TOLD: when all is settled, nothing is on its way");
            return;
        }
        driver.wait().await;
    }
}

struct Driver {
    shared: Arc<ProducerShared>,
    in_flight: FuturesOrdered<BoxFuture<'static, Arrival>>,
    /// The requests in flight, to take back those that were not written.
    requests: VecDeque<u64>,
    /// The lanes of the batches in flight.
    lanes: VecDeque<SendLane>,
    /// Batches to be sent again, in their order.
    held: VecDeque<Parcel>,
    /// When they may go again.
    not_before: Instant,
    /// Why a batch failed for good, until everything that was in flight behind it is decided.
    failed: Option<SendError>,
    chain: Option<SendChain>,
}

impl Driver {
    /// Sends what can be sent now.
    async fn fill(&mut self) {
        if self.in_flight.is_empty() {
            self.failed = None;
            self.send_held().await;
        }
        while self.may_take() {
            let batch = self.shared.take(self.busy());
            let Some(mut batch) = batch else { return };
            match self.parcel(&mut batch).await {
                Ok((frame, begins)) => self.send(Parcel { batch, frame, begins }),
                Err(error) => self.fail(batch, error),
            }
        }
    }

    fn may_take(&self) -> bool {
        // A chain begins when nothing is in flight, so that nothing of before can come behind its beginning.
        let may_begin =
            self.in_flight.is_empty() || self.chain.as_ref().is_none_or(|it| it.goes_on);
        let has_room = self.in_flight.len() < self.shared.settings.max_in_flight;
        self.held.is_empty() && self.failed.is_none() && may_begin && has_room
    }

    /// Whether the next batch of a lane has to wait for one that is in flight.
    fn busy(&self) -> impl Fn(SendLane) -> bool {
        |lane| self.chain.is_none() && self.lanes.contains(&lane)
    }

    /// Sends what was held back again; nothing is in flight.
    async fn send_held(&mut self) {
        if self.held.is_empty() {
            return;
        }
        sleep_until(self.not_before).await;
        while let Some(parcel) = self.held.front()
            && !self.busy()(parcel.batch.lane)
        {
            let Some(mut parcel) = self.held.pop_front() else {
                unreachable!("it was seen in front");
            };
            if self.chain.is_some() && self.in_flight.is_empty() && !parcel.begins {
                parcel = Parcel { frame: begin_chain(parcel.frame), begins: true, ..parcel };
            }
            self.send(parcel);
        }
    }

    /// Waits for whatever comes first: an answer, a batch, or the time of one.
    async fn wait(&mut self) {
        let due = match self.may_take() {
            true => self.shared.next_due(self.busy()),
            false => None,
        };
        tokio::select! {
            Some((parcel, answer)) = self.in_flight.next() => self.arrived(parcel, answer),
            () = self.shared.woken() => {}
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
    }

    fn send(&mut self, parcel: Parcel) {
        let settings = &self.shared.settings;
        let replay = match settings.retry {
            SendRetry::AtLeastOnce => Replay::Allowed,
            SendRetry::AtMostOnce => Replay::Never,
        };
        let left = settings.delivery_timeout.saturating_sub(parcel.batch.opened_at.elapsed());
        let connection = &settings.client.connection;
        let has_room = self.in_flight.len() < settings.max_in_flight;
        assert!(has_room, "INV-CLIENT-BOUND: more batches are in flight than may");
        assert!(self.failed.is_none(), "INV-LANE: nothing is sent behind what failed");
        let pending = connection.submit(parcel.frame.clone(), replay, left);
        self.requests.push_back(pending.id());
        self.lanes.push_back(parcel.batch.lane);
        if let Some(chain) = &mut self.chain {
            chain.goes_on = true;
        }
        self.in_flight.push_back(Box::pin(async move {
            let answer = pending.settle().await;
            (parcel, answer)
        }));
        assert!(
            self.requests.len() == self.in_flight.len() && self.lanes.len() == self.in_flight.len(),
            "INV-LANE: what is in flight is known by request and by lane"
        );
    }

    fn arrived(&mut self, parcel: Parcel, answer: Result<Bytes, NoReply>) {
        let (request, lane) = (self.requests.pop_front(), self.lanes.pop_front());
        let is_oldest = request.is_some() && lane == Some(parcel.batch.lane);
        assert!(is_oldest, "INV-LANE: answers are looked at in the order of sending");
        match self.judge(&parcel, answer) {
            AnswerVerdict::Stored { before } => self.shared.settle(parcel.batch, Ok(before)),
            AnswerVerdict::Again => self.held.push_back(parcel),
            AnswerVerdict::Failed(error) => self.fail(parcel.batch, error),
        }
    }

    fn judge(&mut self, parcel: &Parcel, answer: Result<Bytes, NoReply>) -> AnswerVerdict {
        let in_time = parcel.batch.opened_at.elapsed() < self.shared.settings.delivery_timeout;
        match (answer, &self.failed) {
            (Ok(payload), failed) => match self.read(parcel, &payload) {
                Ok(Some(before)) => AnswerVerdict::Stored { before },
                Ok(None) => match failed {
                    Some(cause) => AnswerVerdict::Failed(cause.clone()),
                    None if in_time => AnswerVerdict::Again,
                    None => AnswerVerdict::Failed(self.too_late()),
                },
                Err(error) => AnswerVerdict::Failed(error),
            },
            (Err(NoReply::NotSent(NotSent::Withdrawn)), Some(cause)) => {
                AnswerVerdict::Failed(cause.clone())
            }
            (Err(NoReply::Refused(number)), None) if is_passing(number) && in_time => {
                tracing::debug!(code = number, "batch refused, will be sent again");
                self.not_before = Instant::now() + RETRY_PAUSE;
                AnswerVerdict::Again
            }
            (Err(failure), _) => AnswerVerdict::Failed(failure.into_send(self.topic())),
        }
    }

    /// How many messages of a batch had been stored before; `None` when none was stored because the batch before it
    /// was not.
    fn read(&self, parcel: &Parcel, payload: &[u8]) -> Result<Option<u64>, SendError> {
        if self.chain.is_none() {
            return Ok(Some(0));
        }
        let senseless =
            |reason: &str| SendError::Reply { topic: self.topic(), reason: reason.to_owned() };
        let reply = SendReply::from_bytes(payload)
            .map_err(|code| senseless(&format!("its {} bytes are {code}", payload.len())))?;
        match (reply.outcome, parcel.batch.count.checked_sub(reply.stored)) {
            (SendOutcome::Stored | SendOutcome::StoredBefore, Some(before)) => {
                Ok(Some(before.into()))
            }
            (SendOutcome::EarlierMissing, _) if !parcel.begins => Ok(None),
            (SendOutcome::EarlierMissing, _) => {
                Err(senseless("nothing comes before the beginning"))
            }
            (_, None) => Err(senseless("more messages are stored than were sent")),
        }
    }

    /// Settles a batch as failed, and all that was not sent yet with it, so that there is no hole.
    fn fail(&mut self, batch: SendBatch, error: SendError) {
        tracing::warn!(messages = batch.count, %error, "batch not acknowledged");
        self.shared.settle(batch, Err(error.clone()));
        for request in &self.requests {
            self.shared.settings.client.connection.withdraw(*request);
        }
        for parcel in self.held.drain(..) {
            self.shared.settle(parcel.batch, Err(error.clone()));
        }
        for batch in self.shared.drain() {
            self.shared.settle(batch, Err(error.clone()));
        }
        if let Some(chain) = &mut self.chain {
            chain.goes_on = false;
        }
        self.failed.get_or_insert(error);
    }

    /// Moves the messages of a batch into a request; tells whether the chain begins with it.
    async fn parcel(&mut self, batch: &mut SendBatch) -> Result<(Bytes, bool), SendError> {
        let partition = match batch.lane {
            SendLane::Balanced => self.shared.balance().await,
            SendLane::Partition(partition) => Some(partition),
        };
        let partitioning = match partition {
            None => Partitioning::Balanced,
            Some(partition) => Partitioning::PartitionId(PartitionId::new(partition)),
        };
        let settings = &self.shared.settings;
        let to = SendTo {
            stream: &settings.stream,
            topic: &settings.topic,
            partitioning: &partitioning,
        };
        let messages = std::mem::take(&mut batch.messages);
        let Some(chain) = &mut self.chain else {
            return Ok((send_frame(to, SendFrame::Classic, &messages)?, false));
        };
        let begins = !chain.goes_on;
        let link = ChainLink { lane: chain.lane, position: chain.next, begins };
        let frame = send_frame(to, SendFrame::Chained(link), &messages)?;
        chain.next = chain.next.wrapping_add(1);
        Ok((frame, begins))
    }

    fn too_late(&self) -> SendError {
        let timeout = self.shared.settings.delivery_timeout;
        SendError::NotSent { topic: self.topic(), reason: NotSent::TimedOut(timeout) }
    }

    fn topic(&self) -> String {
        path(&self.shared.settings.stream, &self.shared.settings.topic)
    }
}
