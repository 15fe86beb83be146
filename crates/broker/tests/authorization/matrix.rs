//! The walk: command by command, flag by flag, place by place.

use std::collections::BTreeSet;

use galgo_broker::UserSerial;
use galgo_wire::command::*;
use galgo_wire::permission::{GlobalPermissions, Permissions, StreamFlags, TopicPermissions};
use galgo_wire::{ErrorCode, UserId};

use crate::cases::{cases, create_user};
use crate::held::{Held, expected};
use crate::requests::{
    PASSWORD, create_group, create_stream, create_topic, delete_stream, id, login, store_offset, to,
};
use crate::rig::{Connection, Rig};
use crate::table::{Asks, TABLE, asks};

/// A broker with streams `s` (0: topics `t`, with group `g`, and `u`) and `o` (1: topic `t`), root, and a caller.
pub(crate) struct World {
    pub(crate) rig: Rig,
    pub(crate) root: Connection,
    caller: Connection,
    identity: (UserId, UserSerial),
}

impl World {
    pub(crate) fn new() -> Self {
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
    pub(crate) fn restore(&mut self, held: Held) {
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
        // What others have stored the caller could not change, whatever its flag.
        let global = GlobalPermissions { poll_messages: true, ..GlobalPermissions::default() };
        let permissions = Some(Permissions { global, ..Permissions::default() });
        root.call(&UpdatePermissions { user: id("caller"), permissions }).unwrap();
        caller.call(&store_offset("matrix", "t", (0, 0))).unwrap();
        root.call(&create_group("g")).unwrap();
        let _ = root.call(&DeleteUser { user: id("brand new") });
        if root.call(&GetUser { user: id("other") }).unwrap().is_none() {
            root.call(&create_user("other")).unwrap();
        }
        let permissions = held.permissions();
        root.call(&UpdatePermissions { user: id("caller"), permissions }).unwrap();
    }
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
            (CommandCode::GetMe | CommandCode::LogoutUser, _) => Err(ErrorCode::ClientNotFound),
            (_, Asks::Nothing) => case.allowed,
            (CommandCode::GetUser | CommandCode::ChangePassword, _) => Err(ErrorCode::Unauthorized),
            (_, Asks::TargetFirst(_)) if case.missing.hides_rights() => case.allowed,
            _ => Err(ErrorCode::Unauthorized),
        };
        let answer = world.caller.call_bytes(case.code, &case.payload);
        assert_eq!(answer, expected, "{:?}, {:?}", case.code, case.missing);
    }
}
