//! Headers there and back, and those that are none.

use super::*;

#[test]
fn headers_round_trip() {
    let header = RequestHeader { code: 38, payload_len: 24 };
    assert_eq!(RequestHeader::read(header.to_bytes()), Ok(header));
    let header = ResponseHeader::error(ErrorCode::Unauthorized);
    assert_eq!(header.to_bytes(), [41, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(ResponseHeader::read(header.to_bytes()), header);
    assert_eq!(ResponseHeader::read(ResponseHeader::ok(7).to_bytes()), ResponseHeader::ok(7));
}

#[test]
fn a_length_that_does_not_cover_the_code_is_refused() {
    for length in 0..4_u8 {
        let read = RequestHeader::read([length, 0, 0, 0, 9, 9, 9, 9]);
        assert_eq!(read, Err(ErrorCode::InvalidCommand));
    }
    assert_eq!(
        RequestHeader::read([4, 0, 0, 0, 1, 0, 0, 0]),
        Ok(RequestHeader { code: 1, payload_len: 0 })
    );
}

#[test]
fn a_request_carries_its_length_and_its_code() {
    let mut out = vec![9];
    put_request(&mut out, 202, |out| out.extend_from_slice(b"abc")).unwrap();
    assert_eq!(out, [9, 7, 0, 0, 0, 202, 0, 0, 0, b'a', b'b', b'c']);
}

#[test]
fn a_reply_begins_with_its_status_and_the_length_of_its_payload() {
    let mut out = vec![9];
    ResponseHeader::ok(258).put(&mut out);
    ResponseHeader::error(ErrorCode::Unauthorized).put(&mut out);
    assert_eq!(out, [9, 0, 0, 0, 0, 2, 1, 0, 0, 41, 0, 0, 0, 0, 0, 0, 0]);
}
