//! Brings the partitions of a consumer together, and keeps account of what was processed.

use std::collections::BTreeMap;
use std::task::{Context, Poll};

use tokio::sync::mpsc;

use crate::CallError;
use crate::consumer::ConsumeError;
use crate::consumer::builder::Commit;
use crate::consumer::commit::{Committer, LifePosition, OffsetIdentity};
use crate::consumer::fetch::{Fetched, FetchedBatch};
use crate::consumer::holdings::{Standing, Tag};
use crate::consumer::membership::GroupMembership;
use crate::message::ReceivedMessage;

/// One partition that is being fetched.
pub(super) struct MergeSource {
    /// `None`: whatever a group gives out.
    pub(super) partition: Option<u32>,
    fetched: mpsc::Receiver<Fetched>,
    batch: std::vec::IntoIter<ReceivedMessage>,
    /// Under what the batch was asked for, in a group whose server tells.
    tag: Option<Tag>,
}

impl MergeSource {
    pub(super) fn new(partition: Option<u32>, fetched: mpsc::Receiver<Fetched>) -> Self {
        Self { partition, fetched, batch: Vec::new().into_iter(), tag: None }
    }
}

/// The message handed out last.
struct HandedOut {
    partition: u32,
    position: LifePosition,
    ends_batch: bool,
}

pub(super) struct PartitionMerge {
    partitions: Vec<u32>,
    /// Partitions that have not ended.
    sources: Vec<MergeSource>,
    /// The source whose turn it is.
    turn: usize,
    taken: Option<HandedOut>,
    /// The last message handed out of each partition, in a group whose server tells what it holds: what comes
    /// again because the partition was away for a while is left out.
    reached: BTreeMap<u32, LifePosition>,
    identity: OffsetIdentity,
    mode: Commit,
    committer: Option<(Committer, mpsc::Receiver<CallError>)>,
    /// Partitions that were added to the topic.
    added: Option<mpsc::Receiver<MergeSource>>,
    /// To be ended when the consumer ends.
    membership: Option<GroupMembership>,
}

impl PartitionMerge {
    pub(super) fn new(sources: Vec<MergeSource>, identity: OffsetIdentity, mode: Commit) -> Self {
        let committer = match mode {
            Commit::Manual => None,
            Commit::PerMessage | Commit::PerBatch => Some(Committer::start(identity.clone(), None)),
            Commit::Every(pace) => Some(Committer::start(identity.clone(), Some(pace))),
        };
        let partitions = sources.iter().filter_map(|source| source.partition).collect();
        let (added, membership) = (None, None);
        Self {
            partitions,
            sources,
            turn: 0,
            taken: None,
            reached: BTreeMap::new(),
            identity,
            mode,
            committer,
            added,
            membership,
        }
    }

    /// Takes in what comes from `added` too.
    pub(super) fn and_added(mut self, added: Option<mpsc::Receiver<MergeSource>>) -> Self {
        self.added = added;
        self
    }

    /// Ends `membership` with the consumer.
    pub(super) fn and_membership(mut self, membership: GroupMembership) -> Self {
        self.membership = Some(membership);
        self
    }

    pub(super) fn partitions(&self) -> &[u32] {
        &self.partitions
    }

    /// The next message of any partition; `None` when all have ended.
    pub(super) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<ReceivedMessage, ConsumeError>>> {
        // First: the position of the last message is noted even when nothing more comes.
        self.processed();
        if let Some((_, failures)) = &mut self.committer
            && let Poll::Ready(Some(error)) = failures.poll_recv(context)
        {
            return Poll::Ready(Some(Err(ConsumeError::Commit(error))));
        }
        while let Some(added) = &mut self.added
            && let Poll::Ready(Some(source)) = added.poll_recv(context)
        {
            self.partitions.extend(source.partition);
            self.sources.push(source);
        }
        // Each source is looked at once; one that ended makes room for another.
        let mut left = self.sources.len();
        while left > 0 {
            left -= 1;
            let turn = self.turn % self.sources.len();
            match self.standing(turn, context) {
                Standing::Held => {}
                Standing::Lost => self.drop_batch(turn),
                Standing::Unsure => return Poll::Pending,
            }
            let Some(source) = self.sources.get_mut(turn) else {
                unreachable!("a turn is that of a source");
            };
            if let Some(message) = source.batch.next() {
                return Poll::Ready(Some(Ok(self.hand_out(turn, message))));
            }
            self.turn = turn + 1;
            match source.fetched.poll_recv(context) {
                Poll::Pending => {}
                Poll::Ready(Some(Ok(batch))) => {
                    self.begin(turn, batch);
                    // Its turn is still to come.
                    self.turn = turn;
                    left += 1;
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => {
                    self.sources.swap_remove(turn);
                    self.turn = turn;
                }
            }
        }
        match self.sources.is_empty() {
            true => Poll::Ready(None),
            false => Poll::Pending,
        }
    }

    /// Whether the next message of a source may be handed out.
    fn standing(&self, turn: usize, context: &Context<'_>) -> Standing {
        let asked = || {
            let source = self.sources.get(turn)?;
            let (tag, message) = (source.tag?, source.batch.as_slice().first()?);
            let session = self.membership.as_ref()?.session.as_ref()?;
            let generation = self.identity.client.connection.generation();
            Some(session.holdings.standing(message.partition(), tag, generation, context))
        };
        asked().unwrap_or(Standing::Held)
    }

    /// Somebody else may have got what is left of a batch.
    fn drop_batch(&mut self, turn: usize) {
        let Some(source) = self.sources.get_mut(turn) else {
            unreachable!("a turn is that of a source");
        };
        let (partition, left) =
            (source.batch.as_slice().first().map(ReceivedMessage::partition), source.batch.len());
        tracing::info!(
            partition,
            left,
            "partition went to another member, what was fetched is dropped"
        );
        source.batch = Vec::new().into_iter();
    }

    /// Begins a batch behind what was handed out before.
    fn begin(&mut self, turn: usize, FetchedBatch { mut messages, tag }: FetchedBatch) {
        let partition = messages.first().map(ReceivedMessage::partition);
        let reached =
            partition.filter(|_| tag.is_some()).and_then(|it| Some((it, *self.reached.get(&it)?)));
        if let Some((partition, reached)) = reached {
            let was_out = |message: &ReceivedMessage| {
                message.offset() <= reached.offset && !message.life().differs_from(reached.life)
            };
            let again = messages.iter().take_while(|message| was_out(message)).count();
            messages.drain(..again);
            if messages.is_empty()
                && let Some((committer, _)) = &self.committer
            {
                committer.note(partition, reached);
            }
        }
        let Some(source) = self.sources.get_mut(turn) else {
            unreachable!("a turn is that of a source");
        };
        assert!(source.batch.len() == 0, "P-ORDER: a batch begins where the last one ended");
        (source.batch, source.tag) = (messages.into_iter(), tag);
    }

    fn hand_out(&mut self, turn: usize, message: ReceivedMessage) -> ReceivedMessage {
        let Some(source) = self.sources.get(turn) else {
            unreachable!("a message is that of a source");
        };
        let (ends_batch, has_tag) = (source.batch.as_slice().is_empty(), source.tag.is_some());
        // A batch is handed out to its end, then the next partition has its turn.
        self.turn = if ends_batch { turn + 1 } else { turn };
        let (partition, position) = (message.partition(), LifePosition::of(&message));
        if has_tag {
            self.reached.insert(partition, position);
        }
        self.taken = Some(HandedOut { partition, position, ends_batch });
        message
    }

    /// The program asked for more, so it is done with the last one.
    fn processed(&mut self) {
        let Some(HandedOut { partition, position, ends_batch }) = self.taken.take() else { return };
        if let Some((committer, _)) = &self.committer
            && (ends_batch || self.mode != Commit::PerBatch)
        {
            committer.note(partition, position);
        }
    }

    pub(super) async fn commit(&self, message: &ReceivedMessage) -> Result<(), ConsumeError> {
        let (partition, offset) = (message.partition(), message.offset());
        let stored = self.identity.store(partition, LifePosition::of(message)).await;
        match stored.map_err(ConsumeError::Commit)? {
            true => Ok(()),
            false => Err(ConsumeError::Outlived { partition, offset }),
        }
    }

    pub(super) async fn close(mut self) -> Result<(), ConsumeError> {
        // Whoever closes is done with the last message, though its batch has more: what was handed out is committed.
        if let Some(taken) = &mut self.taken {
            taken.ends_batch = true;
        }
        self.processed();
        let (committer, membership) = (self.committer.take(), self.membership.take());
        // Nothing more is fetched from here on.
        drop(self);
        end(committer, membership).await
    }
}

impl Drop for PartitionMerge {
    fn drop(&mut self) {
        // A member that is gone must not keep its partitions from the others.
        if let Some(membership) = self.membership.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(end(self.committer.take(), Some(membership)));
        }
    }
}

/// Stores what is to be stored, and only then leaves the group, because only members may.
async fn end(
    committer: Option<(Committer, mpsc::Receiver<CallError>)>,
    membership: Option<GroupMembership>,
) -> Result<(), ConsumeError> {
    let stored = match committer {
        Some((committer, _)) => committer.close().await,
        None => Ok(()),
    };
    let left = match membership {
        Some(membership) => membership.leave().await,
        None => Ok(()),
    };
    stored.and(left).map_err(ConsumeError::Commit)
}
