//! The walk: command by command, flag by flag, place by place.

use std::collections::BTreeSet;

use galgo_broker::UserSerial;
use galgo_wire::command::*;
use galgo_wire::permission::{
    GlobalPermissions, Permissions, StreamFlags, StreamPermissions, TopicPermissions,
};
use galgo_wire::{ErrorCode, StreamId, TopicId, UserId};

use crate::cases::{Case, Missing, cases};
use crate::requests::{create_stream, create_topic, delete_stream, id, store_offset, to};
use crate::rig::{Connection, PASSWORD, Rig, login};
use crate::table::{Asks, Flags, TABLE, asks};

/// Commands that every caller is told to be unavailable.
const NOT_YET: &[u32] = &[600, 601, 602, 603, 604, 605];

/// The one flag a caller has.
#[derive(Clone, Copy, Debug)]
enum Held {
    Nothing,
    Global(usize),
    /// At the stream that the cases are about, or at another one.
    Stream(usize, StreamId),
    /// At the topic that the cases are about, or at another one.
    Topic(usize, (StreamId, TopicId)),
}

const HERE: (StreamId, TopicId) = (StreamId::new(0), TopicId::new(0));
const ELSEWHERE: [(StreamId, TopicId); 2] =
    [(StreamId::new(0), TopicId::new(1)), (StreamId::new(1), TopicId::new(0))];

impl Held {
    /// Each flag of each column alone, at the right place and at others.
    fn all() -> Vec<Self> {
        let mut all = vec![Self::Nothing];
        all.extend((0..GlobalPermissions::NAMES.len()).map(Self::Global));
        for flag in 0..StreamFlags::NAMES.len() {
            all.extend([0, 1].map(|stream| Self::Stream(flag, StreamId::new(stream))));
        }
        for flag in 0..TopicPermissions::NAMES.len() {
            all.push(Self::Topic(flag, HERE));
            all.extend(ELSEWHERE.map(|place| Self::Topic(flag, place)));
        }
        all
    }

    fn permissions(self) -> Option<Permissions> {
        let mut held = Permissions::default();
        match self {
            Self::Nothing => return None,
            Self::Global(flag) => held.global = GlobalPermissions::from_array(only(flag)),
            Self::Stream(flag, stream) => {
                let flags = StreamFlags::from_array(only(flag));
                let permissions = StreamPermissions { flags, ..StreamPermissions::default() };
                held.streams.insert(stream, permissions);
            }
            Self::Topic(flag, (stream, topic)) => {
                let mut permissions = StreamPermissions::default();
                permissions.topics.insert(topic, TopicPermissions::from_array(only(flag)));
                held.streams.insert(stream, permissions);
            }
        }
        Some(held)
    }

    fn allows(self, flags: &Flags) -> bool {
        match self {
            Self::Nothing => false,
            Self::Global(flag) => flags.global.contains(&GlobalPermissions::NAMES[flag]),
            Self::Stream(flag, stream) => {
                stream == HERE.0 && flags.stream.contains(&StreamFlags::NAMES[flag])
            }
            Self::Topic(flag, place) => {
                place == HERE && flags.topic.contains(&TopicPermissions::NAMES[flag])
            }
        }
    }
}

fn only<const N: usize>(flag: usize) -> [bool; N] {
    std::array::from_fn(|index| index == flag)
}

fn expected(case: &Case, held: Held) -> Result<(), ErrorCode> {
    if NOT_YET.contains(&case.code.as_u32()) {
        return Err(ErrorCode::FeatureUnavailable);
    }
    let allowed = match asks(case.code.as_u32()) {
        Asks::Nothing | Asks::Login => true,
        Asks::FlagsFirst(flags) => held.allows(&flags),
        Asks::TargetFirst(flags) => case.missing != Missing::Nothing || held.allows(&flags),
    };
    if allowed { case.allowed } else { Err(ErrorCode::Unauthorized) }
}

/// A broker with streams `s` (0: topics `t` and `u`) and `o` (1: topic `t`), root, and a caller.
struct World {
    rig: Rig,
    root: Connection,
    caller: Connection,
    identity: (UserId, UserSerial),
}

impl World {
    fn new() -> Self {
        let rig = Rig::new();
        let mut root = rig.root();
        let mut caller = rig.connect();
        for name in ["caller", "other"] {
            root.call(&create_user(name)).unwrap();
        }
        caller.call(&login("caller", PASSWORD)).unwrap();
        let identity = (caller.session.user().unwrap(), caller.session.user_serial().unwrap());
        Self { rig, root, caller, identity }
    }

    /// Makes everything as it was, whatever the last command did, and gives the caller one flag.
    fn restore(&mut self, held: Held) {
        let Self { rig, root, caller, identity } = self;
        rig.broker.authenticate_as(&mut caller.session, identity.0, identity.1).unwrap();
        for stream in root.call(&GetStreams {}).unwrap() {
            root.call(&delete_stream(&stream.id.to_string())).unwrap();
        }
        for (stream, topics) in [("s", &["t", "u"][..]), ("o", &["t"])] {
            root.call(&create_stream(stream)).unwrap();
            for topic in topics {
                root.call(&create_topic(stream, topic, 1)).unwrap();
            }
        }
        root.send("t", to(0), &["x"]).unwrap();
        root.call(&store_offset("matrix", "t", (0, 0))).unwrap();
        let _ = root.call(&DeleteUser { user: id("brand new") });
        if root.call(&GetUser { user: id("other") }).unwrap().is_none() {
            root.call(&create_user("other")).unwrap();
        }
        let permissions = held.permissions();
        root.call(&UpdatePermissions { user: id("caller"), permissions }).unwrap();
    }
}

fn create_user(name: &str) -> CreateUser {
    let LoginUser { username, password, .. } = login(name, PASSWORD);
    CreateUser { username, password, status: UserStatus::Active, permissions: None }
}

#[test]
fn the_table_and_the_cases_have_every_command() {
    let all: BTreeSet<u32> = CommandCode::ALL.iter().map(|code| code.as_u32()).collect();
    assert_eq!(all.iter().filter(|code| **code < CommandCode::EXTENSIONS_FIRST).count(), 47);
    assert_eq!(TABLE.iter().map(|(code, _)| *code).collect::<BTreeSet<_>>(), all);
    assert_eq!(cases().iter().map(|case| case.code.as_u32()).collect::<BTreeSet<_>>(), all);
    let known: Vec<_> = GlobalPermissions::NAMES
        .iter()
        .chain(&StreamFlags::NAMES)
        .chain(&TopicPermissions::NAMES)
        .collect();
    for (code, asks) in TABLE {
        if let Asks::FlagsFirst(flags) | Asks::TargetFirst(flags) = asks {
            for flag in [flags.global, flags.stream, flags.topic].concat() {
                assert!(known.contains(&&flag), "{code}: {flag}");
            }
        }
    }
}

#[test]
fn each_flag_alone_allows_what_the_table_says_and_nothing_else() {
    let mut world = World::new();
    let cases = cases();
    for held in Held::all() {
        world.restore(held);
        for case in &cases {
            let answer = world.caller.call_bytes(case.code, &case.payload);
            let missing = case.missing;
            assert_eq!(answer, expected(case, held), "{:?}, {missing:?}, {held:?}", case.code);
            if answer.is_ok() {
                world.restore(held);
            }
        }
    }
}

#[test]
fn without_a_login_every_command_but_three_is_answered_with_40() {
    let mut world = World::new();
    world.restore(Held::Nothing);
    for case in cases() {
        let mut anonymous = world.rig.connect();
        let expected = match asks(case.code.as_u32()) {
            Asks::Nothing => case.allowed,
            _ => Err(ErrorCode::Unauthenticated),
        };
        assert_eq!(anonymous.call_bytes(case.code, &case.payload), expected, "{:?}", case.code);
        assert_eq!(anonymous.call(&Ping {}), Ok(()), "the connection survives");
    }
}

#[test]
fn a_deleted_user_may_do_what_nobody_needs_a_right_for_and_nothing_else() {
    let mut world = World::new();
    world.restore(Held::Global(0));
    let root = GlobalPermissions::ALL;
    let permissions = Some(Permissions { global: root, ..Permissions::default() });
    world.root.call(&UpdatePermissions { user: id("caller"), permissions }).unwrap();
    world.root.call(&DeleteUser { user: id("caller") }).unwrap();
    // The next user gets the id, and everything it allows.
    let permissions = Some(Permissions { global: root, ..Permissions::default() });
    let heir = CreateUser { permissions, ..create_user("heir") };
    assert_eq!(world.root.call(&heir).unwrap().user.id, world.identity.0);
    for case in cases() {
        let expected = match (case.code, asks(case.code.as_u32())) {
            (CommandCode::LoginUser, _) => continue,
            (code, _) if NOT_YET.contains(&code.as_u32()) => Err(ErrorCode::FeatureUnavailable),
            (CommandCode::GetMe | CommandCode::LogoutUser, _) => Err(ErrorCode::ClientNotFound),
            (_, Asks::Nothing) => case.allowed,
            (CommandCode::GetUser | CommandCode::ChangePassword, _) => Err(ErrorCode::Unauthorized),
            (_, Asks::TargetFirst(_)) if case.missing != Missing::Nothing => case.allowed,
            _ => Err(ErrorCode::Unauthorized),
        };
        let answer = world.caller.call_bytes(case.code, &case.payload);
        assert_eq!(answer, expected, "{:?}, {:?}", case.code, case.missing);
    }
}
