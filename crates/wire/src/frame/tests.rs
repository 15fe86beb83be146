//! Frames of any split, and every way a frame is refused.

use super::*;
use crate::error_code::ErrorCode;
use proptest::prelude::*;

const SEND: u32 = 101;

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Frame(u32, Vec<u8>),
    Refused(ErrorCode),
    Close(ErrorCode),
}

/// Feeds `bytes` in pieces of the given sizes, over and over, and collects what comes out.
fn feed(decoder: &mut Decoder, mut bytes: &[u8], pieces: &[usize]) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut pieces = pieces.iter().cycle();
    while !bytes.is_empty() {
        let space = decoder.space();
        assert!(!space.is_empty(), "there is always room");
        let count = bytes.len().min(space.len()).min(*pieces.next().unwrap()).max(1);
        let (head, tail) = bytes.split_at(count);
        space[..count].copy_from_slice(head);
        decoder.filled(count);
        bytes = tail;
        while let Some(event) = decoder.next_event() {
            seen.push(match event {
                Event::Frame(frame) => Seen::Frame(frame.code, frame.payload.to_vec()),
                Event::Refused(code) => Seen::Refused(code),
                Event::Close(code) => Seen::Close(code),
            });
        }
    }
    seen
}

fn request(code: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_request(&mut out, code, |out| out.extend_from_slice(payload)).unwrap();
    out
}

fn decode(bytes: &[u8]) -> Vec<Seen> {
    feed(&mut Decoder::new(FrameLimits::default()), bytes, &[usize::MAX])
}

#[test]
fn a_length_below_four_is_refused_and_the_next_frame_is_read() {
    for length in 0..4_u8 {
        let mut bytes = vec![length, 0, 0, 0, 9, 9, 9, 9];
        bytes.extend(request(1, &[]));
        let expected = [Seen::Refused(ErrorCode::InvalidCommand), Seen::Frame(1, vec![])];
        assert_eq!(decode(&bytes), expected);
    }
}

#[test]
fn an_oversize_control_frame_is_refused_and_closes() {
    let mut bytes = RequestHeader { code: 202, payload_len: (10 << 20) + 1 }.to_bytes().to_vec();
    bytes.extend(request(1, &[]));
    assert_eq!(decode(&bytes), [Seen::Close(ErrorCode::InvalidCommand)]);
    let longest = RequestHeader { code: 202, payload_len: u32::MAX - 4 }.to_bytes();
    assert_eq!(decode(&longest), [Seen::Close(ErrorCode::InvalidCommand)]);
}

#[test]
fn a_control_frame_of_the_limit_is_read() {
    let payload = vec![7; 10 << 20];
    assert_eq!(decode(&request(202, &payload)), [Seen::Frame(202, payload)]);
}

#[test]
fn an_oversize_send_is_drained_and_refused() {
    let limits = FrameLimits { send_bytes_max: 100, ..FrameLimits::default() };
    let mut bytes = request(SEND, &[1; 101]);
    bytes.extend(request(SEND, &[2; 100]));
    let mut decoder = Decoder::new(limits);
    let expected = [Seen::Refused(ErrorCode::InvalidSizeBytes), Seen::Frame(SEND, vec![2; 100])];
    assert_eq!(feed(&mut decoder, &bytes, &[13]), expected);
}

#[test]
fn a_refused_send_is_drained_without_being_stored() {
    let mut decoder = Decoder::new(FrameLimits {
        refuse_sends: Some(ErrorCode::Unauthenticated),
        ..FrameLimits::default()
    });
    let mut bytes = request(SEND, &vec![1; 3 << 20]);
    bytes.extend(request(1, &[]));
    let expected = [Seen::Refused(ErrorCode::Unauthenticated), Seen::Frame(1, vec![])];
    assert_eq!(feed(&mut decoder, &bytes, &[usize::MAX]), expected);
    assert!(decoder.memory() <= 128 << 10, "{} bytes held", decoder.memory());

    decoder.limits_mut().refuse_sends = None;
    let expected = [Seen::Frame(SEND, vec![5])];
    assert_eq!(feed(&mut decoder, &request(SEND, &[5]), &[usize::MAX]), expected);
}

#[test]
fn an_announced_length_alone_costs_no_memory() {
    let mut decoder = Decoder::new(FrameLimits::default());
    let header = RequestHeader { code: SEND, payload_len: 100 << 20 }.to_bytes();
    assert_eq!(feed(&mut decoder, &header, &[1]), []);
    assert!(decoder.is_mid_frame());
    decoder.space();
    assert!(decoder.memory() <= 8 << 10, "{} bytes held", decoder.memory());
    assert_eq!(feed(&mut decoder, &vec![0; 1 << 20], &[usize::MAX]), []);
    decoder.space();
    assert!(decoder.memory() <= 5 << 20, "{} bytes held", decoder.memory());
}

#[test]
fn memory_is_given_back_between_frames_only() {
    let mut decoder = Decoder::new(FrameLimits::default());
    let frame = request(SEND, &vec![3; 1 << 20]);
    let (front, back) = frame.split_at(500_000);
    assert_eq!(feed(&mut decoder, front, &[usize::MAX]), []);
    decoder.release_idle();
    let seen = feed(&mut decoder, back, &[usize::MAX]);
    assert_eq!(seen, [Seen::Frame(SEND, vec![3; 1 << 20])]);
    decoder.release_idle();
    assert_eq!((decoder.memory(), decoder.is_mid_frame()), (0, false));
    assert_eq!(feed(&mut decoder, &request(1, &[]), &[3]), [Seen::Frame(1, vec![])]);
}

#[test]
fn small_frames_do_not_grow_the_buffer_beyond_its_busy_size() {
    let mut decoder = Decoder::new(FrameLimits::default());
    let frames = request(SEND, &[1; 150]).repeat(20_000);
    assert_eq!(feed(&mut decoder, &frames, &[usize::MAX, 77, 4_000]).len(), 20_000);
    assert!(decoder.memory() <= 128 << 10, "{} bytes held", decoder.memory());
}

#[test]
fn headers_round_trip() {
    let header = RequestHeader { code: 38, payload_len: 24 };
    assert_eq!(RequestHeader::read(header.to_bytes()), Ok(header));
    let header = ResponseHeader::error(ErrorCode::Unauthorized);
    assert_eq!(header.to_bytes(), [41, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(ResponseHeader::read(header.to_bytes()), header);
    assert_eq!(ResponseHeader::read(ResponseHeader::ok(7).to_bytes()), ResponseHeader::ok(7));
}

/// A request for the property tests: bytes, and what they should become.
fn any_request() -> impl Strategy<Value = (Vec<u8>, Seen)> {
    let payload = || prop::collection::vec(any::<u8>(), 0..200);
    let small = (0..700_u32, payload())
        .prop_map(|(code, payload)| (request(code, &payload), Seen::Frame(code, payload)));
    let large = (any::<u8>(), 30_000..90_000_usize).prop_map(|(byte, len)| {
        let payload = vec![byte; len];
        (request(SEND, &payload), Seen::Frame(SEND, payload))
    });
    let oversize = (120_000..130_000_usize)
        .prop_map(|len| (request(SEND, &vec![1; len]), Seen::Refused(ErrorCode::InvalidSizeBytes)));
    let short = (0..4_u8, any::<u32>()).prop_map(|(length, code)| {
        let mut bytes = vec![length, 0, 0, 0];
        bytes.extend(code.to_le_bytes());
        (bytes, Seen::Refused(ErrorCode::InvalidCommand))
    });
    prop_oneof![6 => small, 1 => large, 1 => oversize, 1 => short]
}

proptest! {
    #[test]
    fn any_split_gives_the_same_events(
        requests in prop::collection::vec(any_request(), 1..12),
        pieces in prop::collection::vec(
            prop_oneof![1..20_usize, 1..5_000_usize, Just(usize::MAX)], 1..8
        ),
    ) {
        let limits = FrameLimits { send_bytes_max: 100_000, ..FrameLimits::default() };
        let (bytes, expected): (Vec<_>, Vec<_>) = requests.into_iter().unzip();
        let seen = feed(&mut Decoder::new(limits), &bytes.concat(), &pieces);
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn any_bytes_keep_the_decoder_bounded(
        bytes in prop::collection::vec(any::<u8>(), 0..2_000),
        pieces in prop::collection::vec(1..300_usize, 1..5),
    ) {
        let mut decoder = Decoder::new(FrameLimits::default());
        feed(&mut decoder, &bytes, &pieces);
        prop_assert!(decoder.memory() <= 16 << 10);
    }
}
