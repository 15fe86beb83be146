//! The routes: those of plain commands are made of the table, the others have one handler each, in files by noun.
//!
//! A handler says what its route is called and what it answers when all goes well; what can go wrong is
//! the same for all and is added by [`super::openapi`].

mod groups;
mod messages;
mod offsets;
mod streams;
mod system;
mod tokens;
mod topics;
mod users;

use std::sync::Arc;

use axum::http::StatusCode;
use galgo_wire::{ErrorCode, Identifier, Life};
use utoipa_axum::router::OpenApiRouter;

use super::Api;
use super::failure::Failure;
use super::openapi;
use super::plain;

/// Routes in the making.
type Router = OpenApiRouter<Arc<Api>>;

/// Every route, and the description made of the same definitions.
pub(super) fn all() -> Router {
    let nouns = [
        system::add,
        users::add,
        tokens::add,
        streams::add,
        topics::add,
        messages::add,
        groups::add,
        offsets::add,
    ];
    let router = plain::add(OpenApiRouter::with_openapi(openapi::head()));
    nouns.into_iter().fold(router, |router, add| add(router))
}

/// Nothing is known by this path.
pub(super) async fn unknown() -> StatusCode {
    StatusCode::NOT_FOUND
}

/// What a path calls something: a number, or a name.
fn identifier(text: &str) -> Result<Identifier, Failure> {
    text.parse().map_err(|_| Failure::Code(ErrorCode::InvalidIdentifier))
}

/// A stream and one of its topics, as a path calls them.
fn place((stream, topic): &(String, String)) -> Result<(Identifier, Identifier), Failure> {
    Ok((identifier(stream)?, identifier(topic)?))
}

/// The consumer a request is about; 1 when it says nothing.
fn consumer(text: Option<&str>) -> Result<galgo_wire::Consumer, Failure> {
    let id = text.map_or(Ok(Identifier::Numeric(1)), identifier)?;
    Ok(galgo_wire::Consumer::new(id))
}

/// The life a request is about; any when it says nothing.
fn life(text: Option<&str>) -> Result<Life, Failure> {
    let text = text.unwrap_or("0");
    text.parse().map(Life::new).map_err(|_| {
        let reason = "`life` is a number in digits, as the answer to a poll has it";
        Failure::malformed(StatusCode::BAD_REQUEST, reason)
    })
}

/// Where the stream or topic of a path may be missing, the answer has no code of its own.
fn missing_as_generic(failure: Failure) -> Failure {
    match failure {
        Failure::Code(ErrorCode::StreamIdNotFound | ErrorCode::TopicIdNotFound) => Failure::Missing,
        other => other,
    }
}
