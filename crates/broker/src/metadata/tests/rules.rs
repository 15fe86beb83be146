//! The rules of single commands: errors, ids, defaults.

use galgo_wire::command::{
    AskedOptions, Compression, CreateTopic, Deduplication, Durability, MaxTopicSize, MessageExpiry,
    UpdateTopic,
};
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{ShardId, StreamId, Timestamp, TopicId};
use galgo_wire::identifier::Identifier;
use galgo_wire::options::OptionChoices;

use super::world::{DEFAULTS, number, stream_name, topic_name};
use crate::metadata::prepare::{ChangedTopic, NewTopic};
use crate::metadata::record::Record;
use crate::metadata::{ResolvedSettings, State, TopicPlace};

const NOW: Timestamp = Timestamp::new(5);
const STREAM: StreamId = StreamId::new(0);
const TOPIC: TopicId = TopicId::new(0);

fn create_stream(state: &mut State, name: u8) -> StreamId {
    let (id, record) = state.prepare_create_stream(&stream_name(name), NOW).unwrap();
    state.apply(&record).unwrap();
    id
}

fn new_topic(name: u8, partitions_count: u32) -> CreateTopic {
    CreateTopic {
        stream: number(0),
        partitions_count,
        compression: Compression::None,
        message_expiry: MessageExpiry::SERVER_DEFAULT,
        max_topic_size: MaxTopicSize::SERVER_DEFAULT,
        replication_factor: 0,
        name: topic_name(name),
    }
}

/// What the extension commands of these tests ask for; the server's default is neither.
fn asked(durability: Option<Durability>) -> AskedOptions {
    let deduplication = durability.map(|_| Deduplication::On);
    AskedOptions { durability, deduplication, options: Vec::new() }
}

fn prepare_topic(
    state: &State,
    command: &CreateTopic,
    durability: Option<Option<Durability>>,
) -> Result<(TopicId, Record), ErrorCode> {
    let request = NewTopic { command, asked: durability.map(asked), now: NOW, defaults: &DEFAULTS };
    state.prepare_create_topic(STREAM, &state.streams[&STREAM], request)
}

fn create_topic(state: &mut State, name: u8, partitions: u32) -> TopicId {
    let (id, record) = prepare_topic(state, &new_topic(name, partitions), None).unwrap();
    state.apply(&record).unwrap();
    id
}

fn update(command: &CreateTopic) -> UpdateTopic {
    UpdateTopic {
        stream: number(0),
        topic: number(0),
        compression: command.compression,
        message_expiry: command.message_expiry,
        max_topic_size: command.max_topic_size,
        replication_factor: command.replication_factor,
        name: command.name.clone(),
    }
}

fn prepare_update(
    state: &State,
    command: &UpdateTopic,
    durability: Option<Option<Durability>>,
) -> Result<Record, ErrorCode> {
    let request = ChangedTopic { command, asked: durability.map(asked), defaults: &DEFAULTS };
    state.prepare_update_topic(request)
}

fn settings(state: &State) -> ResolvedSettings {
    state.streams[&STREAM].topics[&TOPIC].settings.clone()
}

fn state_with_topic(partitions: u32) -> State {
    let mut state = State::default();
    create_stream(&mut state, 0);
    create_topic(&mut state, 0, partitions);
    state
}

#[test]
fn a_stream_name_is_given_once() {
    let mut state = State::default();
    let first = create_stream(&mut state, 0);
    let second = create_stream(&mut state, 1);
    let taken = Err(ErrorCode::StreamNameAlreadyExists);
    assert_eq!(state.prepare_create_stream(&stream_name(0), NOW), taken);
    assert_eq!(
        state.prepare_rename_stream(second, &stream_name(0)),
        Err(ErrorCode::StreamNameAlreadyExists)
    );
    assert!(state.prepare_rename_stream(first, &stream_name(0)).is_ok(), "its own name is free");

    let renamed = state.prepare_rename_stream(first, &stream_name(2)).unwrap();
    state.apply(&renamed).unwrap();
    assert_eq!(create_stream(&mut state, 0).get(), 2, "the old name is free again");
}

#[test]
fn a_topic_name_is_given_once_in_its_stream() {
    let mut state = state_with_topic(1);
    create_topic(&mut state, 1, 1);
    let taken = ErrorCode::TopicNameAlreadyExists;
    assert_eq!(prepare_topic(&state, &new_topic(0, 1), None).unwrap_err(), taken);
    assert_eq!(prepare_update(&state, &update(&new_topic(1, 1)), None).unwrap_err(), taken);
    assert!(prepare_update(&state, &update(&new_topic(0, 1)), None).is_ok());

    let other = create_stream(&mut state, 1);
    let stored = &state.streams[&other];
    let command = new_topic(0, 1);
    let request = NewTopic { command: &command, asked: None, now: NOW, defaults: &DEFAULTS };
    assert!(state.prepare_create_topic(other, stored, request).is_ok(), "another stream");
}

#[test]
fn the_lowest_free_id_is_given() {
    let mut state = State::default();
    for name in 0..4 {
        assert_eq!(create_stream(&mut state, name).get(), u32::from(name));
    }
    for id in [2, 0] {
        state.apply(&Record::DeleteStream { id: StreamId::new(id) }).unwrap();
    }
    assert_eq!(create_stream(&mut state, 10).get(), 0);
    assert_eq!(create_stream(&mut state, 11).get(), 2);
    assert_eq!(create_stream(&mut state, 12).get(), 4);

    for name in 0..3 {
        assert_eq!(create_topic(&mut state, name, 1).get(), u32::from(name));
    }
    state.apply(&Record::DeleteTopic { stream: STREAM, topic: TopicId::new(1) }).unwrap();
    assert_eq!(create_topic(&mut state, 9, 1).get(), 1);
    assert_eq!(create_topic(&mut state, 10, 1).get(), 3);
}

#[test]
fn an_explicit_size_below_one_segment_is_refused_on_creation_only() {
    let state = state_with_topic(1);
    let small = MaxTopicSize::new(DEFAULTS.segment_bytes - 1);
    let command = CreateTopic { max_topic_size: small, ..new_topic(1, 1) };
    assert_eq!(prepare_topic(&state, &command, None).unwrap_err(), ErrorCode::InvalidTopicSize);
    // Looked at before the name, as the protocol has it.
    let command = CreateTopic { max_topic_size: small, ..new_topic(0, 1) };
    assert_eq!(prepare_topic(&state, &command, None).unwrap_err(), ErrorCode::InvalidTopicSize);
    assert!(prepare_update(&state, &update(&command), None).is_ok());
    let one_segment = MaxTopicSize::new(DEFAULTS.segment_bytes);
    let command = CreateTopic { max_topic_size: one_segment, ..new_topic(1, 1) };
    assert!(prepare_topic(&state, &command, None).is_ok());
}

#[test]
fn zeros_become_the_defaults_on_creation_and_on_update() {
    let mut state = state_with_topic(1);
    let defaults = ResolvedSettings {
        name: topic_name(0),
        compression: Compression::None,
        message_expiry_us: 7_000_000,
        size_bytes_max: 1 << 40,
        replication_factor: 1,
        durability: Durability::Fsync,
        deduplication: Deduplication::Off,
        options: OptionChoices::default(),
    };
    assert_eq!(settings(&state), defaults);

    let explicit = CreateTopic {
        compression: Compression::Gzip,
        message_expiry: MessageExpiry::NEVER,
        max_topic_size: MaxTopicSize::new(1 << 30),
        replication_factor: 3,
        ..new_topic(5, 0)
    };
    let record = prepare_update(&state, &update(&explicit), Some(Some(Durability::Os))).unwrap();
    state.apply(&record).unwrap();
    let expected = ResolvedSettings {
        name: topic_name(5),
        compression: Compression::Gzip,
        message_expiry_us: u64::MAX,
        size_bytes_max: 1 << 30,
        replication_factor: 3,
        durability: Durability::Os,
        deduplication: Deduplication::On,
        options: OptionChoices::default(),
    };
    assert_eq!(settings(&state), expected);

    let zeros = update(&new_topic(0, 0));
    let record = prepare_update(&state, &zeros, Some(None)).unwrap();
    state.apply(&record).unwrap();
    assert_eq!(settings(&state), defaults);
}

#[test]
fn a_classic_update_keeps_durability_and_deduplication() {
    let mut state = State::default();
    create_stream(&mut state, 0);
    let (_, record) = prepare_topic(&state, &new_topic(0, 1), Some(Some(Durability::Os))).unwrap();
    state.apply(&record).unwrap();
    let record = prepare_update(&state, &update(&new_topic(1, 1)), None).unwrap();
    state.apply(&record).unwrap();
    assert_eq!(settings(&state).durability, Durability::Os);
    assert_eq!(settings(&state).deduplication, Deduplication::On);
}

#[test]
fn a_topic_starts_with_0_to_1000_partitions() {
    let state = state_with_topic(0);
    assert!(state.streams[&STREAM].topics[&TOPIC].partitions.is_empty());
    let refused = prepare_topic(&state, &new_topic(1, 1001), None).unwrap_err();
    assert_eq!(refused, ErrorCode::TooManyPartitions);
    let mut state = state;
    create_topic(&mut state, 1, 1000);
    assert_eq!(state.live_uids().len(), 1000);
}

#[test]
fn partitions_are_added_1_to_1000_at_a_time() {
    let state = state_with_topic(1);
    let add = |count| state.prepare_add_partitions(TopicPlace::new(STREAM, TOPIC), count, NOW);
    assert_eq!(add(0), Err(ErrorCode::TooManyPartitions));
    assert_eq!(add(1001), Err(ErrorCode::TooManyPartitions));
    assert!(add(1).is_ok());
    assert!(add(1000).is_ok());
}

#[test]
fn partitions_are_removed_from_the_highest_id_down_to_none() {
    let mut state = state_with_topic(3);
    let before: Vec<_> = state.live_uids().into_iter().collect();
    let remove = |state: &State, count| {
        state.prepare_remove_partitions(TopicPlace::new(STREAM, TOPIC), count)
    };
    assert_eq!(remove(&state, 0), Err(ErrorCode::TooManyPartitions));
    assert_eq!(remove(&state, 4), Err(ErrorCode::InvalidPartitionsCount));
    assert_eq!(remove(&state, u32::MAX), Err(ErrorCode::InvalidPartitionsCount));
    state.apply(&remove(&state, 2).unwrap()).unwrap();
    assert_eq!(state.live_uids().into_iter().collect::<Vec<_>>(), before[..1]);
    assert_eq!(state.removals.iter().copied().collect::<Vec<_>>(), before[1..]);
    state.apply(&remove(&state, 1).unwrap()).unwrap();
    assert!(state.live_uids().is_empty());
}

#[test]
fn a_purge_gives_every_partition_of_the_stream_a_new_log_in_one_record() {
    let mut state = state_with_topic(3);
    create_topic(&mut state, 1, 2);
    let before = state.live_uids();
    let record = state.prepare_purge(STREAM, vec![TOPIC, TopicId::new(1)]);
    state.apply(&record).unwrap();
    assert_eq!(state.removals, before);
    assert!(state.live_uids().is_disjoint(&before));
    assert_eq!(state.live_uids().len(), 5);
}

#[test]
fn uids_are_not_given_again_after_their_files_are_gone() {
    let mut state = state_with_topic(2);
    let mut ever = state.live_uids();
    for round in 0..3 {
        match round {
            0 => state.apply(&state.prepare_purge(STREAM, vec![TOPIC])).unwrap(),
            1 => state.apply(&Record::DeleteTopic { stream: STREAM, topic: TOPIC }).unwrap(),
            _ => state.apply(&Record::DeleteStream { id: STREAM }).unwrap(),
        };
        let uids = state.removals.iter().copied().collect();
        state.apply(&Record::FilesRemoved { uids }).unwrap();
        assert!(state.removals.is_empty());
        // A restart in between forgets nothing that matters.
        state = State::from_snapshot(&state.to_snapshot()).unwrap();
        if state.streams.is_empty() {
            create_stream(&mut state, 0);
        }
        if state.streams[&STREAM].topics.is_empty() {
            create_topic(&mut state, 0, 2);
        }
        let live = state.live_uids();
        assert!(live.is_disjoint(&ever), "INV-META-UID in round {round}");
        ever.extend(live);
    }
}

#[test]
fn names_are_matched_exactly_and_digits_are_names_too() {
    let mut state = State::default();
    for name in ["7", "A", "a", " a", "ä/b"] {
        let name = galgo_wire::name::StreamName::parse(name).unwrap();
        let (_, record) = state.prepare_create_stream(&name, NOW).unwrap();
        state.apply(&record).unwrap();
    }
    let find = |name: &str| state.existing_stream(&Identifier::named(name).unwrap());
    assert_eq!(find("7").map(StreamId::get), Ok(0));
    assert_eq!(find("a").map(StreamId::get), Ok(2));
    assert_eq!(find("ä/b").map(StreamId::get), Ok(4));
    assert_eq!(find("a "), Err(ErrorCode::StreamIdNotFound));
    assert_eq!(state.existing_stream(&number(7)), Err(ErrorCode::StreamIdNotFound));
    let missing = state.existing_topic(&number(0), &number(0));
    assert_eq!(missing, Err(ErrorCode::TopicIdNotFound));
    let missing = state.existing_topic(&number(9), &number(0));
    assert_eq!(missing, Err(ErrorCode::StreamIdNotFound));
}

/// A partition's shard is on record from its making on, survives a purge, and costs nothing where it is the first.
#[test]
fn partitions_are_on_the_shard_that_their_record_names() {
    let mut state = state_with_topic(1);
    let mut record = state.prepare_add_partitions(TopicPlace::new(STREAM, TOPIC), 2, NOW).unwrap();
    assert_eq!(record.to_bytes()[1], 1, "the first shard goes without saying");
    record.partitions_mut().unwrap().shards = vec![ShardId::new(7), ShardId::FIRST];
    let bytes = record.to_bytes();
    let golden = [
        &[8, 3][..],
        &[0; 8],
        &2_u32.to_le_bytes(),
        &1_u64.to_le_bytes(),
        &5_u64.to_le_bytes(),
        &2_u32.to_le_bytes(),
        &7_u32.to_le_bytes(),
        &0_u32.to_le_bytes(),
    ];
    assert_eq!(bytes, golden.concat());
    state.apply(&Record::from_bytes(&bytes).unwrap()).unwrap();
    let shards = |state: &State| -> Vec<u32> {
        let partitions = state.streams[&STREAM].topics[&TOPIC].partitions.iter();
        partitions.map(|partition| partition.shard.get()).collect()
    };
    assert_eq!(shards(&state), [0, 7, 0]);
    state.apply(&state.clone().prepare_purge(STREAM, vec![TOPIC])).unwrap();
    assert_eq!(shards(&state), [0, 7, 0]);
    let restored = State::from_snapshot(&state.to_snapshot()).unwrap();
    assert_eq!(shards(&restored), [0, 7, 0]);
    assert_eq!(restored.shards(), [0, 7].map(ShardId::new).into());
    // One shard too few, or too many, is no record.
    let fewer = [&bytes[..bytes.len() - 12], &[1, 0, 0, 0, 7, 0, 0, 0]].concat();
    assert!(Record::from_bytes(&fewer).is_err());
}
