//! Brings the partitions of a consumer together, and keeps account of what was processed.

use std::task::{Context, Poll};

use tokio::sync::mpsc;

use crate::CallError;
use crate::consumer::ConsumeError;
use crate::consumer::builder::Commit;
use crate::consumer::commit::{Committer, Identity};
use crate::consumer::fetch::Fetched;
use crate::message::ReceivedMessage;

/// One partition that is being fetched.
pub(super) struct Source {
    pub(super) partition: u32,
    pub(super) fetched: mpsc::Receiver<Fetched>,
    pub(super) batch: std::vec::IntoIter<ReceivedMessage>,
}

/// The message handed out last.
struct Taken {
    partition: u32,
    offset: u64,
    ends_batch: bool,
}

pub(super) struct Merge {
    partitions: Vec<u32>,
    /// Partitions that have not ended.
    sources: Vec<Source>,
    /// The source whose turn it is.
    turn: usize,
    taken: Option<Taken>,
    identity: Identity,
    mode: Commit,
    committer: Option<(Committer, mpsc::Receiver<CallError>)>,
}

impl Merge {
    pub(super) fn new(sources: Vec<Source>, identity: Identity, mode: Commit) -> Self {
        let committer = match mode {
            Commit::Manual => None,
            Commit::PerMessage | Commit::PerBatch => Some(Committer::start(identity.clone(), None)),
            Commit::Every(pace) => Some(Committer::start(identity.clone(), Some(pace))),
        };
        let partitions = sources.iter().map(|source| source.partition).collect();
        Self { partitions, sources, turn: 0, taken: None, identity, mode, committer }
    }

    pub(super) fn partitions(&self) -> &[u32] {
        &self.partitions
    }

    /// The next message of any partition; `None` when all have ended.
    pub(super) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<ReceivedMessage, ConsumeError>>> {
        self.processed();
        if let Some((_, failures)) = &mut self.committer
            && let Poll::Ready(Some(error)) = failures.poll_recv(context)
        {
            return Poll::Ready(Some(Err(ConsumeError::Commit(error))));
        }
        // Each source is looked at once; one that ended makes room for another.
        let mut left = self.sources.len();
        while left > 0 {
            left -= 1;
            let turn = self.turn % self.sources.len();
            let Some(source) = self.sources.get_mut(turn) else { break };
            if let Some(message) = source.batch.next() {
                return Poll::Ready(Some(Ok(self.hand_out(turn, message))));
            }
            self.turn = turn + 1;
            match source.fetched.poll_recv(context) {
                Poll::Pending => {}
                Poll::Ready(Some(Ok(batch))) => {
                    source.batch = batch.into_iter();
                    if let Some(message) = source.batch.next() {
                        return Poll::Ready(Some(Ok(self.hand_out(turn, message))));
                    }
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

    fn hand_out(&mut self, turn: usize, message: ReceivedMessage) -> ReceivedMessage {
        let ends_batch =
            self.sources.get(turn).is_none_or(|source| source.batch.as_slice().is_empty());
        // A batch is handed out to its end, then the next partition has its turn.
        self.turn = if ends_batch { turn + 1 } else { turn };
        let (partition, offset) = (message.partition(), message.offset());
        self.taken = Some(Taken { partition, offset, ends_batch });
        message
    }

    /// The program asked for more, so it is done with the last one.
    fn processed(&mut self) {
        let Some(Taken { partition, offset, ends_batch }) = self.taken.take() else { return };
        if let Some((committer, _)) = &self.committer
            && (ends_batch || self.mode != Commit::PerBatch)
        {
            committer.note(partition, offset);
        }
    }

    pub(super) async fn commit(&self, message: &ReceivedMessage) -> Result<(), ConsumeError> {
        let stored = self.identity.store(message.partition(), message.offset()).await;
        stored.map_err(ConsumeError::Commit)
    }

    pub(super) async fn close(mut self) -> Result<(), ConsumeError> {
        if let Some(taken) = &mut self.taken {
            taken.ends_batch = true;
        }
        self.processed();
        match self.committer.take() {
            Some((committer, _)) => committer.close().await.map_err(ConsumeError::Commit),
            None => Ok(()),
        }
    }
}
