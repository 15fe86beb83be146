//! Requests in few words, and replies in the terms of the tests.

use galgo_wire::batch::{BatchBuilder, NewMessage};
use galgo_wire::command::*;
use galgo_wire::consumer::ConsumerIdentity;
use galgo_wire::name::{
    GroupName, Name, Password, Secret, StreamName, TokenName, TokenText, TopicName, Username,
};
use galgo_wire::{
    ClientId, Identifier, Life, Offset, PartitionId, PartitioningRef, PollingStrategy, Timestamp,
};

/// What everybody's password is.
pub const PASSWORD: &str = "secret";

/// The partition with this number.
pub const fn to(partition: u32) -> PartitioningRef<'static> {
    PartitioningRef::PartitionId(PartitionId::new(partition))
}

/// As the SDK reads it: digits are a number, everything else a name.
pub fn id(text: &str) -> Identifier {
    text.parse().unwrap()
}

pub fn create_stream(name: &str) -> CreateStream {
    CreateStream { name: StreamName::parse(name).unwrap() }
}

pub fn update_stream(stream: &str, name: &str) -> UpdateStream {
    UpdateStream { stream: id(stream), name: StreamName::parse(name).unwrap() }
}

/// Everything but name and partitions is left to the server.
pub fn create_topic(stream: &str, name: &str, partitions_count: u32) -> CreateTopic {
    CreateTopic {
        stream: id(stream),
        partitions_count,
        compression: Compression::None,
        message_expiry: MessageExpiry::SERVER_DEFAULT,
        max_topic_size: MaxTopicSize::SERVER_DEFAULT,
        replication_factor: 0,
        name: TopicName::parse(name).unwrap(),
    }
}

/// Creates a topic with both settings chosen.
pub fn chosen(
    topic: CreateTopic,
    durability: Durability,
    deduplication: Deduplication,
) -> CreateTopicWith {
    CreateTopicWith { topic, asked: both(durability, deduplication) }
}

/// Updates a topic with both settings chosen.
pub fn rechosen(
    topic: UpdateTopic,
    durability: Durability,
    deduplication: Deduplication,
) -> UpdateTopicWith {
    UpdateTopicWith { topic, asked: both(durability, deduplication) }
}

fn both(durability: Durability, deduplication: Deduplication) -> AskedOptions {
    let (durability, deduplication) = (Some(durability), Some(deduplication));
    AskedOptions { durability, deduplication, options: Vec::new() }
}

pub fn create_topic_with(
    name: &str,
    partitions: u32,
    asked: impl Into<Option<Durability>>,
) -> CreateTopicWith {
    let topic = create_topic("s", name, partitions);
    let durability = asked.into();
    CreateTopicWith { topic, asked: AskedOptions { durability, ..AskedOptions::default() } }
}

pub fn update_topic(stream: &str, topic: &str, name: &str) -> UpdateTopic {
    UpdateTopic {
        stream: id(stream),
        topic: id(topic),
        compression: Compression::None,
        message_expiry: MessageExpiry::SERVER_DEFAULT,
        max_topic_size: MaxTopicSize::SERVER_DEFAULT,
        replication_factor: 0,
        name: TopicName::parse(name).unwrap(),
    }
}

pub fn get_stream(stream: &str) -> GetStream {
    GetStream { stream: id(stream) }
}

pub fn delete_stream(stream: &str) -> DeleteStream {
    DeleteStream { stream: id(stream) }
}

pub fn purge_stream(stream: &str) -> PurgeStream {
    PurgeStream { stream: id(stream) }
}

pub fn get_topic(stream: &str, topic: &str) -> GetTopic {
    GetTopic { stream: id(stream), topic: id(topic) }
}

pub fn get_topics(stream: &str) -> GetTopics {
    GetTopics { stream: id(stream) }
}

pub fn delete_topic(stream: &str, topic: &str) -> DeleteTopic {
    DeleteTopic { stream: id(stream), topic: id(topic) }
}

pub fn purge_topic(stream: &str, topic: &str) -> PurgeTopic {
    PurgeTopic { stream: id(stream), topic: id(topic) }
}

pub fn topic_settings(stream: &str, topic: &str) -> GetTopicSettings {
    GetTopicSettings { stream: id(stream), topic: id(topic) }
}

pub fn plan_retention(stream: &str, topic: &str) -> PlanRetention {
    PlanRetention { stream: id(stream), topic: id(topic), rules: None }
}

/// The oldest segments of a partition of a topic of stream `s`.
pub fn rescue_partition(topic: &str, partition: u32) -> RescuePartition {
    RescuePartition { stream: id("s"), topic: id(topic), partition_id: PartitionId::new(partition) }
}

pub fn delete_segments(topic: &str, partition: u32, segments_count: u32) -> DeleteSegments {
    let partition_id = PartitionId::new(partition);
    DeleteSegments { stream: id("s"), topic: id(topic), partition_id, segments_count }
}

pub fn create_partitions(stream: &str, topic: &str, count: u32) -> CreatePartitions {
    CreatePartitions { stream: id(stream), topic: id(topic), partitions_count: count }
}

pub fn delete_partitions(stream: &str, topic: &str, count: u32) -> DeletePartitions {
    DeletePartitions { stream: id(stream), topic: id(topic), partitions_count: count }
}

/// Consumer `reader` asks a partition of a topic of stream `s`; nothing is committed.
pub fn poll(topic: &str, partition: u32, strategy: PollingStrategy) -> PollMessages {
    PollMessages {
        consumer: consumer("reader"),
        stream: id("s"),
        topic: id(topic),
        partition_id: Some(PartitionId::new(partition)),
        strategy,
        count: 1_000,
        auto_commit: false,
    }
}

pub fn at(offset: u64) -> PollingStrategy {
    PollingStrategy::Offset(Offset::new(offset))
}

pub fn since(timestamp_us: u64) -> PollingStrategy {
    PollingStrategy::Timestamp(Timestamp::new(timestamp_us))
}

pub fn flush(topic: &str, partition: u32, fsync: bool) -> FlushUnsavedBuffer {
    FlushUnsavedBuffer {
        stream: id("s"),
        topic: id(topic),
        partition_id: PartitionId::new(partition),
        fsync,
    }
}

pub fn consumer(name: &str) -> ConsumerIdentity {
    ConsumerIdentity::new(id(name))
}

pub fn get_offset(name: &str, topic: &str, partition: u32) -> GetConsumerOffset {
    GetConsumerOffset {
        consumer: consumer(name),
        stream: id("s"),
        topic: id(topic),
        partition_id: Some(PartitionId::new(partition)),
    }
}

pub fn store_offset(
    name: &str,
    topic: &str,
    (partition, offset): (u32, u64),
) -> StoreConsumerOffset {
    StoreConsumerOffset {
        consumer: consumer(name),
        stream: id("s"),
        topic: id(topic),
        partition_id: Some(PartitionId::new(partition)),
        offset: Offset::new(offset),
    }
}

pub fn delete_offset(name: &str, topic: &str, partition: u32) -> DeleteConsumerOffset {
    DeleteConsumerOffset {
        consumer: consumer(name),
        stream: id("s"),
        topic: id(topic),
        partition_id: Some(PartitionId::new(partition)),
    }
}

/// The payload of a send to a topic of stream `s`.
pub fn send_payload(
    topic: &str,
    partitioning: PartitioningRef<'_>,
    messages: &[NewMessage<'_>],
) -> Vec<u8> {
    send_payload_to(("s", topic), partitioning, messages)
}

/// The payload of a send to a topic of any stream.
pub fn send_payload_to(
    (stream, topic): (&str, &str),
    partitioning: PartitioningRef<'_>,
    messages: &[NewMessage<'_>],
) -> Vec<u8> {
    let mut batch = BatchBuilder::new();
    for message in messages {
        batch.push(message).unwrap();
    }
    let (stream, topic) = (id(stream), id(topic));
    let mut payload = Vec::new();
    batch.encode_send(stream.borrowed(), topic.borrowed(), partitioning, &mut payload);
    payload
}

/// A group of topic `t` of stream `s`.
pub fn create_group(name: &str) -> CreateConsumerGroup {
    CreateConsumerGroup { stream: id("s"), topic: id("t"), name: GroupName::parse(name).unwrap() }
}

pub fn login(username: &str, password: &str) -> LoginUser {
    LoginUser {
        username: Username::parse(username).unwrap(),
        password: Password::parse(password).unwrap(),
        version: "0.10.0".to_owned(),
        context: String::new(),
    }
}

/// A polled message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub id: u128,
    pub offset: u64,
    pub timestamp_us: u64,
    pub origin_us: u64,
    pub payload: Vec<u8>,
    pub user_headers: Vec<u8>,
}

/// The answer to a poll, its messages checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Polled {
    pub partition: u32,
    pub current_offset: u64,
    pub messages: Vec<Message>,
}

impl Polled {
    pub fn read(reply: &PollReply) -> Self {
        let header = reply.header();
        let mut messages: Vec<Message> = Vec::new();
        for message in reply.messages() {
            let message = message.expect("a reply holds whole messages");
            assert!(message.verify(), "P-TRUTH: a message with a wrong checksum was served");
            let found = message.header;
            assert_eq!(found.reserved, 0, "classic clients refuse anything else");
            if let Some(before) = messages.last() {
                assert_eq!(found.offset.get(), before.offset + 1, "P-ORDER");
            }
            messages.push(Message {
                id: found.id,
                offset: found.offset.get(),
                timestamp_us: found.timestamp.get(),
                origin_us: found.origin_timestamp.get(),
                payload: message.payload.to_vec(),
                user_headers: message.user_headers.to_vec(),
            });
        }
        assert_eq!(header.count as usize, messages.len());
        Self {
            partition: header.partition_id.get(),
            current_offset: header.current_offset.get(),
            messages,
        }
    }

    pub fn offsets(&self) -> Vec<u64> {
        self.messages.iter().map(|message| message.offset).collect()
    }

    pub fn texts(&self) -> Vec<String> {
        let payloads = self.messages.iter().map(|message| message.payload.clone());
        payloads.map(|payload| String::from_utf8(payload).unwrap()).collect()
    }
}

/// A well-formed request of each command but SEND_MESSAGES, about a stream that is not there.
pub fn every_request() -> Vec<Request> {
    let (stream, topic) = (|| id("none"), || id("none"));
    let name = || Name::parse("none").unwrap();
    let group = || GroupName::parse("none").unwrap();
    let username = || login("someone", PASSWORD).username;
    let partition_id = PartitionId::new(0);
    let mut requests: Vec<Request> = vec![
        Ping {}.into(),
        GetStats {}.into(),
        GetSnapshot {
            compression: SnapshotCompression::Stored,
            kinds: SnapshotKinds::new(vec![SnapshotKind::Test]).unwrap(),
        }
        .into(),
        GetClusterMetadata {}.into(),
        GetMe {}.into(),
        GetClient { client_id: ClientId::new(1) }.into(),
        GetClients {}.into(),
        GetUser { user: id("none") }.into(),
        GetUsers {}.into(),
        CreateUser {
            username: username(),
            password: login("someone", PASSWORD).password,
            status: UserStatus::Active,
            permissions: None,
        }
        .into(),
        DeleteUser { user: id("none") }.into(),
        UpdateUser { user: id("none"), username: Some(username()), status: None }.into(),
        UpdatePermissions { user: id("none"), permissions: None }.into(),
        ChangePassword {
            user: id("none"),
            current: Secret::parse(PASSWORD).unwrap(),
            new: login("someone", PASSWORD).password,
        }
        .into(),
        ResetPassword { user: id("none"), new: login("someone", PASSWORD).password }.into(),
        login("root", PASSWORD).into(),
        LogoutUser {}.into(),
        GetTokens {}.into(),
        CreateToken { name: TokenName::parse("none").unwrap(), expiry_us: 0 }.into(),
        DeleteToken { name: name() }.into(),
        LoginWithToken { token: TokenText::parse("none").unwrap() }.into(),
        GetFeatures {}.into(),
        DeleteSegments { stream: stream(), topic: topic(), partition_id, segments_count: 1 }.into(),
        RescuePartition { stream: stream(), topic: topic(), partition_id }.into(),
        GetConsumerGroup { stream: stream(), topic: topic(), group: id("none") }.into(),
        GetConsumerGroups { stream: stream(), topic: topic() }.into(),
        CreateConsumerGroup { stream: stream(), topic: topic(), name: group() }.into(),
        DeleteConsumerGroup { stream: stream(), topic: topic(), group: id("none") }.into(),
        JoinConsumerGroup { stream: stream(), topic: topic(), group: id("none") }.into(),
        JoinGroupWith {
            stream: stream(),
            topic: topic(),
            group: id("none"),
            session: 0,
            reserved: 0,
        }
        .into(),
        LeaveConsumerGroup { stream: stream(), topic: topic(), group: id("none") }.into(),
    ];
    requests.extend(stream_requests());
    requests.extend(topic_requests("none"));
    requests
}

fn stream_requests() -> Vec<Request> {
    vec![
        get_stream("none").into(),
        GetStreams {}.into(),
        create_stream("none").into(),
        delete_stream("none").into(),
        update_stream("none", "some").into(),
        purge_stream("none").into(),
    ]
}

/// The commands about a topic or what is in it.
pub fn topic_requests(stream: &str) -> Vec<Request> {
    let (from, topic) = (|| id(stream), || id("none"));
    let partition_id = Some(PartitionId::new(0));
    let consumer = || consumer("reader");
    let poll = PollMessages { stream: from(), ..poll("none", 0, PollingStrategy::First) };
    let flush = FlushUnsavedBuffer { stream: from(), ..flush("none", 0, true) };
    let (durability, deduplication) = (Durability::Os, Deduplication::On);
    let create = chosen(create_topic(stream, "some", 1), durability, deduplication);
    let update = rechosen(update_topic(stream, "none", "some"), durability, deduplication);
    let store = StoreConsumerOffset {
        consumer: consumer(),
        stream: from(),
        topic: topic(),
        partition_id,
        offset: Offset::ZERO,
    };
    vec![
        get_topic(stream, "none").into(),
        get_topics(stream).into(),
        create.topic.clone().into(),
        create.into(),
        update.topic.clone().into(),
        update.into(),
        topic_settings(stream, "none").into(),
        GetTopicOutline { stream: from(), topic: topic() }.into(),
        plan_retention(stream, "none").into(),
        GetRetentionState { stream: from(), topic: topic() }.into(),
        ListConsumerOffsets {
            stream: from(),
            topic: topic(),
            partition_id,
            after: OffsetCursor::default(),
        }
        .into(),
        ConfigureTopic { stream: from(), topic: topic(), options: Vec::new() }.into(),
        GetTopicConfig { stream: from(), topic: topic() }.into(),
        RescuePartition { stream: from(), topic: topic(), partition_id: PartitionId::new(0) }
            .into(),
        delete_topic(stream, "none").into(),
        purge_topic(stream, "none").into(),
        create_partitions(stream, "none", 1).into(),
        delete_partitions(stream, "none", 1).into(),
        PollWaiting { poll: poll.clone(), wait: 0, count_min: 1 }.into(),
        PollInLife { poll: poll.clone(), wait: 0, count_min: 1, life: Life::UNKNOWN, reserved: 0 }
            .into(),
        poll.into(),
        flush.into(),
        GetConsumerOffset { consumer: consumer(), stream: from(), topic: topic(), partition_id }
            .into(),
        StoreOffsetInLife { store: store.clone(), life: Life::UNKNOWN }.into(),
        store.into(),
        DeleteConsumerOffset { consumer: consumer(), stream: from(), topic: topic(), partition_id }
            .into(),
    ]
}
