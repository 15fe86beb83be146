//! Streams.

use axum::Json;
use axum::http::StatusCode;
use galgo_wire::command::{
    CreateStream, DeleteStream, GetStream, GetStreams, PurgeStream, UpdateStream,
};
use galgo_wire::{ErrorCode, StreamName};

use super::identifier;
use crate::http::call::Call;
use crate::http::extract::{JsonOf, PathOf};
use crate::http::failure::Failure;
use crate::http::json::streams as json;

fn name(text: &str) -> Result<StreamName, ErrorCode> {
    StreamName::parse(text).map_err(|_| ErrorCode::InvalidStreamName)
}

/// Lists the streams.
#[utoipa::path(get, path = "/streams", tag = "streams",
    responses((status = 200, body = Vec<json::Stream>)))]
pub(super) async fn get_streams(call: Call) -> Result<Json<Vec<json::Stream>>, Failure> {
    Ok(Json(call.run(GetStreams).await?.into_iter().map(json::Stream::from).collect()))
}

/// Creates a stream.
#[utoipa::path(post, path = "/streams", tag = "streams", request_body = json::StreamName,
    responses((status = 200, body = json::StreamDetails)))]
pub(super) async fn create_stream(
    call: Call,
    JsonOf(body): JsonOf<json::StreamName>,
) -> Result<Json<json::StreamDetails>, Failure> {
    Ok(Json(call.run(CreateStream { name: name(&body.name)? }).await?.into()))
}

/// Shows one stream.
#[utoipa::path(get, path = "/streams/{stream}", tag = "streams",
    params(("stream" = String, Path, description = "Id or name of the stream.")),
    responses((status = 200, body = json::StreamDetails)))]
pub(super) async fn get_stream(
    call: Call,
    PathOf(stream): PathOf<String>,
) -> Result<Json<json::StreamDetails>, Failure> {
    Ok(Json(call.find(GetStream { stream: identifier(&stream)? }).await?.into()))
}

/// Renames a stream.
#[utoipa::path(put, path = "/streams/{stream}", tag = "streams", request_body = json::StreamName,
    params(("stream" = String, Path, description = "Id or name of the stream.")),
    responses((status = 204)))]
pub(super) async fn update_stream(
    call: Call,
    PathOf(stream): PathOf<String>,
    JsonOf(body): JsonOf<json::StreamName>,
) -> Result<StatusCode, Failure> {
    let (stream, name) = (identifier(&stream)?, name(&body.name)?);
    call.run(UpdateStream { stream, name }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes a stream with all that is in it.
#[utoipa::path(delete, path = "/streams/{stream}", tag = "streams",
    params(("stream" = String, Path, description = "Id or name of the stream.")),
    responses((status = 204)))]
pub(super) async fn delete_stream(
    call: Call,
    PathOf(stream): PathOf<String>,
) -> Result<StatusCode, Failure> {
    call.run(DeleteStream { stream: identifier(&stream)? }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes all messages and consumer offsets of a stream.
#[utoipa::path(delete, path = "/streams/{stream}/purge", tag = "streams",
    params(("stream" = String, Path, description = "Id or name of the stream.")),
    responses((status = 204)))]
pub(super) async fn purge_stream(
    call: Call,
    PathOf(stream): PathOf<String>,
) -> Result<StatusCode, Failure> {
    call.run(PurgeStream { stream: identifier(&stream)? }).await?;
    Ok(StatusCode::NO_CONTENT)
}
