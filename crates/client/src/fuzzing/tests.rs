//! The seeds of the fuzzer, and its short form.

use galgo_testkit::fuzz::Target;
use galgo_wire::error_code::ErrorCode;
use galgo_wire::name::StreamName;

use super::*;

fn put(out: &mut Vec<u8>, status: u32, payload: &[u8]) {
    out.extend(status.to_le_bytes());
    out.extend(u32::try_from(payload.len()).unwrap().to_le_bytes());
    out.extend(payload);
}

#[test]
fn any_bytes_of_a_server_are_the_same_replies_however_they_are_cut() {
    let name: StreamName = "shop".parse().unwrap();
    let stream = wire::Stream {
        id: galgo_wire::id::StreamId::new(1),
        created_at: galgo_wire::id::Timestamp::new(2),
        topics_count: 0,
        size: 3,
        messages_count: 4,
        name,
    };
    let mut answers = vec![5];
    put(&mut answers, 0, &[]);
    put(&mut answers, ErrorCode::StreamIdNotFound.as_u32(), &[]);
    put(&mut answers, 0, &stream.to_bytes());
    let mut polls = vec![200];
    put(&mut polls, 0, &crate::poll::tests::reply());
    put(&mut polls, ErrorCode::Disconnected.as_u32(), &[]);
    let seeds = vec![("answers", answers), ("a_poll", polls)];
    Target { name: "reply", entry: reply, seeds }.hold();
}
