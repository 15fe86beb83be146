//! The membership of a connection in a consumer group: joining, renewing, leaving.
//!
//! One implementation for whoever reads as a member: a consumer, and a member that gets each partition by itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::consumer::fetch::Fetched;
use crate::consumer::holdings::Holdings;
use crate::extensions::GROUP_SESSIONS;
use crate::groups::SESSION;
use crate::{CallError, Client, ErrorCode, Identifier};

/// How often joining is tried on connections the server takes for dead.
const JOIN_ATTEMPTS_MAX: u32 = 5;
/// Pauses between two attempts to become a member again.
pub(super) const JOIN_PAUSE: Duration = Duration::from_millis(100);
const _: () = assert!(
    (JOIN_ATTEMPTS_MAX as u128) * JOIN_PAUSE.as_millis() < SESSION.as_millis(),
    "whoever cannot join is told so sooner than a silent member would lose its place"
);

/// A membership of this connection in a consumer group.
#[derive(Debug, Clone)]
pub(super) struct GroupMembership {
    pub(super) client: Client,
    pub(super) stream: Identifier,
    pub(super) topic: Identifier,
    pub(super) group: Identifier,
    /// The name of the group, to create it when there is none.
    pub(super) name: String,
    /// Whether it is created then.
    pub(super) creates: bool,
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

impl GroupSession {
    /// The session to ask for, if the server knows of them.
    pub(super) async fn on(client: &Client, timeout: Duration) -> Result<Option<Self>, CallError> {
        let knows = client.has(&GROUP_SESSIONS).await?;
        Ok(knows.then(|| Self { timeout, holdings: Arc::default(), has_left: Arc::default() }))
    }
}

impl GroupMembership {
    /// Joins; creates the group when there is none and it may. Returns the number of the connection that is now a
    /// member.
    pub(super) async fn join(&self) -> Result<u64, CallError> {
        for _ in 1..JOIN_ATTEMPTS_MAX {
            match self.try_join().await {
                // The server closes a connection it took for dead; the next one may join.
                Err(error) if is_no_member(&error) => sleep(JOIN_PAUSE).await,
                joined => return joined,
            }
        }
        self.try_join().await
    }

    async fn try_join(&self) -> Result<u64, CallError> {
        let generation = self.client.connection.generation();
        match self.enter().await {
            Ok(()) => return Ok(generation),
            Err(error) if self.creates && is_no_group(&error) => {}
            Err(error) => return Err(error),
        }
        let Self { client, stream, topic, name, .. } = self;
        let created = client.create_consumer_group(stream, topic, name).await;
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
        let Self { client, stream, topic, group, session, .. } = self.clone();
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

pub(super) fn is_no_group(error: &CallError) -> bool {
    use ErrorCode::{ConsumerGroupIdNotFound, ConsumerGroupNameNotFound};
    matches!(error.code(), Some(ConsumerGroupIdNotFound | ConsumerGroupNameNotFound))
}

/// Whether an error says that the membership is over: the server took it for dead, or it began anew.
pub(super) fn is_no_member(error: &CallError) -> bool {
    use ErrorCode::{ConsumerGroupMemberNotFound, StaleClient};
    matches!(error.code(), Some(ConsumerGroupMemberNotFound | StaleClient))
}
