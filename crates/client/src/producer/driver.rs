//! The task of a producer: takes batches, keeps several in flight, retries, settles.
//!
//! INV-LANE: after a lost connection, the connection itself writes the batches in flight again, in
//! their order. After a refusal that may pass, nothing new is sent until everything in flight is
//! settled; then the refused batches go again, one at a time, in their order. A refused batch is
//! given up when a later one of its partition was stored meanwhile, because it could only be stored
//! behind it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use galgo_wire::id::PartitionId;
use tokio::time::{Instant, sleep, sleep_until};

use crate::connection::{Failure, Replay};
use crate::messages::send_frame;
use crate::producer::batcher::{Batch, Lane};
use crate::producer::builder::SendRetry;
use crate::producer::send::Shared;
use crate::retry::is_passing;
use crate::topics::path;
use crate::{Partitioning, SendError};

/// Pause before batches that were refused go again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// A batch with its request, made once.
struct Parcel {
    batch: Batch,
    frame: Bytes,
    /// Its number while it is in flight.
    request: u64,
}

type Arrival = (Parcel, Result<Bytes, Failure>);

/// Runs until the producer is closed and everything is settled.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut driver = Driver {
        in_flight: FuturesUnordered::new(),
        requests: Vec::new(),
        refused: VecDeque::new(),
        shared,
    };
    while !driver.shared.is_finished() {
        driver.fill().await;
        driver.wait().await;
    }
}

struct Driver {
    shared: Arc<Shared>,
    in_flight: FuturesUnordered<BoxFuture<'static, Arrival>>,
    /// The requests in flight, to take back those that were not written.
    requests: Vec<u64>,
    /// Batches to be sent again, by number.
    refused: VecDeque<Parcel>,
}

impl Driver {
    /// Sends what can be sent now.
    async fn fill(&mut self) {
        while self.refused.is_empty() && self.in_flight.len() < self.shared.settings.max_in_flight {
            let Some(mut batch) = self.shared.take() else { return };
            match encode(&self.shared, &mut batch).await {
                Ok(frame) => self.send(Parcel { batch, frame, request: 0 }),
                Err(error) => self.fail(batch, error),
            }
        }
        if self.in_flight.is_empty()
            && let Some(parcel) = self.refused.pop_front()
        {
            sleep(RETRY_PAUSE).await;
            self.send(parcel);
        }
    }

    /// Waits for whatever comes first: an answer, a batch, or the time of one.
    async fn wait(&mut self) {
        let may_send =
            self.refused.is_empty() && self.in_flight.len() < self.shared.settings.max_in_flight;
        let due = self.shared.next_due().filter(|_| may_send);
        tokio::select! {
            Some((parcel, answer)) = self.in_flight.next() => self.arrived(parcel, answer),
            () = self.shared.woken() => {}
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
    }

    fn send(&mut self, mut parcel: Parcel) {
        let settings = &self.shared.settings;
        let replay = match settings.retry {
            SendRetry::AtLeastOnce => Replay::Allowed,
            SendRetry::AtMostOnce => Replay::Never,
        };
        let left = settings.delivery_timeout.saturating_sub(parcel.batch.opened_at.elapsed());
        let connection = &settings.client.connection;
        let pending = connection.submit(parcel.frame.clone(), replay, left);
        self.requests.push(pending.id());
        parcel.request = pending.id();
        self.in_flight.push(Box::pin(async move {
            let answer = pending.settle().await;
            (parcel, answer)
        }));
    }

    fn arrived(&mut self, parcel: Parcel, answer: Result<Bytes, Failure>) {
        self.requests.retain(|request| *request != parcel.request);
        match answer {
            Ok(_) => {
                let (lane, number) = (parcel.batch.lane, parcel.batch.number);
                self.shared.settle(parcel.batch, Ok(()));
                self.give_up_overtaken(lane, number);
            }
            Err(Failure::Refused(number)) if self.may_retry(&parcel.batch, number) => {
                tracing::debug!(code = number, "batch refused, will be sent again");
                let behind =
                    self.refused.partition_point(|other| other.batch.number < parcel.batch.number);
                self.refused.insert(behind, parcel);
            }
            Err(failure) => {
                let error = failure.into_send(self.topic());
                self.fail(parcel.batch, error);
            }
        }
    }

    fn may_retry(&self, batch: &Batch, number: u32) -> bool {
        is_passing(number) && batch.opened_at.elapsed() < self.shared.settings.delivery_timeout
    }

    /// Gives up refused batches that could now only be stored behind a later one.
    fn give_up_overtaken(&mut self, lane: Lane, stored: u64) {
        if lane == Lane::Balanced {
            return;
        }
        let is_overtaken =
            |parcel: &Parcel| parcel.batch.lane == lane && parcel.batch.number < stored;
        let (overtaken, refused): (Vec<_>, Vec<_>) = self.refused.drain(..).partition(is_overtaken);
        self.refused = refused.into();
        for parcel in overtaken {
            let error = SendError::Overtaken { topic: self.topic() };
            self.fail(parcel.batch, error);
        }
    }

    /// Settles a batch as failed, and all that was not sent yet with it, so that there is no hole.
    fn fail(&mut self, batch: Batch, error: SendError) {
        tracing::warn!(messages = batch.count, %error, "batch not acknowledged");
        self.shared.settle(batch, Err(error.clone()));
        if !self.shared.settings.is_ordered() {
            return;
        }
        for request in &self.requests {
            self.shared.settings.client.connection.withdraw(*request);
        }
        for parcel in self.refused.drain(..) {
            self.shared.settle(parcel.batch, Err(error.clone()));
        }
        for batch in self.shared.drain() {
            self.shared.settle(batch, Err(error.clone()));
        }
    }

    fn topic(&self) -> String {
        path(&self.shared.settings.stream, &self.shared.settings.topic)
    }
}

/// Moves the messages of a batch into a request.
async fn encode(shared: &Shared, batch: &mut Batch) -> Result<Bytes, SendError> {
    let partition = match batch.lane {
        Lane::Balanced => shared.balance().await,
        Lane::Partition(partition) => Some(partition),
    };
    let partitioning = match partition {
        None => Partitioning::Balanced,
        Some(partition) => Partitioning::PartitionId(PartitionId::new(partition)),
    };
    let settings = &shared.settings;
    let messages = std::mem::take(&mut batch.messages);
    Ok(send_frame(&settings.stream, &settings.topic, &partitioning, &messages)?)
}
