//! What answers mean. Only 2xx is success.
//!
//! Part of INV-MUTE: no byte of an answer's body is shown, as it may quote the message.

use std::time::SystemTime;

use http::StatusCode;

use crate::failure::Failure;
use crate::web::{WebAnswer, retry_after};

/// What an answer says of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RequestVerdict {
    Done,
    /// What was sent is at fault: why.
    AtFault(String),
    Fails(Failure),
}

/// What an answer says, by its status.
pub(super) fn verdict(answer: &WebAnswer) -> RequestVerdict {
    let status = answer.status;
    let said = format!("the target answers {status}");
    match status.as_u16() {
        200..=299 => RequestVerdict::Done,
        408 | 425 | 429 | 500..=599 => {
            let retry_after = retry_after(&answer.headers, SystemTime::now());
            RequestVerdict::Fails(Failure::Away { reason: said, retry_after })
        }
        400 | 409 | 413 | 414 | 422 => RequestVerdict::AtFault(said),
        _ => RequestVerdict::Fails(Failure::refused(said, advice(status))),
    }
}

fn advice(status: StatusCode) -> &'static str {
    match status.as_u16() {
        300..=399 => "redirections are not followed: name the address it leads to in url",
        401 | 403 | 407 => "look at the secret in headers and at its rights",
        404 | 410 => "look at url",
        405 => "look at method",
        406 | 415 => "look at content_type and body",
        _ => "look at url, method and headers",
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;
    use http::header::RETRY_AFTER;

    use super::*;

    #[test]
    fn only_success_is_success() {
        let class = |status: u16| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, "3".parse().unwrap())]);
            let status = StatusCode::from_u16(status).unwrap();
            let body = Bytes::from_static(b"MARKED-VALUE");
            match verdict(&WebAnswer { status, headers, body }) {
                RequestVerdict::Done => "done",
                RequestVerdict::AtFault(reason) => {
                    assert!(!reason.contains("MARKED"), "INV-MUTE");
                    "at fault"
                }
                RequestVerdict::Fails(failure) => {
                    assert!(!format!("{failure:?}").contains("MARKED"), "INV-MUTE");
                    if let Failure::Away { retry_after, .. } = &failure {
                        assert_eq!(retry_after.map(|it| it.as_secs()), Some(3));
                    }
                    failure.class()
                }
            }
        };
        for (status, expected) in [
            (200, "done"),
            (202, "done"),
            (204, "done"),
            (101, "refused"),
            (301, "refused"),
            (304, "refused"),
            (307, "refused"),
            (400, "at fault"),
            (401, "refused"),
            (403, "refused"),
            (404, "refused"),
            (405, "refused"),
            (408, "away"),
            (409, "at fault"),
            (413, "at fault"),
            (415, "refused"),
            (422, "at fault"),
            (429, "away"),
            (451, "refused"),
            (500, "away"),
            (503, "away"),
            (599, "away"),
        ] {
            assert_eq!(class(status), expected, "{status}");
        }
    }
}
