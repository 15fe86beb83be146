//! Streams.

use axum::http::StatusCode;
use galgo_wire::command::{CreateStream, StreamDetails, UpdateStream};
use galgo_wire::{ErrorCode, StreamName};
use utoipa_axum::routes;

use super::{Router, identifier};
use crate::http::call::Call;
use crate::http::extract::{JsonOf, PathOf};
use crate::http::failure::ApiFailure;
use crate::http::json::JsonAnswer;
use crate::http::json::streams as json;

/// Adds these routes.
pub(super) fn add(router: Router) -> Router {
    router.routes(routes!(create_stream)).routes(routes!(update_stream))
}

fn name(text: &str) -> Result<StreamName, ErrorCode> {
    StreamName::parse(text).map_err(|_| ErrorCode::InvalidStreamName)
}

/// Creates a stream.
#[utoipa::path(post, path = "/streams", tag = "streams", request_body = json::StreamName,
    responses((status = 200, body = StreamDetails)))]
async fn create_stream(
    call: Call,
    JsonOf(body): JsonOf<json::StreamName>,
) -> Result<JsonAnswer<StreamDetails>, ApiFailure> {
    Ok(JsonAnswer(call.run(CreateStream { name: name(&body.name)? }).await?))
}

/// Renames a stream.
#[utoipa::path(put, path = "/streams/{stream}", tag = "streams", request_body = json::StreamName,
    params(("stream" = String, Path, description = "Id or name of the stream.")),
    responses((status = 204)))]
async fn update_stream(
    call: Call,
    PathOf(stream): PathOf<String>,
    JsonOf(body): JsonOf<json::StreamName>,
) -> Result<StatusCode, ApiFailure> {
    let (stream, name) = (identifier(&stream)?, name(&body.name)?);
    call.run(UpdateStream { stream, name }).await?;
    Ok(StatusCode::NO_CONTENT)
}
