//! Moves lines from the input to the producer, and learns what became of them.
//!
//! A few blocks wait between the reading thread and the producer, and the producer's
//! buffer bounds what waits behind it; the file is never in memory as a whole.

use std::io::Read;

use galgo::{Client, Message, ProduceError, Producer};
use tokio::sync::mpsc;

use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::noun::topic::TopicPath;
use crate::output::{Output, measure};
use crate::progress::Progress;
use crate::send::headers::Headers;
use crate::send::id::MessageIds;
use crate::send::key::KeyField;
use crate::send::ledger::{self, AckLog, LineOnItsWay, LineSet, LineTally};
use crate::send::line::{BLOCK_LINES, Block, Line, LineError, Lines};
use crate::send::memory::TopicMemory;
use crate::send::report::{Report, Watch};

/// Blocks read ahead of the producer.
const BLOCKS_AHEAD: usize = 4;

/// Lines that may be under way; the producer's buffer fills long before with lines of usual size.
const ENTRIES_MAX: usize = 1 << 16;
const _: () = assert!(
    0 < BLOCKS_AHEAD && BLOCKS_AHEAD * BLOCK_LINES <= ENTRIES_MAX,
    "what is read ahead finds room among the lines that are on their way"
);

/// Everything a send needs but its producer.
pub(crate) struct Plan {
    /// Where the lines come from.
    pub(crate) lines: Lines<Box<dyn Read + Send>>,
    /// How a line's key is found, when it has one of its own.
    pub(crate) key: Option<KeyField>,
    /// The ids of the messages; the server chooses them when there are none.
    pub(crate) ids: Option<MessageIds>,
    /// Headers of every message.
    pub(crate) headers: Headers,
    /// Lines that are not to be sent again.
    pub(crate) done: LineSet,
    /// Where acknowledged lines are noted.
    pub(crate) log: Option<AckLog>,
    /// The moving line.
    pub(crate) progress: Progress,
    /// What the topic remembers of ids, when that is known and matters.
    pub(crate) memory: Option<TopicMemory>,
}

/// Why a send did not get to the end of its input.
#[derive(Debug)]
struct Unfinished {
    cause: Cause,
    reach: Reach,
}

/// How far a send came that did not get to the end.
#[derive(Debug, PartialEq, Eq)]
struct Reach {
    acknowledged: u64,
    first_unacknowledged: u64,
}

#[derive(Debug)]
enum Cause {
    Interrupted,
    Input(LineError),
    Produce(ProduceError),
    AckLog(std::io::Error),
    Internal(Failure),
}

/// Where the lines go.
#[derive(Clone, Copy)]
pub(crate) struct Destination<'a> {
    /// The connection of the producer.
    pub(crate) client: &'a Client,
    /// The topic.
    pub(crate) path: &'a TopicPath,
    /// Where notices go.
    pub(crate) output: Output,
}

/// Sends every line; `doing` is what errors call it.
///
/// # Errors
/// The failure says how many lines were acknowledged and which is the first that was not.
pub(crate) async fn run(
    producer: Producer,
    plan: Plan,
    to: Destination<'_>,
    doing: &str,
) -> Outcome<Report> {
    let mut interrupt = Interrupt::watch()?;
    let watch = Watch::start();
    let (entries, settled) = mpsc::channel(ENTRIES_MAX);
    let ledger = tokio::spawn(ledger::settle(settled, plan.log));
    let mut blocks = read_ahead(plan.lines);
    let mut feed = Feed {
        producer: &producer,
        entries,
        key: plan.key,
        ids: plan.ids,
        headers: plan.headers,
        done: plan.done,
        report: Report::default(),
        next_line: 1,
    };
    let stopped = feed.pump(&mut blocks, &mut interrupt, &plan.progress).await;
    let Feed { report, next_line, entries, .. } = feed;
    // The ledger ends when nothing can be added to it any more; it is waited for below.
    drop(entries);
    // Settles what was accepted; each line's own receipt says how, so the sum is not needed. A
    // second signal does not wait for a server that does not answer.
    tokio::select! {
        _ = producer.close() => {}
        () = interrupt.wait() => {}
    }
    let stored_before = producer.stored_before();
    drop(producer);
    let Ok(tally) = ledger.await else {
        unreachable!("INV-ACK: a ledger ends with its tally; without one nothing is known");
    };
    plan.progress.finish();
    assert!(stored_before <= report.messages, "no more was stored before than was sent");
    let report = Report { stored_before, ..report }.timed(watch.elapsed());
    if let Some(sentence) = plan.memory.and_then(|memory| memory.too_short_for(&report)) {
        to.output.notice(&sentence);
    }
    let unfinished = conclude(stopped, &tally, next_line);
    assert!(
        unfinished.is_some() || tally.acknowledged == report.messages,
        "INV-ACK: a send that ends well had every line acknowledged"
    );
    match unfinished {
        None if report.messages == 0 => to.path.checked(to.client).await.map(|()| report),
        None => Ok(report),
        Some(Unfinished { cause, reach }) => {
            let failure = to.path.explained(to.client, cause.failure(to.path)).await;
            Err(reach.told(failure, doing))
        }
    }
}

fn acknowledged_so_far(producer: &Producer) -> String {
    format!("{} acknowledged", measure::count(producer.acknowledged()))
}

/// Weighs what stopped the feed and what the ledger says; `None` when all went well.
fn conclude(stopped: Option<Cause>, tally: &LineTally, next_line: u64) -> Option<Unfinished> {
    let failed = tally.cause.clone().map(Cause::Produce);
    let log_error = tally.log_error.as_ref();
    let log_failed = log_error.map(|error| Cause::AckLog(std::io::Error::from(error.kind())));
    // The server's word weighs more than the consequence it had for the feed.
    let cause = failed.or(log_failed).or(stopped)?;
    Some(Unfinished {
        cause,
        reach: Reach {
            acknowledged: tally.acknowledged,
            first_unacknowledged: tally.first_failed.unwrap_or(next_line).min(next_line),
        },
    })
}

struct Feed<'a> {
    producer: &'a Producer,
    entries: mpsc::Sender<LineOnItsWay>,
    key: Option<KeyField>,
    ids: Option<MessageIds>,
    headers: Headers,
    done: LineSet,
    report: Report,
    /// The first line that was not given to the producer.
    next_line: u64,
}

impl Feed<'_> {
    /// Feeds blocks until their end, a failure or a signal; returns what stopped it early.
    async fn pump(
        &mut self,
        blocks: &mut mpsc::Receiver<Result<Block, Cause>>,
        interrupt: &mut Interrupt,
        progress: &Progress,
    ) -> Option<Cause> {
        let producer = self.producer;
        loop {
            let block = tokio::select! {
                block = blocks.recv() => block?,
                () = interrupt.wait() => Err(Cause::Interrupted),
            };
            let block = match block {
                Ok(block) => block,
                Err(cause) => return Some(cause),
            };
            let consumed = block.consumed;
            // A signal must also be heard while the producer has no room.
            let fed = tokio::select! {
                fed = self.block(block) => fed,
                () = interrupt.wait() => Err(Cause::Interrupted),
            };
            progress.advance(consumed, || acknowledged_so_far(producer));
            if let Err(cause) = fed {
                return Some(cause);
            }
        }
    }

    async fn block(&mut self, block: Block) -> Result<(), Cause> {
        assert!(
            block.lines.first().is_none_or(|first| first.number >= self.next_line),
            "INV-ACK: lines are sent in their order, so that the first unacknowledged one is known"
        );
        self.report.skipped_empty += block.empty;
        for line in block.lines {
            let number = line.number;
            if self.done.contains(number) {
                self.report.skipped_acknowledged += 1;
            } else {
                self.line(line).await?;
            }
            self.next_line = number + 1;
        }
        Ok(())
    }

    async fn line(&mut self, line: Line) -> Result<(), Cause> {
        let bytes = line.bytes.len() as u64;
        let receipt = match &self.key {
            None => {
                let message = self.message(line.number, line.bytes)?;
                self.producer.send_with_receipt(message).await
            }
            Some(field) => {
                let key = field.key_of(&line.bytes);
                self.report.without_key += u64::from(!key.found);
                let key = key.bytes.to_vec();
                let message = self.message(line.number, line.bytes)?;
                self.producer.send_keyed_with_receipt(key, message).await
            }
        };
        let receipt = receipt.map_err(Cause::Produce)?;
        self.report.messages += 1;
        self.report.bytes += bytes;
        let entry = LineOnItsWay { number: line.number, receipt };
        // The ledger only goes away when it cannot write its log, which it reports itself.
        self.entries.send(entry).await.map_err(|_| Cause::AckLog(std::io::ErrorKind::Other.into()))
    }

    fn message(&self, number: u64, payload: Vec<u8>) -> Result<Message, Cause> {
        let message = self.headers.message(payload).map_err(Cause::Internal)?;
        Ok(match self.ids {
            Some(ids) => message.id(ids.of_line(number)),
            None => message,
        })
    }
}

/// Reads on a thread of its own, since files and pipes block.
fn read_ahead(mut lines: Lines<Box<dyn Read + Send>>) -> mpsc::Receiver<Result<Block, Cause>> {
    let (sender, blocks) = mpsc::channel(BLOCKS_AHEAD);
    std::thread::spawn(move || {
        loop {
            let block = match lines.next_block() {
                Ok(Some(block)) => Ok(block),
                Ok(None) => return,
                Err(error) => Err(Cause::Input(error)),
            };
            let last = block.is_err();
            if sender.blocking_send(block).is_err() || last {
                return;
            }
        }
    });
    blocks
}

impl Cause {
    fn failure(self, to: &TopicPath) -> Failure {
        match self {
            Self::Interrupted => Failure::io("interrupted"),
            Self::Input(error @ LineError::TooLong { .. }) => Failure::usage(error).hint(
                "--whole sends a file as one message; a message has 64,000,000 bytes at most",
            ),
            Self::Input(error) => Failure::io(error),
            Self::Produce(error) => to.produce(&error),
            Self::AckLog(error) => {
                Failure::io(format!("cannot write the acknowledgement log: {error}"))
            }
            Self::Internal(failure) => failure,
        }
    }
}

impl Reach {
    fn told(&self, failure: Failure, doing: &str) -> Failure {
        let lines = measure::counted(self.acknowledged, "line");
        let first = self.first_unacknowledged;
        failure
            .while_doing(doing)
            .and(format!("{lines} acknowledged, line {first} is the first that was not"))
            .fact("acknowledged", self.acknowledged)
            .fact("first_unacknowledged_line", first)
    }
}

#[cfg(test)]
mod tests {
    use galgo::Identifier;

    use super::*;

    fn failed(line: u64) -> LineTally {
        let cause = Some(ProduceError::Closed);
        LineTally { acknowledged: 5, first_failed: Some(line), cause, log_error: None }
    }

    #[test]
    fn a_clean_end_is_no_failure() {
        let tally = LineTally { acknowledged: 9, ..LineTally::default() };
        assert!(conclude(None, &tally, 10).is_none());
    }

    #[test]
    fn an_interrupt_names_the_next_line() {
        let tally = LineTally { acknowledged: 9, ..LineTally::default() };
        let end = conclude(Some(Cause::Interrupted), &tally, 10).unwrap();
        let to = TopicPath { stream: Identifier::Numeric(1), topic: Identifier::Numeric(2) };
        let failure = end.reach.told(end.cause.failure(&to), "sending");
        assert_eq!(
            failure.to_string(),
            "error: sending: interrupted; 9 lines acknowledged, line 10 is the first that was not"
        );
        assert_eq!(failure.exit_code(), 1);
    }

    #[test]
    fn what_the_server_said_comes_before_what_followed_from_it() {
        for stopped in [None, Some(Cause::Interrupted)] {
            let end = conclude(stopped, &failed(6), 40).unwrap();
            assert!(matches!(end.cause, Cause::Produce(_)));
            assert_eq!(end.reach, Reach { acknowledged: 5, first_unacknowledged: 6 });
        }
    }

    #[test]
    fn a_refused_line_is_the_first_when_all_before_it_were_acknowledged() {
        let tally = LineTally { acknowledged: 5, ..LineTally::default() };
        let end = conclude(Some(Cause::Produce(ProduceError::Closed)), &tally, 6).unwrap();
        assert_eq!(end.reach.first_unacknowledged, 6);
    }
}
