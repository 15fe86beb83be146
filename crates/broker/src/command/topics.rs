//! Topics and partitions: get, list, create, update, delete, purge, add and remove partitions.

use galgo_wire::command::{
    AskedOptions, Command as _, ConfigureTopic, CreatePartitions, CreateTopic, CreateTopicWith,
    DeletePartitions, DeleteTopic, GetTopic, GetTopicConfig, GetTopicOutline, GetTopicSettings,
    GetTopics, MaxTopicSize, MessageExpiry, Partition, PurgeTopic, Topic, TopicConfig,
    TopicDetails, TopicOutline, TopicSettings, UpdateTopic, UpdateTopicWith,
};
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::PartitionId;
use galgo_wire::index::to_u32;
use galgo_wire::permission::Action;

use super::{authorize_existing, change, payload};
use crate::broker::Broker;
use crate::catalog::Catalog;
use crate::metadata;
use crate::metadata::TopicPlace;
use crate::metadata::prepare::{ChangedTopic, NewTopic};
use crate::metadata::record::Record;
use crate::outcome::{Outcome, Reply};
use crate::session::Session;

/// The topic with its partitions; empty when it is missing.
pub(super) fn get(broker: &Broker, session: &Session, command: &GetTopic) -> Outcome {
    let answer = || {
        if !authorize_existing(broker, session, command)? {
            return Ok(Reply::Empty);
        }
        let catalog = broker.catalog();
        let found = catalog.find_topic(command.stream.borrowed(), command.topic.borrowed()).ok();
        let details = found.map(|f| topic_details(&catalog, f.place, f.topic));
        Ok(payload(&details))
    };
    answer().into()
}

/// All topics of a stream, ordered by id; empty when the stream is missing.
pub(super) fn list(broker: &Broker, session: &Session, command: &GetTopics) -> Outcome {
    let answer = || {
        if !authorize_existing(broker, session, command)? {
            return Ok(Reply::Empty);
        }
        let catalog = broker.catalog();
        let Ok((id, stream)) = catalog.find_stream(command.stream.borrowed()) else {
            return Ok(Reply::Empty);
        };
        let topics = stream.topics.iter();
        let topics: Vec<Topic> = topics
            .map(|(topic, t)| topic_details(&catalog, TopicPlace::new(id, *topic), t).topic)
            .collect();
        Ok(payload(&topics))
    };
    answer().into()
}

/// Creates a topic; the answer is the topic.
pub(super) fn create(
    broker: &Broker,
    session: &Session,
    command: CreateTopic,
    asked: Option<AskedOptions>,
) -> Outcome {
    change(broker, session, command, move |broker, command| {
        let now = broker.clock.now();
        let place = broker.change(|state| {
            // Looked up under the lock of the change, not when the command came: the name may mean another stream by now.
            let stream = state.existing_stream(&command.stream)?;
            let stored = state.streams.get(&stream).ok_or(ErrorCode::StreamIdNotFound)?;
            let defaults = &broker.defaults;
            let request = NewTopic { command, asked: asked.clone(), now, defaults };
            let (topic, record) = state.prepare_create_topic(stream, stored, request)?;
            Ok((TopicPlace { stream, topic }, record))
        })?;
        let catalog = broker.catalog();
        // Somebody may have deleted it since.
        let created = catalog.state.topic_at(place).ok();
        Ok(payload(&created.map(|stored| topic_details(&catalog, place, stored))))
    })
}

/// Creates a topic with settings classic clients do not know.
pub(super) fn create_with(broker: &Broker, session: &Session, command: CreateTopicWith) -> Outcome {
    create(broker, session, command.topic, Some(command.asked))
}

/// Replaces all settings of a topic.
pub(super) fn update(
    broker: &Broker,
    session: &Session,
    command: UpdateTopic,
    asked: Option<AskedOptions>,
) -> Outcome {
    change(broker, session, command, move |broker, command| {
        broker.change(|state| {
            let defaults = &broker.defaults;
            let request = ChangedTopic { command, asked: asked.clone(), defaults };
            Ok(((), state.prepare_update_topic(request)?))
        })?;
        Ok(Reply::Empty)
    })
}

/// Replaces all settings of a topic, those classic clients do not know included.
pub(super) fn update_with(broker: &Broker, session: &Session, command: UpdateTopicWith) -> Outcome {
    update(broker, session, command.topic, Some(command.asked))
}

/// Sets options of a topic by name.
pub(super) fn configure(broker: &Broker, session: &Session, command: ConfigureTopic) -> Outcome {
    change(broker, session, command, |broker, command| {
        broker
            .change(|state| Ok(((), state.prepare_configure_topic(command, &broker.defaults)?)))?;
        Ok(Reply::Empty)
    })
}

/// All options of a topic by name.
pub(super) fn config(broker: &Broker, session: &Session, command: &GetTopicConfig) -> Outcome {
    let answer = || {
        let catalog = broker.catalog();
        let found = catalog.topic_of_right(session.caller().ok(), &command.right())?;
        let chosen = found.topic.settings.choices();
        Ok(payload(&TopicConfig { options: chosen.resolved(&broker.defaults.options) }))
    };
    answer().into()
}

/// Settings the classic protocol has no field for; empty when the topic is missing.
pub(super) fn settings(broker: &Broker, session: &Session, command: &GetTopicSettings) -> Outcome {
    let answer = || {
        if !authorize_existing(broker, session, command)? {
            return Ok(Reply::Empty);
        }
        let catalog = broker.catalog();
        let found = catalog.find_topic(command.stream.borrowed(), command.topic.borrowed()).ok();
        Ok(payload(&found.map(|found| told(broker, found.topic))))
    };
    answer().into()
}

fn told(broker: &Broker, topic: &metadata::TopicMetadata) -> TopicSettings {
    TopicSettings {
        durability: Some(topic.settings.durability),
        deduplication: Some(topic.settings.deduplication),
        window: broker.deduplication.told(),
    }
}

/// What a sender or a reader has to know of a topic; empty when it is missing.
pub(super) fn outline(broker: &Broker, session: &Session, command: &GetTopicOutline) -> Outcome {
    let answer = || {
        if !authorize_existing(broker, session, command)? {
            return Ok(Reply::Empty);
        }
        let catalog = broker.catalog();
        let found = catalog.find_topic(command.stream.borrowed(), command.topic.borrowed()).ok();
        let reply = found.map(|found| {
            let place = found.place;
            let TopicDetails { topic, partitions } = topic_details(&catalog, place, found.topic);
            // How much is in it, and how fast that grows, is the business of those who may read it.
            let polls = catalog.may(session, Action::PollMessages, place.scope());
            let settings = told(broker, found.topic);
            let partitions = if polls { partitions } else { Vec::new() };
            TopicOutline { partitions_count: topic.partitions_count, settings, partitions }
        });
        Ok(payload(&reply))
    };
    answer().into()
}

/// Deletes a topic with everything in it.
pub(super) fn delete(broker: &Broker, session: &Session, command: DeleteTopic) -> Outcome {
    change(broker, session, command, move |broker, command| {
        broker.change(|state| {
            // Under the lock of the change, here and below: by the time it is its turn the name may
            // be another topic's.
            let TopicPlace { stream, topic } =
                state.existing_topic(&command.stream, &command.topic)?;
            Ok(((), Record::DeleteTopic { stream, topic }))
        })?;
        Ok(Reply::Empty)
    })
}

/// Removes all messages and offsets of a topic; the next offset is 0.
pub(super) fn purge(broker: &Broker, session: &Session, command: PurgeTopic) -> Outcome {
    change(broker, session, command, move |broker, command| {
        broker.change(|state| {
            // Under the lock of the change: the uids are those that are free at this moment
            // (INV-META-UID).
            let place = state.existing_topic(&command.stream, &command.topic)?;
            Ok(((), state.prepare_purge(place.stream, vec![place.topic])))
        })?;
        Ok(Reply::Empty)
    })
}

/// Adds partitions behind the highest id.
pub(super) fn add_partitions(
    broker: &Broker,
    session: &Session,
    command: CreatePartitions,
) -> Outcome {
    change(broker, session, command, move |broker, command| {
        let now = broker.clock.now();
        broker.change(|state| {
            let place = state.existing_topic(&command.stream, &command.topic)?;
            Ok(((), state.prepare_add_partitions(place, command.partitions_count, now)?))
        })?;
        Ok(Reply::Empty)
    })
}

/// Removes the partitions with the highest ids, and their messages.
pub(super) fn remove_partitions(
    broker: &Broker,
    session: &Session,
    command: DeletePartitions,
) -> Outcome {
    change(broker, session, command, move |broker, command| {
        broker.change(|state| {
            let place = state.existing_topic(&command.stream, &command.topic)?;
            Ok(((), state.prepare_remove_partitions(place, command.partitions_count)?))
        })?;
        Ok(Reply::Empty)
    })
}

pub(super) fn topic_details(
    catalog: &Catalog,
    place: TopicPlace,
    topic: &metadata::TopicMetadata,
) -> TopicDetails {
    let open = catalog.open_topic(place.stream, place.topic);
    assert!(
        open.partitions.len() == topic.partitions.len(),
        "INV-CATALOG: the open partitions are those of the metadata"
    );
    let partitions: Vec<Partition> = (0u32..)
        .zip(open.partitions.iter().zip(&topic.partitions))
        .map(|(number, (open, stored))| {
            let stats = open.stats();
            Partition {
                id: PartitionId::new(number),
                created_at: stored.created_at,
                segments_count: stats.segments,
                current_offset: stats.current_offset,
                size: stats.bytes,
                messages_count: stats.messages,
            }
        })
        .collect();
    let settings = &topic.settings;
    let topic = Topic {
        id: place.topic,
        created_at: topic.created_at,
        partitions_count: to_u32(partitions.len()),
        message_expiry: MessageExpiry::new(settings.message_expiry_us),
        compression: settings.compression,
        max_topic_size: MaxTopicSize::new(settings.size_bytes_max),
        replication_factor: settings.replication_factor,
        size: partitions.iter().map(|partition| partition.size).sum(),
        messages_count: partitions.iter().map(|partition| partition.messages_count).sum(),
        name: settings.name.clone(),
    };
    TopicDetails { topic, partitions }
}
