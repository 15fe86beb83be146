//! Streams: get, list, create, update, delete.

use galgo_wire::command::{CommandCode, GetStreams, Stream};
use galgo_wire::id::{StreamId, Timestamp};
use galgo_wire::name::StreamName;
use galgo_wire::{ErrorCode, PollingStrategy};

use crate::requests::{
    create_stream, create_topic, delete_stream, get_stream, get_topic, poll, purge_stream, to,
    update_stream,
};
use crate::rig::{Connection, Rig, START_US};

fn names(root: &mut Connection) -> Vec<(u32, String)> {
    let streams = root.call(&GetStreams {}).unwrap();
    streams.iter().map(|stream| (stream.id.get(), stream.name.to_string())).collect()
}

#[test]
fn a_created_stream_is_the_reply_and_is_found_by_id_and_by_name() {
    let rig = Rig::new();
    let mut root = rig.root();
    rig.environment.advance_us(5);
    let created = root.call(&create_stream("orders")).unwrap();
    let stream = Stream {
        id: StreamId::new(0),
        created_at: Timestamp::new(START_US + 5),
        topics_count: 0,
        size: 0,
        messages_count: 0,
        name: StreamName::parse("orders").unwrap(),
    };
    assert_eq!((&created.stream, created.topics.len()), (&stream, 0));
    rig.environment.advance_us(5);
    assert_eq!(root.call(&get_stream("orders")).unwrap().as_ref(), Some(&created));
    assert_eq!(root.call(&get_stream("0")).unwrap(), Some(created));
    assert_eq!(root.call(&GetStreams {}).unwrap(), [stream]);
}

#[test]
fn a_missing_stream_is_empty_to_read_and_1009_to_change() {
    let rig = Rig::new();
    let mut root = rig.root();
    let missing = ErrorCode::StreamIdNotFound;
    for stream in ["none", "0"] {
        assert_eq!(root.call(&get_stream(stream)), Ok(None));
        assert_eq!(root.call(&update_stream(stream, "x")), Err(missing));
        assert_eq!(root.call(&delete_stream(stream)), Err(missing));
        assert_eq!(root.call(&purge_stream(stream)), Err(missing));
    }
    assert_eq!(root.call(&GetStreams {}), Ok(Vec::new()));
}

#[test]
fn a_stream_name_is_taken_once() {
    let rig = Rig::new();
    let mut root = rig.root();
    let taken = ErrorCode::StreamNameAlreadyExists;
    root.call(&create_stream("a")).unwrap();
    root.call(&create_stream("b")).unwrap();
    assert_eq!(root.call(&create_stream("a")).unwrap_err(), taken);
    assert_eq!(root.call(&update_stream("a", "b")), Err(taken));
    assert_eq!(root.call(&update_stream("a", "a")), Ok(()));
    assert_eq!(root.call(&update_stream("a", "c")), Ok(()));
    assert_eq!(root.call(&get_stream("a")), Ok(None));
    assert_eq!(root.call(&get_stream("c")).unwrap().unwrap().stream.id, StreamId::new(0));
    root.call(&create_stream("a")).unwrap();
    let expected = [(0, "c".to_owned()), (1, "b".to_owned()), (2, "a".to_owned())];
    assert_eq!(names(&mut root), expected);
}

#[test]
fn the_lowest_free_id_is_given_again() {
    let rig = Rig::new();
    let mut root = rig.root();
    for name in ["a", "b", "c"] {
        root.call(&create_stream(name)).unwrap();
    }
    root.call(&delete_stream("b")).unwrap();
    root.call(&delete_stream("0")).unwrap();
    assert_eq!(root.call(&create_stream("d")).unwrap().stream.id, StreamId::new(0));
    assert_eq!(root.call(&create_stream("e")).unwrap().stream.id, StreamId::new(1));
    assert_eq!(root.call(&create_stream("f")).unwrap().stream.id, StreamId::new(3));
}

#[test]
fn a_stream_of_the_same_id_and_name_sees_nothing_of_the_deleted_one() {
    let rig = Rig::new();
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    root.call(&create_topic("s", "t", 1)).unwrap();
    root.send("t", to(0), &["old"]).unwrap();
    root.call(&delete_stream("s")).unwrap();
    assert_eq!(root.call(&get_topic("s", "t")), Ok(None));
    assert_eq!(root.send("t", to(0), &["gone"]), Err(ErrorCode::StreamIdNotFound));

    root.call(&create_stream("s")).unwrap();
    let stream = root.call(&get_stream("s")).unwrap().unwrap();
    assert_eq!((stream.stream.topics_count, stream.stream.messages_count), (0, 0));
    root.call(&create_topic("s", "t", 1)).unwrap();
    let polled = root.poll(&poll("t", 0, PollingStrategy::First)).unwrap();
    assert_eq!((polled.current_offset, polled.messages.len()), (0, 0));
}

#[test]
fn a_stream_counts_the_messages_and_bytes_of_its_topics() {
    let rig = Rig::new();
    let mut root = rig.root();
    root.call(&create_stream("s")).unwrap();
    root.call(&create_topic("s", "t", 2)).unwrap();
    root.call(&create_topic("s", "u", 1)).unwrap();
    root.send("t", to(0), &["hello", "world"]).unwrap();
    root.send("t", to(1), &["x"]).unwrap();
    root.send("u", to(0), &["yz"]).unwrap();

    let details = root.call(&get_stream("s")).unwrap().unwrap();
    let Stream { topics_count, size, messages_count, .. } = details.stream.clone();
    assert_eq!((topics_count, messages_count), (2, 4));
    // A message is 64 bytes of header and its payload.
    assert_eq!(size, 2 * 69 + 65 + 66);
    let topics: Vec<_> =
        details.topics.iter().map(|t| (t.name.as_str(), t.size, t.messages_count)).collect();
    assert_eq!(topics, [("t", 2 * 69 + 65, 3), ("u", 66, 1)]);
    assert_eq!(root.call(&GetStreams {}).unwrap(), [details.stream]);
}

#[test]
fn a_name_is_1_to_255_bytes_of_any_text() {
    let rig = Rig::new();
    let mut root = rig.root();
    let long = "é".repeat(127) + "x";
    for name in [long.as_str(), "a b/c", " ", "A", "a"] {
        let created = root.call(&create_stream(name)).unwrap();
        assert_eq!(created.stream.name.as_str(), name);
    }
    let code = CommandCode::CreateStream;
    assert_eq!(root.call_bytes(code, &[0]), Err(ErrorCode::InvalidFormat));
    assert_eq!(root.call_bytes(code, &[]), Err(ErrorCode::InvalidCommand));
    assert_eq!(root.call_bytes(code, &[2, 0xc3, 0x28]), Err(ErrorCode::InvalidCommand));
    assert_eq!(root.call(&GetStreams {}).unwrap().len(), 5);
    // A name of digits is reached by name when the caller says it is one.
    root.call(&create_stream("123")).unwrap();
    assert_eq!(root.call(&get_stream("123")), Ok(None));
    let named =
        galgo_wire::command::GetStream { stream: galgo_wire::Identifier::named("123").unwrap() };
    assert_eq!(root.call(&named).unwrap().unwrap().stream.id, StreamId::new(5));
}
