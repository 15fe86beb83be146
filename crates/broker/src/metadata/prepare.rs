//! Turns commands into records: checks them against the state and decides ids, times and defaults.
//!
//! What is decided here is written down, so that [`State::apply`] need not decide again.
//! The order of checks is the protocol's: existence before rights (see `crate::command`), then
//! sizes, then duplicates.

use std::collections::BTreeMap;

use galgo_wire::command::TopicSettings as Asked;
use galgo_wire::command::{
    ConfigureTopic, CreateTopic, Deduplication, Durability, RetentionRules, UpdateTopic,
};
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{PartitionUid, StreamId, Timestamp, TopicId};
use galgo_wire::identifier::Identifier;
use galgo_wire::limits::PARTITIONS_PER_COMMAND_MAX;
use galgo_wire::name::StreamName;

use super::options::TopicOptions;
use super::record::{CreatedTopic, Record};
use super::{State, Stream, Topic, TopicSettings};

/// What a topic gets where the command leaves the choice to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicDefaults {
    /// Microseconds; `u64::MAX` never.
    pub message_expiry_us: u64,
    /// Bytes; `u64::MAX` unlimited.
    pub size_bytes_max: u64,
    /// What acknowledgements survive.
    pub durability: Durability,
    /// Whether a message id is stored once.
    pub deduplication: Deduplication,
    /// The smallest explicit size limit: one segment.
    pub segment_bytes: u64,
}

impl State {
    /// # Errors
    /// 1009.
    pub(crate) fn existing_stream(&self, stream: &Identifier) -> Result<StreamId, ErrorCode> {
        self.stream(stream.borrowed()).map(|(id, _)| id).ok_or(ErrorCode::StreamIdNotFound)
    }

    /// # Errors
    /// 1009, 2010.
    pub(crate) fn existing_topic(
        &self,
        stream: &Identifier,
        topic: &Identifier,
    ) -> Result<(StreamId, TopicId), ErrorCode> {
        let (stream_id, stored) =
            self.stream(stream.borrowed()).ok_or(ErrorCode::StreamIdNotFound)?;
        let (topic_id, _) = stored.topic(topic.borrowed()).ok_or(ErrorCode::TopicIdNotFound)?;
        Ok((stream_id, topic_id))
    }

    /// # Errors
    /// 1012 when the name is taken.
    pub(crate) fn prepare_create_stream(
        &self,
        name: &StreamName,
        now: Timestamp,
    ) -> Result<(StreamId, Record), ErrorCode> {
        if self.stream_name_taken(name, None) {
            return Err(ErrorCode::StreamNameAlreadyExists);
        }
        let id = StreamId::new(lowest_free(&self.streams, StreamId::get));
        Ok((id, Record::CreateStream { id, name: name.clone(), created_at: now }))
    }

    /// # Errors
    /// 1012 when another stream has the name.
    pub(crate) fn prepare_rename_stream(
        &self,
        id: StreamId,
        name: &StreamName,
    ) -> Result<Record, ErrorCode> {
        if self.stream_name_taken(name, Some(id)) {
            return Err(ErrorCode::StreamNameAlreadyExists);
        }
        Ok(Record::RenameStream { id, name: name.clone() })
    }

    /// `asked` comes from the extension command; the classic one leaves it open.
    ///
    /// # Errors
    /// 1019 size limit below one segment, 2013 name taken, 2015 too many partitions.
    pub(crate) fn prepare_create_topic(
        &self,
        stream: StreamId,
        stored: &Stream,
        request: NewTopic<'_>,
    ) -> Result<(TopicId, Record), ErrorCode> {
        let NewTopic { command, asked, now, defaults } = request;
        let size_bytes_max = or_default(command.max_topic_size.get(), defaults.size_bytes_max);
        if command.max_topic_size.get() != 0 && size_bytes_max < defaults.segment_bytes {
            return Err(ErrorCode::InvalidTopicSize);
        }
        if stored.topic_name_taken(&command.name, None) {
            return Err(ErrorCode::TopicNameAlreadyExists);
        }
        if command.partitions_count > PARTITIONS_PER_COMMAND_MAX {
            return Err(ErrorCode::TooManyPartitions);
        }
        let id = TopicId::new(lowest_free(&stored.topics, TopicId::get));
        let settings = TopicSettings {
            name: command.name.clone(),
            compression: command.compression,
            message_expiry_us: or_default(command.message_expiry.get(), defaults.message_expiry_us),
            size_bytes_max,
            replication_factor: command.replication_factor.max(1),
            durability: defaults.durability,
            deduplication: defaults.deduplication,
            options: TopicOptions::default(),
        };
        let settings = match asked {
            Some(asked) => settings.with(asked, defaults),
            None => settings,
        };
        let created = CreatedTopic {
            stream,
            id,
            settings,
            created_at: now,
            partitions: command.partitions_count,
            first_uid: self.first_uid(),
        };
        Ok((id, Record::CreateTopic(created)))
    }

    /// All fields are replaced, but those classic clients do not know only when `asked` names them.
    ///
    /// # Errors
    /// 2013 when another topic has the name.
    pub(crate) fn prepare_update_topic(
        &self,
        (stream, stored): (StreamId, &Stream),
        (topic, current): (TopicId, &Topic),
        request: ChangedTopic<'_>,
    ) -> Result<Record, ErrorCode> {
        let ChangedTopic { command, asked, defaults } = request;
        if stored.topic_name_taken(&command.name, Some(topic)) {
            return Err(ErrorCode::TopicNameAlreadyExists);
        }
        let settings = TopicSettings {
            name: command.name.clone(),
            compression: command.compression,
            message_expiry_us: or_default(command.message_expiry.get(), defaults.message_expiry_us),
            size_bytes_max: or_default(command.max_topic_size.get(), defaults.size_bytes_max),
            replication_factor: command.replication_factor.max(1),
            durability: current.settings.durability,
            deduplication: current.settings.deduplication,
            options: current.settings.options.clone(),
        };
        let settings = match asked {
            Some(asked) => settings.with(asked, defaults),
            None => settings,
        };
        Ok(Record::UpdateTopic { stream, topic, settings })
    }

    /// # Errors
    /// 1009, 2010; 4 for an option that nobody knows, or a value that is none of its kind.
    pub(crate) fn prepare_configure_topic(
        &self,
        command: &ConfigureTopic,
    ) -> Result<Record, ErrorCode> {
        let (stream, topic) = self.existing_topic(&command.stream, &command.topic)?;
        let stored = self.streams.get(&stream).and_then(|stored| stored.topics.get(&topic));
        let current = &stored.ok_or(ErrorCode::TopicIdNotFound)?.settings;
        let options = current.options.with(&command.options)?;
        let settings = TopicSettings { options, ..current.clone() };
        Ok(Record::UpdateTopic { stream, topic, settings })
    }

    pub(crate) fn prepare_purge(&self, stream: StreamId, topics: Vec<TopicId>) -> Record {
        Record::PurgeTopics { stream, topics, first_uid: self.first_uid() }
    }

    /// # Errors
    /// 2015 unless `count` is 1..=1000.
    pub(crate) fn prepare_add_partitions(
        &self,
        (stream, topic): (StreamId, TopicId),
        count: u32,
        now: Timestamp,
    ) -> Result<Record, ErrorCode> {
        if !(1..=PARTITIONS_PER_COMMAND_MAX).contains(&count) {
            return Err(ErrorCode::TooManyPartitions);
        }
        let first_uid = self.first_uid();
        Ok(Record::AddPartitions { stream, topic, count, first_uid, created_at: now })
    }

    /// # Errors
    /// 2015 for none, 2019 for more than there are.
    pub(crate) fn prepare_remove_partitions(
        &self,
        (stream, topic): (StreamId, TopicId),
        stored: &Topic,
        count: u32,
    ) -> Result<Record, ErrorCode> {
        if count == 0 {
            return Err(ErrorCode::TooManyPartitions);
        }
        if count as usize > stored.partitions.len() {
            return Err(ErrorCode::InvalidPartitionsCount);
        }
        Ok(Record::RemovePartitions { stream, topic, count })
    }

    fn first_uid(&self) -> PartitionUid {
        PartitionUid::new(self.next_uid)
    }
}

/// A topic to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewTopic<'a> {
    pub(crate) command: &'a CreateTopic,
    pub(crate) asked: Option<Asked>,
    pub(crate) now: Timestamp,
    pub(crate) defaults: &'a TopicDefaults,
}

/// A topic to be changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChangedTopic<'a> {
    pub(crate) command: &'a UpdateTopic,
    pub(crate) asked: Option<Asked>,
    pub(crate) defaults: &'a TopicDefaults,
}

impl TopicSettings {
    /// These settings with what the extension command asks for.
    fn with(self, asked: Asked, defaults: &TopicDefaults) -> Self {
        let durability = match asked.durability {
            Durability::ServerDefault => defaults.durability,
            named => named,
        };
        let deduplication = match asked.deduplication {
            Deduplication::ServerDefault => defaults.deduplication,
            named => named,
        };
        Self { durability, deduplication, ..self }
    }

    /// These settings with other rules of retention.
    pub(crate) fn kept_by(self, rules: RetentionRules, defaults: &TopicDefaults) -> Self {
        let (expiry, size) = (rules.message_expiry.get(), rules.max_topic_size.get());
        Self {
            message_expiry_us: or_default(expiry, defaults.message_expiry_us),
            size_bytes_max: or_default(size, defaults.size_bytes_max),
            ..self
        }
    }
}

/// Zero on the wire means "as the server thinks best".
fn or_default(value: u64, default: u64) -> u64 {
    if value == 0 { default } else { value }
}

/// The lowest id that no entry has; ids are dense, so this is near the number of entries.
pub(super) fn lowest_free<K: Ord + Copy, V>(
    entries: &BTreeMap<K, V>,
    number: impl Fn(K) -> u32,
) -> u32 {
    let mut free = 0;
    for id in entries.keys() {
        if number(*id) != free {
            break;
        }
        free += 1;
    }
    free
}
