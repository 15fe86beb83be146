//! Personal access tokens of the caller.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use galgo_wire::command::{CreateToken, DeleteToken, LoginWithToken};
use galgo_wire::name::{TokenName, TokenText};
use galgo_wire::{ErrorCode, Name};
use utoipa_axum::routes;

use super::Router;
use super::users::identity;
use crate::http::Api;
use crate::http::call::Call;
use crate::http::extract::{JsonOf, PathOf, PeerOf};
use crate::http::failure::ApiFailure;
use crate::http::json::users as json;

/// Adds these routes.
pub(super) fn add(router: Router) -> Router {
    router
        .routes(routes!(create_token))
        .routes(routes!(login_with_token))
        .routes(routes!(delete_token))
}

/// Creates a token; its text is shown this once.
#[utoipa::path(post, path = "/personal-access-tokens", tag = "personal access tokens",
    request_body = json::CreateToken, responses((status = 200, body = json::RawToken)))]
async fn create_token(
    call: Call,
    JsonOf(body): JsonOf<json::CreateToken>,
) -> Result<Json<json::RawToken>, ApiFailure> {
    let name = TokenName::parse(&body.name).map_err(|_| TokenName::ERROR)?;
    let created = call.run(CreateToken { name, expiry_us: body.expiry }).await?;
    Ok(Json(json::RawToken { token: created.token.as_str().to_owned() }))
}

/// Deletes a token.
#[utoipa::path(delete, path = "/personal-access-tokens/{name}", tag = "personal access tokens",
    params(("name" = String, Path, description = "Name of the token.")),
    responses((status = 204)))]
async fn delete_token(call: Call, PathOf(name): PathOf<String>) -> Result<StatusCode, ApiFailure> {
    let name = Name::parse(&name).map_err(|_| ErrorCode::ResourceNotFound)?;
    call.run(DeleteToken { name }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Logs in with a personal access token.
#[utoipa::path(post, path = "/personal-access-tokens/login", tag = "personal access tokens",
    security(()), request_body = json::TokenText,
    responses((status = 200, body = json::Identity)))]
async fn login_with_token(
    State(api): State<Arc<Api>>,
    PeerOf(peer): PeerOf,
    JsonOf(body): JsonOf<json::TokenText>,
) -> Result<Json<json::Identity>, ApiFailure> {
    // A text no token can have belongs to none.
    let token = TokenText::parse(&body.token).map_err(|_| ErrorCode::ResourceNotFound)?;
    identity(&api, peer, LoginWithToken { token }.into()).await
}
