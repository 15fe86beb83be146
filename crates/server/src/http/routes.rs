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
use super::failure::ApiFailure;
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
fn identifier(text: &str) -> Result<Identifier, ApiFailure> {
    text.parse().map_err(|_| ApiFailure::Code(ErrorCode::InvalidIdentifier))
}

/// A topic and the stream it is in, as a path calls them.
struct TopicAt {
    stream: Identifier,
    topic: Identifier,
}

impl TopicAt {
    /// Reads the two parts of a path.
    fn of(stream: &str, topic: &str) -> Result<Self, ApiFailure> {
        Ok(Self { stream: identifier(stream)?, topic: identifier(topic)? })
    }
}

/// The consumer a request is about; 1 when it says nothing.
fn consumer(text: Option<&str>) -> Result<galgo_wire::ConsumerIdentity, ApiFailure> {
    let id = text.map_or(Ok(Identifier::Numeric(1)), identifier)?;
    Ok(galgo_wire::ConsumerIdentity::new(id))
}

/// The life a request is about; any when it says nothing.
fn life(text: Option<&str>) -> Result<Life, ApiFailure> {
    let text = text.unwrap_or("0");
    text.parse().map(Life::new).map_err(|_| {
        let reason = "`life` is a number in digits, as the answer to a poll has it";
        ApiFailure::malformed(StatusCode::BAD_REQUEST, reason)
    })
}

/// Where the stream or topic of a path may be missing, the answer has no code of its own.
fn missing_as_generic(failure: ApiFailure) -> ApiFailure {
    match failure {
        ApiFailure::Code(ErrorCode::StreamIdNotFound | ErrorCode::TopicIdNotFound) => {
            ApiFailure::Missing
        }
        other => other,
    }
}
