//! What to do with a request whose header has arrived, before anything is kept of its payload.
//!
//! INV-ADMIT: memory is only taken for a payload that is within its limit and that its sender may send.

use galgo_wire::ErrorCode;
use galgo_wire::command::CommandCode;
use galgo_wire::frame::{Admission, RequestHeader};
use galgo_wire::limits::{
    CONTROL_PAYLOAD_BYTES_MAX, PASSWORD_BYTES_MAX, TEXT_BYTES_MAX, USERNAME_BYTES_MAX,
};

/// Largest payload kept for a connection that is not logged in: a login with the longest name,
/// password and texts anyone sends is far below it.
pub(crate) const ANONYMOUS_PAYLOAD_BYTES_MAX: u32 = 64 << 10;
const _: () = assert!(
    ANONYMOUS_PAYLOAD_BYTES_MAX < CONTROL_PAYLOAD_BYTES_MAX
        && ANONYMOUS_PAYLOAD_BYTES_MAX as usize
            > USERNAME_BYTES_MAX + PASSWORD_BYTES_MAX + TEXT_BYTES_MAX / 2,
    "a login of any client fits what a stranger may send, which is less than a user may"
);

/// Who asks, as far as admission goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerStanding {
    /// Whether the connection is logged in.
    pub(crate) authenticated: bool,
    /// Largest payload of a request that sends messages.
    pub(crate) send_bytes_max: u32,
}

/// Decides on a request by its header.
pub(crate) fn admit(header: RequestHeader, caller: PeerStanding) -> Admission {
    let RequestHeader { code, payload_len } = header;
    if CommandCode::carries_messages(code) {
        return if !caller.authenticated {
            Admission::Discard(ErrorCode::Unauthenticated)
        } else if payload_len > caller.send_bytes_max {
            Admission::Discard(ErrorCode::TooBigMessagePayload)
        } else {
            Admission::Accept
        };
    }
    let stranger_wants_much = !caller.authenticated && payload_len > ANONYMOUS_PAYLOAD_BYTES_MAX;
    let unknown = CommandCode::from_u32(code).is_none();
    // Whatever sends this does not speak the protocol, so it is told at once rather than after as many
    // bytes as its text happens to announce. A client of TLS is: its greeting, read as a header, announces
    // 66 kB or more, and its answer to no answer would be to wait.
    if payload_len > CONTROL_PAYLOAD_BYTES_MAX || (stranger_wants_much && unknown) {
        return Admission::AnswerAndDiscard(ErrorCode::InvalidCommand);
    }
    if stranger_wants_much {
        return Admission::Discard(refusal_of_anonymous(code));
    }
    Admission::Accept
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

    const GET_STATS: u32 = 10;
    const LOGIN: u32 = 38;
    const SEND: u32 = 101;
    const SEND_WITH: u32 = 10_100;
    const SEND_MAX: u32 = 100 << 20;

    /// Of a request of this length, its code counted.
    fn decide(length: u32, code: u32, authenticated: bool) -> Admission {
        let caller = PeerStanding { authenticated, send_bytes_max: SEND_MAX };
        admit(RequestHeader { code, payload_len: length - 4 }, caller)
    }

    #[test]
    fn an_oversize_request_is_refused_by_its_kind() {
        let control = CONTROL_PAYLOAD_BYTES_MAX;
        assert_eq!(decide(control + 4, GET_STATS, true), Admission::Accept);
        assert_eq!(
            decide(control + 5, GET_STATS, true),
            Admission::AnswerAndDiscard(ErrorCode::InvalidCommand)
        );
        assert_eq!(decide(SEND_MAX + 4, SEND, true), Admission::Accept);
        assert_eq!(
            decide(SEND_MAX + 5, SEND, true),
            Admission::Discard(ErrorCode::TooBigMessagePayload)
        );
        assert_eq!(decide(SEND_MAX + 4, SEND_WITH, true), Admission::Accept);
        assert_eq!(
            decide(SEND_MAX + 5, SEND_WITH, true),
            Admission::Discard(ErrorCode::TooBigMessagePayload)
        );
        assert_eq!(
            decide(u32::MAX, SEND, true),
            Admission::Discard(ErrorCode::TooBigMessagePayload)
        );
    }

    /// INV-ADMIT.
    #[test]
    fn nothing_large_is_kept_for_a_caller_who_is_not_logged_in() {
        let refused = |error| Admission::Discard(error);
        let length = (1 << 20) + 4;
        for send in [SEND, SEND_WITH] {
            assert_eq!(decide(length, send, false), refused(ErrorCode::Unauthenticated));
        }
        assert_eq!(decide(length, GET_STATS, false), refused(ErrorCode::Unauthenticated));
        assert_eq!(decide(length, LOGIN, false), refused(ErrorCode::InvalidCommand));
        let told = Admission::AnswerAndDiscard(ErrorCode::InvalidCommand);
        assert_eq!(decide(length, 9_999_999, false), told);
        assert_eq!(decide(100, LOGIN, false), Admission::Accept);
    }

    #[test]
    fn a_client_of_tls_is_answered_at_once() {
        for record in [200_u16, 300, 517, 1_500] {
            let [high, low] = record.to_be_bytes();
            // A handshake record of TLS with a ClientHello in it.
            let hello = [0x16, 0x03, 0x01, high, low, 0x01, 0x00, high];
            let caller = PeerStanding { authenticated: false, send_bytes_max: SEND_MAX };
            let admission = admit(RequestHeader::read(hello).unwrap(), caller);
            assert!(
                matches!(admission, Admission::AnswerAndDiscard(..)),
                "{record}: {admission:?}"
            );
        }
    }
}
