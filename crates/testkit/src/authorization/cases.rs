//! One request of each command about a place, and what it comes to once the caller is allowed.

use galgo_wire::batch::NewMessage;
use galgo_wire::command::*;
use galgo_wire::name::{GroupName, Name, Secret, TokenName, TokenText};
use galgo_wire::{
    ClientId, ErrorCode, Life, Offset, PartitionId, PartitioningRef, PollingStrategy,
};

use crate::requests::{
    PASSWORD, consumer, create_stream, create_topic, create_topic_with, id, login, poll, rechosen,
    send_payload_to, update_stream, update_topic,
};

/// Which targets a request names; the others exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    Nothing,
    /// The stream, or the user, client or token of commands that are about none.
    Outer,
    /// The topic.
    Topic,
    /// The consumer group.
    Group,
}

impl Missing {
    /// Whether what permissions are about is missing. Groups have none of their own.
    pub fn hides_rights(self) -> bool {
        matches!(self, Self::Outer | Self::Topic)
    }
}

/// A request and its possible ends.
pub struct Case {
    pub code: CommandCode,
    pub payload: Vec<u8>,
    /// What it comes to for a caller that is allowed.
    pub allowed: Result<(), ErrorCode>,
    /// Whether this is about a target that is missing.
    pub missing: Missing,
}

/// A user without permissions, whose password is everybody's.
pub fn create_user(name: &str) -> CreateUser {
    let LoginUser { username, password, .. } = login(name, PASSWORD);
    CreateUser { username, password, status: UserStatus::Active, permissions: None }
}

fn case(request: impl Into<Request>, missing: Missing, allowed: Result<(), ErrorCode>) -> Case {
    let request = request.into();
    let mut payload = Vec::new();
    request.encode(&mut payload);
    Case { code: request.code(), payload, allowed, missing }
}

/// Requests of every command: about what is there, and each target missing in turn.
pub fn cases() -> Vec<Case> {
    let mut cases = server_cases();
    for missing in [Missing::Nothing, Missing::Outer] {
        cases.extend(user_cases(missing));
        cases.extend(stream_cases(missing));
    }
    for missing in [Missing::Nothing, Missing::Outer, Missing::Topic] {
        cases.extend(topic_cases(missing));
        cases.extend(message_cases(missing));
        cases.extend(group_cases(missing));
    }
    cases.extend(one_group_cases(Missing::Group));
    cases
}

fn server_cases() -> Vec<Case> {
    let ok = |request: Request| case(request, Missing::Nothing, Ok(()));
    let kinds = SnapshotKinds::new(vec![SnapshotKind::Test]).unwrap();
    let name = TokenName::parse("token").unwrap();
    let text = TokenText::parse("no token at all").unwrap();
    let unknown = Err(ErrorCode::ResourceNotFound);
    let no_client = GetClient { client_id: ClientId::new(u32::MAX) };
    vec![
        ok(Ping {}.into()),
        ok(GetStats {}.into()),
        ok(GetSnapshot { compression: SnapshotCompression::Stored, kinds }.into()),
        ok(GetClusterMetadata {}.into()),
        ok(GetMe {}.into()),
        case(no_client, Missing::Outer, Ok(())),
        ok(GetClients {}.into()),
        ok(GetUsers {}.into()),
        ok(login("root", PASSWORD).into()),
        ok(GetTokens {}.into()),
        ok(CreateToken { name, expiry_us: 0 }.into()),
        ok(DeleteToken { name: Name::parse("token").unwrap() }.into()),
        case(LoginWithToken { token: text }, Missing::Outer, unknown),
        ok(LogoutUser {}.into()),
        ok(GetStreams {}.into()),
        ok(create_stream("new").into()),
        ok(GetFeatures {}.into()),
    ]
}

fn user_cases(missing: Missing) -> Vec<Case> {
    let user = || id(if missing == Missing::Nothing { "other" } else { "nobody at all" });
    let found = |code| if missing == Missing::Nothing { Ok(()) } else { Err(code) };
    let unknown = ErrorCode::ResourceNotFound;
    let permissions = None;
    let wrong = Secret::parse("not the password").unwrap();
    let create = create_user("brand new");
    let password = ChangePassword { user: user(), current: wrong, new: create.password.clone() };
    let found_password =
        if missing == Missing::Nothing { Err(ErrorCode::InvalidCredentials) } else { Err(unknown) };
    let mut cases = vec![
        case(GetUser { user: user() }, missing, Ok(())),
        case(UpdateUser { user: user(), username: None, status: None }, missing, found(unknown)),
        case(UpdatePermissions { user: user(), permissions }, missing, found(unknown)),
        case(password, missing, found_password),
        case(ResetPassword { user: user(), new: create.password.clone() }, missing, found(unknown)),
        case(DeleteUser { user: user() }, missing, found(unknown)),
    ];
    if missing == Missing::Nothing {
        cases.push(case(create, missing, Ok(())));
    }
    cases
}

fn stream_cases(missing: Missing) -> Vec<Case> {
    let name = if missing == Missing::Nothing { "s" } else { "none" };
    let gone = ErrorCode::StreamIdNotFound;
    let found = if missing == Missing::Nothing { Ok(()) } else { Err(gone) };
    let with = CreateTopicWith {
        topic: create_topic(name, "newer", 1),
        ..create_topic_with("newer", 1, Durability::Os)
    };
    vec![
        case(GetStream { stream: id(name) }, missing, Ok(())),
        case(update_stream(name, name), missing, found),
        case(PurgeStream { stream: id(name) }, missing, found),
        case(GetTopics { stream: id(name) }, missing, Ok(())),
        case(create_topic(name, "new", 1), missing, found),
        case(with, missing, found),
        case(DeleteStream { stream: id(name) }, missing, found),
    ]
}

/// The names of stream and topic, and what a command that needs them comes to.
fn place(missing: Missing) -> (&'static str, &'static str, Result<(), ErrorCode>) {
    match missing {
        Missing::Nothing => ("s", "t", Ok(())),
        Missing::Group => ("s", "t", Err(ErrorCode::ConsumerGroupIdNotFound)),
        Missing::Outer => ("none", "t", Err(ErrorCode::StreamIdNotFound)),
        Missing::Topic => ("s", "none", Err(ErrorCode::TopicIdNotFound)),
    }
}

fn topic_cases(missing: Missing) -> Vec<Case> {
    let (s, t, found) = place(missing);
    let (stream, topic) = (|| id(s), || id(t));
    let with = rechosen(update_topic(s, t, t), Durability::Os, Deduplication::Off);
    let (partition_id, partitions_count) = (PartitionId::new(0), 1);
    let segments =
        DeleteSegments { stream: stream(), topic: topic(), partition_id, segments_count: 0 };
    vec![
        case(GetTopic { stream: stream(), topic: topic() }, missing, Ok(())),
        case(GetTopicSettings { stream: stream(), topic: topic() }, missing, Ok(())),
        case(GetTopicOutline { stream: stream(), topic: topic() }, missing, Ok(())),
        case(update_topic(s, t, t), missing, found),
        case(with, missing, found),
        case(
            CreatePartitions { stream: stream(), topic: topic(), partitions_count },
            missing,
            found,
        ),
        case(
            DeletePartitions { stream: stream(), topic: topic(), partitions_count },
            missing,
            found,
        ),
        case(segments, missing, found),
        case(RescuePartition { stream: stream(), topic: topic(), partition_id }, missing, found),
        case(PlanRetention { stream: stream(), topic: topic(), rules: None }, missing, found),
        case(GetRetentionState { stream: stream(), topic: topic() }, missing, found),
        case(
            ListConsumerOffsets {
                stream: stream(),
                topic: topic(),
                partition_id: None,
                after: OffsetCursor::default(),
            },
            missing,
            found,
        ),
        case(
            ConfigureTopic { stream: stream(), topic: topic(), options: Vec::new() },
            missing,
            found,
        ),
        case(GetTopicConfig { stream: stream(), topic: topic() }, missing, found),
        case(PurgeTopic { stream: stream(), topic: topic() }, missing, found),
        case(DeleteTopic { stream: stream(), topic: topic() }, missing, found),
    ]
}

fn message_cases(missing: Missing) -> Vec<Case> {
    let (s, t, found) = place(missing);
    let (stream, topic) = (|| id(s), || id(t));
    let partition_id = PartitionId::new(0);
    let partitioning = PartitioningRef::PartitionId(partition_id);
    let send = send_payload_to((s, t), partitioning, &[NewMessage::default()]);
    let poll = PollMessages { stream: stream(), ..poll(t, 0, PollingStrategy::First) };
    let flush = FlushUnsavedBuffer { stream: stream(), topic: topic(), partition_id, fsync: true };
    let partition_id = Some(partition_id);
    let consumer = || consumer("matrix");
    let get =
        GetConsumerOffset { consumer: consumer(), stream: stream(), topic: topic(), partition_id };
    let store = StoreConsumerOffset {
        consumer: consumer(),
        stream: stream(),
        topic: topic(),
        partition_id,
        offset: Offset::ZERO,
    };
    let delete = DeleteConsumerOffset {
        consumer: consumer(),
        stream: stream(),
        topic: topic(),
        partition_id,
    };
    let code = CommandCode::SendMessages;
    let with = [&[0, 0], send.as_slice()].concat();
    let waiting = PollWaiting { poll: poll.clone(), wait: 0, count_min: 1 };
    let life = Life::UNKNOWN;
    let in_life = PollInLife { poll: poll.clone(), wait: 0, count_min: 1, life, reserved: 0 };
    let store_in_life = StoreOffsetInLife { store: store.clone(), life };
    vec![
        case(poll, missing, found),
        case(waiting, missing, found),
        case(in_life, missing, found),
        case(store_in_life, missing, found),
        Case { code, payload: send, allowed: found, missing },
        Case { code: CommandCode::SendWith, payload: with, allowed: found, missing },
        case(flush, missing, found),
        case(get, missing, Ok(())),
        case(store, missing, found),
        case(delete, missing, found),
    ]
}

fn group_cases(missing: Missing) -> Vec<Case> {
    let (s, t, found) = place(missing);
    let (stream, topic) = (|| id(s), || id(t));
    let name = GroupName::parse("g2").unwrap();
    let mut cases = vec![
        case(GetConsumerGroups { stream: stream(), topic: topic() }, missing, Ok(())),
        case(CreateConsumerGroup { stream: stream(), topic: topic(), name }, missing, found),
    ];
    cases.extend(one_group_cases(missing));
    cases
}

/// The commands about one group; the caller is in none.
fn one_group_cases(missing: Missing) -> Vec<Case> {
    let (s, t, found) = place(missing);
    let (stream, topic) = (|| id(s), || id(t));
    let group = || id(if missing == Missing::Group { "none" } else { "g" });
    let left = found.and(Err(ErrorCode::ConsumerGroupMemberNotFound));
    let get = GetConsumerGroup { stream: stream(), topic: topic(), group: group() };
    let join = JoinConsumerGroup { stream: stream(), topic: topic(), group: group() };
    let (session, reserved) = (0, 0);
    let join_with =
        JoinGroupWith { stream: stream(), topic: topic(), group: group(), session, reserved };
    let leave = LeaveConsumerGroup { stream: stream(), topic: topic(), group: group() };
    let delete = DeleteConsumerGroup { stream: stream(), topic: topic(), group: group() };
    vec![
        case(get, missing, Ok(())),
        case(join, missing, found),
        case(join_with, missing, found),
        case(leave, missing, left),
        case(delete, missing, found),
    ]
}
