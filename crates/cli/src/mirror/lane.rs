//! Copies one partition, and goes on after a broken connection.

use std::cell::RefCell;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use galgo::PartitionId;
use galgo::{
    CallError, ConsumeError, Consumer, Message, Partitioning, ReceivedMessage, SendError, Start,
};
use galgo_wire::limits::{DELIVERY_SECONDS_DEFAULT, SEND_PAYLOAD_BYTES_MAX_DEFAULT};

use crate::failure::{Failure, Outcome};
use crate::mirror::origin::copy;
use crate::mirror::outage::{Outage, Waits};
use crate::mirror::place::{CopyPlace, KnownCopy};
use crate::mirror::report::PartitionReport;
use crate::mirror::side::Side;
use crate::progress::Progress;

/// Most messages of one request to the target.
const BATCH_MESSAGES: usize = 1_000;
/// Bytes after which a request to the target takes no more messages.
pub(super) const BATCH_BYTES: usize = 1 << 20;

/// Attempts without a single message copied before the copy gives up.
const ATTEMPTS_MAX: u32 = 10;
/// Pause before the next attempt; also lets a server finish what a broken connection left in it.
const PAUSE: Duration = Duration::from_secs(1);
const _: () = assert!(
    ATTEMPTS_MAX as u64 * PAUSE.as_secs() < DELIVERY_SECONDS_DEFAULT,
    "a copy gives up no later than a producer"
);
const _: () =
    assert!(BATCH_BYTES < SEND_PAYLOAD_BYTES_MAX_DEFAULT as usize, "a server takes a batch");

/// How to copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Go on with messages as they come.
    pub(crate) follow: bool,
    /// Check the checksums of what is read.
    pub(crate) verify_checksums: bool,
    /// Leave out what is damaged in the source.
    pub(crate) skip_damaged: bool,
    /// Copy a source that began anew from its first message.
    pub(crate) begin_anew: bool,
}

/// One partition being copied.
#[derive(Debug)]
pub(super) struct MirrorLane<'a> {
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

impl MirrorLane<'_> {
    /// Copies to the end, from wherever the target stands.
    pub(super) async fn copy(&self) -> Outcome {
        let (mut attempts, mut reached) = (0, self.report.borrow().copied);
        loop {
            let failure = match self.attempt().await {
                Ok(()) => return Ok(()),
                // What was deleted may be made again, and a full disk may be freed.
                Err(Broken::Lasting(failure)) if self.options.follow && failure.may_pass() => {
                    failure
                }
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
        let (partition, known) = (self.report.borrow().partition, self.known());
        let place = CopyPlace::find(self.source, self.target, partition, known).await?;
        self.outage.answered(&self.waits, self.progress);
        if place.anew {
            self.begins_anew();
        }
        self.report.borrow_mut().stands_at(&place);
        let path = &self.source.path;
        let mut builder = self
            .source
            .client
            .consumer(&path.stream, &path.topic)
            .partition(partition)
            .start(Start::Offset(place.next))
            .life(place.life)
            .batch_bytes(BATCH_BYTES)
            .verify_checksums(self.options.verify_checksums);
        if !self.options.follow {
            builder = builder.until_end();
        }
        if self.options.skip_damaged {
            builder = builder.skip_damaged();
        }
        let consumer = builder.build().await.map_err(Broken::of)?;
        let mut batches = Batches { consumer, held: None };
        while let Some(batch) = batches.next().await {
            match batch {
                Ok(batch) => self.send(partition, batch).await?,
                Err(ConsumeError::Rewound { .. }) => self.begins_anew(),
                Err(skipped @ ConsumeError::Skipped { .. }) => self.leaves_out(&skipped),
                Err(error) => return Err(Broken::of(error)),
            }
        }
        Ok(())
    }

    fn known(&self) -> KnownCopy {
        KnownCopy { life: self.report.borrow().life, begin_anew: self.options.begin_anew }
    }

    /// The source was purged or made again: its messages are copied behind those of before.
    fn begins_anew(&self) {
        let mut report = self.report.borrow_mut();
        report.begins_anew();
        let what = format!(
            "partition {} of {} was purged or made again; going on with its first message, behind what the \
             copy has",
            report.partition,
            self.source.path.phrase()
        );
        self.outage.tell(&what, self.progress);
    }

    fn leaves_out(&self, skipped: &ConsumeError) {
        let ConsumeError::Skipped { offsets, .. } = skipped else {
            unreachable!("only what was skipped is left out");
        };
        if self.report.borrow_mut().leaves_out(offsets) {
            self.outage.tell(&skipped.to_string(), self.progress);
        }
    }

    async fn send(&self, partition: u32, batch: Vec<ReceivedMessage>) -> Result<(), Broken> {
        let copies: Vec<Message> = batch.iter().map(copy).collect();
        let path = &self.target.path;
        let to = Partitioning::PartitionId(PartitionId::new(partition));
        match self.target.client.send(&path.stream, &path.topic, to, &copies).await {
            Ok(()) => self.outage.taken(&self.waits, self.progress),
            // Never sent again unseen: the next attempt looks what the target has.
            Err(error @ (SendError::Unknown { .. } | SendError::NotSent { .. })) => {
                return Err(Broken::Passing(Failure::from(&error)));
            }
            Err(error) => return Err(Broken::Lasting(Failure::from(&error))),
        }
        let bytes: u64 = batch.iter().map(|message| message.payload().len() as u64).sum();
        let mut report = self.report.borrow_mut();
        report.took(batch.iter().map(ReceivedMessage::offset), bytes);
        let Some(last) = batch.last() else {
            unreachable!("a batch has a message");
        };
        report.life = last.life();
        self.progress.advance(batch.len() as u64, String::new);
        Ok(())
    }
}

/// What is there to send, as much as fits one request.
struct Batches {
    consumer: Consumer,
    /// What came behind a batch that is not a message.
    held: Option<ConsumeError>,
}

impl Batches {
    /// At least one message, or what the consumer tells; `None` at the end.
    async fn next(&mut self) -> Option<Result<Vec<ReceivedMessage>, ConsumeError>> {
        if let Some(held) = self.held.take() {
            return Some(Err(held));
        }
        let first = match self.consumer.next().await? {
            Ok(first) => first,
            Err(error) => return Some(Err(error)),
        };
        let mut bytes = size(&first);
        let mut batch = vec![first];
        while batch.len() < BATCH_MESSAGES && bytes < BATCH_BYTES {
            match self.consumer.next().now_or_never() {
                Some(Some(Ok(message))) => {
                    bytes += size(&message);
                    batch.push(message);
                }
                Some(Some(Err(error))) => {
                    self.held = Some(error);
                    break;
                }
                Some(None) | None => break,
            }
        }
        Some(Ok(batch))
    }
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
            error @ ConsumeError::Unreadable { .. } => {
                let hint = "--skip-damaged leaves them out and says which they were";
                Self::Lasting(Failure::io(error).hint(hint))
            }
            error => Self::Lasting(Failure::io(error)),
        }
    }
}
