//! The settings of a member of a group.

use std::sync::Arc;
use std::time::Duration;

use crate::call::name;
use crate::consumer::ConsumeError;
use crate::consumer::member::ActiveMember;
use crate::consumer::membership::{GroupMembership, GroupSession};
use crate::consumer::reader::ReaderSettings;
use crate::consumer::seats::Seats;
use crate::extensions::LIVES;
use crate::groups::SESSION;
use crate::topics::path;
use crate::{Client, Identifier};

/// Settings of a member of a consumer group that gets each of its partitions by itself; every one but the name of the
/// group has a default.
///
/// Made by [`Client::group_member`].
#[derive(Debug, Clone)]
pub struct GroupMemberBuilder {
    client: Client,
    stream: Identifier,
    topic: Identifier,
    group: String,
    creates: bool,
    session_timeout: Duration,
    reading: ReaderSettings,
}

impl GroupMemberBuilder {
    pub(crate) fn new(client: Client, stream: Identifier, topic: Identifier) -> Self {
        Self {
            client,
            stream,
            topic,
            group: String::new(),
            creates: true,
            session_timeout: SESSION,
            reading: ReaderSettings::default(),
        }
    }

    /// Sets the name of the group. A connection is one member of a group: give each member a client of its own.
    pub fn group(mut self, name: impl Into<String>) -> Self {
        self.group = name.into();
        self
    }

    /// Sets whether the group is created when there is none, also when somebody deletes it later. Default: yes.
    pub fn create_group(mut self, creates: bool) -> Self {
        self.creates = creates;
        self
    }

    /// Sets after how long a silence the member loses its partitions to the others, zero for never. Default: 30 s.
    /// Heeded by Galgo servers, which take 1 s to 1 h.
    ///
    /// The member gives signs of life by itself while its runtime runs, whatever its readers do.
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.session_timeout = timeout;
        self
    }

    /// Sets the most messages of a batch. Default: 1,000.
    pub fn batch_size(mut self, messages: u32) -> Self {
        self.reading.batch_size = messages.max(1);
        self
    }

    /// Sets about how many bytes a batch has, by the sizes of the messages seen so far. Default: 1 MiB.
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.reading.batch_bytes = bytes.max(1);
        self
    }

    /// Sets the longest pause between two polls where the server cannot be asked to wait for messages: over QUIC, and on
    /// servers without the extension. Default: 100 ms.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.reading.poll_interval = interval.max(Duration::from_millis(1));
        self
    }

    /// Sets whether the checksum of every message is checked here too. Default: yes.
    pub fn verify_checksums(mut self, verify: bool) -> Self {
        self.reading.verify = verify;
        self
    }

    /// Joins the group. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// [`ConsumeError::Setup`] when the name of the group is missing or is none, [`ConsumeError::NoTopic`],
    /// [`ConsumeError::Poll`] when the server refuses, or has no such group and none is to be created.
    pub async fn join(self) -> Result<ActiveMember, ConsumeError> {
        let Self { client, stream, topic, .. } = self;
        let group = Identifier::Named(name("group name", &self.group)?);
        if client.topic_outline(&stream, &topic).await?.is_none() {
            return Err(ConsumeError::NoTopic { topic: path(&stream, &topic) });
        }
        let session = GroupSession::on(&client, self.session_timeout).await?;
        // Who waits for several readers needs to be told how far each partition reaches.
        let wait = if client.has(&LIVES).await? { client.poll_wait().await? } else { None };
        let (name, creates) = (self.group, self.creates);
        let membership = GroupMembership { client, stream, topic, group, name, creates, session };
        let generation = membership.join().await?;
        let seats = Arc::new(Seats::new(membership, wait.is_some()));
        Ok(ActiveMember::start(seats, generation, wait, self.reading))
    }
}
