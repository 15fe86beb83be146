//! Who gets an answer: before the login, without permissions, with all of them.

use std::collections::BTreeSet;

use galgo_wire::batch::NewMessage;
use galgo_wire::command::{
    CommandCode, GetClient, GetClusterMetadata, GetFeatures, GetMe, GetTopicOutline, Ping, Request,
    UpdatePermissions,
};
use galgo_wire::permission::{GlobalPermissions, Permissions};
use galgo_wire::{ClientId, ErrorCode, PollingStrategy};

use crate::requests::{
    create_stream, create_topic, every_request, get_stream, get_topic, id, poll, store_offset, to,
    topic_requests,
};
use crate::rig::{Connection, PASSWORD, Rig, login, send_payload};

/// What a request comes to, its reply undecoded.
fn answer(caller: &mut Connection, request: &Request) -> Result<(), ErrorCode> {
    let mut payload = Vec::new();
    request.encode(&mut payload);
    caller.call_bytes(request.code(), &payload)
}

#[test]
fn every_command_is_probed() {
    let mut codes: BTreeSet<_> = every_request().iter().map(Request::code).collect();
    codes.extend([CommandCode::SendMessages, CommandCode::SendWith]);
    let all: BTreeSet<_> = CommandCode::ALL.iter().copied().collect();
    let missing: Vec<_> = all.symmetric_difference(&codes).collect();
    assert!(missing.is_empty(), "add to `every_request` of testkit/src/requests.rs: {missing:?}");
}

#[test]
fn without_a_login_only_ping_and_the_logins_are_answered() {
    let rig = Rig::new();
    let mut caller = rig.connect();
    for request in every_request() {
        let expected = match request {
            Request::Ping(_) | Request::LoginUser(_) => Ok(()),
            // Anything but 40, which makes classic clients log in again and again.
            Request::LoginWithToken(_) => Err(ErrorCode::ResourceNotFound),
            _ => Err(ErrorCode::Unauthenticated),
        };
        assert_eq!(answer(&mut caller, &request), expected, "{:?}", request.code());
        if caller.session.is_authenticated() {
            caller = rig.connect();
        }
    }
    let send = send_payload("t", to(0), &[NewMessage::default()]);
    let refused = Err(ErrorCode::Unauthenticated);
    assert_eq!(caller.call_bytes(CommandCode::SendMessages, &send), refused);
    assert_eq!(caller.call_bytes(CommandCode::SendMessages, b"no send at all"), refused);
    let with = [&[0, 0], send.as_slice()].concat();
    assert_eq!(caller.call_bytes(CommandCode::SendWith, &with), refused);
    assert_eq!(caller.call(&Ping {}), Ok(()), "the connection survives");
}

#[test]
fn every_command_is_there() {
    let rig = Rig::new();
    let mut root = rig.root();
    for request in every_request() {
        let code = request.code();
        assert_ne!(answer(&mut root, &request), Err(ErrorCode::FeatureUnavailable), "{code:?}");
        if !root.session.is_authenticated() {
            root = rig.root();
        }
    }
}

#[test]
fn an_unknown_command_is_invalid_with_and_without_a_login() {
    let rig = Rig::new();
    let (mut anonymous, mut root) = (rig.connect(), rig.root());
    for code in [0, 2, 40, 45, 999, 10_999, u32::MAX] {
        for caller in [&mut anonymous, &mut root] {
            let outcome = rig.broker.submit(&mut caller.session, code, &mut []);
            assert_eq!(caller.finish(outcome), Err(ErrorCode::InvalidCommand), "{code}");
        }
    }
}

#[test]
fn without_permissions_a_user_gets_what_everybody_gets() {
    let rig = Rig::new();
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    root.call(&create_topic("s", "t", 1)).unwrap();
    let mut nobody = rig.connect();
    nobody.call(&login("nobody", PASSWORD)).unwrap();

    assert!(nobody.call(&GetMe {}).is_ok());
    assert!(nobody.call(&GetClusterMetadata {}).is_ok());
    assert!(nobody.call(&GetFeatures {}).is_ok());
    let denied = ErrorCode::Unauthorized;
    assert_eq!(nobody.call(&get_stream("s")).unwrap_err(), denied);
    assert_eq!(nobody.call(&get_topic("s", "t")).unwrap_err(), denied);
    assert_eq!(nobody.call(&create_stream("x")).unwrap_err(), denied);
    assert_eq!(nobody.call(&create_topic("s", "x", 1)).unwrap_err(), denied);
    assert_eq!(nobody.send("t", to(0), &["x"]), Err(denied));
    assert_eq!(nobody.poll(&poll("t", 0, PollingStrategy::First)), Err(denied));
    assert_eq!(nobody.call(&store_offset("c", "t", (0, 0))), Err(denied));
    let zero = GetClient { client_id: ClientId::new(0) };
    assert_eq!(nobody.call(&zero).unwrap_err(), denied, "the right is looked at first");
    assert!(root.poll(&poll("t", 0, PollingStrategy::First)).unwrap().messages.is_empty());
}

/// INV-EXISTS-FIRST.
#[test]
fn what_is_missing_is_missing_whatever_the_permissions() {
    let rig = Rig::new();
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    let mut nobody = rig.connect();
    nobody.call(&login("nobody", PASSWORD)).unwrap();
    for request in topic_requests("none") {
        let expected = match request {
            Request::GetTopic(_)
            | Request::GetTopics(_)
            | Request::GetTopicSettings(_)
            | Request::GetTopicOutline(_)
            | Request::GetConsumerOffset(_) => Ok(()),
            _ => Err(ErrorCode::StreamIdNotFound),
        };
        assert_eq!(answer(&mut nobody, &request), expected, "{:?}", request.code());
        assert_eq!(answer(&mut root, &request), expected, "{:?}", request.code());
    }
    for request in topic_requests("s") {
        let expected = match request {
            Request::GetTopic(_)
            | Request::GetTopicSettings(_)
            | Request::GetTopicOutline(_)
            | Request::GetConsumerOffset(_) => Ok(()),
            Request::GetTopics(_) | Request::CreateTopic(_) | Request::CreateTopicWith(_) => {
                Err(ErrorCode::Unauthorized)
            }
            _ => Err(ErrorCode::TopicIdNotFound),
        };
        assert_eq!(answer(&mut nobody, &request), expected, "{:?}", request.code());
    }
    let send = send_payload("none", to(0), &[NewMessage::default()]);
    let missing = nobody.call_bytes(CommandCode::SendMessages, &send);
    assert_eq!(missing, Err(ErrorCode::TopicIdNotFound));
}

/// A producer that chooses partitions by key has to know how many there are; the right to read the topic,
/// which tells it, also lets it read every message.
#[test]
fn who_may_send_or_poll_learns_what_that_takes_and_no_more() {
    let rig = Rig::new();
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    root.call(&create_topic("s", "t", 3)).unwrap();
    root.send("t", to(1), &["one", "two"]).unwrap();
    let mut nobody = rig.connect();
    nobody.call(&login("nobody", PASSWORD)).unwrap();
    let ask = GetTopicOutline { stream: id("s"), topic: id("t") };
    let mut allow = |flags: GlobalPermissions| {
        let permissions = Some(Permissions { global: flags, ..Permissions::default() });
        root.call(&UpdatePermissions { user: id("nobody"), permissions }).unwrap();
        nobody.call(&ask)
    };
    assert_eq!(allow(GlobalPermissions::default()).unwrap_err(), ErrorCode::Unauthorized);
    let sends = GlobalPermissions { send_messages: true, ..GlobalPermissions::default() };
    let outline = allow(sends).unwrap().unwrap();
    assert_eq!((outline.partitions_count, outline.partitions), (3, Vec::new()));
    let polls = GlobalPermissions { poll_messages: true, ..GlobalPermissions::default() };
    let outline = allow(polls).unwrap().unwrap();
    let counts: Vec<_> = outline.partitions.iter().map(|it| it.messages_count).collect();
    assert_eq!((outline.partitions_count, counts), (3, vec![0, 2, 0]));
}
