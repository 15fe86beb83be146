//! The whole matrix of rights, flag by flag, and the bytes of permissions.

use super::*;
use crate::primitive::Payload;
use crate::sample::{Draws, Sample, sources};
use proptest::prelude::*;

/// One row of the protocol's table: the flags of each column that allow the action.
struct Row {
    actions: &'static [Action],
    global: &'static [&'static str],
    stream: &'static [&'static str],
    topic: &'static [&'static str],
}

const MATRIX: [Row; 13] = [
    Row {
        actions: &[Action::UseTopic],
        global: &[
            "poll_messages",
            "send_messages",
            "read_topics",
            "manage_topics",
            "read_streams",
            "manage_streams",
        ],
        stream: &[
            "poll_messages",
            "send_messages",
            "manage_stream",
            "read_stream",
            "manage_topics",
            "read_topics",
        ],
        topic: &["poll_messages", "send_messages", "manage_topic", "read_topic"],
    },
    Row {
        actions: &[Action::PollMessages],
        global: &[
            "poll_messages",
            "read_topics",
            "manage_topics",
            "read_streams",
            "manage_streams",
        ],
        stream: &["poll_messages", "manage_stream", "read_stream", "manage_topics", "read_topics"],
        topic: &["poll_messages", "manage_topic", "read_topic"],
    },
    Row {
        actions: &[Action::SendMessages],
        global: &["send_messages", "manage_streams", "manage_topics"],
        stream: &["send_messages", "manage_stream", "manage_topics"],
        topic: &["send_messages", "manage_topic"],
    },
    Row {
        actions: &[Action::ReadStream],
        global: &["manage_streams", "read_streams"],
        stream: &["manage_stream", "read_stream"],
        topic: &[],
    },
    Row {
        actions: &[Action::ListStreams],
        global: &["manage_streams", "read_streams"],
        stream: &[],
        topic: &[],
    },
    Row { actions: &[Action::CreateStream], global: &["manage_streams"], stream: &[], topic: &[] },
    Row {
        actions: &[Action::ManageStream],
        global: &["manage_streams"],
        stream: &["manage_stream"],
        topic: &[],
    },
    Row {
        actions: &[Action::ReadTopic],
        global: &["read_streams", "manage_streams", "read_topics", "manage_topics"],
        stream: &["manage_stream", "read_stream", "manage_topics", "read_topics"],
        topic: &["manage_topic", "read_topic"],
    },
    Row {
        actions: &[Action::ListTopics],
        global: &["read_streams", "manage_streams", "read_topics", "manage_topics"],
        stream: &["manage_stream", "read_stream", "manage_topics", "read_topics"],
        topic: &[],
    },
    Row {
        actions: &[Action::CreateTopic],
        global: &["manage_streams", "manage_topics"],
        stream: &["manage_stream", "manage_topics"],
        topic: &[],
    },
    Row {
        actions: &[Action::ManageTopic],
        global: &["manage_streams", "manage_topics"],
        stream: &["manage_stream", "manage_topics"],
        topic: &["manage_topic"],
    },
    Row {
        actions: &[Action::ReadUsers],
        global: &["read_users", "manage_users"],
        stream: &[],
        topic: &[],
    },
    Row { actions: &[Action::ManageUsers], global: &["manage_users"], stream: &[], topic: &[] },
];

const READ_SERVERS: Row = Row {
    actions: &[Action::ReadServers],
    global: &["read_servers", "manage_servers"],
    stream: &[],
    topic: &[],
};

const STREAM: StreamId = StreamId::new(3);
const TOPIC: TopicId = TopicId::new(5);
const HERE: Scope = Scope::Topic(STREAM, TOPIC);

fn only<const N: usize>(index: usize) -> [bool; N] {
    std::array::from_fn(|at| at == index)
}

fn of_stream(flags: StreamFlags, topics: &[(TopicId, TopicPermissions)]) -> Permissions {
    let stream = StreamPermissions { flags, topics: topics.iter().copied().collect() };
    Permissions { streams: BTreeMap::from([(STREAM, stream)]), ..Permissions::default() }
}

#[test]
fn each_flag_allows_exactly_what_the_table_says() {
    let rows = MATRIX.iter().chain([&READ_SERVERS]);
    let mut seen = 0;
    for row in rows {
        for &action in row.actions {
            seen += 1;
            for (index, name) in GlobalPermissions::NAMES.iter().enumerate() {
                let global = GlobalPermissions::from_array(only(index));
                let permissions = Permissions { global, ..Permissions::default() };
                let allowed = permissions.allows(action, HERE);
                assert_eq!(allowed, row.global.contains(name), "{action:?}, global {name}");
            }
            for (index, name) in StreamFlags::NAMES.iter().enumerate() {
                let permissions = of_stream(StreamFlags::from_array(only(index)), &[]);
                let allowed = permissions.allows(action, HERE);
                assert_eq!(allowed, row.stream.contains(name), "{action:?}, stream {name}");
            }
            for (index, name) in TopicPermissions::NAMES.iter().enumerate() {
                let flags = TopicPermissions::from_array(only(index));
                let permissions = of_stream(StreamFlags::default(), &[(TOPIC, flags)]);
                let allowed = permissions.allows(action, HERE);
                assert_eq!(allowed, row.topic.contains(name), "{action:?}, topic {name}");
            }
        }
    }
    assert_eq!(seen, Action::ALL.len(), "every action has its row");
}

#[test]
fn flags_of_another_stream_or_topic_allow_nothing() {
    let permissions = of_stream(StreamFlags::default(), &[(TOPIC, TopicPermissions::ALL)]);
    for action in Action::ALL {
        assert!(!permissions.allows(action, Scope::Topic(STREAM, TopicId::new(6))));
        assert!(!permissions.allows(action, Scope::Topic(StreamId::new(4), TOPIC)));
        assert!(!permissions.allows(action, Scope::Stream(STREAM)));
        assert!(!permissions.allows(action, Scope::Server));
    }
    let permissions = of_stream(StreamFlags::ALL, &[]);
    for action in Action::ALL {
        assert!(!permissions.allows(action, Scope::Stream(StreamId::new(4))));
        assert!(!permissions.allows(action, Scope::Server));
    }
}

#[test]
fn root_may_do_everything_and_nobody_nothing() {
    for action in Action::ALL {
        assert!(Permissions::root().allows(action, Scope::Server));
        assert!(Permissions::root().allows(action, HERE));
        assert!(!Permissions::default().allows(action, HERE));
    }
}

#[test]
fn sizes_are_those_of_the_protocol() {
    assert_eq!(Permissions::root().to_bytes(), [[1; 10].as_slice(), &[0]].concat());
    let one = of_stream(StreamFlags::ALL, &[(TOPIC, TopicPermissions::default())]);
    assert_eq!(one.to_bytes().len(), 32);
}

#[test]
fn none_is_four_bytes_in_a_reply_and_one_in_a_request() {
    let mut out = Vec::new();
    GrantedPermissions::encode(&None, &mut out);
    assert_eq!(out, [0; 4]);
    out.clear();
    RequestedPermissions::encode(&None, &mut out);
    assert_eq!(out, [0]);
}

proptest! {
    #[test]
    fn permissions_round_trip_and_survive_truncation(seed in sources()) {
        let permissions = Permissions::sample(&mut Draws::new(seed));
        let bytes = permissions.to_bytes();
        prop_assert_eq!(Permissions::from_bytes(&bytes), Ok(permissions));
        for end in 0..bytes.len() {
            let error = Permissions::from_bytes(&bytes[..end]).unwrap_err();
            prop_assert_eq!(error, crate::ErrorCode::InvalidCommand);
        }
    }

    #[test]
    fn any_bytes_give_permissions_or_a_code(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Permissions::from_bytes(&bytes);
    }
}
