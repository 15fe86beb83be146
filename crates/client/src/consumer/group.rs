//! Fetches the partitions a consumer group gives to this connection.
//!
//! The server says by its answers which partitions those are, in turn, and keeps the group's place
//! in each. What was handed out and is not committed yet it would hand out again, so the place
//! reached here is kept too, and the rest of a partition is asked for from there.
//!
//! Part of INV-HOLD: what is handed out is tagged with the hold it was asked for under; a place reached under another
//! one is not gone on from.
//! P-ORDER: the place in a partition moves only past messages that are handed out.
//! One batch waits in the channel and one at its door, no more.

use std::collections::BTreeMap;
use std::sync::Arc;

use galgo_wire::id::Offset;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant, sleep};

use crate::consumer::ConsumeError;
use crate::consumer::appetite::Appetite;
use crate::consumer::commit::LifePosition;
use crate::consumer::fetch::{DamagedNext, ERROR_PAUSE, Fetched, FetchedBatch};
use crate::consumer::holdings::{Holdings, Tag};
use crate::consumer::idle::Idle;
use crate::{
    CallError, Client, ErrorCode, Identifier, PollRequest, PolledMessages, PollingStrategy,
};

/// How often joining is tried on connections the server takes for dead.
const JOIN_ATTEMPTS_MAX: u32 = 5;
/// Pauses between two attempts to become a member again.
const JOIN_PAUSE: Duration = Duration::from_millis(100);

/// A membership of this connection in a consumer group.
#[derive(Debug, Clone)]
pub(super) struct GroupMembership {
    pub(super) client: Client,
    pub(super) stream: Identifier,
    pub(super) topic: Identifier,
    pub(super) group: Identifier,
    /// What it holds, if the server tells.
    pub(super) session: Option<GroupSession>,
}

/// A membership that ends when the member falls silent.
#[derive(Debug, Clone)]
pub(super) struct GroupSession {
    /// After how long.
    pub(super) timeout: Duration,
    pub(super) holdings: Arc<Holdings>,
    /// Held while joining or leaving; whether it has left. A request to join that is still under way is waited
    /// for before leaving, or it would make a member of nobody.
    pub(super) has_left: Arc<tokio::sync::Mutex<bool>>,
}

impl GroupMembership {
    /// Joins; creates the group, called `name`, when there is none. Returns the number of the
    /// connection that is now a member.
    pub(super) async fn join(&self, name: &str) -> Result<u64, CallError> {
        for _ in 1..JOIN_ATTEMPTS_MAX {
            match self.try_join(name).await {
                // The server closes a connection it took for dead; the next one may join.
                Err(error) if is_no_member(&error) => sleep(JOIN_PAUSE).await,
                joined => return joined,
            }
        }
        self.try_join(name).await
    }

    async fn try_join(&self, name: &str) -> Result<u64, CallError> {
        let generation = self.client.connection.generation();
        match self.enter().await {
            Ok(()) => return Ok(generation),
            Err(error) if is_no_group(&error) => {}
            Err(error) => return Err(error),
        }
        let created = self.client.create_consumer_group(&self.stream, &self.topic, name).await;
        match created {
            Ok(_) => {}
            // Another member was faster.
            Err(error) if error.code() == Some(ErrorCode::ConsumerGroupNameAlreadyExists) => {}
            Err(error) => return Err(error),
        }
        self.enter().await?;
        Ok(generation)
    }

    /// Becomes a member of a group that is there, or goes on being one; learns what it holds.
    pub(super) async fn enter(&self) -> Result<(), CallError> {
        let Self { client, stream, topic, group, session } = self.clone();
        let Some(GroupSession { timeout, holdings, has_left }) = session else {
            return client.join_consumer_group(&stream, &topic, &group).await;
        };
        // To its end even if nobody waits for it any longer: leaving waits for it.
        let entering = tokio::spawn(async move {
            let has_left = has_left.lock().await;
            if *has_left {
                return Ok(());
            }
            let (generation, asked_at) = (client.connection.generation(), Instant::now());
            let told = client.join_group_with(&stream, &topic, &group, timeout).await?;
            holdings.take(generation, &told, asked_at);
            Ok(())
        });
        // A task that is gone took the runtime with it.
        entering.await.unwrap_or(Ok(()))
    }

    /// Renews the membership now and then, and when somebody asks what is held, until nobody listens.
    pub(super) async fn keep(self, listened: mpsc::Sender<Fetched>) {
        let Some(session) = &self.session else { return };
        loop {
            tokio::select! {
                () = session.holdings.due() => {}
                () = listened.closed() => return,
            }
            if let Err(error) = self.enter().await {
                // What the server refuses, it refuses to whoever fetches, too, who then tells of it or mends
                // it; that one may be waiting for what is fetched to be taken.
                if error.code().is_some() {
                    session.holdings.forget();
                }
                tracing::debug!(%error, "membership not renewed");
                sleep(JOIN_PAUSE).await;
            }
        }
    }

    /// Leaves; that it was no member is as good.
    pub(super) async fn leave(&self) -> Result<(), CallError> {
        if let Some(session) = &self.session {
            *session.has_left.lock().await = true;
        }
        let left = self.client.leave_consumer_group(&self.stream, &self.topic, &self.group).await;
        match left {
            Err(error) if is_no_member(&error) || is_no_group(&error) => Ok(()),
            left => left,
        }
    }
}

fn is_no_group(error: &CallError) -> bool {
    use ErrorCode::{ConsumerGroupIdNotFound, ConsumerGroupNameNotFound};
    matches!(error.code(), Some(ConsumerGroupIdNotFound | ConsumerGroupNameNotFound))
}

/// Whether an error says that the membership is over: the server took it for dead, or it began anew.
pub(super) fn is_no_member(error: &CallError) -> bool {
    use ErrorCode::{ConsumerGroupMemberNotFound, StaleClient};
    matches!(error.code(), Some(ConsumerGroupMemberNotFound | StaleClient))
}

/// Fetches as a member of a group.
pub(super) struct GroupFetch {
    pub(super) membership: GroupMembership,
    /// The name of the group, to create it again when somebody has deleted it.
    pub(super) name: String,
    /// The connection that is a member.
    pub(super) generation: u64,
    pub(super) appetite: Appetite,
    pub(super) idle: Idle,
    pub(super) verify: bool,
    pub(super) skip_damaged: bool,
    pub(super) out: mpsc::Sender<Fetched>,
    /// What is to be handed out next, by partition.
    pub(super) next: BTreeMap<u32, Next>,
}

/// What is to be handed out next of a partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Next {
    position: LifePosition,
    /// Under what it was reached.
    tag: Option<Tag>,
}

impl GroupFetch {
    /// Fetches until nobody listens any longer.
    pub(super) async fn run(mut self) {
        let out = self.out.clone();
        tokio::select! {
            () = self.fetch() => {}
            () = out.closed() => {}
        }
    }

    async fn fetch(&mut self) {
        // Partitions take turns, and some may be empty: a pause is due only after a whole round.
        let mut empty_in_a_row = 0;
        loop {
            if self.generation != self.membership.client.connection.generation() {
                self.rejoin().await;
            }
            let begun = Instant::now();
            match self.take_turn().await {
                Ok(true) => {
                    self.idle.fed();
                    empty_in_a_row = 0;
                }
                Ok(false) if empty_in_a_row < self.next.len() => empty_in_a_row += 1,
                Ok(false) => {
                    self.idle.rest(begun).await;
                    empty_in_a_row = 0;
                }
                Err(error) => self.report(error).await,
            }
        }
    }

    /// Reads from the partition whose turn it is; `false` when it has nothing new.
    async fn take_turn(&mut self) -> Result<bool, CallError> {
        // Where something was handed out, this only finds out which partition it is.
        let count = if self.next.is_empty() { self.appetite.count() } else { 1 };
        let request = self.request().count(count).wait_if(self.idle.wait());
        let version = self.holdings().map(Holdings::version);
        let polled = self.membership.client.poll_once(request).await?;
        let (partition, life) = (polled.partition(), polled.life());
        if let Some(expected) = self.begins_anew(&polled) {
            tracing::warn!(partition, expected, "partition begins anew");
            self.next.remove(&partition);
            self.hand_out(Err(ConsumeError::Rewound { partition, expected })).await;
            return Ok(true);
        }
        let has_any = !polled.is_empty() || polled.damaged().is_some();
        let tag = version.and_then(|version| self.holdings()?.tag(partition, version));
        if has_any && version.is_some() && tag.is_none() {
            // It came to this member since it was told what it holds.
            self.membership.enter().await?;
            return Ok(self.holdings().is_some_and(|it| it.tag(partition, it.version()).is_some()));
        }
        let next = self.next.get(&partition).filter(|next| next.tag == tag);
        let next = next.map(|next| next.position.offset);
        let first = match (polled.messages().first(), polled.damaged()) {
            (Some(message), _) => message.offset(),
            // What was left out stays the group's next until something behind it is committed.
            (None, Some(damaged)) if next.is_some_and(|next| next >= damaged.end) => damaged.end,
            (None, Some(_)) => return Ok(self.take(partition, tag, polled).await),
            (None, None) => return Ok(false),
        };
        let from = next.map_or(first, |next| next.max(first));
        if !polled.is_empty() && from == first && count > 1 {
            return Ok(self.take(partition, tag, polled).await);
        }
        if from > polled.current_offset() {
            return Ok(false);
        }
        let request = self
            .request()
            .partition(partition)
            .strategy(PollingStrategy::Offset(Offset::new(from)))
            .count(self.appetite.count())
            .life(life);
        let polled = self.membership.client.poll_once(request).await?;
        // The partition may have gone to another member meanwhile, or have begun anew, which the next
        // turn tells; then there is nothing.
        Ok(!polled.is_of_other_life() && self.take(partition, tag, polled).await)
    }

    fn holdings(&self) -> Option<&Holdings> {
        self.membership.session.as_ref().map(|session| &*session.holdings)
    }

    /// The offset that was to come next in the partition of an answer, if it begins anew.
    fn begins_anew(&self, polled: &PolledMessages) -> Option<u64> {
        let next = self.next.get(&polled.partition())?.position;
        let end = polled.extent().map_or(polled.current_offset().saturating_add(1), |it| it.end);
        // Without messages and without a life nobody knows which partition it is.
        let is_shorter = next.offset > end && (!polled.is_empty() || polled.life().is_known());
        (next.life.differs_from(polled.life()) || is_shorter).then_some(next.offset)
    }

    fn request(&self) -> PollRequest {
        let GroupMembership { stream, topic, group, .. } = &self.membership;
        PollRequest::group(stream, topic, group)
    }

    async fn take(&mut self, partition: u32, tag: Option<Tag>, mut polled: PolledMessages) -> bool {
        self.appetite.fed(polled.len(), polled.bytes_len());
        if let Some(damage) = DamagedNext::before(&mut polled, self.verify) {
            let told = damage.error(&self.request(), partition, self.skip_damaged);
            self.hand_out(Err(told)).await;
            if self.skip_damaged {
                let position = LifePosition { offset: damage.offsets.end, life: polled.life() };
                self.next.insert(partition, Next { position, tag });
                return true;
            }
            sleep(ERROR_PAUSE).await;
            return false;
        }
        let Some(last) = polled.messages().last() else { return false };
        let LifePosition { offset, life } = LifePosition::of(last);
        self.hand_out(Ok(FetchedBatch { messages: polled.into_messages(), tag })).await;
        let position = LifePosition { offset: offset.saturating_add(1), life };
        self.next.insert(partition, Next { position, tag });
        true
    }

    /// Becomes a member again; gives up only with the reader.
    async fn rejoin(&mut self) {
        loop {
            match self.membership.join(&self.name).await {
                Ok(generation) => {
                    tracing::debug!(group = self.name, "joined the group again");
                    self.generation = generation;
                    return;
                }
                Err(error) if error.is_timeout() => {}
                Err(error) => self.hand_out(Err(ConsumeError::Poll(error))).await,
            }
            sleep(JOIN_PAUSE).await;
        }
    }

    /// A lost membership or connection is put right here; of the rest the reader hears.
    async fn report(&mut self, error: CallError) {
        if error.is_reply_too_large() && self.appetite.choked() {
            return;
        }
        if is_no_member(&error) || is_no_group(&error) {
            tracing::debug!(group = self.name, %error, "no member of the group any longer");
            self.rejoin().await;
            return;
        }
        if error.is_timeout() {
            tracing::warn!(group = self.name, %error, "poll failed, will be repeated");
            return;
        }
        self.hand_out(Err(ConsumeError::Poll(error))).await;
        sleep(ERROR_PAUSE).await;
    }

    async fn hand_out(&self, fetched: Fetched) {
        // When nobody listens any longer, `run` ends.
        let _ = self.out.send(fetched).await;
    }
}
