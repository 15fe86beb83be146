//! Topics.

use clap::Args;
use galgo::model::TopicOutline;
use galgo::model::{Partition, TopicDetails};
use galgo::{Client, ErrorCode, Identifier, InvalidRequest, ProduceError};

use crate::failure::{Failure, Outcome};
use crate::noun::stream::{self, shown};

/// Which topic is meant.
#[derive(Args, Clone, Debug)]
pub(crate) struct TopicPath {
    /// Name or number of the stream
    pub(crate) stream: Identifier,
    /// Name or number of the topic
    pub(crate) topic: Identifier,
}

impl TopicPath {
    /// The topic as a phrase of a sentence.
    pub(crate) fn phrase(&self) -> String {
        format!("topic {} of stream {}", shown(&self.topic), shown(&self.stream))
    }

    /// The topic with its partitions, or the failure that says what is missing.
    pub(crate) async fn details(&self, client: &Client) -> Outcome<TopicDetails> {
        if let Some(details) = client.topic(&self.stream, &self.topic).await? {
            return Ok(details);
        }
        Err(self.missing(client).await)
    }

    /// What a sender or a reader has to know of the topic, or the failure that says what is missing.
    pub(crate) async fn outline(&self, client: &Client) -> Outcome<TopicOutline> {
        match client.topic_outline(&self.stream, &self.topic).await? {
            Some(outline) => Ok(outline),
            None => Err(self.missing(client).await),
        }
    }

    /// The partitions and how far they go, for whoever may poll.
    pub(crate) async fn partitions(&self, client: &Client) -> Outcome<Vec<Partition>> {
        let outline = self.outline(client).await?;
        // Whoever may only send is told how many there are, and no more.
        if outline.partitions.len() as u64 != u64::from(outline.partitions_count) {
            let code = ErrorCode::Unauthorized;
            let what = format!("could not read {}: permission denied", self.phrase());
            let failure = Failure::refused(what, code.as_u32(), code.name());
            return Err(failure.hint("it takes the flag poll-messages of galgo permission set"));
        }
        Ok(outline.partitions)
    }

    /// Says what is missing: the topic, or its stream, as far as whoever asks may know.
    async fn missing(&self, client: &Client) -> Failure {
        if let Ok(None) = client.stream(&self.stream).await {
            return stream::missing(&self.stream);
        }
        Failure::missing(self.phrase(), ErrorCode::TopicIdNotFound)
            .hint(format!("galgo topic list {} shows those there are", shown(&self.stream)))
    }

    /// `failure` of a send, or a better one when the server's code hides that the topic is there and
    /// only has no partitions.
    pub(crate) async fn explained(&self, client: &Client, failure: Failure) -> Failure {
        let may_hide_it =
            [ErrorCode::TopicIdNotFound, ErrorCode::PartitionNotFound, ErrorCode::NoPartitions];
        if !may_hide_it.iter().any(|code| failure.is_refusal(*code)) {
            return failure;
        }
        match client.topic_outline(&self.stream, &self.topic).await {
            Ok(Some(found)) if found.partitions_count == 0 => {
                failure.instead(format!("{} has no partitions", self.phrase())).hint(self.adding())
            }
            _ => failure,
        }
    }

    /// The failure when the topic is not there, as far as the caller may know: for a command that had nothing to
    /// ask of it.
    pub(crate) async fn checked(&self, client: &Client) -> Outcome {
        match self.outline(client).await {
            Err(failure) if failure.is_refusal(ErrorCode::Unauthorized) => Ok(()),
            found => found.map(drop),
        }
    }

    /// Why a producer does not take messages for this topic, or could not be made.
    pub(crate) fn produce(&self, error: &ProduceError) -> Failure {
        let failure = Failure::from(error);
        match error {
            ProduceError::Invalid(InvalidRequest::NoPartitions { .. }) => {
                failure.hint(self.adding())
            }
            _ => failure,
        }
    }

    /// How to give it a partition.
    pub(crate) fn adding(&self) -> String {
        let (stream, topic) = (shown(&self.stream), shown(&self.topic));
        format!("galgo partition create {stream} {topic} --count 1 adds one")
    }
}
