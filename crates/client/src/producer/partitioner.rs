//! Which partition the messages of a key go to.
//!
//! The partition is computed here, as the server would: so messages of many keys travel in one
//! batch, and those of one key keep their order.

use std::sync::Arc;
use std::time::Duration;

use galgo_wire::consumer::key_partition;
use galgo_wire::limits::MESSAGES_KEY_BYTES_MAX;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::topics::path;
use crate::{Client, Identifier, InvalidRequest, ProduceError};

/// How long the number of partitions is believed.
const BELIEVED: Duration = Duration::from_secs(30);

/// Knows the number of partitions of a topic, from the first key on.
pub(super) struct Partitioner {
    client: Client,
    stream: Identifier,
    topic: Identifier,
    known: Mutex<Option<KnownPartitions>>,
    /// Held while the first answer is awaited, so that one question is asked, not many.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone, Copy)]
struct KnownPartitions {
    partitions: u32,
    at: Instant,
}

impl Partitioner {
    pub(super) fn new(client: Client, stream: Identifier, topic: Identifier) -> Self {
        let asking = tokio::sync::Mutex::new(());
        Self { client, stream, topic, known: Mutex::new(None), asking }
    }

    /// The partition of `key`.
    pub(super) async fn partition(self: &Arc<Self>, key: &[u8]) -> Result<u32, ProduceError> {
        if !(1..=MESSAGES_KEY_BYTES_MAX).contains(&key.len()) {
            return Err(InvalidRequest::Key { len: key.len() }.into());
        }
        let partitions = self.count().await?;
        let no_partitions = || InvalidRequest::NoPartitions { topic: self.path() };
        Ok(key_partition(key, partitions).ok_or_else(no_partitions)?.get())
    }

    /// The number of partitions.
    pub(super) async fn count(self: &Arc<Self>) -> Result<u32, ProduceError> {
        match self.believed() {
            Some(partitions) => Ok(partitions),
            None => self.first_answer().await,
        }
    }

    /// What is known. When that is old, the server is asked again, but nobody waits for it.
    fn believed(self: &Arc<Self>) -> Option<u32> {
        let mut known = self.known.lock();
        let known = known.as_mut()?;
        let now = Instant::now();
        if now.duration_since(known.at) > BELIEVED {
            known.at = now;
            let partitioner = Arc::clone(self);
            // Not to learn the latest number is no reason to stop; the next question may do.
            tokio::spawn(async move { partitioner.ask().await.ok() });
        }
        Some(known.partitions)
    }

    async fn first_answer(self: &Arc<Self>) -> Result<u32, ProduceError> {
        let _asking = self.asking.lock().await;
        match self.believed() {
            Some(partitions) => Ok(partitions),
            None => self.ask().await,
        }
    }

    async fn ask(&self) -> Result<u32, ProduceError> {
        let outline = self.client.topic_outline(&self.stream, &self.topic).await;
        let outline = outline.map_err(ProduceError::Lookup)?;
        let no_topic = || ProduceError::NoTopic { topic: self.path() };
        let partitions = outline.ok_or_else(no_topic)?.partitions_count;
        *self.known.lock() = Some(KnownPartitions { partitions, at: Instant::now() });
        Ok(partitions)
    }

    fn path(&self) -> String {
        path(&self.stream, &self.topic)
    }
}
