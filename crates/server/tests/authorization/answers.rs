//! What HTTP makes of the end of a request: status and body.

use galgo_wire::ErrorCode;
use galgo_wire::command::CommandCode;

use crate::cases::{Case, Missing};
use crate::client::Answer;
use crate::routes::Route;

/// The number of an answer that has no code of its own.
const NOT_FOUND: u32 = 404;

/// Status, number, name and field of every error the cases come to.
const ERRORS: &[(u16, u32, &str, Option<&str>)] = &[
    (404, 20, "resource_not_found", None),
    (403, 41, "unauthorized", None),
    (400, 42, "invalid_credentials", None),
    (404, NOT_FOUND, "not_found", None),
    (404, 1009, "stream_id_not_found", Some("stream_id")),
    (404, 2010, "topic_id_not_found", Some("topic_id")),
    (404, 5000, "consumer_group_id_not_found", None),
];

/// The number of the error that a request is answered with.
fn error(case: &Case, end: Result<(), ErrorCode>) -> Option<u32> {
    match (case.code, end) {
        (_, Err(ErrorCode::Unauthorized)) => Some(ErrorCode::Unauthorized.as_u32()),
        // What is answered with nothing over TCP, and the list a topic is put into.
        (CommandCode::GetConsumerGroup, Ok(())) if case.missing != Missing::Nothing => Some(5000),
        (CommandCode::CreateTopic, Err(_)) => Some(NOT_FOUND),
        // Of Galgo's own commands HTTP tells which of the two is missing.
        (CommandCode::GetTopicSettings | CommandCode::GetTopicOutline, Ok(())) => {
            match case.missing {
                Missing::Outer => Some(1009),
                Missing::Topic => Some(2010),
                _ => None,
            }
        }
        (_, Ok(())) if case.missing != Missing::Nothing => Some(NOT_FOUND),
        (_, end) => end.err().map(ErrorCode::as_u32),
    }
}

/// Checks the answer to a case that comes to this end.
pub(crate) fn check(answer: &Answer, (route, case): (&Route, &Case), end: Result<(), ErrorCode>) {
    let what = format!("{} {}, {:?}: {}", route.method, route.path, case.missing, answer.head);
    let Some(number) = error(case, end) else {
        assert_eq!(answer.status, route.success, "{what}");
        assert!(answer.status != 204 || answer.body.is_empty(), "{what}");
        return;
    };
    let known = ERRORS.iter().find(|(_, known, ..)| *known == number);
    let (status, _, name, field) = known.expect("an error that is written down");
    assert_eq!(answer.status, *status, "{what}");
    let mut body = answer.json();
    let reason = body.as_object_mut().unwrap().remove("reason");
    assert!(reason.is_some_and(|reason| reason.is_string()), "{what}");
    assert_eq!(body, serde_json::json!({"id": number, "code": name, "field": field}), "{what}");
}
