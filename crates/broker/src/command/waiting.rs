//! Polls that wait for messages.
//!
//! Part of INV-WAIT-LOOK: an alarm is hung up before the last look that found nothing; see [`crate::waiting`].

use std::collections::BTreeSet;
use std::sync::Arc;

use galgo_wire::command::{Command as _, PollInLife, PollMessages, PollWaiting};
use galgo_wire::consumer::{ConsumerKind, PollingStrategy};

use super::answer::{self, AnswerForm, Manner};
use super::messages::{self, ResolvedPoll};
use crate::alarm::News;
use crate::broker::Broker;
use crate::outcome::{Job, Outcome};
use crate::partition::{Partition, ReadPlan};
use crate::session::Session;
use crate::shard::OffsetOwner;
use crate::waiting::{Hung, Waiting};

/// What a poll asks for that may wait.
#[derive(Clone, Debug)]
pub(crate) struct WaitingAsk {
    poll: PollMessages,
    /// At most how long it waits, in microseconds.
    pub(crate) wait: u64,
    count_min: u32,
    form: AnswerForm,
}

impl From<PollWaiting> for WaitingAsk {
    fn from(command: PollWaiting) -> Self {
        let PollWaiting { poll, wait, count_min } = command;
        Self { poll, wait, count_min, form: AnswerForm::Plain }
    }
}

impl From<PollInLife> for WaitingAsk {
    fn from(command: PollInLife) -> Self {
        let PollInLife { poll, wait, count_min, life, .. } = command;
        Self { poll, wait, count_min, form: AnswerForm::InLife(life) }
    }
}

/// Answers a poll of a reader who knows of lives, or lets it wait if it wants to.
pub(crate) fn poll_in_life(broker: &Broker, session: &Session, command: PollInLife) -> Outcome {
    match command.wait {
        0 => {
            let manner = Manner::extension(AnswerForm::InLife(command.life));
            messages::poll(broker, session, &command.poll, manner)
        }
        _ => look(broker, session, command.into()),
    }
}

/// Answers a poll, or lets it wait.
pub(crate) fn look(broker: &Broker, session: &Session, command: WaitingAsk) -> Outcome {
    if may_block(&command) {
        return later(move |broker, session| look_now(broker, session, command));
    }
    look_now(broker, session, command)
}

/// Answers a poll whose wait is over.
pub(crate) fn finish(broker: &Broker, session: &Session, command: WaitingAsk) -> Outcome {
    if may_block(&command) {
        return later(move |broker, session| finish_now(broker, session, &command));
    }
    finish_now(broker, session, &command)
}

/// A search by time may have to read an old segment's index from the disk.
fn may_block(command: &WaitingAsk) -> bool {
    matches!(command.poll.strategy, PollingStrategy::Timestamp(_))
}

/// Looks off the thread. Nothing is read into memory yet: that is work of its own.
fn later(look: impl FnOnce(&Broker, &mut Session) -> Outcome + Send + 'static) -> Outcome {
    Outcome::Offload(Job::read(0, look))
}

fn look_now(broker: &Broker, session: &Session, command: WaitingAsk) -> Outcome {
    // Whoever asks for nothing, or waits no time, is answered like anybody else.
    if command.poll.count == 0 || command.wait == 0 {
        return finish_now(broker, session, &command);
    }
    let needed = needed(&command);
    if let LookResult::Answer(outcome) = find(broker, session, &command, needed) {
        return outcome;
    }
    let hung = hang(broker, session, &command);
    // INV-WAIT-LOOK: what came before the alarm was hung up rings nobody.
    match find(broker, session, &command, needed) {
        LookResult::Answer(outcome) => outcome,
        LookResult::Few(..) | LookResult::NoPartition => Outcome::Wait(Waiting { command, hung }),
    }
}

fn finish_now(broker: &Broker, session: &Session, command: &WaitingAsk) -> Outcome {
    match find(broker, session, command, 1) {
        LookResult::Answer(outcome) => outcome,
        LookResult::Few(poll, plan) => poll.run_by(plan),
        LookResult::NoPartition => answer::nothing(command.form),
    }
}

/// How many messages end the wait: never more than one answer may have.
fn needed(command: &WaitingAsk) -> u32 {
    // No more than it takes: who asks for fewer than it waits for would wait for ever.
    command.count_min.clamp(1, command.poll.count.max(1))
}

/// What a look came to.
enum LookResult {
    /// There are enough messages, or something is wrong.
    Answer(Outcome),
    /// There are too few; and what is to be read of them, where that is known without the disk.
    Few(ResolvedPoll, Option<ReadPlan>),
    /// The caller reads for a group and has no partition now.
    NoPartition,
}

/// Looks for so many messages. A member of a group that names no partition finds them in any that it may poll.
///
/// What was resolved and planned here is what the answer is made of: neither is done again for it.
fn find(broker: &Broker, session: &Session, asked: &WaitingAsk, needed: u32) -> LookResult {
    let command = &asked.poll;
    let mut looked_at = BTreeSet::new();
    loop {
        let manner = Manner::extension(asked.form);
        let poll = match messages::resolve_poll(broker, session, command, manner) {
            Ok(Some(poll)) => poll,
            // A partition that is not the caller's is answered as ever; others may become its own.
            Ok(None) if command.partition_id.is_some() => {
                return LookResult::Answer(answer::nothing(asked.form));
            }
            Ok(None) => return LookResult::NoPartition,
            Err(reply) => return LookResult::Answer(Outcome::done(*reply)),
        };
        // A search by time is on a thread that may block.
        let planned = match may_block(asked) {
            true => poll.plan_read().map(Some),
            false => poll.plan_cached(),
        };
        let plan = match planned {
            Ok(plan) => plan,
            Err(error) => return LookResult::Answer(poll.failed(&error)),
        };
        match poll.has(needed, plan.as_ref()) {
            // It reads on where a log ended that was longer: what it waits for may be others' messages.
            Ok(enough) if enough || (poll.is_beyond_end() && !poll.in_turn) => {
                return LookResult::Answer(poll.run_by(plan));
            }
            Ok(_) => {}
            Err(error) => return LookResult::Answer(poll.failed(&error)),
        }
        // Partitions take turns until one has its second.
        if !poll.in_turn || !looked_at.insert(poll.partition_id) {
            return LookResult::Few(poll, plan);
        }
    }
}

/// Hangs up an alarm on all that may bring messages, or the end of the wait.
fn hang(broker: &Broker, session: &Session, command: &WaitingAsk) -> Hung {
    let mut hung = Hung::default();
    let alarm = Arc::clone(&hung.alarm);
    let Some(caller) = session.registration() else {
        // A session that nobody sees does not wait.
        alarm.ring(News::Over);
        return hung;
    };
    // On the connection first: a login that ends while the rest is hung up has to end the wait as well.
    hung.client = caller.hang(&alarm);
    let poll = &command.poll;
    let places = {
        let catalog = broker.catalog();
        catalog.topic_of_right(session.caller().ok(), &poll.right()).and_then(|found| {
            let (owner, ids) = match poll.consumer.kind {
                ConsumerKind::Consumer => (
                    messages::consumer_owner(&poll.consumer.id),
                    vec![poll.partition_id.unwrap_or_default()],
                ),
                ConsumerKind::Group => {
                    let group = found.group(poll.consumer.id.borrowed())?;
                    // The group before the partitions: one that becomes the caller's in between rings by the group.
                    let own = group.hang(&alarm, caller.key());
                    hung.group = Some(Arc::clone(group));
                    (group.owner(), poll.partition_id.map_or(own, |named| vec![named]))
                }
            };
            let partitions: Result<Vec<Arc<Partition>>, _> =
                ids.into_iter().map(|id| found.open.partition(id).map(Arc::clone)).collect();
            Ok((owner, partitions?))
        })
    };
    match places {
        Ok((owner, partitions)) => hang_on(&mut hung, owner, partitions, command),
        // Whatever it is, the next look tells it.
        Err(_) => alarm.ring(News::Over),
    }
    hung
}

fn hang_on(
    hung: &mut Hung,
    owner: OffsetOwner,
    partitions: Vec<Arc<Partition>>,
    command: &WaitingAsk,
) {
    for partition in &partitions {
        partition.hang(&hung.alarm, &command.poll.strategy, owner, needed(command));
    }
    // Kept, so that the alarm can be taken off the very partitions it hangs on (INV-WAIT-OFF).
    hung.partitions = partitions;
}
