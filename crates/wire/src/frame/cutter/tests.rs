//! Frames out of streams that are cut anywhere, and bytes that are none.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::frame::put_request;

/// Largest payload that is accepted here.
const LIMIT: u32 = 300;

/// Codes above these are answered at once, or once their payload is gone.
const LOUD: u32 = 200;
const QUIET: u32 = 100;

fn admit(header: RequestHeader) -> Admission {
    match header {
        RequestHeader { code: LOUD.., .. } => {
            Admission::AnswerAndDiscard(ErrorCode::InvalidCommand)
        }
        RequestHeader { code: QUIET.., .. } => Admission::Discard(ErrorCode::Unauthenticated),
        RequestHeader { payload_len, .. } if payload_len > LIMIT => {
            Admission::Discard(ErrorCode::TooBigMessagePayload)
        }
        _ => Admission::Accept,
    }
}

type Received = Result<(u32, Vec<u8>), ErrorCode>;

/// Everything that is made of `stream` when it arrives in these pieces, and then as a whole.
fn requests(stream: &[u8], pieces: &[usize]) -> Vec<Received> {
    let (mut cutter, mut received) = (RequestCutter::default(), Vec::new());
    let (mut buffer, mut rest) = (Vec::new(), stream);
    for piece in pieces.iter().copied().chain([usize::MAX]) {
        let (here, later) = rest.split_at(piece.min(rest.len()));
        (buffer, rest) = ([buffer.as_slice(), here].concat(), later);
        loop {
            let RequestCut { spent, front } = cutter.cut(&buffer, admit);
            match front {
                Ok(Cut::Frame { header, payload }) => {
                    assert_eq!(header.payload_len as usize, payload.len());
                    received.push(Ok((header.code, buffer[payload.clone()].to_vec())));
                    buffer.drain(..payload.end);
                }
                Err(error) => {
                    received.push(Err(error));
                    buffer.drain(..spent);
                }
                Ok(Cut::Partial { whole }) => {
                    assert!(whole <= REQUEST_HEADER_BYTES + LIMIT as usize, "INV-ROOM");
                    buffer.drain(..spent);
                    assert!(buffer.len() < whole, "what is here is not all of it");
                    assert!(buffer.is_empty() || !cutter.is_discarding());
                    break;
                }
            }
        }
    }
    received
}

/// As [`requests`] for the other direction, until something is no reply.
fn replies(stream: &[u8], pieces: &[usize]) -> (Vec<(u32, Vec<u8>)>, Option<Garbled>) {
    let (cutter, mut received) = (ReplyCutter::new(LIMIT as usize), Vec::new());
    let (mut buffer, mut rest) = (Vec::new(), stream);
    for piece in pieces.iter().copied().chain([usize::MAX]) {
        let (here, later) = rest.split_at(piece.min(rest.len()));
        (buffer, rest) = ([buffer.as_slice(), here].concat(), later);
        loop {
            match cutter.cut(&buffer) {
                Ok(Cut::Frame { header, payload }) => {
                    received.push((header.status, buffer[payload.clone()].to_vec()));
                    buffer.drain(..payload.end);
                }
                Ok(Cut::Partial { whole }) => {
                    assert!(whole <= RESPONSE_HEADER_BYTES + LIMIT as usize, "INV-ROOM");
                    assert!(buffer.len() < whole, "what is here is not all of it");
                    break;
                }
                Err(garbled) => return (received, Some(garbled)),
            }
        }
    }
    (received, None)
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..40), vec(any::<u8>(), 290..310)]
}

proptest! {
    /// INV-IN-STEP.
    #[test]
    fn any_pieces_of_a_stream_give_the_same_requests(
        sent in vec((0..300_u32, payload(), 0..10_u32), 0..12),
        pieces in vec(0..200_usize, 0..40),
    ) {
        let (mut stream, mut expected) = (Vec::new(), Vec::new());
        for (code, payload, broken) in sent {
            if broken == 0 {
                stream.extend([3, 0, 0, 0, 9, 9, 9, 9]);
                expected.push(Err(ErrorCode::InvalidCommand));
            }
            let payload_len = u32::try_from(payload.len()).unwrap();
            expected.push(match admit(RequestHeader { code, payload_len }) {
                Admission::Accept => Ok((code, payload.clone())),
                Admission::Discard(error) | Admission::AnswerAndDiscard(error) => Err(error),
            });
            put_request(&mut stream, code, |out| out.extend(&payload)).unwrap();
        }
        prop_assert_eq!(&requests(&stream, &pieces), &expected);
        prop_assert_eq!(requests(&stream, &vec![1; stream.len()]), expected);
    }

    #[test]
    fn any_pieces_of_a_stream_give_the_same_replies(
        sent in vec((0..3_u32, vec(any::<u8>(), 0..LIMIT as usize)), 0..12),
        pieces in vec(0..200_usize, 0..40),
    ) {
        let (mut stream, mut expected) = (Vec::new(), Vec::new());
        for (failure, payload) in sent {
            if failure == 0 {
                ResponseHeader::error(ErrorCode::Unauthorized).put(&mut stream);
                expected.push((ErrorCode::Unauthorized.as_u32(), Vec::new()));
            } else {
                ResponseHeader::ok(u32::try_from(payload.len()).unwrap()).put(&mut stream);
                stream.extend(&payload);
                expected.push((0, payload));
            }
        }
        prop_assert_eq!(replies(&stream, &pieces), (expected.clone(), None));
        prop_assert_eq!(replies(&stream, &vec![1; stream.len()]), (expected, None));
    }

    /// INV-ROOM holds for them too; it is checked on the way.
    #[test]
    fn any_bytes_in_any_pieces_give_the_same(
        bytes in vec(prop_oneof![4 => 0..5_u8, 1 => any::<u8>()], 0..400),
        pieces in vec(0..60_usize, 0..20),
    ) {
        prop_assert_eq!(requests(&bytes, &pieces), requests(&bytes, &[]));
        prop_assert_eq!(replies(&bytes, &pieces), replies(&bytes, &[]));
    }
}

#[test]
fn a_request_that_was_given_up_is_answered_once_the_rest_of_it_is_gone() {
    let mut cutter = RequestCutter::default();
    let partial = cutter.cut(&[14, 0, 0, 0, 1, 0, 0, 0, 7, 7], admit);
    assert_eq!(partial, RequestCut { spent: 0, front: Ok(Cut::Partial { whole: 18 }) });
    cutter.give_up(8, ErrorCode::TooManyMessages);
    assert_eq!(cutter.cut(&[7; 5], admit), RequestCut { spent: 5, front: Ok(NO_HEADER) });
    assert!(cutter.is_discarding());
    let rest = [7, 7, 7, 4, 0, 0, 0, 1, 0, 0, 0];
    let told = RequestCut { spent: 3, front: Err(ErrorCode::TooManyMessages) };
    assert_eq!(cutter.cut(&rest, admit), told);
    let header = RequestHeader { code: 1, payload_len: 0 };
    let next = RequestCut { spent: 0, front: Ok(Cut::Frame { header, payload: 8..8 }) };
    assert_eq!(cutter.cut(&rest[3..], admit), next);
}

#[test]
fn what_is_no_reply_is_told_from_its_header_alone() {
    let cutter = ReplyCutter::new(4);
    let larger = cutter.cut(&[0, 0, 0, 0, 5, 0, 0, 0]);
    assert_eq!(larger, Err(Garbled::TooLarge { len: 5, max: 4 }));
    assert_eq!(cutter.cut(&[3, 0, 0, 0, 1, 0, 0, 0]), Err(Garbled::FailureWithPayload));
    assert_eq!(cutter.cut(&[0, 0, 0, 0, 4, 0, 0, 0]), Ok(Cut::Partial { whole: 12 }));
    assert_eq!(cutter.cut(&[0; 7]), Ok(Cut::Partial { whole: 8 }));
}
