//! Copies one partition, and goes on after a broken connection.

use std::cell::RefCell;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use galgo::wire::id::PartitionId;
use galgo::{
    CallError, ConsumeError, Consumer, Message, Partitioning, ReceivedMessage, SendError, Start,
};

use crate::failure::{Failure, Outcome};
use crate::mirror::Side;
use crate::mirror::origin::copy;
use crate::mirror::outage::{Outage, Waits};
use crate::mirror::place::Place;
use crate::mirror::report::PartitionReport;
use crate::progress::Progress;

/// Most messages of one request to the target.
const BATCH_MESSAGES: usize = 1_000;
/// Bytes after which a request to the target takes no more messages.
const BATCH_BYTES: usize = 1 << 20;

/// Attempts without a single message copied before the copy gives up.
const ATTEMPTS_MAX: u32 = 10;
/// Pause before the next attempt; also lets a server finish what a broken connection left in it.
const PAUSE: Duration = Duration::from_secs(1);

/// How to copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Go on with messages as they come.
    pub(crate) follow: bool,
    /// Check the checksums of what is read.
    pub(crate) verify_checksums: bool,
}

/// One partition being copied.
#[derive(Debug)]
pub(super) struct Lane<'a> {
    pub(super) source: &'a Side,
    pub(super) target: &'a Side,
    pub(super) options: Options,
    pub(super) report: &'a RefCell<PartitionReport>,
    pub(super) progress: &'a Progress,
    pub(super) outage: &'a Outage,
    pub(super) waits: Waits,
}

/// Why a lane stopped before its end.
enum Broken {
    /// It may go well another time, from the place the target then shows.
    Passing(Failure),
    /// It will not.
    Lasting(Failure),
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        if failure.is_connection() { Self::Passing(failure) } else { Self::Lasting(failure) }
    }
}

impl Lane<'_> {
    /// Copies to the end, from wherever the target stands.
    pub(super) async fn copy(&self) -> Outcome {
        let (mut attempts, mut reached) = (0, self.report.borrow().copied);
        loop {
            let failure = match self.attempt().await {
                Ok(()) => return Ok(()),
                Err(Broken::Lasting(failure)) => return Err(failure),
                Err(Broken::Passing(failure)) => failure,
            };
            let copied = self.report.borrow().copied;
            attempts = if copied > reached { 1 } else { attempts + 1 };
            reached = copied;
            if attempts >= ATTEMPTS_MAX && !self.options.follow {
                return Err(failure.hint("the same command goes on where this one stopped"));
            }
            self.outage.holds_up(&self.waits, &failure, self.progress);
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn attempt(&self) -> Result<(), Broken> {
        let partition = self.report.borrow().partition;
        let place = Place::find(self.source, self.target, partition).await?;
        self.outage.is_over(&self.waits, self.progress);
        self.report.borrow_mut().stands_at(&place);
        let path = &self.source.path;
        let mut builder = self
            .source
            .client
            .consumer(&path.stream, &path.topic)
            .partition(partition)
            .start(Start::Offset(place.next))
            .batch_bytes(BATCH_BYTES)
            .verify_checksums(self.options.verify_checksums);
        if !self.options.follow {
            builder = builder.until_end();
        }
        let mut consumer = builder.build().await.map_err(Broken::of)?;
        while let Some(batch) = next_batch(&mut consumer).await? {
            self.send(partition, batch).await?;
        }
        Ok(())
    }

    async fn send(&self, partition: u32, batch: Vec<ReceivedMessage>) -> Result<(), Broken> {
        let copies = batch.iter().map(|message| {
            copy(message).map_err(|error| {
                Broken::Lasting(Failure::io(format!(
                    "the headers of offset {} in partition {partition} cannot be copied: {error}",
                    message.offset()
                )))
            })
        });
        let copies = copies.collect::<Result<Vec<Message>, Broken>>()?;
        let path = &self.target.path;
        let to = Partitioning::PartitionId(PartitionId::new(partition));
        match self.target.client.send(&path.stream, &path.topic, to, &copies).await {
            Ok(()) => {}
            // Never sent again unseen: the next attempt looks what the target has.
            Err(error @ (SendError::Unknown { .. } | SendError::NotSent { .. })) => {
                return Err(Broken::Passing(Failure::send(&error)));
            }
            Err(error) => return Err(Broken::Lasting(Failure::send(&error))),
        }
        let bytes: u64 = batch.iter().map(|message| message.payload().len() as u64).sum();
        let mut report = self.report.borrow_mut();
        report.took(batch.iter().map(ReceivedMessage::offset), bytes);
        self.progress.advance(batch.len() as u64, String::new);
        Ok(())
    }
}

/// What is there to send, at least one message; `None` at the end.
async fn next_batch(consumer: &mut Consumer) -> Result<Option<Vec<ReceivedMessage>>, Broken> {
    let Some(first) = consumer.next().await else { return Ok(None) };
    let first = first.map_err(Broken::of)?;
    let mut bytes = size(&first);
    let mut batch = vec![first];
    while batch.len() < BATCH_MESSAGES && bytes < BATCH_BYTES {
        match consumer.next().now_or_never() {
            Some(Some(Ok(message))) => {
                bytes += size(&message);
                batch.push(message);
            }
            // What came before the error is not sent; the next attempt reads it again.
            Some(Some(Err(error))) => return Err(Broken::of(error)),
            Some(None) | None => break,
        }
    }
    Ok(Some(batch))
}

fn size(message: &ReceivedMessage) -> usize {
    message.payload().len() + message.user_headers().len()
}

impl Broken {
    fn of(error: ConsumeError) -> Self {
        match error {
            ConsumeError::Poll(error @ (CallError::Unknown { .. } | CallError::NotSent { .. })) => {
                Self::Passing(error.into())
            }
            ConsumeError::Poll(error) => Self::from(Failure::from(error)),
            error => Self::Lasting(Failure::io(error)),
        }
    }
}
