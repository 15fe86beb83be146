//! Any bytes as a stream of frames, both ways, in any pieces: the same frames as in one piece, no panic, and no
//! room asked for beyond the limit.
#![no_main]

use galgo_wire::ErrorCode;
use galgo_wire::frame::{
    Admission, Cut, Garbled, ReplyCutter, RequestCut, RequestCutter, RequestHeader,
};
use galgo_wire::limits::{REQUEST_HEADER_BYTES, RESPONSE_HEADER_BYTES};
use libfuzzer_sys::fuzz_target;

const LIMIT: u32 = 1 << 10;

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (stream, pieces) = input;
    assert_eq!(requests(&stream, &pieces), requests(&stream, &[]));
    assert_eq!(replies(&stream, &pieces), replies(&stream, &[]));
});

fn admit(header: RequestHeader) -> Admission {
    match (header.code % 4, header.payload_len) {
        (0, LIMIT..) => Admission::AnswerAndDiscard(ErrorCode::InvalidCommand),
        (1, _) | (_, LIMIT..) => Admission::Discard(ErrorCode::TooBigMessagePayload),
        _ => Admission::Accept,
    }
}

/// The buffer after each piece, and after all that is left.
fn arrivals<'a>(stream: &'a [u8], pieces: &[u8]) -> impl Iterator<Item = usize> + use<'a> {
    let mut here = 0;
    let pieces: Vec<usize> = pieces.iter().map(|piece| usize::from(*piece)).collect();
    pieces.into_iter().chain([stream.len()]).map(move |piece| {
        here = (here + piece).min(stream.len());
        here
    })
}

fn requests(stream: &[u8], pieces: &[u8]) -> Vec<Result<(u32, Vec<u8>), ErrorCode>> {
    let (mut cutter, mut received, mut start) = (RequestCutter::default(), Vec::new(), 0);
    for end in arrivals(stream, pieces) {
        loop {
            let bytes = &stream[start..end];
            let RequestCut { spent, front } = cutter.cut(bytes, admit);
            match front {
                Ok(Cut::Frame { header, payload }) => {
                    received.push(Ok((header.code, bytes[payload.clone()].to_vec())));
                    start += payload.end;
                }
                Err(error) => {
                    received.push(Err(error));
                    start += spent;
                }
                Ok(Cut::Partial { whole }) => {
                    assert!(whole <= REQUEST_HEADER_BYTES + LIMIT as usize);
                    start += spent;
                    assert!(end - start < whole);
                    break;
                }
            }
        }
    }
    received
}

fn replies(stream: &[u8], pieces: &[u8]) -> (Vec<(u32, Vec<u8>)>, Option<Garbled>) {
    let (cutter, mut received, mut start) = (ReplyCutter::new(LIMIT as usize), Vec::new(), 0);
    for end in arrivals(stream, pieces) {
        loop {
            let bytes = &stream[start..end];
            match cutter.cut(bytes) {
                Ok(Cut::Frame { header, payload }) => {
                    received.push((header.status, bytes[payload.clone()].to_vec()));
                    start += payload.end;
                }
                Ok(Cut::Partial { whole }) => {
                    assert!(whole <= RESPONSE_HEADER_BYTES + LIMIT as usize);
                    assert!(bytes.len() < whole);
                    break;
                }
                Err(garbled) => return (received, Some(garbled)),
            }
        }
    }
    (received, None)
}
