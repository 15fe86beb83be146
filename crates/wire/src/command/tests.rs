//! Every command and reply: round trips, truncations, and any bytes at all.

mod columns;
mod samples;

use super::*;
use crate::permission::Permissions;
use crate::sample::{Draws, Sample, sources};
use proptest::prelude::*;
use std::fmt::Debug;

/// The codes a payload can be refused with before anyone looks at what it asks for.
const DECODE_CODES: [ErrorCode; 6] = [
    ErrorCode::InvalidCommand,
    ErrorCode::InvalidFormat,
    ErrorCode::InvalidUsername,
    ErrorCode::InvalidPassword,
    ErrorCode::InvalidPersonalAccessTokenName,
    ErrorCode::InvalidSizeBytes,
];

fn for_all<F: Fn(&mut Draws)>(check: F) {
    let mut runner = proptest::test_runner::TestRunner::default();
    let run = runner.run(&sources(), |seed| {
        check(&mut Draws::new(seed));
        Ok(())
    });
    run.unwrap();
}

#[test]
fn every_command_round_trips() {
    fn check<C: Command + Sample + PartialEq + Debug + Into<Request>>() {
        for_all(|source| {
            let command = C::sample(source);
            let bytes = command.to_bytes();
            assert_eq!(C::from_bytes(&bytes).as_ref(), Ok(&command));
            let request = Request::decode(C::CODE.as_u32(), &bytes).unwrap();
            assert_eq!(request.code(), C::CODE);
            assert_eq!(request.right(), command.right());
            assert_eq!(request, command.into());
        });
    }
    for_each_command!(check);
}

#[test]
fn every_truncated_command_is_invalid() {
    fn check<C: Command + Sample>() {
        for_all(|source| {
            let bytes = C::sample(source).to_bytes();
            let len = bytes.len().min(600);
            for end in 0..len {
                let code = Request::decode(C::CODE.as_u32(), &bytes[..end]).unwrap_err();
                assert_eq!(code, ErrorCode::InvalidCommand, "{} at {end}", C::CODE);
            }
        });
    }
    for_each_command!(check);
}

#[test]
fn bytes_behind_a_command_are_ignored() {
    fn check<C: Command + Sample + Into<Request>>() {
        for_all(|source| {
            let command = C::sample(source);
            let mut bytes = command.to_bytes();
            bytes.extend(source.bytes(1, 9));
            assert_eq!(Request::decode(C::CODE.as_u32(), &bytes), Ok(command.into()));
        });
    }
    for_each_command!(check);
}

#[test]
fn every_reply_round_trips_and_survives_truncation() {
    fn check<C: Command>()
    where
        C::Reply: Sample + PartialEq + Debug,
    {
        for_all(|source| {
            // A value may have two spellings ("nobody" and the number that means nobody), its
            // bytes have one.
            let bytes = C::Reply::sample(source).to_bytes();
            assert_ne!(bytes.len(), 1, "classic clients do not read a payload of one byte");
            let reply = C::Reply::from_bytes(&bytes).unwrap();
            assert_eq!(reply.to_bytes(), bytes);
            assert_eq!(C::Reply::from_bytes(&reply.to_bytes()), Ok(reply));
            for end in 0..bytes.len().min(300) {
                let _ = C::Reply::from_bytes(&bytes[..end]);
            }
        });
    }
    for_each_command!(check);
}

proptest! {
    /// INV-EXACT.
    #[test]
    fn any_bytes_give_a_request_or_a_code(
        which in 0..CommandCode::ALL.len(),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let code = CommandCode::ALL[which];
        if let Err(error) = Request::decode(code.as_u32(), &bytes) {
            prop_assert!(DECODE_CODES.contains(&error), "{code}: {error:?}");
        }
    }

    #[test]
    fn a_request_with_a_changed_byte_gives_a_request_or_a_code(
        seed in sources(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        fn check<C: Command + Sample>(seed: u64, at: prop::sample::Index, byte: u8) {
            let mut bytes = C::sample(&mut Draws::new(seed)).to_bytes();
            if bytes.is_empty() {
                return;
            }
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Err(error) = C::from_bytes(&bytes) {
                assert!(DECODE_CODES.contains(&error), "{}: {error:?}", C::CODE);
            }
        }
        check::<PollMessages>(seed, at, byte);
        check::<CreateUser>(seed, at, byte);
        check::<UpdateUser>(seed, at, byte);
        check::<CreateTopicWith>(seed, at, byte);
        check::<LoginUser>(seed, at, byte);
        check::<GetSnapshot>(seed, at, byte);
    }

    #[test]
    fn any_bytes_give_a_reply_or_a_code(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        fn check<C: Command>(bytes: &[u8]) {
            let _ = C::Reply::from_bytes(bytes);
        }
        check::<GetStats>(&bytes);
        check::<GetClusterMetadata>(&bytes);
        check::<GetMe>(&bytes);
        check::<GetUser>(&bytes);
        check::<GetStream>(&bytes);
        check::<GetTopic>(&bytes);
        check::<GetConsumerGroup>(&bytes);
        check::<GetTokens>(&bytes);
        check::<GetTopicSettings>(&bytes);
        check::<PlanRetention>(&bytes);
        check::<ListConsumerOffsets>(&bytes);
        check::<ConfigureTopic>(&bytes);
    }

    #[test]
    fn any_bytes_give_the_parts_of_a_send_or_a_code(
        mut bytes in prop::collection::vec(any::<u8>(), 0..300),
        metadata_length in 0_u8..40,
    ) {
        if let Some(first) = bytes.first_chunk_mut::<4>() {
            *first = [metadata_length, 0, 0, 0];
        }
        if let Err(error) = SendHeader::parse(&mut bytes) {
            prop_assert!(matches!(
                error,
                ErrorCode::InvalidCommand
                    | ErrorCode::InvalidIdentifier
                    | ErrorCode::InvalidMessagesCount
                    | ErrorCode::InvalidIndexesCount
            ));
        }
    }
}

#[test]
fn an_unknown_code_is_an_invalid_command() {
    for code in [0, 2, 13, 40, 45, 103, 299, 606, 9_999, 999_999, u32::MAX] {
        assert_eq!(CommandCode::from_u32(code), None);
        assert_eq!(Request::decode(code, &[]), Err(ErrorCode::InvalidCommand));
    }
}

#[test]
fn there_are_47_classic_commands() {
    let classic = CommandCode::ALL.iter().filter(|code| !code.is_extension());
    assert_eq!(classic.count(), 47);
    for code in CommandCode::ALL {
        assert_eq!(CommandCode::from_u32(code.as_u32()), Some(*code));
    }
}

fn refused<C: Command + Debug>(bytes: &[u8]) -> ErrorCode {
    C::from_bytes(bytes).unwrap_err()
}

#[test]
fn unknown_values_are_invalid_commands() {
    let consumer = [1, 1, 4, 0, 0, 0, 0];
    let mut poll = consumer.to_vec();
    poll.extend([1, 4, 0, 0, 0, 0, 1, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let strategy_at = poll.len();
    poll.extend([1, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0]);
    assert!(PollMessages::from_bytes(&poll).is_ok());
    for (at, value) in [(0, 0), (0, 3), (strategy_at, 0), (strategy_at, 6)] {
        let mut bytes = poll.clone();
        bytes[at] = value;
        assert_eq!(refused::<PollMessages>(&bytes), ErrorCode::InvalidCommand);
    }
    for bytes in [[0, 0].as_slice(), &[7, 0], &[1, 1, 7], &[1, 1, 0], &[1, 2, 100, 1]] {
        assert_eq!(refused::<GetSnapshot>(bytes), ErrorCode::InvalidCommand, "{bytes:?}");
    }
    assert!(GetSnapshot::from_bytes(&[1, 0]).is_ok());
    assert!(GetSnapshot::from_bytes(&[6, 1, 100]).is_ok());
}

#[test]
fn a_login_names_the_field_that_is_out_of_bounds() {
    assert_eq!(refused::<LoginUser>(b"\x02ab\x01p\0\0\0\0\0\0\0\0"), ErrorCode::InvalidUsername);
    assert_eq!(refused::<LoginUser>(b"\x03abc\x02pw\0\0\0\0\0\0\0\0"), ErrorCode::InvalidPassword);
    assert_eq!(refused::<LoginUser>(b"\x03abc\x03pwd\0\0\0\0"), ErrorCode::InvalidCommand);
    assert!(LoginUser::from_bytes(b"\x03abc\x03pwd\0\0\0\0\0\0\0\0").is_ok());
}

#[test]
fn permissions_of_the_wrong_length_are_an_invalid_format() {
    let mut bytes = vec![1, 4, 7, 0, 0, 0, 1];
    let flags = Permissions::root().to_bytes();
    for (length, code) in [
        (11, None),
        (10, Some(ErrorCode::InvalidFormat)),
        (0, Some(ErrorCode::InvalidFormat)),
        (12, Some(ErrorCode::InvalidFormat)),
        (200, Some(ErrorCode::InvalidCommand)),
    ] {
        bytes.truncate(7);
        bytes.extend([length, 0, 0, 0]);
        bytes.extend(&flags);
        bytes.push(0);
        assert_eq!(UpdatePermissions::from_bytes(&bytes).err(), code, "{length}");
    }
    bytes[6] = 2;
    assert_eq!(UpdatePermissions::from_bytes(&bytes).map(|it| it.permissions), Ok(None));
}

#[test]
fn a_reply_that_does_not_agree_with_its_count_is_refused() {
    let mut source = Draws::new(3);
    let mut details = StreamDetails::sample(&mut source);
    details.stream.topics_count += 1;
    assert_eq!(StreamDetails::from_bytes(&details.to_bytes()), Err(ErrorCode::InvalidFormat));
}

fn send(metadata: &[u8], rest: &[u8]) -> Result<u32, ErrorCode> {
    let mut payload = u32::try_from(metadata.len()).unwrap().to_le_bytes().to_vec();
    payload.extend(metadata);
    payload.extend(rest);
    SendHeader::parse(&mut payload).map(|parts| parts.count)
}

#[test]
fn a_malformed_send_gives_the_exact_code() {
    let metadata = |ident: &[u8], partitioning: &[u8], count: u32| {
        [ident, &[1, 4, 0, 0, 0, 0], partitioning, &count.to_le_bytes()].concat()
    };
    let (id, balanced) = ([1, 4, 0, 0, 0, 0].as_slice(), [1, 0].as_slice());
    assert_eq!(send(&metadata(id, balanced, 1), &[0; 80]), Ok(1));
    let cases: [(Vec<u8>, usize, ErrorCode); 11] = [
        (metadata(&[3, 1, b'a'], balanced, 1), 80, ErrorCode::InvalidIdentifier),
        (metadata(&[1, 3, 0, 0, 0], balanced, 1), 80, ErrorCode::InvalidIdentifier),
        (metadata(&[2, 0], balanced, 1), 80, ErrorCode::InvalidIdentifier),
        (metadata(&[2, 1, 0xff], balanced, 1), 80, ErrorCode::InvalidIdentifier),
        (metadata(id, &[3, 0], 1), 80, ErrorCode::InvalidCommand),
        (metadata(id, &[9, 0], 1), 80, ErrorCode::InvalidCommand),
        (metadata(id, balanced, 0), 80, ErrorCode::InvalidMessagesCount),
        (metadata(id, balanced, 6), 80, ErrorCode::InvalidIndexesCount),
        (metadata(id, balanced, u32::MAX), 80, ErrorCode::InvalidIndexesCount),
        ([metadata(id, balanced, 1), vec![0]].concat(), 80, ErrorCode::InvalidCommand),
        (vec![1, 4, 0, 0], 80, ErrorCode::InvalidCommand),
    ];
    for (metadata, rest, code) in cases {
        assert_eq!(send(&metadata, &vec![0; rest]), Err(code), "{metadata:?}");
    }
    assert_eq!(SendHeader::parse(&mut [255, 255, 255, 255]).err(), Some(ErrorCode::InvalidCommand));
    assert_eq!(SendHeader::parse(&mut []).err(), Some(ErrorCode::InvalidCommand));
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let login = LoginUser::from_bytes(b"\x03abc\x07hunter2\0\0\0\0\0\0\0\0").unwrap();
    let token = LoginWithToken::from_bytes(b"\x07hunter2").unwrap();
    let change = ChangePassword::from_bytes(b"\x01\x04\0\0\0\0\x07hunter2\x07hunter2").unwrap();
    for shown in [format!("{login:?}"), format!("{token:?}"), format!("{change:?}")] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
