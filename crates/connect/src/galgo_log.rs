//! A partition of a Galgo server as a lane reads it.

use async_trait::async_trait;
use galgo::{
    Client, ConsumeError, Identifier, PartitionReader, PollRequest, PollingStrategy,
    ReceivedMessage,
};

use crate::log::{LaneLog, LogExtent, LogMessage, ReadEnd};

/// A partition that this process holds as a member of a group, or looks at.
pub struct GalgoLog {
    client: Client,
    stream: Identifier,
    topic: Identifier,
    reader: PartitionReader,
}

impl GalgoLog {
    /// Of a reader; `client` is asked what is no reading, as that would end the wait for messages.
    #[must_use]
    pub fn new(
        client: Client,
        stream: Identifier,
        topic: Identifier,
        reader: PartitionReader,
    ) -> Self {
        Self { client, stream, topic, reader }
    }
}

#[async_trait]
impl LaneLog for GalgoLog {
    async fn extent(&mut self) -> Result<LogExtent, ReadEnd> {
        let extent = self.reader.extent().await.map_err(end)?;
        let topic = self.client.topic(&self.stream, &self.topic).await;
        let topic = topic.map_err(|error| ReadEnd::Away(error.to_string()))?;
        let Some(topic) = topic else {
            let path = format!("{}/{}", self.stream, self.topic);
            return Err(ReadEnd::Away(format!("there is no topic {path}; create it first")));
        };
        // From here on the reader is in the life that was looked at, whichever it was in before.
        self.reader.seek(extent.first);
        let topic_made_at = topic.topic.created_at.get();
        Ok(LogExtent { start: extent.first, end: extent.end, stored: extent.stored, topic_made_at })
    }

    async fn message_at(&mut self, offset: u64) -> Result<Option<LogMessage>, ReadEnd> {
        let message = self.reader.message_at(offset).await.map_err(end)?;
        Ok(message.map(message_of))
    }

    async fn offset_at(&mut self, time: u64) -> Result<u64, ReadEnd> {
        let poll = PollRequest::new(&self.stream, &self.topic, self.reader.partition())
            .strategy(PollingStrategy::Timestamp(galgo::Timestamp::new(time)))
            .count(1);
        let polled = self.client.poll(poll).await;
        let polled = polled.map_err(|error| ReadEnd::Away(error.to_string()))?;
        match polled.messages().first() {
            Some(message) => Ok(message.offset()),
            None => Ok(self.reader.extent().await.map_err(end)?.end),
        }
    }

    fn seek(&mut self, offset: u64) {
        self.reader.seek(offset);
    }

    async fn next(&mut self) -> Result<Vec<LogMessage>, ReadEnd> {
        let messages = self.reader.next_batch().await.map_err(end)?;
        Ok(messages.into_iter().map(message_of).collect())
    }

    async fn store(&mut self, offset: u64) -> Result<(), ReadEnd> {
        self.reader.store(offset).await.map_err(end)
    }
}

fn message_of(message: ReceivedMessage) -> LogMessage {
    LogMessage {
        offset: message.offset(),
        id: message.id(),
        time: message.timestamp(),
        origin_time: message.origin_timestamp(),
        headers_block: message.user_headers().clone(),
        payload: message.into_payload(),
    }
}

fn end(error: ConsumeError) -> ReadEnd {
    match error {
        ConsumeError::Lost { .. } => ReadEnd::Lost,
        ConsumeError::Rewound { .. } | ConsumeError::Outlived { .. } => ReadEnd::BegunAnew,
        ConsumeError::Gap { first, .. } => ReadEnd::Gap(first),
        error => ReadEnd::Away(error.to_string()),
    }
}
