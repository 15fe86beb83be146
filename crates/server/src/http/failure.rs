//! What a request that failed is answered with.

use std::borrow::Cow;

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use galgo_broker::Broker;
use galgo_wire::parameter::BadParameter;
use galgo_wire::{Action, ErrorCode, IdentifierRef, Right};
use serde::Serialize;
use utoipa::ToSchema;

/// Why a request failed.
#[derive(Debug)]
pub(super) enum ApiFailure {
    /// The broker said so.
    Code(ErrorCode),
    /// The broker said so, and the reason names what it is about.
    About(ErrorCode, String),
    /// What the path names is not there, on a route that answers so without a code of its own.
    Missing,
    /// The account exchanged as many tokens as it may for now.
    TooManyExchanges,
    /// The token is not good; the answer says nothing more.
    Unauthenticated,
    /// The request does not say what the route needs.
    Malformed(StatusCode, String),
}

/// The body of a failure.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    /// The number of the error.
    #[schema(example = 1009)]
    id: u32,
    /// Its name.
    #[schema(example = "stream_id_not_found")]
    code: &'static str,
    /// What went wrong, for people.
    #[schema(example = "the stream does not exist")]
    reason: Cow<'static, str>,
    /// The field of the request that is to blame, if it is one.
    #[schema(example = "stream_id", required = true)]
    field: Option<&'static str>,
}

fn refused(code: ErrorCode, reason: Cow<'static, str>) -> Response {
    let status = StatusCode::from_u16(code.http_status()).unwrap_or(StatusCode::BAD_REQUEST);
    let (id, field) = (code.as_u32(), code.field());
    (status, Json(ErrorBody { id, code: code.snake_case(), reason, field })).into_response()
}

impl From<BadParameter> for ApiFailure {
    fn from(bad: BadParameter) -> Self {
        match bad {
            BadParameter::Code(code) => Self::Code(code),
            bad => Self::malformed(StatusCode::BAD_REQUEST, bad),
        }
    }
}

impl From<ErrorCode> for ApiFailure {
    fn from(code: ErrorCode) -> Self {
        Self::Code(code)
    }
}

impl ApiFailure {
    /// The same of a command of Galgo's own that asks for `right`: named by what it is about, with what to do next.
    pub(super) fn about(self, broker: &Broker, right: &Right<'_>) -> Self {
        let code = match (self, right) {
            (Self::Code(code), _) => code,
            // Nothing was found, and the first of the two that is missing is why.
            (Self::Missing, Right::Topic { stream, .. }) => {
                match IdentifierRef::to_owned(*stream) {
                    Ok(stream) if broker.has_stream(&stream) => ErrorCode::TopicIdNotFound,
                    _ => ErrorCode::StreamIdNotFound,
                }
            }
            (other, _) => return other,
        };
        let reason = match (code, *right) {
            (
                ErrorCode::StreamIdNotFound,
                Right::Stream { stream, .. } | Right::Topic { stream, .. },
            ) => {
                format!("there is no stream `{stream}`: `GET /streams` lists those there are")
            }
            (ErrorCode::TopicIdNotFound, Right::Topic { stream, topic, .. }) => format!(
                "the stream `{stream}` has no topic `{topic}`: `GET /streams/{stream}/topics` lists those there are"
            ),
            (ErrorCode::PartitionNotFound, Right::Topic { stream, topic, .. }) => format!(
                "the topic `{topic}` of the stream `{stream}` has no such partition: \
                 `GET /streams/{stream}/topics/{topic}` lists those there are"
            ),
            (ErrorCode::InvalidOffset, Right::Topic { stream, topic, .. }) => format!(
                "no message of the partition has that offset yet: \
                 `GET /streams/{stream}/topics/{topic}` tells the last one of each"
            ),
            (ErrorCode::Unauthorized, right) => {
                let Some(action) = right.action() else { return Self::Code(code) };
                let flag = match action {
                    Action::UseTopic => "send_messages` or `poll_messages",
                    action => action.permission(),
                };
                let place = place(right);
                format!(
                    "the caller lacks the permission `{flag}`{place}, and any that includes it: who has \
                     `manage_users` gives it with `PUT /users/{{user}}/permissions`"
                )
            }
            _ => return Self::Code(code),
        };
        Self::About(code, reason)
    }

    /// A body or query that is not what the route takes, told in plain text.
    pub(super) fn malformed(status: StatusCode, reason: impl ToString) -> Self {
        Self::Malformed(status, reason.to_string())
    }
}

impl IntoResponse for ApiFailure {
    fn into_response(self) -> Response {
        match self {
            Self::Code(code) => refused(code, code.text().into()),
            Self::About(code, reason) => refused(code, reason.into()),
            Self::Missing => {
                let (id, code, reason) = (404, "not_found", "Resource not found".into());
                let body = ErrorBody { id, code, reason, field: None };
                (StatusCode::NOT_FOUND, Json(body)).into_response()
            }
            Self::TooManyExchanges => {
                let code = ErrorCode::CannotGenerateJwt;
                let reason = "the account exchanged too many tokens: log in again, or wait until they expire";
                let (id, code) = (code.as_u32(), code.snake_case());
                let body = ErrorBody { id, code, reason: reason.into(), field: None };
                (StatusCode::BAD_REQUEST, Json(body)).into_response()
            }
            // RFC 9110 wants to be told how to log in.
            Self::Unauthenticated => {
                (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")]).into_response()
            }
            Self::Malformed(status, reason) => (status, reason).into_response(),
        }
    }
}

/// Where a right is needed, as a sentence goes on.
fn place(right: Right<'_>) -> String {
    let stream = |stream: IdentifierRef<'_>| format!(" for the stream `{stream}`");
    match right {
        Right::Stream { stream: of, .. } => stream(of),
        Right::Topic { stream: of, topic, .. } => {
            format!("{} or its topic `{topic}`", stream(of))
        }
        _ => String::new(),
    }
}
