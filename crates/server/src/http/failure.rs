//! What a request that failed is answered with.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use galgo_wire::ErrorCode;
use serde::Serialize;
use utoipa::ToSchema;

/// Why a request failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The broker said so.
    Code(ErrorCode),
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
    reason: &'static str,
    /// The field of the request that is to blame, if it is one.
    #[schema(example = "stream_id", required = true)]
    field: Option<&'static str>,
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Self {
        Self::Code(code)
    }
}

impl Failure {
    /// A body or query that is not what the route takes, told in plain text.
    pub(super) fn malformed(status: StatusCode, reason: impl ToString) -> Self {
        Self::Malformed(status, reason.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::Code(code) => {
                let status =
                    StatusCode::from_u16(code.http_status()).unwrap_or(StatusCode::BAD_REQUEST);
                let body = ErrorBody {
                    id: code.as_u32(),
                    code: code.snake_case(),
                    reason: code.text(),
                    field: code.field(),
                };
                (status, Json(body)).into_response()
            }
            Self::Missing => {
                let (id, code, reason) = (404, "not_found", "Resource not found");
                let body = ErrorBody { id, code, reason, field: None };
                (StatusCode::NOT_FOUND, Json(body)).into_response()
            }
            Self::TooManyExchanges => {
                let code = ErrorCode::CannotGenerateJwt;
                let reason = "the account exchanged too many tokens: log in again, or wait until they expire";
                let body =
                    ErrorBody { id: code.as_u32(), code: code.snake_case(), reason, field: None };
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
