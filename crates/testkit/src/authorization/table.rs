//! The protocol's rules: which flags allow which command, and what comes first when the target is
//! missing.

/// What flags of each column allow a command. One is enough.
#[derive(Clone, Copy, Debug)]
pub struct Flags {
    pub global: &'static [&'static str],
    pub stream: &'static [&'static str],
    pub topic: &'static [&'static str],
}

/// What a command asks of its caller.
#[derive(Clone, Copy, Debug)]
pub enum Asks {
    /// Nothing, not even a login.
    Nothing,
    /// A login.
    Login,
    /// One of these flags, looked at before the target.
    FlagsFirst(Flags),
    /// One of these flags, looked at once the target was found.
    TargetFirst(Flags),
}

use Asks::{FlagsFirst, Login, Nothing, TargetFirst};

const fn global(global: &'static [&'static str]) -> Flags {
    Flags { global, stream: &[], topic: &[] }
}

const READ_SERVERS: Flags = global(&["read_servers", "manage_servers"]);
const READ_USERS: Flags = global(&["read_users", "manage_users"]);
const MANAGE_USERS: Flags = global(&["manage_users"]);
const LIST_STREAMS: Flags = global(&["manage_streams", "read_streams"]);
const CREATE_STREAM: Flags = global(&["manage_streams"]);
const GET_STREAM: Flags = Flags {
    global: &["manage_streams", "read_streams"],
    stream: &["manage_stream", "read_stream"],
    topic: &[],
};
const CHANGE_STREAM: Flags =
    Flags { global: &["manage_streams"], stream: &["manage_stream"], topic: &[] };
const GET_TOPIC: Flags = Flags {
    global: &["read_streams", "manage_streams", "read_topics", "manage_topics"],
    stream: &["manage_stream", "read_stream", "manage_topics", "read_topics"],
    topic: &["manage_topic", "read_topic"],
};
const LIST_TOPICS: Flags = Flags { topic: &[], ..GET_TOPIC };
const CREATE_TOPIC: Flags = Flags {
    global: &["manage_streams", "manage_topics"],
    stream: &["manage_stream", "manage_topics"],
    topic: &[],
};
const CHANGE_TOPIC: Flags = Flags { topic: &["manage_topic"], ..CREATE_TOPIC };
const POLL: Flags = Flags {
    global: &["poll_messages", "read_topics", "manage_topics", "read_streams", "manage_streams"],
    stream: &["poll_messages", "manage_stream", "read_stream", "manage_topics", "read_topics"],
    topic: &["poll_messages", "manage_topic", "read_topic"],
};
const SEND: Flags = Flags {
    global: &["send_messages", "manage_streams", "manage_topics"],
    stream: &["send_messages", "manage_stream", "manage_topics"],
    topic: &["send_messages", "manage_topic"],
};

const USE: Flags = Flags {
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
};

/// Every command by its code.
pub const TABLE: &[(u32, Asks)] = &[
    (1, Nothing),
    (10, FlagsFirst(READ_SERVERS)),
    // The classic server gives snapshots to everybody; they show too much of the machine for that.
    (11, FlagsFirst(READ_SERVERS)),
    (12, Login),
    (20, Login),
    (21, FlagsFirst(READ_SERVERS)),
    (22, FlagsFirst(READ_SERVERS)),
    (31, TargetFirst(READ_USERS)),
    (32, FlagsFirst(READ_USERS)),
    (33, FlagsFirst(MANAGE_USERS)),
    (34, FlagsFirst(MANAGE_USERS)),
    (35, FlagsFirst(MANAGE_USERS)),
    (36, FlagsFirst(MANAGE_USERS)),
    (37, TargetFirst(MANAGE_USERS)),
    (38, Nothing),
    (39, Login),
    (41, Login),
    (42, Login),
    (43, Login),
    (44, Nothing),
    (100, TargetFirst(POLL)),
    (101, TargetFirst(SEND)),
    (102, TargetFirst(SEND)),
    (120, TargetFirst(POLL)),
    (121, TargetFirst(POLL)),
    (122, TargetFirst(POLL)),
    (200, TargetFirst(GET_STREAM)),
    (201, FlagsFirst(LIST_STREAMS)),
    (202, FlagsFirst(CREATE_STREAM)),
    (203, TargetFirst(CHANGE_STREAM)),
    (204, TargetFirst(CHANGE_STREAM)),
    (205, TargetFirst(CHANGE_STREAM)),
    (300, TargetFirst(GET_TOPIC)),
    (301, TargetFirst(LIST_TOPICS)),
    (302, TargetFirst(CREATE_TOPIC)),
    (303, TargetFirst(CHANGE_TOPIC)),
    (304, TargetFirst(CHANGE_TOPIC)),
    (305, TargetFirst(CHANGE_TOPIC)),
    (402, TargetFirst(CHANGE_TOPIC)),
    (403, TargetFirst(CHANGE_TOPIC)),
    (503, TargetFirst(CHANGE_TOPIC)),
    // The classic server asks for the right to read the topic for all of these, which whoever polls needs
    // not have, and which is too little to delete what others have stored.
    (600, TargetFirst(POLL)),
    (601, TargetFirst(GET_TOPIC)),
    (602, TargetFirst(POLL)),
    (603, TargetFirst(CHANGE_TOPIC)),
    (604, TargetFirst(POLL)),
    (605, TargetFirst(POLL)),
    (10_000, Login),
    (10_001, TargetFirst(CREATE_TOPIC)),
    (10_002, TargetFirst(CHANGE_TOPIC)),
    (10_003, TargetFirst(GET_TOPIC)),
    (10_004, TargetFirst(GET_TOPIC)),
    (10_005, TargetFirst(POLL)),
    (10_006, TargetFirst(POLL)),
    (10_007, TargetFirst(POLL)),
    (10_009, TargetFirst(POLL)),
    (10_010, TargetFirst(GET_TOPIC)),
    (10_011, TargetFirst(GET_TOPIC)),
    (10_012, FlagsFirst(MANAGE_USERS)),
    (10_013, TargetFirst(USE)),
    (10_100, TargetFirst(SEND)),
    (10_110, TargetFirst(CHANGE_TOPIC)),
    (10_111, TargetFirst(GET_TOPIC)),
    (10_190, TargetFirst(CHANGE_TOPIC)),
];

/// What a command asks for.
pub fn asks(code: u32) -> Asks {
    TABLE.iter().find(|(known, _)| *known == code).expect("a row of the table").1
}
