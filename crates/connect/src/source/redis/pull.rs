//! Taking entries while there is room for them, whether somebody waits for them or not.
//!
//! A task of its own does it, on connections of its own: what it has taken is at hand at once, and is kept from other members until it is
//! acknowledged.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use super::group::{COMMAND_ENTRIES_MAX, EntryId, GivenEntry, Member, Portion};
use crate::bridge::held::HeldMessages;
use crate::clock::micros;
use crate::failure::Failure;
use crate::redis::entry::EntryField;
use crate::redis::link::RedisLink;

/// How long one wait for more entries is.
const WAIT_MS: u64 = 2_000;
/// While a run to the end has taken all, it looks so often what others left.
const END_WAIT: Duration = Duration::from_millis(200);
/// What an entry takes beside its fields.
const ENTRY_BYTES: usize = 256;

/// An entry that was taken.
pub(super) struct TakenEntry {
    /// Counted by us, in the order they came.
    pub number: u64,
    /// Its place in the stream.
    pub id: EntryId,
    /// Whether a member got it before.
    pub is_again: bool,
    /// What is in it.
    pub fields: Vec<EntryField>,
}

/// How much is taken ahead, and from whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct PullRules {
    /// Bytes that are taken ahead of acknowledgements.
    pub prefetch_bytes: usize,
    /// After so long without a sign of life another member's entries are taken over.
    pub claim_after: Duration,
    /// The last entry that is wanted.
    pub upto: Option<EntryId>,
}

/// What the task has.
struct RedisPulling {
    link: Arc<RedisLink>,
    waiting: RedisLink,
    member: Arc<Member>,
    rules: PullRules,
    held: Arc<HeldMessages<EntryId>>,
    room: Arc<Notify>,
    pipeline: String,
    claimed_at: Option<Instant>,
    deliver: UnboundedSender<Result<TakenEntry, Failure>>,
    /// The last entry that was given to anybody, as far as is known.
    last: tokio::sync::watch::Sender<Option<EntryId>>,
}

/// A task that takes, and one that keeps what was taken; both end when it is dropped.
pub(super) struct EntryPuller {
    /// Which connection, as each counts from 1.
    pub epoch: u64,
    link: Arc<RedisLink>,
    member: Arc<Member>,
    upto: Option<EntryId>,
    held: Arc<HeldMessages<EntryId>>,
    room: Arc<Notify>,
    last: tokio::sync::watch::Receiver<Option<EntryId>>,
    taken: UnboundedReceiver<Result<TakenEntry, Failure>>,
    tasks: [JoinHandle<()>; 2],
}

/// The connections of a puller: one for commands, one that may wait.
pub(super) struct PullLinks {
    pub link: RedisLink,
    pub waiting: RedisLink,
}

impl EntryPuller {
    /// Begins to take.
    pub(super) fn start(
        links: PullLinks,
        member: Arc<Member>,
        rules: PullRules,
        pipeline: &str,
    ) -> Self {
        static EPOCHS: AtomicU64 = AtomicU64::new(1);
        let (link, held) = (Arc::new(links.link), Arc::new(HeldMessages::default()));
        let room = Arc::new(Notify::new());
        let (deliver, taken) = unbounded_channel();
        let (tell_last, last) = tokio::sync::watch::channel(None);
        let pulling = RedisPulling {
            link: link.clone(),
            waiting: links.waiting,
            member: member.clone(),
            rules,
            held: held.clone(),
            room: room.clone(),
            pipeline: pipeline.to_owned(),
            claimed_at: None,
            deliver,
            last: tell_last,
        };
        let keeping = keep(link.clone(), member.clone(), held.clone(), rules.claim_after / 3);
        let tasks = [tokio::spawn(pulling.run()), tokio::spawn(keeping)];
        let epoch = EPOCHS.fetch_add(1, Ordering::Relaxed);
        Self { epoch, link, member, upto: rules.upto, held, room, last, taken, tasks }
    }

    /// The next entry; nothing is lost when it is dropped while it waits.
    pub(super) async fn next(&mut self) -> Result<TakenEntry, Failure> {
        match self.taken.recv().await {
            Some(taken) => taken,
            None => Err(self.link.away("the connection is lost")),
        }
    }

    /// The next entry, if there is one already.
    pub(super) fn next_at_hand(&mut self) -> Option<TakenEntry> {
        // What is wrong is told by the next call of the other, and is the last there is.
        match self.taken.try_recv() {
            Ok(Ok(taken)) => Some(taken),
            Ok(Err(_)) | Err(_) => None,
        }
    }

    /// Acknowledges all up to a number.
    pub(super) async fn acknowledge(&mut self, upto: u64) -> Result<(), Failure> {
        let ids = self.held.release(upto);
        self.room.notify_one();
        self.member.acknowledge(&self.link, &ids).await
    }

    /// Whether all that is wanted was taken, and nobody holds any of it but what is held here.
    pub(super) async fn is_at_end(&mut self) -> Result<bool, Failure> {
        let last = *self.last.borrow();
        let has_taken_all = last.zip(self.upto).is_some_and(|(last, upto)| last >= upto);
        if !has_taken_all || !self.taken.is_empty() {
            return Ok(false);
        }
        let pending = self.member.pending(&self.link).await?;
        Ok(pending <= self.held.count() && self.taken.is_empty())
    }

    /// Leaves the group, if nothing is held.
    pub(super) async fn leave(&self) -> Result<(), Failure> {
        self.member.leave(&self.link).await
    }
}

impl Drop for EntryPuller {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl RedisPulling {
    async fn run(mut self) {
        let failure = match self.take_up().await {
            Err(failure) => failure,
            Ok(()) => loop {
                if let Err(failure) = self.round().await {
                    break failure;
                }
            },
        };
        // Nobody may be left to be told.
        let _ = self.deliver.send(Err(failure));
    }

    /// What this member got on a connection that was lost comes first.
    async fn take_up(&mut self) -> Result<(), Failure> {
        let mut behind = EntryId { time: 0, number: 0 };
        loop {
            self.wait_for_room().await;
            let entries = self.member.got_before(&self.link, behind).await?;
            let Some(last) = entries.last() else { return Ok(()) };
            behind = last.id;
            let gone = entries.iter().filter(|entry| entry.fields.is_none());
            let gone: Vec<EntryId> = gone.map(|entry| entry.id).collect();
            self.tell_trimmed(gone.len() as u64);
            // There is nothing left of them to be settled.
            self.member.acknowledge(&self.link, &gone).await?;
            self.hand_on(entries, true);
        }
    }

    async fn round(&mut self) -> Result<(), Failure> {
        self.wait_for_room().await;
        let is_due = |at: Instant| at.elapsed() >= self.rules.claim_after / 2;
        if self.claimed_at.is_none_or(is_due) {
            self.claimed_at = Some(Instant::now());
            let ours: HashSet<EntryId> = self.held.replies().into_iter().collect();
            let idle_ms = micros(self.rules.claim_after) / 1_000;
            let claimed = self.member.claim(&self.link, idle_ms, &ours).await?;
            self.tell_trimmed(claimed.trimmed);
            self.hand_on(claimed.entries, true);
        }
        let portion = Portion {
            entries: COMMAND_ENTRIES_MAX,
            bytes: self.rules.prefetch_bytes.saturating_sub(self.held.bytes()).max(1),
        };
        let taken = self.member.take(&self.link, portion, self.rules.upto).await?;
        self.tell_trimmed(taken.trimmed);
        let is_empty = taken.entries.is_empty();
        self.hand_on(taken.entries, false);
        // Behind the entries: who sees it finds them at hand.
        self.last.send_replace(Some(taken.last));
        if !is_empty {
            return Ok(());
        }
        match self.rules.upto.is_some_and(|upto| taken.last >= upto) {
            true => tokio::time::sleep(END_WAIT).await,
            false => self.member.wait_behind(&self.waiting, taken.last, WAIT_MS).await?,
        }
        Ok(())
    }

    async fn wait_for_room(&self) {
        while self.held.bytes() > self.rules.prefetch_bytes / 2 {
            self.room.notified().await;
        }
    }

    fn hand_on(&self, entries: Vec<GivenEntry>, is_again: bool) {
        for entry in entries {
            let size = entry.bytes() + ENTRY_BYTES;
            let Some(fields) = entry.fields else { continue };
            let number = self.held.hold(entry.id, size);
            // Nobody may be left to read it; it comes again then.
            let _ = self.deliver.send(Ok(TakenEntry { number, id: entry.id, is_again, fields }));
        }
    }

    fn tell_trimmed(&self, count: u64) {
        if count > 0 {
            tracing::error!(
                pipeline = self.pipeline,
                stream = self.member.stream,
                count,
                "entries were trimmed in Redis before they were read, and are lost; give the stream a longer MAXLEN"
            );
        }
    }
}

/// Tells Redis that somebody is at work on what is held.
async fn keep(
    link: Arc<RedisLink>,
    member: Arc<Member>,
    held: Arc<HeldMessages<EntryId>>,
    each: Duration,
) {
    loop {
        tokio::time::sleep(each).await;
        if member.keep(&link, &held.replies()).await.is_err() {
            // Whoever reads finds out.
            return;
        }
    }
}
