//! The test vectors of the protocol, byte for byte.
//!
//! They were captured from, or computed against, a running classic server; a change here is a break
//! of every client there is.

#![expect(clippy::unwrap_used, reason = "a vector that does not parse fails its test")]

use galgo_wire::batch::{
    BatchBuilder, MessageRef, MessagesView, NewMessage, StampOptions, checksum, stamp,
};
use galgo_wire::command::*;
use galgo_wire::frame::{Cut, ReplyCutter, RequestHeader, ResponseHeader, put_request};
use galgo_wire::{
    ClientId, ConsumerIdentity, ErrorCode, Identifier, IdentifierRef, Life, Name, Offset,
    PartitionId, PartitioningRef, Permissions, PollingStrategy, Timestamp, UserId,
};
use std::fmt::Debug;

/// Bytes from the notation of the protocol: hex pairs, `xx*n` for a repeated byte, quoted ASCII.
fn hex(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in text.split_whitespace() {
        if let Some(text) = word.strip_prefix('"') {
            bytes.extend(text.trim_end_matches('"').bytes());
            continue;
        }
        let (byte, times) = word.split_once('*').unwrap_or((word, "1"));
        let byte = u8::from_str_radix(byte, 16).unwrap();
        bytes.extend(std::iter::repeat_n(byte, times.parse().unwrap()));
    }
    bytes
}

/// Both ways: the command becomes the frame, the frame the command.
fn assert_request<C: Command + PartialEq + Debug + Clone + Into<Request>>(
    command: C,
    expected: &str,
) {
    let expected = hex(expected);
    let mut frame = Vec::new();
    put_request(&mut frame, C::CODE.as_u32(), |out| command.encode(out)).unwrap();
    assert_eq!(frame, expected);

    let (header, payload) = frame.split_first_chunk().unwrap();
    let header = RequestHeader::read(*header).unwrap();
    assert_eq!(header.payload_len as usize, payload.len());
    assert_eq!(Request::decode(header.code, payload), Ok(command.into()));
}

/// Both ways: the reply becomes the payload, the payload the reply.
fn assert_reply<T: Payload + PartialEq + Debug>(reply: T, expected: &str) {
    let expected = hex(expected);
    assert_eq!(reply.to_bytes(), expected);
    assert_eq!(T::from_bytes(&expected), Ok(reply));
}

/// Whole replies, which a running server is held to as well (`end_to_end` of the server's tests).
///
/// P-SAME.
#[test]
fn replies() {
    let failure = |code| {
        let mut frame = Vec::new();
        ResponseHeader::error(code).put(&mut frame);
        frame
    };
    let success = |payload: Vec<u8>| {
        let mut frame = Vec::new();
        ResponseHeader::ok(u32::try_from(payload.len()).unwrap()).put(&mut frame);
        frame.extend(payload);
        frame
    };
    let nothing =
        PolledHeader { partition_id: PartitionId::new(0), current_offset: Offset::ZERO, count: 0 };
    let sent = [
        ("empty", success(Vec::new())),
        ("not_a_request", failure(ErrorCode::InvalidCommand)),
        ("disconnected", failure(ErrorCode::Disconnected)),
        ("unauthenticated", failure(ErrorCode::Unauthenticated)),
        ("limit_reached", failure(ErrorCode::UsersLimitReached)),
        ("logged_in", success(LoggedIn { user_id: UserId::ROOT }.to_bytes())),
        ("nothing_polled", success(nothing.to_bytes())),
    ];
    let vectors = include_str!("../fixtures/replies.txt").lines();
    let vectors: Vec<_> = vectors
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once(' ').map(|(name, bytes)| (name, hex(bytes))).unwrap())
        .collect();
    assert_eq!(sent.to_vec(), vectors);
    for (name, frame) in sent {
        let Ok(Cut::Frame { header, payload }) = ReplyCutter::new(16).cut(&frame) else {
            panic!("{name} is no reply");
        };
        assert_eq!((header.status, payload.end), (frame[0].into(), frame.len()), "{name}");
    }
}

#[test]
fn ping() {
    assert_request(Ping, "04 00 00 00 01 00 00 00");
}

#[test]
fn login() {
    assert_request(
        LoginUser {
            username: "iggy".parse().unwrap(),
            password: "iggy".parse().unwrap(),
            version: "0.10.0".to_owned(),
            context: String::new(),
        },
        "1c 00 00 00 26 00 00 00 04 69 67 67 79 04 69 67 67 79 \
         06 00 00 00 30 2e 31 30 2e 30 00 00 00 00",
    );
}

#[test]
fn create_topic() {
    assert_request(
        CreateTopic {
            stream: Identifier::named("s1").unwrap(),
            partitions_count: 2,
            compression: Compression::None,
            message_expiry: MessageExpiry::SERVER_DEFAULT,
            max_topic_size: MaxTopicSize::SERVER_DEFAULT,
            replication_factor: 0,
            name: "t1".parse().unwrap(),
        },
        "21 00 00 00 2e 01 00 00 02 02 73 31 02 00 00 00 01 00*8 00*8 00 02 74 31",
    );
}

#[test]
fn get_me_reply() {
    let client_id = ClientId::from_address("127.0.0.1:59288");
    assert_eq!(client_id, ClientId::new(0xa810_ed62));
    assert_reply(
        ClientDetails {
            client: Client {
                client_id,
                user_id: Some(UserId::ROOT),
                transport: Transport::Tcp,
                address: "127.0.0.1:59288".to_owned(),
                consumer_groups_count: 0,
            },
            consumer_groups: Vec::new(),
        },
        "62 ed 10 a8 00 00 00 00 01 0f 00 00 00 \"127.0.0.1:59288\" 00 00 00 00",
    );
}

#[test]
fn get_user_reply() {
    let user = User {
        id: UserId::ROOT,
        created_at: Timestamp::new(0x0102_0304_0506_0708),
        status: UserStatus::Active,
        username: Name::parse("iggy").unwrap(),
    };
    assert_reply(
        Some(UserDetails { user: user.clone(), permissions: Some(Permissions::root()) }),
        "00 00 00 00 08 07 06 05 04 03 02 01 01 04 \"iggy\" 01 0b 00 00 00 01*10 00",
    );
    assert_reply(
        Some(UserDetails { user, permissions: None }),
        "00 00 00 00 08 07 06 05 04 03 02 01 01 04 \"iggy\" 00 00 00 00",
    );
    assert_reply(None::<UserDetails>, "");
}

#[test]
fn poll() {
    assert_request(
        PollMessages {
            consumer: ConsumerIdentity::new(Identifier::Numeric(1)),
            stream: Identifier::named("s1").unwrap(),
            topic: Identifier::Numeric(0),
            partition_id: Some(PartitionId::new(0)),
            strategy: PollingStrategy::First,
            count: 10,
            auto_commit: false,
        },
        "28 00 00 00 64 00 00 00 01 01 04 01 00 00 00 02 02 73 31 01 04 00 00 00 00 \
         01 00 00 00 00 03 00*8 0a 00 00 00 00",
    );
}

#[test]
fn empty_poll_reply() {
    let header =
        PolledHeader { partition_id: PartitionId::new(1), current_offset: Offset::ZERO, count: 0 };
    let expected = hex("01 00 00 00 00*8 00 00 00 00");
    assert_eq!(header.to_array().to_vec(), expected);
    assert_eq!(header.to_bytes(), expected);
    let polled = PollReply::from_payload(expected).unwrap();
    assert_eq!((polled.header(), polled.messages().count()), (header, 0));
}

const SEND: &str = "\
    c6 00 00 00 65 00 00 00 \
    14 00 00 00 \
    02 02 73 31 01 04 00 00 00 00 \
    02 04 00 00 00 00 \
    02 00 00 00 \
    00 00 00 00 45 00 00 00 00*8 \
    00 00 00 00 8a 00 00 00 00*8 \
    00*8 00*16 00*8 00*8 7b 00*7 00 00 00 00 05 00 00 00 00*8 \"hello\" \
    00*8 05 00*15 00*8 00*8 7c 00*7 00 00 00 00 05 00 00 00 00*8 \"world\"";

const STORED_WORLD: &str = "\
    b4 e5 43 9e cd 8a 69 54 05 00*15 01 00*7 be 93 49 80 da 60 06 00 7c 00*7 \
    00 00 00 00 05 00 00 00 00*8 77 6f 72 6c 64";

#[test]
fn send_from_the_producer() {
    let mut batch = BatchBuilder::new();
    for (id, payload, origin) in [(0, "hello", 123), (5, "world", 124)] {
        let origin_timestamp = Timestamp::new(origin);
        let payload = payload.as_bytes();
        batch.push(&NewMessage { id, payload, user_headers: &[], origin_timestamp }).unwrap();
    }
    let mut frame = Vec::new();
    put_request(&mut frame, CommandCode::SendMessages.as_u32(), |out| {
        let partitioning = PartitioningRef::PartitionId(PartitionId::new(0));
        let (stream, topic) = (IdentifierRef::Named("s1"), IdentifierRef::Numeric(0));
        batch.encode_send(stream, topic, partitioning, out);
    })
    .unwrap();
    assert_eq!(frame, hex(SEND));
}

/// A chained send is the classic one behind its place in the chain, and is answered with 40 bytes.
#[test]
fn a_chained_send_and_its_answers() {
    let link = ChainLink { lane: 3, position: 9, begins: true };
    for (chain, front) in [
        (None, "00 00"),
        (Some(ChainLink { begins: false, ..link }), "10 00 03 00 00 00 09 00*7"),
        (Some(link), "30 00 03 00 00 00 09 00*7"),
    ] {
        let mut payload = Vec::new();
        SendWithHeader::encode(chain, &mut payload);
        assert_eq!(payload, hex(front));
        payload.extend(&hex(SEND)[8..]);
        let parts = SendWithHeader::parse(&mut payload).unwrap();
        assert_eq!(parts.chain, chain);
        assert_eq!(SendHeader::parse(parts.send).unwrap().count, 2);
    }
    let stored = SendReply {
        outcome: SendOutcome::Stored,
        partition_id: PartitionId::new(1),
        first_offset: Offset::new(10),
        stored: 2,
        timestamp: Timestamp::new(1_795_341_431_706_558),
        end: Offset::new(12),
        throttle_us: 0,
    };
    let expected = "00 01 00 00 00 0a 00*7 02 00 00 00 be 93 49 80 da 60 06 00 0c 00*7 00*4 00*3";
    assert_eq!(stored.to_bytes(), hex(expected));
    assert_eq!(SendReply::from_bytes(&hex(expected)), Ok(stored));
    assert_eq!(SendReply::EARLIER_MISSING.to_bytes(), hex("06 00*39"));
}

#[test]
fn send_at_the_server_and_poll() {
    let mut frame = hex(SEND);
    let parts = SendHeader::parse(&mut frame[8..]).unwrap();
    assert_eq!(
        (parts.stream, parts.topic),
        (IdentifierRef::Named("s1"), IdentifierRef::Numeric(0))
    );
    assert_eq!(parts.partitioning, PartitioningRef::PartitionId(PartitionId::new(0)));
    assert_eq!((parts.count, parts.indexes.len(), parts.messages.len()), (2, 32, 138));

    let mut new_id = |_| 77;
    let options = StampOptions {
        first_offset: Offset::ZERO,
        timestamp: Timestamp::new(1_795_341_431_706_558),
        new_id: &mut new_id,
    };
    stamp(parts.indexes, parts.messages, parts.count, options).unwrap();
    let stored: Vec<MessageRef<'_>> =
        MessagesView::new(parts.messages).collect::<Result<_, _>>().unwrap();
    assert_eq!(stored[0].header.id, 77);
    assert_eq!(stored[1].bytes, hex(STORED_WORLD));
}

/// INV-CHECKSUM.
#[test]
fn a_stored_message_has_the_checksum_of_the_classic_server() {
    let stored = hex(STORED_WORLD);
    assert_eq!(checksum(&stored), 6_082_545_387_468_744_116);
    assert!(MessageRef::read(&stored).unwrap().verify());
}

#[test]
fn fixed_sizes_are_those_of_the_protocol() {
    let stats = Stats::default().to_bytes();
    // 108 bytes, five empty texts, version, empty cache list, threads and two disk sizes.
    assert_eq!(stats.len(), 108 + 5 * 4 + 4 + 4 + 4 + 8 + 8);
    let offset = ConsumerOffset {
        partition_id: PartitionId::new(0),
        current_offset: Offset::ZERO,
        stored_offset: Offset::ZERO,
    };
    assert_eq!(offset.to_bytes().len(), 20);
    let (durability, deduplication) = (Some(Durability::Fsync), Some(Deduplication::On));
    let settings = TopicSettings { durability, deduplication, ..TopicSettings::default() };
    assert_eq!(settings.to_bytes(), hex("02 02 00*6"));
    let window = DeduplicationWindow { entries: 100_000, seconds: 300 };
    let told = TopicSettings { window, ..settings };
    assert_eq!(told.to_bytes(), hex("02 02 a0 86 01 00 2c 01"));
    assert_eq!(TopicSettings::from_bytes(&told.to_bytes()), Ok(told));
}

#[test]
fn a_retention_plan() {
    let segment = PlannedSegment {
        partition_id: PartitionId::new(1),
        base_offset: Offset::new(2),
        end_offset: Offset::new(3),
        messages: 2,
        bytes: 256,
        newest_timestamp: Timestamp::new(5),
        reason: RetentionReason::Size,
        held: true,
        barrier: 2,
    };
    let plan = RetentionPlan {
        enabled: true,
        interval: 6,
        message_expiry: MessageExpiry::NEVER,
        max_topic_size: MaxTopicSize::new(7),
        size: 8,
        segments: vec![segment],
    };
    assert_reply(
        plan,
        "01 06 00*7 ff*8 07 00*7 08 00*7 \
         01 00*3 02 00*7 03 00*7 02 00*7 00 01 00*6 05 00*7 02 01 02 00*7",
    );
}

#[test]
fn memberships_with_a_session() {
    assert_request(
        JoinGroupWith {
            stream: Identifier::Numeric(1),
            topic: Identifier::Numeric(2),
            group: Identifier::Numeric(3),
            session: 258,
            reserved: 0,
        },
        "26 00 00 00 19 27 00 00 01 04 01 00 00 00 01 04 02 00 00 00 01 04 03 00 00 00 02 01 00*6 00*8",
    );
    let hold = GroupHold { partition_id: PartitionId::new(4), hold: 5, safe: 6 };
    assert_reply(
        GroupHolds { membership: 7, session: 8, holds: vec![hold] },
        "07 00*7 08 00*7 04 00 00 00 05 00*7 06 00*7",
    );
}

#[test]
fn polls_in_a_life() {
    let poll = PollMessages {
        consumer: ConsumerIdentity::new(Identifier::Numeric(1)),
        stream: Identifier::Numeric(2),
        topic: Identifier::Numeric(3),
        partition_id: Some(PartitionId::new(4)),
        strategy: PollingStrategy::Offset(Offset::new(5)),
        count: 6,
        auto_commit: false,
    };
    let life = Life::new(0x0102_0304_0506_0708);
    assert_request(
        PollInLife { poll, wait: 9, count_min: 1, life, reserved: 0 },
        "46 00 00 00 16 27 00 00 01 01 04 01 00 00 00 01 04 02 00 00 00 01 04 03 00 00 00 \
         01 04 00 00 00 01 05 00*7 06 00 00 00 00 \
         09 00*7 01 00 00 00 08 07 06 05 04 03 02 01 00*8",
    );
    let header = LifeHeader {
        polled: PolledHeader {
            partition_id: PartitionId::new(4),
            current_offset: Offset::new(9),
            count: 0,
        },
        life,
        start: Offset::new(1),
        end: Offset::new(10),
        next: Offset::new(5),
        damaged_from: Offset::new(4),
        damaged_to: Offset::new(7),
        flags: PollFlags::DAMAGED,
    };
    assert_reply(
        header,
        "04 00 00 00 09 00*7 00 00 00 00 08 07 06 05 04 03 02 01 \
         01 00*7 0a 00*7 05 00*7 04 00*7 07 00*7 04 00 00 00 00*12",
    );
    assert_reply(StoredInLife { life, stored: true }, "08 07 06 05 04 03 02 01 01");
}
