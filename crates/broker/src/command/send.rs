//! Sending, the classic way and Galgo's own, which tells what became of the messages and can be chained.

use std::sync::Arc;

use galgo_wire::command::{
    ChainLink, SendHeader, SendOutcome, SendParts, SendReply, SendWithHeader, SendWithParts,
};
use galgo_wire::consumer::{PartitioningRef, key_partition};
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::PartitionId;
use galgo_wire::index::to_u32;
use galgo_wire::permission::Action;

use crate::broker::Broker;
use crate::catalog::OpenTopic;
use crate::outcome::{Answer, Job, Outcome, Reply, Work};
use crate::partition::{AppendContext, Appended, Batch, Partition, Placed};
use crate::session::Session;
use crate::ticket::Ticket;

/// Times a send looks its partition up, when one purge after the other comes in between.
const LOOKUPS_MAX: usize = 4;

const _: () = assert!(LOOKUPS_MAX > 1, "a send outlives the purge of its topic");

/// Which command a send came as.
#[derive(Clone, Copy)]
enum SendKind {
    /// Answered with nothing.
    Classic,
    /// Answered with what became of the messages.
    Telling(Option<ChainLink>),
}

/// Stages the messages of a SEND_MESSAGES request; published at once or with the next commit.
pub(crate) fn send(broker: &Broker, session: &mut Session, payload: &mut [u8]) -> Outcome {
    stage(broker, session, SendKind::Classic, payload)
}

/// As [`send`], of a SEND_WITH request.
pub(crate) fn send_with(broker: &Broker, session: &mut Session, payload: &mut [u8]) -> Outcome {
    match SendWithHeader::parse(payload) {
        Ok(SendWithParts { chain, send }) => stage(broker, session, SendKind::Telling(chain), send),
        Err(code) => Outcome::done(Reply::Error(code)),
    }
}

fn stage(broker: &Broker, session: &mut Session, form: SendKind, send: &mut [u8]) -> Outcome {
    for _ in 0..LOOKUPS_MAX {
        match try_stage(broker, session, form, send) {
            Ok(BatchProgress { appended: Appended::Published(placed), partition_id }) => {
                return taken(session, form, TakenBatch { partition_id, placed, ticket: None });
            }
            Ok(BatchProgress { appended: Appended::Staged(ticket, placed), partition_id }) => {
                let ticket = Some(ticket);
                return taken(session, form, TakenBatch { partition_id, placed, ticket });
            }
            // Purged or deleted between the look-up and the append, and nothing was touched: the next
            // look-up finds the partition's successor, or what is missing.
            Ok(BatchProgress { appended: Appended::Closed, .. }) => {}
            Ok(BatchProgress { appended: Appended::Unloaded(partition), partition_id }) => {
                // The bytes are copied for once: the receive buffer is the connection's, which goes on meanwhile.
                let lacking = Lacking::Window(partition);
                let staged = BatchProgress { appended: lacking, partition_id };
                return stage_later(staged, form, send.to_vec());
            }
            Ok(BatchProgress { appended: Appended::Crowded(partition), partition_id }) => {
                let lacking = Lacking::Room(partition);
                let staged = BatchProgress { appended: lacking, partition_id };
                return stage_later(staged, form, send.to_vec());
            }
            Err(Unstaged::Refused(code)) => return Outcome::done(Reply::Error(code)),
            Err(Unstaged::EarlierMissing) => {
                return Outcome::done(Reply::Sent(SendReply::EARLIER_MISSING));
            }
        }
    }
    Outcome::done(Reply::Error(ErrorCode::PartitionNotFound))
}

/// What a send has to wait for, off the connection's thread.
enum Lacking {
    /// The ids that the partition stored lately are to be read: once after a start.
    Window(Arc<Partition>),
    /// Somebody else's file is to be synced and closed, where too few may be open.
    Room(Arc<Partition>),
}

/// Sends to a partition what had to wait.
fn stage_later(waiting: BatchProgress<Lacking>, form: SendKind, mut send: Vec<u8>) -> Outcome {
    let BatchProgress { appended: lacking, partition_id } = waiting;
    Outcome::Offload(Job::Load(Work::new(move |broker, session| {
        let mut append = || {
            let context = append_context(broker);
            let partition = match &lacking {
                Lacking::Window(partition) => {
                    partition.load_window(context).map_err(|error| error.code())?;
                    partition
                }
                Lacking::Room(partition) => partition,
            };
            let SendParts { count, indexes, messages, .. } = SendHeader::parse(&mut send)?;
            partition.append_in_room(Batch { count, indexes, messages }, context)
        };
        match append() {
            Ok(Appended::Published(placed)) => {
                taken(session, form, TakenBatch { partition_id, placed, ticket: None })
            }
            Ok(Appended::Staged(ticket, placed)) => {
                taken(session, form, TakenBatch { partition_id, placed, ticket: Some(ticket) })
            }
            // Purged while it waited: from the beginning, with the partition that is there now.
            Ok(Appended::Closed) => stage(broker, session, form, &mut send),
            // Twice in a row: there is more to do than there is memory or are files for, and the client tries again later.
            Ok(Appended::Unloaded(_) | Appended::Crowded(_)) => {
                Outcome::done(Reply::Error(ErrorCode::TaskTimeout))
            }
            Err(code) => Outcome::done(Reply::Error(code)),
        }
    })))
}

/// How far a batch has come, and where.
struct BatchProgress<T = Appended> {
    appended: T,
    partition_id: PartitionId,
}

/// A batch that was taken.
struct TakenBatch {
    partition_id: PartitionId,
    placed: Placed,
    /// What its acknowledgement waits for.
    ticket: Option<Ticket>,
}

/// Why a batch was not taken.
enum Unstaged {
    Refused(ErrorCode),
    EarlierMissing,
}

impl From<ErrorCode> for Unstaged {
    fn from(code: ErrorCode) -> Self {
        Self::Refused(code)
    }
}

fn try_stage(
    broker: &Broker,
    session: &mut Session,
    form: SendKind,
    send: &mut [u8],
) -> Result<BatchProgress, Unstaged> {
    // The login before the payload: a stranger is told nothing of what it sent.
    let caller = session.caller()?;
    let parts = SendHeader::parse(send)?;
    // INV-SEND-CHAIN: before anything of it is looked at that could have changed since the one before it was
    // refused.
    if let SendKind::Telling(Some(link)) = form
        && !session.chains().admit(link)
    {
        return Err(Unstaged::EarlierMissing);
    }
    // Let go of before the append, which writes to a file: whoever changes the catalog waits for
    // all who read it.
    let (partition_id, partition) = {
        let catalog = broker.catalog();
        let action = Action::SendMessages;
        let found = catalog.authorized_topic(Some(caller), action, parts.stream, parts.topic)?;
        let (id, partition) = choose(found.open, parts.partitioning)?;
        (id, Arc::clone(partition))
    };
    let batch = Batch { count: parts.count, indexes: parts.indexes, messages: parts.messages };
    let appended = partition.append(batch, append_context(broker))?;
    Ok(BatchProgress { appended, partition_id })
}

/// The answer to a batch that was taken.
fn taken(session: &mut Session, form: SendKind, batch: TakenBatch) -> Outcome {
    let TakenBatch { partition_id, placed, ticket } = batch;
    let reply = match form {
        SendKind::Classic => Reply::Empty,
        SendKind::Telling(chain) => {
            if let Some(link) = chain {
                // With its ticket: the next of the chain is taken while this one waits for its commit, and fails with it.
                session.chains().took(link, ticket.as_ref());
            }
            Reply::Sent(told(partition_id, placed))
        }
    };
    Outcome::Answer(Answer { after: ticket, reply })
}

fn told(partition_id: PartitionId, placed: Placed) -> SendReply {
    let Placed { first, stored, timestamp, end } = placed;
    let outcome = if stored == 0 { SendOutcome::StoredBefore } else { SendOutcome::Stored };
    SendReply { outcome, partition_id, first_offset: first, stored, timestamp, end, throttle_us: 0 }
}

fn append_context(broker: &Broker) -> AppendContext<'_> {
    let deduplication = broker.deduplication;
    AppendContext { clock: &*broker.clock, id_key: broker.id_key, deduplication }
}

fn choose<'a>(
    topic: &'a OpenTopic,
    partitioning: PartitioningRef<'_>,
) -> Result<(PartitionId, &'a Arc<Partition>), ErrorCode> {
    let id = match partitioning {
        PartitioningRef::Balanced => topic.next_balanced()?,
        PartitioningRef::PartitionId(id) => id,
        PartitioningRef::Key(key) => {
            let count = to_u32(topic.partitions.len());
            key_partition(key, count).ok_or(ErrorCode::NoPartitions)?
        }
    };
    Ok((id, topic.partition(id)?))
}
