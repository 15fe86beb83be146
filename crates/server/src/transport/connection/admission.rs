//! What to do with a request whose header has arrived, before anything is kept of its payload.
//!
//! INV-ADMIT: memory is only taken for a payload that is within its limit and that its sender may send.

use galgo_wire::ErrorCode;
use galgo_wire::command::CommandCode;
use galgo_wire::frame::RequestHeader;
use galgo_wire::limits::CONTROL_PAYLOAD_BYTES_MAX;

/// Largest payload kept for a connection that is not logged in: a login with the longest name,
/// password and texts anyone sends is far below it.
pub(crate) const ANONYMOUS_PAYLOAD_BYTES_MAX: u32 = 64 << 10;

/// Who asks, as far as admission goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    /// Whether the connection is logged in.
    pub(crate) authenticated: bool,
    /// Largest payload of a request that sends messages.
    pub(crate) send_bytes_max: u32,
}

/// What to do with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Receive the payload of this size and submit it.
    Accept(u32),
    /// The header is no header: answer with the error and take the next eight bytes as one.
    NotAHeader(ErrorCode),
    /// Answer with the error once the payload of this size has been received and thrown away.
    Discard(u32, ErrorCode),
    /// Answer with the error at once, then receive the payload of this size and throw it away.
    AnswerAndDiscard(u32, ErrorCode),
}

/// Decides on a request by its header.
pub(crate) fn admit(header: Result<RequestHeader, ErrorCode>, caller: Caller) -> Admission {
    let (code, payload) = match header {
        Ok(RequestHeader { code, payload_len }) => (code, payload_len),
        Err(error) => return Admission::NotAHeader(error),
    };
    if CommandCode::carries_messages(code) {
        return if !caller.authenticated {
            Admission::Discard(payload, ErrorCode::Unauthenticated)
        } else if payload > caller.send_bytes_max {
            Admission::Discard(payload, ErrorCode::TooBigMessagePayload)
        } else {
            Admission::Accept(payload)
        };
    }
    let stranger_wants_much = !caller.authenticated && payload > ANONYMOUS_PAYLOAD_BYTES_MAX;
    let unknown = CommandCode::from_u32(code).is_none();
    // Whatever sends this does not speak the protocol, so it is told at once rather than after as many
    // bytes as its text happens to announce. A client of TLS is: its greeting, read as a header, announces
    // 66 kB or more, and its answer to no answer would be to wait.
    if payload > CONTROL_PAYLOAD_BYTES_MAX || (stranger_wants_much && unknown) {
        return Admission::AnswerAndDiscard(payload, ErrorCode::InvalidCommand);
    }
    if stranger_wants_much {
        return Admission::Discard(payload, refusal_of_anonymous(code));
    }
    Admission::Accept(payload)
}

fn refusal_of_anonymous(code: u32) -> ErrorCode {
    match CommandCode::from_u32(code) {
        Some(code) if code.needs_login() => ErrorCode::Unauthenticated,
        _ => ErrorCode::InvalidCommand,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: u32 = 1;
    const GET_STATS: u32 = 10;
    const LOGIN: u32 = 38;
    const SEND: u32 = 101;
    const SEND_WITH: u32 = 10_100;
    const SEND_MAX: u32 = 100 << 20;

    fn decide(length: u32, code: u32, authenticated: bool) -> Admission {
        let caller = Caller { authenticated, send_bytes_max: SEND_MAX };
        let ([a, b, c, d], [e, f, g, h]) = (length.to_le_bytes(), code.to_le_bytes());
        admit(RequestHeader::read([a, b, c, d, e, f, g, h]), caller)
    }

    #[test]
    fn a_length_below_four_is_no_header() {
        for length in 0..4 {
            let expected = Admission::NotAHeader(ErrorCode::InvalidCommand);
            assert_eq!(decide(length, PING, false), expected);
            assert_eq!(decide(length, SEND, true), expected);
        }
        assert_eq!(decide(4, PING, false), Admission::Accept(0));
    }

    #[test]
    fn an_oversize_request_is_refused_by_its_kind() {
        let control = CONTROL_PAYLOAD_BYTES_MAX;
        assert_eq!(decide(control + 4, GET_STATS, true), Admission::Accept(control));
        assert_eq!(
            decide(control + 5, GET_STATS, true),
            Admission::AnswerAndDiscard(control + 1, ErrorCode::InvalidCommand)
        );
        assert_eq!(decide(SEND_MAX + 4, SEND, true), Admission::Accept(SEND_MAX));
        assert_eq!(
            decide(SEND_MAX + 5, SEND, true),
            Admission::Discard(SEND_MAX + 1, ErrorCode::TooBigMessagePayload)
        );
        assert_eq!(decide(SEND_MAX + 4, SEND_WITH, true), Admission::Accept(SEND_MAX));
        assert_eq!(
            decide(SEND_MAX + 5, SEND_WITH, true),
            Admission::Discard(SEND_MAX + 1, ErrorCode::TooBigMessagePayload)
        );
        assert_eq!(
            decide(u32::MAX, SEND, true),
            Admission::Discard(u32::MAX - 4, ErrorCode::TooBigMessagePayload)
        );
    }

    #[test]
    fn nothing_large_is_kept_for_a_caller_who_is_not_logged_in() {
        let refused = |error| Admission::Discard(1 << 20, error);
        let length = (1 << 20) + 4;
        for send in [SEND, SEND_WITH] {
            assert_eq!(decide(length, send, false), refused(ErrorCode::Unauthenticated));
        }
        assert_eq!(decide(length, GET_STATS, false), refused(ErrorCode::Unauthenticated));
        assert_eq!(decide(length, LOGIN, false), refused(ErrorCode::InvalidCommand));
        let told = Admission::AnswerAndDiscard(1 << 20, ErrorCode::InvalidCommand);
        assert_eq!(decide(length, 9_999_999, false), told);
        assert_eq!(decide(100, LOGIN, false), Admission::Accept(96));
    }

    #[test]
    fn a_client_of_tls_is_answered_at_once() {
        for record in [200_u16, 300, 517, 1_500] {
            let [high, low] = record.to_be_bytes();
            // A handshake record of TLS with a ClientHello in it.
            let hello = [0x16, 0x03, 0x01, high, low, 0x01, 0x00, high];
            let caller = Caller { authenticated: false, send_bytes_max: SEND_MAX };
            let admission = admit(RequestHeader::read(hello), caller);
            assert!(
                matches!(admission, Admission::AnswerAndDiscard(..)),
                "{record}: {admission:?}"
            );
        }
    }
}
