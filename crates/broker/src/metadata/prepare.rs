//! Turns commands into records: checks them against the state and decides ids, times and defaults.
//!
//! What is decided here is written down, so that [`State::apply`] need not decide again.
//! The order of checks is the protocol's: existence before rights (see `crate::command`), then
//! sizes, then duplicates.

use std::collections::BTreeMap;

use galgo_wire::command::{
    AskedOptions, Compression, ConfigureTopic, CreateTopic, RetentionRules, TopicOption,
    UpdateTopic,
};
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{PartitionUid, StreamId, Timestamp, TopicId};
use galgo_wire::identifier::Identifier;
use galgo_wire::limits::PARTITIONS_PER_COMMAND_MAX;
use galgo_wire::name::{StreamName, TopicName};
use galgo_wire::options::{EffectiveOptions, Expiry, OptionChoices, SizeLimit};

use super::record::{CreatedTopic, NewPartitions, Record};
use super::{ResolvedSettings, State, StreamMetadata, TopicMetadata, TopicPlace};

/// What a topic gets where the command leaves the choice to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDefaults {
    /// What the configuration says.
    pub options: OptionChoices,
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
    ) -> Result<TopicPlace, ErrorCode> {
        let (stream, stored) = self.stream(stream.borrowed()).ok_or(ErrorCode::StreamIdNotFound)?;
        let (topic, _) = stored.topic(topic.borrowed()).ok_or(ErrorCode::TopicIdNotFound)?;
        Ok(TopicPlace { stream, topic })
    }

    /// The topic that is there.
    ///
    /// # Errors
    /// 2010.
    pub(crate) fn topic_at(&self, place: TopicPlace) -> Result<&TopicMetadata, ErrorCode> {
        let stream = self.streams.get(&place.stream);
        let topic = stream.and_then(|stream| stream.topics.get(&place.topic));
        topic.ok_or(ErrorCode::TopicIdNotFound)
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
        assert!(!self.streams.contains_key(&id), "an id that is given is no stream's");
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
    /// 1019 size limit below one segment, 2013 name taken, 2015 too many partitions, 4 for an option that nobody
    /// knows, or a value that is none of its kind.
    pub(crate) fn prepare_create_topic(
        &self,
        stream: StreamId,
        stored: &StreamMetadata,
        request: NewTopic<'_>,
    ) -> Result<(TopicId, Record), ErrorCode> {
        let NewTopic { command, asked, now, defaults } = request;
        let AskedOptions { durability, deduplication, options } = asked.unwrap_or_default();
        let asked = OptionChoices { durability, deduplication, ..OptionChoices::default() };
        let (message_expiry, max_topic_size) = (command.message_expiry, command.max_topic_size);
        let rules = RetentionRules { message_expiry, max_topic_size };
        let chosen = with(&kept_by(asked, rules), &options)?;
        if chosen.max_size.is_some_and(|size| size.bytes() < defaults.segment_bytes) {
            return Err(ErrorCode::InvalidTopicSize);
        }
        // Behind the sizes, as the classic server has it: the first thing that is wrong is what is told.
        if stored.topic_name_taken(&command.name, None) {
            return Err(ErrorCode::TopicNameAlreadyExists);
        }
        if command.partitions_count > PARTITIONS_PER_COMMAND_MAX {
            return Err(ErrorCode::TooManyPartitions);
        }
        let id = TopicId::new(lowest_free(&stored.topics, TopicId::get));
        assert!(!stored.topics.contains_key(&id), "an id that is given is no topic's");
        let settings = ResolvedSettings::new(
            command.name.clone(),
            command.compression,
            command.replication_factor,
            chosen,
            &defaults.options,
        );
        let created = CreatedTopic {
            stream,
            id,
            settings,
            created_at: now,
            partitions: self.new_partitions(command.partitions_count),
        };
        Ok((id, Record::CreateTopic(created)))
    }

    /// All fields are replaced, but those classic clients do not know only when `asked` names them.
    ///
    /// # Errors
    /// 1009, 2010; 2013 when another topic has the name; for options by name those of [`State::prepare_configure_topic`].
    pub(crate) fn prepare_update_topic(
        &self,
        request: ChangedTopic<'_>,
    ) -> Result<Record, ErrorCode> {
        let ChangedTopic { command, asked, defaults } = request;
        let place = self.existing_topic(&command.stream, &command.topic)?;
        let TopicPlace { stream, topic } = place;
        let current = self.topic_at(place)?;
        let stored = self.streams.get(&stream).ok_or(ErrorCode::StreamIdNotFound)?;
        if stored.topic_name_taken(&command.name, Some(topic)) {
            return Err(ErrorCode::TopicNameAlreadyExists);
        }
        let (message_expiry, max_topic_size) = (command.message_expiry, command.max_topic_size);
        let rules = RetentionRules { message_expiry, max_topic_size };
        // Options that the command has no field for stay as they are: a classic client that renames a topic takes back
        // nothing.
        let mut chosen = kept_by(current.settings.choices(), rules);
        if let Some(AskedOptions { durability, deduplication, options }) = asked {
            let asked = OptionChoices { durability, deduplication, ..chosen };
            chosen = with(&asked, &options)?;
        }
        let settings = ResolvedSettings::new(
            command.name.clone(),
            command.compression,
            command.replication_factor,
            chosen,
            &defaults.options,
        );
        Ok(Record::UpdateTopic { stream, topic, settings })
    }

    /// # Errors
    /// 1009, 2010; 4 for an option that nobody knows, or a value that is none of its kind. A size limit below one
    /// segment is taken, as in every update.
    pub(crate) fn prepare_configure_topic(
        &self,
        command: &ConfigureTopic,
        defaults: &TopicDefaults,
    ) -> Result<Record, ErrorCode> {
        let place = self.existing_topic(&command.stream, &command.topic)?;
        let TopicPlace { stream, topic } = place;
        let current = &self.topic_at(place)?.settings;
        // On top of what was chosen before: what the command does not name stays.
        let chosen = with(&current.choices(), &command.options)?;
        let settings = current.clone().choose(chosen, &defaults.options);
        Ok(Record::UpdateTopic { stream, topic, settings })
    }

    pub(crate) fn prepare_purge(&self, stream: StreamId, topics: Vec<TopicId>) -> Record {
        Record::PurgeTopics { stream, topics, first_uid: self.first_uid() }
    }

    /// # Errors
    /// 2015 unless `count` is 1..=1000.
    pub(crate) fn prepare_add_partitions(
        &self,
        place: TopicPlace,
        count: u32,
        now: Timestamp,
    ) -> Result<Record, ErrorCode> {
        let TopicPlace { stream, topic } = place;
        if !(1..=PARTITIONS_PER_COMMAND_MAX).contains(&count) {
            return Err(ErrorCode::TooManyPartitions);
        }
        let partitions = self.new_partitions(count);
        Ok(Record::AddPartitions { stream, topic, partitions, created_at: now })
    }

    /// # Errors
    /// 2010; 2015 for none, 2019 for more than there are.
    pub(crate) fn prepare_remove_partitions(
        &self,
        place: TopicPlace,
        count: u32,
    ) -> Result<Record, ErrorCode> {
        let TopicPlace { stream, topic } = place;
        let stored = self.topic_at(place)?;
        if count == 0 {
            return Err(ErrorCode::TooManyPartitions);
        }
        if count as usize > stored.partitions.len() {
            return Err(ErrorCode::InvalidPartitionsCount);
        }
        Ok(Record::RemovePartitions { stream, topic, count })
    }

    /// With a single node there is nothing to choose: all of them are on its shard.
    fn new_partitions(&self, count: u32) -> NewPartitions {
        NewPartitions::on_first_shard(count, self.first_uid())
    }

    fn first_uid(&self) -> PartitionUid {
        // Only looked at: it is given by applying the record, so that one which never becomes
        // durable gives nothing away.
        PartitionUid::new(self.next_uid)
    }
}

/// A topic to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewTopic<'a> {
    pub(crate) command: &'a CreateTopic,
    pub(crate) asked: Option<AskedOptions>,
    pub(crate) now: Timestamp,
    pub(crate) defaults: &'a TopicDefaults,
}

/// A topic to be changed.
#[derive(Clone, Debug)]
pub(crate) struct ChangedTopic<'a> {
    pub(crate) command: &'a UpdateTopic,
    pub(crate) asked: Option<AskedOptions>,
    pub(crate) defaults: &'a TopicDefaults,
}

impl ResolvedSettings {
    pub(super) fn new(
        name: TopicName,
        compression: Compression,
        replication_factor: u8,
        chosen: OptionChoices,
        server: &OptionChoices,
    ) -> Self {
        let EffectiveOptions { durability, deduplication, message_expiry, max_size, .. } =
            chosen.effective(server);
        // The four old options are written down resolved: a topic keeps what held when it was made, also under another
        // configuration.
        let (_, options) = chosen.split();
        Self {
            name,
            compression,
            message_expiry_us: message_expiry.us(),
            size_bytes_max: max_size.bytes(),
            // 0 is what clients send who leave it to the server.
            replication_factor: replication_factor.max(1),
            durability,
            deduplication,
            options,
        }
    }

    /// These settings with other rules of retention.
    pub(crate) fn kept_by(self, rules: RetentionRules, defaults: &TopicDefaults) -> Self {
        let chosen = kept_by(self.choices(), rules);
        self.choose(chosen, &defaults.options)
    }
}

/// `choices` with what a command sets by name.
fn with(choices: &OptionChoices, set: &[TopicOption]) -> Result<OptionChoices, ErrorCode> {
    choices.with(set).map_err(|_| ErrorCode::InvalidFormat)
}

/// `choices` with the rules of retention of a classic command, where zero means "as the server thinks best".
fn kept_by(choices: OptionChoices, rules: RetentionRules) -> OptionChoices {
    let (expiry_us, bytes) = (rules.message_expiry.get(), rules.max_topic_size.get());
    OptionChoices {
        message_expiry: (expiry_us > 0).then(|| Expiry::from_us(expiry_us)),
        max_size: (bytes > 0).then(|| SizeLimit::from_bytes(bytes)),
        ..choices
    }
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
