//! Polling and flushing.

use galgo_wire::command::{Command as _, FlushUnsavedBuffer, PollMessages};
use galgo_wire::consumer::{ConsumerKind, PollingStrategy};
use galgo_wire::id::{ConsumerId, Offset, PartitionId};
use galgo_wire::identifier::Identifier;
use std::sync::Arc;

use super::answer::{AnswerForm, DamagedMessages, Manner, nothing};
use super::{groups, offload};
use crate::broker::Broker;
use crate::catalog::groups::{MemberTurn, Undone};
use crate::outcome::{Answer, Job, Outcome, Reply};
use crate::partition::{
    AnswerBounds, COLD_PIECE_BYTES_MAX, Gathering, Partition, PollError, PolledRange, ReadPlan,
    ReadRequest, StoredBy,
};
use crate::session::Session;
use crate::shard::OffsetOwner;
use crate::ticket::Ticket;

/// One poll, resolved.
#[derive(Clone)]
pub(super) struct ResolvedPoll {
    pub(super) partition: Arc<Partition>,
    pub(super) partition_id: PartitionId,
    pub(super) owner: OffsetOwner,
    pub(super) strategy: PollingStrategy,
    pub(super) count: u32,
    /// What its answer may hold.
    bounds: AnswerBounds,
    auto_commit: bool,
    by: StoredBy,
    /// Whether the partition is one of several that take turns.
    pub(super) in_turn: bool,
    /// Of a poll as a member of a group.
    member: Option<MemberTurn>,
    pub(super) form: AnswerForm,
}

/// Finds messages. What is in the page cache is answered at once, the rest off the thread.
pub(crate) fn poll(
    broker: &Broker,
    session: &Session,
    command: &PollMessages,
    manner: Manner,
) -> Outcome {
    let poll = match resolve_poll(broker, session, command, manner) {
        Ok(Some(poll)) => poll,
        Ok(None) => return nothing(manner.form),
        Err(reply) => return Outcome::done(*reply),
    };
    poll.run()
}

/// `None` when the caller reads for a group and there is nothing it may poll; an answer that is ready when
/// the partition is in another life than the caller.
pub(super) fn resolve_poll(
    broker: &Broker,
    session: &Session,
    command: &PollMessages,
    manner: Manner,
) -> Result<Option<ResolvedPoll>, Box<Reply>> {
    let Manner { bounds, form } = manner;
    let refused = |code| Box::new(Reply::Error(code));
    let catalog = broker.catalog();
    let caller = session.caller().map_err(refused)?;
    let found = catalog.topic_of_right(Some(caller), &command.right());
    let found = found.map_err(refused)?;
    let (owner, partition_id, member) = match command.consumer.kind {
        ConsumerKind::Consumer => {
            let partition_id = command.partition_id.unwrap_or_default();
            (consumer_owner(&command.consumer.id), partition_id, None)
        }
        ConsumerKind::Group => {
            let (group, wanted) = (&command.consumer.id, command.partition_id);
            let Some(member) = groups::turn(broker, session, &found, group, wanted)? else {
                return Ok(None);
            };
            (member.group.owner(), member.turn.partition, Some(member))
        }
    };
    // Offsets of a group belong to the group, whoever reads for it.
    let by = match (command.auto_commit, &member) {
        (true, None) => catalog.stored_by(caller, &found),
        _ => StoredBy { user: None, manages: false },
    };
    let poll = ResolvedPoll {
        by,
        // The same one to the end: a purge meanwhile puts another in its place, and the answer is
        // of the life it was found in (INV-LIFE).
        partition: Arc::clone(found.open.partition(partition_id).map_err(refused)?),
        partition_id,
        owner,
        strategy: command.strategy,
        count: command.count,
        bounds,
        auto_commit: command.auto_commit,
        in_turn: member.is_some() && command.partition_id.is_none(),
        member,
        form,
    };
    // INV-LIFE: offsets of another life mean nothing here, so nothing is read by them or stored.
    match form {
        AnswerForm::InLife(life) if !poll.in_turn && life.differs_from(poll.partition.life()) => {
            Err(Box::new(poll.other_life()))
        }
        _ => Ok(Some(poll)),
    }
}

/// Whose the offsets of a consumer are that reads for itself.
pub(super) fn consumer_owner(consumer: &Identifier) -> OffsetOwner {
    let id = match consumer {
        Identifier::Numeric(id) => ConsumerId::new(*id),
        Identifier::Named(name) => ConsumerId::from_name(name.as_str()),
    };
    OffsetOwner { kind: ConsumerKind::Consumer, id }
}

impl ResolvedPoll {
    /// The answer, or the work that finds it.
    pub(super) fn run(self) -> Outcome {
        match self.plan_cached() {
            Ok(plan) => self.run_by(plan),
            Err(error) => self.failed(&error),
        }
    }

    /// As `run` by a plan that was made, or where only the disk tells what is to be read.
    pub(super) fn run_by(self, plan: Option<ReadPlan>) -> Outcome {
        let Some(plan) = plan else { return self.search() };
        match self.partition.read_cached(plan) {
            Ok(Some(range)) => self.answer(range),
            Err(error) if !plan.has_good(&error) => self.failed(&error),
            // The disk has to be read, or the answer has several pieces; what comes before damage is read with
            // its checks.
            Ok(None) | Err(_) => {
                let gathering = Gathering::begin(&self.partition, plan);
                self.gather_later(gathering)
            }
        }
    }

    /// Looks off the thread for what is to be read, and reads it there.
    fn search(self) -> Outcome {
        // How much there will be, only the disk tells; one piece is the most that is held at a time.
        let memory_bytes = COLD_PIECE_BYTES_MAX.min(self.bounds.piece_bytes_max);
        Outcome::Offload(Job::read(memory_bytes, move |_, _| match self.plan_read() {
            Ok(plan) => {
                let gathering = Gathering::begin(&self.partition, plan);
                self.gather(gathering)
            }
            Err(error) => self.failed(&error),
        }))
    }

    /// What is to be read, as far as that can be told without waiting for the disk.
    pub(super) fn plan_cached(&self) -> Result<Option<ReadPlan>, PollError> {
        self.partition.plan_cached(&self.request())
    }

    /// What is to be read; may block.
    pub(super) fn plan_read(&self) -> Result<ReadPlan, PollError> {
        self.partition.plan_read(&self.request())
    }

    /// What is asked of the partition.
    pub(super) fn request(&self) -> ReadRequest {
        let Self { strategy, owner, count, bounds, .. } = *self;
        ReadRequest { strategy, owner, count, bounds }
    }

    /// Finds one more piece; each is a job of its own, so that a large answer keeps no thread from others.
    fn gather(self, mut gathering: Gathering) -> Outcome {
        // One piece for each job. With a reader that is slow, or an answer that is large, the threads would else be its
        // alone.
        let done = gathering.step();
        if (done.is_err() || gathering.is_parted())
            && let Some(newer) = self.newer(&gathering)
        {
            return self.gather_later(newer);
        }
        match done {
            Ok(true) => self.answer(gathering.finish()),
            Ok(false) => self.gather_later(gathering),
            Err(error) => self.failed(&error),
        }
    }

    fn gather_later(self, gathering: Gathering) -> Outcome {
        let memory_bytes = gathering.memory_bytes();
        Outcome::Offload(Job::read(memory_bytes, move |_, _| self.gather(gathering)))
    }

    /// What `last` asks for when it met damage that was not known before: the newest messages are those
    /// behind it. `None` when there are none.
    fn newer(&self, gathering: &Gathering) -> Option<Gathering> {
        if self.strategy != PollingStrategy::Last {
            return None;
        }
        let plan = self.plan_read().ok()?;
        let is_newer = gathering.begins_before(&plan);
        is_newer.then(|| Gathering::begin(&self.partition, plan))
    }

    fn answer(&self, range: PolledRange) -> Outcome {
        let last = range.last();
        // Made before the offset is stored: the answer is one of this moment, whatever is stored for it.
        let reply = self.reply(range);
        let Some(last) = last else { return Outcome::done(reply) };
        match self.deliver(last) {
            Ok(after) => Outcome::Answer(Answer { after, reply }),
            // The partition went to another member while it was read; what was found is that one's to deliver.
            Err(Undone::Void) => nothing(self.form),
            Err(Undone::Refused(code)) => Outcome::done(Reply::Error(code)),
        }
    }

    /// The answer to a poll that cannot be answered with messages. A reader who can go on behind damage is
    /// told where it is.
    pub(super) fn failed(&self, error: &PollError) -> Outcome {
        Outcome::done(match (self.form, DamagedMessages::of(error)) {
            (AnswerForm::InLife(_), Some(damage)) => self.damaged(damage),
            _ => Reply::Error(error.code()),
        })
    }

    /// Whether there are so many messages to be answered with, by the plan if there is one.
    pub(super) fn has(&self, needed: u32, plan: Option<&ReadPlan>) -> Result<bool, PollError> {
        let available = match plan {
            Some(plan) => plan.messages(),
            None => self.partition.available(&self.request())?,
        };
        Ok(available >= needed.into())
    }

    /// Whether it asks for an offset behind the one that the next message gets.
    pub(super) fn is_beyond_end(&self) -> bool {
        let PollingStrategy::Offset(offset) = self.strategy else { return false };
        offset > self.partition.high_watermark()
    }

    /// Notes what is delivered, and stores its last offset if asked to.
    fn deliver(&self, last: Offset) -> Result<Option<Ticket>, Undone> {
        match &self.member {
            Some(member) => member.deliver(&self.partition, last, self.auto_commit),
            None if self.auto_commit => {
                Ok(Some(self.partition.store_offset(self.owner, self.by, last)?))
            }
            None => Ok(None),
        }
    }
}

/// Syncs a partition. Without the `fsync` flag there is nothing to do: nothing acknowledged is ever
/// only in this process's memory.
pub(crate) fn flush(broker: &Broker, session: &Session, command: &FlushUnsavedBuffer) -> Outcome {
    let found = || {
        let catalog = broker.catalog();
        let found = catalog.topic_of_right(session.caller().ok(), &command.right())?;
        found.open.partition(command.partition_id).map(Arc::clone)
    };
    // Off the thread only where there is something to sync.
    match found() {
        Ok(partition) if command.fsync => {
            offload(Job::Sync, move |_, _| Ok(partition.sync().map(|()| Reply::Empty)?))
        }
        Ok(_) => Outcome::done(Reply::Empty),
        Err(code) => Outcome::done(Reply::Error(code)),
    }
}
