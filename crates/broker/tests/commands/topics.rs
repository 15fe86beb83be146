//! Topics: get, list, create, update, delete, and the settings only Galgo knows.

use galgo_wire::ErrorCode;
use galgo_wire::command::AskedOptions;
use galgo_wire::command::{
    CommandCode, Compression, CreateTopic, Deduplication, Durability, FeatureFlags, GetFeatures,
    GetStreams, MaxTopicSize, MessageExpiry, Partition, Payload, Topic, UpdateTopic,
    UpdateTopicWith,
};
use galgo_wire::id::{Offset, PartitionId, Timestamp, TopicId};
use galgo_wire::name::TopicName;

use crate::requests::{
    chosen, create_stream, create_topic, create_topic_with, delete_topic, get_stream, get_topic,
    get_topics, purge_topic, rechosen, to, topic_settings, update_topic,
};
use crate::rig::{Connection, EXPIRY_DEFAULT_US, Rig, SEGMENT_BYTES, SIZE_DEFAULT_BYTES, START_US};

/// A broker with the stream `s`, and root.
fn with_stream() -> (Rig, Connection) {
    let rig = Rig::new();
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    (rig, root)
}

#[test]
fn a_created_topic_is_the_reply_with_the_defaults_filled_in() {
    let (rig, mut root) = with_stream();
    rig.environment.advance_us(3);
    let created = root.call(&create_topic("s", "t", 2)).unwrap();
    let created_at = Timestamp::new(START_US + 3);
    let topic = Topic {
        id: TopicId::new(0),
        created_at,
        partitions_count: 2,
        message_expiry: MessageExpiry::new(EXPIRY_DEFAULT_US),
        compression: Compression::None,
        max_topic_size: MaxTopicSize::new(SIZE_DEFAULT_BYTES),
        replication_factor: 1,
        size: 0,
        messages_count: 0,
        name: TopicName::parse("t").unwrap(),
    };
    let partition = |id| Partition {
        id: PartitionId::new(id),
        created_at,
        segments_count: 1,
        current_offset: Offset::ZERO,
        size: 0,
        messages_count: 0,
    };
    assert_eq!(created.topic, topic);
    assert_eq!(created.partitions, [partition(0), partition(1)]);
    for name in ["t", "0"] {
        assert_eq!(root.call(&get_topic("s", name)).unwrap().as_ref(), Some(&created));
        assert_eq!(root.call(&get_topic("0", name)).unwrap().as_ref(), Some(&created));
    }
    let topics = [topic];
    assert_eq!(root.call(&get_topics("s")).unwrap(), topics);
    assert_eq!(root.call(&get_stream("s")).unwrap().unwrap().topics, topics);
    assert_eq!(root.call(&GetStreams {}).unwrap()[0].topics_count, 1);
}

#[test]
fn explicit_settings_are_kept() {
    let (_rig, mut root) = with_stream();
    let command = CreateTopic {
        compression: Compression::Gzip,
        message_expiry: MessageExpiry::NEVER,
        max_topic_size: MaxTopicSize::new(SEGMENT_BYTES),
        replication_factor: 3,
        ..create_topic("s", "t", 0)
    };
    let topic = root.call(&command).unwrap().topic;
    assert_eq!(topic.compression, command.compression);
    assert_eq!(topic.message_expiry, command.message_expiry);
    assert_eq!(topic.max_topic_size, command.max_topic_size);
    assert_eq!((topic.replication_factor, topic.partitions_count), (3, 0));
}

#[test]
fn a_missing_topic_is_empty_to_read_and_2010_to_change() {
    let (_rig, mut root) = with_stream();
    for topic in ["none", "0"] {
        assert_eq!(root.call(&get_topic("s", topic)), Ok(None));
        assert_eq!(root.call(&topic_settings("s", topic)), Ok(None));
        let missing = Err(ErrorCode::TopicIdNotFound);
        assert_eq!(root.call(&update_topic("s", topic, "x")), missing);
        assert_eq!(root.call(&delete_topic("s", topic)), missing);
        assert_eq!(root.call(&purge_topic("s", topic)), missing);
    }
    assert_eq!(root.call(&get_topics("s")), Ok(Vec::new()));
}

#[test]
fn in_a_missing_stream_topics_are_empty_to_read_and_1009_to_change() {
    let (_rig, mut root) = with_stream();
    assert_eq!(root.call(&get_topic("none", "t")), Ok(None));
    assert_eq!(root.call(&get_topics("none")), Ok(Vec::new()));
    assert_eq!(root.call(&topic_settings("none", "t")), Ok(None));
    let missing = ErrorCode::StreamIdNotFound;
    assert_eq!(root.call(&create_topic("none", "t", 1)).unwrap_err(), missing);
    assert_eq!(root.call(&update_topic("none", "t", "x")), Err(missing));
    assert_eq!(root.call(&delete_topic("none", "t")), Err(missing));
    assert_eq!(root.call(&purge_topic("none", "t")), Err(missing));
}

#[test]
fn a_topic_is_refused_for_its_size_its_name_or_its_partitions() {
    let (_rig, mut root) = with_stream();
    root.call(&create_topic("s", "t", 1)).unwrap();
    let small = MaxTopicSize::new(SEGMENT_BYTES - 1);
    let command = CreateTopic { max_topic_size: small, ..create_topic("s", "u", 1) };
    assert_eq!(root.call(&command).unwrap_err(), ErrorCode::InvalidTopicSize);
    let taken = root.call(&create_topic("s", "t", 1)).unwrap_err();
    assert_eq!(taken, ErrorCode::TopicNameAlreadyExists);
    let too_many = root.call(&create_topic("s", "u", 1001)).unwrap_err();
    assert_eq!(too_many, ErrorCode::TooManyPartitions);
    let too_many = root.call(&create_topic("s", "u", u32::MAX)).unwrap_err();
    assert_eq!(too_many, ErrorCode::TooManyPartitions);

    let mut bytes = create_topic("s", "u", 1).to_bytes();
    let compression = bytes.len() - 2 - 1 - 8 - 8 - 1;
    assert_eq!(bytes[compression], 1);
    bytes[compression] = 3;
    let unknown = root.call_bytes(CommandCode::CreateTopic, &bytes);
    assert_eq!(unknown, Err(ErrorCode::InvalidCommand));
    assert_eq!(root.call(&get_topics("s")).unwrap().len(), 1);
    assert_eq!(root.call(&create_topic("s", "u", 1000)).unwrap().partitions.len(), 1000);
}

#[test]
fn an_update_replaces_every_setting_and_touches_no_message() {
    let (rig, mut root) = with_stream();
    let created = root.call(&create_topic("s", "t", 2)).unwrap();
    root.send("t", to(1), &["kept"]).unwrap();
    rig.environment.advance_us(1_000);
    let command = UpdateTopic {
        compression: Compression::Gzip,
        message_expiry: MessageExpiry::new(77),
        max_topic_size: MaxTopicSize::UNLIMITED,
        replication_factor: 2,
        ..update_topic("s", "t", "renamed")
    };
    root.call(&command).unwrap();
    let topic = root.call(&get_topic("s", "renamed")).unwrap().unwrap().topic;
    let expected = Topic {
        compression: Compression::Gzip,
        message_expiry: MessageExpiry::new(77),
        max_topic_size: MaxTopicSize::UNLIMITED,
        replication_factor: 2,
        name: TopicName::parse("renamed").unwrap(),
        size: 68,
        messages_count: 1,
        ..created.topic
    };
    assert_eq!(topic, expected);
    assert_eq!(root.call(&get_topic("s", "t")), Ok(None));

    // Zeros are resolved here too, and an explicit size is not checked, as classic servers do.
    root.call(&update_topic("s", "0", "renamed")).unwrap();
    let topic = root.call(&get_topic("s", "0")).unwrap().unwrap().topic;
    assert_eq!(topic.message_expiry.get(), EXPIRY_DEFAULT_US);
    assert_eq!(topic.max_topic_size.get(), SIZE_DEFAULT_BYTES);
    assert_eq!((topic.replication_factor, topic.compression), (1, Compression::None));
    let small = UpdateTopic { max_topic_size: MaxTopicSize::new(1), ..command };
    assert_eq!(root.call(&UpdateTopic { topic: 0.into(), ..small }), Ok(()));
}

#[test]
fn an_update_may_not_take_the_name_of_another_topic_of_the_stream() {
    let (_rig, mut root) = with_stream();
    root.call(&create_stream("other")).unwrap();
    root.call(&create_topic("s", "t", 1)).unwrap();
    root.call(&create_topic("s", "u", 1)).unwrap();
    root.call(&create_topic("other", "v", 1)).unwrap();
    let taken = Err(ErrorCode::TopicNameAlreadyExists);
    assert_eq!(root.call(&update_topic("s", "t", "u")), taken);
    assert_eq!(root.call(&update_topic("s", "t", "t")), Ok(()));
    assert_eq!(root.call(&update_topic("s", "t", "v")), Ok(()));
    let names: Vec<_> =
        root.call(&get_topics("s")).unwrap().iter().map(|t| t.name.to_string()).collect();
    assert_eq!(names, ["v", "u"], "ordered by id");
}

#[test]
fn a_topic_keeps_its_durability_until_it_is_told_another() {
    let (_rig, mut root) = with_stream();
    let durability = |root: &mut Connection, topic: &str| {
        root.call(&topic_settings("s", topic)).unwrap().unwrap().durability.unwrap()
    };
    root.call(&create_topic("s", "classic", 1)).unwrap();
    assert_eq!(durability(&mut root, "classic"), Durability::Fsync);
    for asked in [Durability::Os, Durability::Fsync] {
        root.call(&create_topic_with(asked.word(), 1, asked)).unwrap();
        assert_eq!(durability(&mut root, asked.word()), asked);
    }
    let created = root.call(&create_topic_with("unsaid", 1, None)).unwrap();
    assert_eq!(created.topic.name.as_str(), "unsaid");
    assert_eq!(durability(&mut root, "unsaid"), Durability::Fsync);

    root.call(&update_topic("s", "os", "renamed")).unwrap();
    assert_eq!(durability(&mut root, "renamed"), Durability::Os, "not a classic setting");
    let mut update = |asked| {
        let topic = update_topic("s", "renamed", "renamed");
        root.call(&UpdateTopicWith {
            topic,
            asked: AskedOptions { durability: asked, ..AskedOptions::default() },
        })
        .unwrap();
        durability(&mut root, "renamed")
    };
    assert_eq!(update(Some(Durability::Fsync)), Durability::Fsync);
    assert_eq!(update(Some(Durability::Os)), Durability::Os);
    assert_eq!(update(None), Durability::Fsync);
}

#[test]
fn commands_with_a_durability_fail_like_the_classic_ones() {
    let (_rig, mut root) = with_stream();
    root.call(&create_topic("s", "t", 1)).unwrap();
    root.call(&create_topic("s", "u", 1)).unwrap();
    let create = |topic| chosen(topic, Durability::Os, Deduplication::On);
    let update = |topic| rechosen(topic, Durability::Os, Deduplication::On);
    let error = root.call(&create(create_topic("s", "t", 1))).unwrap_err();
    assert_eq!(error, ErrorCode::TopicNameAlreadyExists);
    let error = root.call(&create(create_topic("none", "t", 1))).unwrap_err();
    assert_eq!(error, ErrorCode::StreamIdNotFound);
    let error = root.call(&update(update_topic("s", "t", "u"))).unwrap_err();
    assert_eq!(error, ErrorCode::TopicNameAlreadyExists);
    let error = root.call(&update(update_topic("s", "none", "x"))).unwrap_err();
    assert_eq!(error, ErrorCode::TopicIdNotFound);
    let mut bytes = create(create_topic("s", "v", 1)).to_bytes();
    *bytes.last_mut().unwrap() = 3;
    let unknown = root.call_bytes(CommandCode::CreateTopicWith, &bytes);
    assert_eq!(unknown, Err(ErrorCode::InvalidCommand));
}

#[test]
fn features_name_the_server_and_what_it_has_beyond_the_classic_protocol() {
    let rig = Rig::new();
    let features = rig.root().call(&GetFeatures {}).unwrap();
    assert!(features.flags.contains(FeatureFlags::TOPIC_DURABILITY));
    assert!(features.flags.contains(FeatureFlags::PIPELINING));
    assert_eq!(features.server_name, "galgo");
    assert_eq!(features.server_version, env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_lowest_free_topic_id_is_given_again() {
    let (_rig, mut root) = with_stream();
    for name in ["a", "b", "c"] {
        root.call(&create_topic("s", name, 1)).unwrap();
    }
    root.call(&delete_topic("s", "a")).unwrap();
    root.call(&delete_topic("s", "1")).unwrap();
    for (name, id) in [("d", 0), ("e", 1), ("f", 3)] {
        let created = root.call(&create_topic("s", name, 1)).unwrap();
        assert_eq!(created.topic.id, TopicId::new(id));
    }
}
