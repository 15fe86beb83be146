//! Topics that are made when they are not there.

use std::collections::BTreeMap;

use galgo_wire::command::topics::TopicDetails;
use galgo_wire::id::Timestamp;
use galgo_wire::options::{Expiry, OptionChoices, SizeLimit};

use crate::extensions::{ACCESS, TOPIC_OPTIONS};
use crate::topics::path;
use crate::{CallError, Client, ErrorCode, Identifier, InvalidRequest, TopicOptions};

/// How often is looked and tried: somebody else may make, or delete, the same topic meanwhile.
const ATTEMPTS_MAX: u32 = 5;
const _: () = assert!(
    ATTEMPTS_MAX > 2,
    "one attempt makes the stream, the next the topic, and one is left to find what others made"
);

/// A topic that is there, as [`Client::ensure_topic`] found or made it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EnsuredTopic {
    /// How many partitions it has.
    pub partitions_count: u32,
    /// When it was made, as [`Client::topic_made_at`] tells it. `None` for a user who may only send to it.
    pub made_at: Option<Timestamp>,
    /// Whether it was made by this call.
    pub was_made: bool,
    /// Where it is not as it was asked for, as far as this user may see; nothing was changed.
    pub differences: Vec<TopicDifference>,
}

/// A setting of a topic that is not as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicDifference {
    /// Its name: that of an option, `partitions` or `compression`.
    pub setting: String,
    /// What was asked for.
    pub wanted: String,
    /// What the topic has.
    pub found: String,
}

impl Client {
    /// Makes the stream and the topic of these names if they are not there. Of one that is, also when somebody else made it
    /// a moment ago, nothing is changed; what is not as `options` ask for is [told](EnsuredTopic::differences).
    ///
    /// ```no_run
    /// # async fn run(client: galgo::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use galgo::TopicOptions;
    ///
    /// let options = TopicOptions::default().partitions(4);
    /// let topic = client.ensure_topic(&"shop".parse()?, &"orders".parse()?, options).await?;
    /// println!("{} partitions, new: {}", topic.partitions_count, topic.was_made);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`CallError`], as [`Client::create_stream`] and [`Client::create_topic`]; [`InvalidRequest::Name`] when what is not there is
    /// named by a number.
    pub async fn ensure_topic(
        &self,
        stream: &Identifier,
        topic: &Identifier,
        options: TopicOptions,
    ) -> Result<EnsuredTopic, CallError> {
        for _ in 1..ATTEMPTS_MAX {
            if let Some(ensured) = self.ensure_once(stream, topic, &options).await? {
                return Ok(ensured);
            }
        }
        let target = path(stream, topic);
        let gone =
            crate::ServerError::new(ErrorCode::TopicIdNotFound.as_u32(), "ensure topic", target);
        match self.ensure_once(stream, topic, &options).await? {
            Some(ensured) => Ok(ensured),
            // Somebody deletes it again and again.
            None => Err(gone.into()),
        }
    }

    /// `None` when it is to be tried again.
    async fn ensure_once(
        &self,
        stream: &Identifier,
        topic: &Identifier,
        options: &TopicOptions,
    ) -> Result<Option<EnsuredTopic>, CallError> {
        if let Some(found) = self.found_topic(stream, topic, options).await? {
            return Ok(Some(found));
        }
        let name = name_to_make("topic name", topic)?;
        match self.create_topic(stream, &name, options.clone()).await {
            Ok(details) => {
                let made_at = self.made_at(&details).await?;
                let partitions_count = details.topic.partitions_count;
                let made = EnsuredTopic {
                    partitions_count,
                    made_at: Some(made_at),
                    was_made: true,
                    differences: Vec::new(),
                };
                Ok(Some(made))
            }
            Err(error) if error.code() == Some(ErrorCode::TopicNameAlreadyExists) => Ok(None),
            // Made only where the topic needs it: that takes a right of its own.
            Err(error) if error.code() == Some(ErrorCode::StreamIdNotFound) => {
                match self.create_stream(&name_to_make("stream name", stream)?).await {
                    Err(error) if error.code() != Some(ErrorCode::StreamNameAlreadyExists) => {
                        Err(error)
                    }
                    _ => Ok(None),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// The topic that is there.
    async fn found_topic(
        &self,
        stream: &Identifier,
        topic: &Identifier,
        options: &TopicOptions,
    ) -> Result<Option<EnsuredTopic>, CallError> {
        let mut found = BTreeMap::new();
        let (partitions_count, made_at) = match self.topic(stream, topic).await {
            Ok(None) => return Ok(None),
            Ok(Some(details)) => {
                let choices = OptionChoices {
                    message_expiry: Some(Expiry::from_us(details.topic.message_expiry.get())),
                    max_size: Some(SizeLimit::from_bytes(details.topic.max_topic_size.get())),
                    ..OptionChoices::default()
                };
                note(&mut found, &choices);
                found.insert("compression".to_owned(), format!("{:?}", details.topic.compression));
                (details.topic.partitions_count, Some(self.made_at(&details).await?))
            }
            // Whoever may only send or poll is told less.
            Err(error) if error.code() == Some(ErrorCode::Unauthorized) => {
                let Some(outline) = self.topic_outline(stream, topic).await? else {
                    return Ok(None);
                };
                let choices = OptionChoices {
                    durability: outline.settings.durability,
                    deduplication: outline.settings.deduplication,
                    ..OptionChoices::default()
                };
                note(&mut found, &choices);
                let first = outline.partitions.first();
                (outline.partitions_count, first.map(|first| first.created_at))
            }
            Err(error) => return Err(error),
        };
        if self.has(&TOPIC_OPTIONS).await? {
            match self.topic_config(stream, topic).await {
                Ok(config) => found.extend(config.into_iter().map(|it| (it.name, it.value))),
                Err(error) if error.code() == Some(ErrorCode::Unauthorized) => {}
                Err(error) => return Err(error),
            }
        }
        found.insert("partitions".to_owned(), partitions_count.to_string());
        let differences = differences(options, &found);
        Ok(Some(EnsuredTopic { partitions_count, made_at, was_made: false, differences }))
    }

    /// Returns when a topic was made, or `None` when there is no such topic: another one of the same name, made later, has
    /// another time. Whoever may poll may ask a Galgo server.
    ///
    /// There it is when the first partition was made, which is with the topic, unless all partitions were deleted and others
    /// added since.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn topic_made_at(
        &self,
        stream: &Identifier,
        topic: &Identifier,
    ) -> Result<Option<Timestamp>, CallError> {
        if self.has(&ACCESS).await?
            && let Some(outline) = self.topic_outline(stream, topic).await?
            && let Some(first) = outline.partitions.first()
        {
            return Ok(Some(first.created_at));
        }
        Ok(self.topic(stream, topic).await?.map(|details| details.topic.created_at))
    }

    /// As [`Client::topic_made_at`], of a topic that was looked up.
    async fn made_at(&self, details: &TopicDetails) -> Result<Timestamp, CallError> {
        let first = details.partitions.first().map(|first| first.created_at);
        let first = if self.has(&ACCESS).await? { first } else { None };
        Ok(first.unwrap_or(details.topic.created_at))
    }
}

/// Notes the options that are known.
fn note(found: &mut BTreeMap<String, String>, choices: &OptionChoices) {
    found.extend(choices.pairs().into_iter().map(|(name, value)| (name.to_owned(), value)));
}

/// What was asked for and is not so, of what is known.
fn differences(options: &TopicOptions, found: &BTreeMap<String, String>) -> Vec<TopicDifference> {
    let mut wanted = options.chosen_by_name();
    wanted.insert("partitions".to_owned(), options.partitions.to_string());
    wanted.insert("compression".to_owned(), format!("{:?}", options.compression));
    let differ = wanted.into_iter().filter_map(|(setting, wanted)| {
        let found = found.get(&setting).filter(|found| **found != wanted)?.clone();
        Some(TopicDifference { setting, wanted, found })
    });
    differ.collect()
}

/// The name under which something is made.
fn name_to_make(what: &'static str, identifier: &Identifier) -> Result<String, InvalidRequest> {
    match identifier {
        Identifier::Named(name) => Ok(name.to_string()),
        Identifier::Numeric(number) => {
            let reason = format!(
                "there is none with the number {number}, and a number is no name to make one"
            );
            Err(InvalidRequest::Name { what, reason })
        }
    }
}
