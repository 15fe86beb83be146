//! Users and their logins.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use galgo_broker::Peer;
use galgo_wire::command::{
    ChangePassword, CreateUser, LoginUser, Request, ResetPassword, UpdatePermissions, UpdateUser,
    UserDetails,
};
use galgo_wire::limits::TEXT_BYTES_MAX;
use galgo_wire::{ErrorCode, Password, Secret, Username};
use utoipa_axum::routes;

use super::{Router, identifier};
use crate::http::Api;
use crate::http::call::{Call, run_anonymous};
use crate::http::extract::{JsonOf, PathOf, PeerOf};
use crate::http::failure::ApiFailure;
use crate::http::json::JsonAnswer;
use crate::http::json::users as json;
use crate::http::jwt::{Account, new_id};
use crate::http::plain::find_own;

/// Adds these routes.
pub(super) fn add(router: Router) -> Router {
    router
        .routes(routes!(login_user))
        .routes(routes!(refresh_token))
        .routes(routes!(logout_user))
        .routes(routes!(create_user))
        .routes(routes!(update_user))
        .routes(routes!(update_permissions))
        .routes(routes!(change_password))
        .routes(routes!(reset_password))
}

/// Logs in by name and password.
#[utoipa::path(post, path = "/users/login", tag = "users", security(()),
    request_body = json::Login, responses((status = 200, body = json::Identity)))]
async fn login_user(
    State(api): State<Arc<Api>>,
    PeerOf(peer): PeerOf,
    JsonOf(body): JsonOf<json::Login>,
) -> Result<Json<json::Identity>, ApiFailure> {
    // A name or password nobody can have is as wrong as any other.
    let wrong = |_| ErrorCode::InvalidCredentials;
    let text = |text: Option<String>| {
        let mut text = text.unwrap_or_default();
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text
    };
    let command = LoginUser {
        username: Username::parse(&body.username).map_err(wrong)?,
        password: Password::parse(&body.password).map_err(wrong)?,
        version: text(body.version),
        context: text(body.context),
    };
    identity(&api, peer, command.into()).await
}

/// Logs in with `request` and makes a token for whoever that is.
pub(super) async fn identity(
    api: &Api,
    peer: Peer,
    request: Request,
) -> Result<Json<json::Identity>, ApiFailure> {
    let session = run_anonymous(api, peer, request).await?;
    let account = session.and_then(|session| {
        Some(Account { user: session.user()?, serial: session.user_serial()? })
    });
    issue(api, account.ok_or(ErrorCode::InvalidCredentials)?)
}

fn issue(api: &Api, account: Account) -> Result<Json<json::Identity>, ApiFailure> {
    let issued = api.keys.issue(account).ok_or(ErrorCode::Error)?;
    let access_token = json::AccessToken { token: issued.text, expiry: issued.expires_at };
    Ok(Json(json::Identity { user_id: account.user.get(), access_token }))
}

/// Exchanges a token for a new one; the old one is revoked.
#[utoipa::path(post, path = "/users/refresh-token", tag = "users", security(()),
    request_body = json::TokenText, responses((status = 200, body = json::Identity)))]
async fn refresh_token(
    State(api): State<Arc<Api>>,
    PeerOf(peer): PeerOf,
    JsonOf(body): JsonOf<json::TokenText>,
) -> Result<Json<json::Identity>, ApiFailure> {
    let refused = ErrorCode::InvalidAccessToken;
    let claims = api.keys.check(&body.token).ok_or(refused)?;
    let account = claims.account().ok_or(refused)?;
    let login = claims.login(account, api.keys.leeway);
    let broker = Arc::clone(&api.hub.broker);
    // Writes to the metadata log.
    let revoked = tokio::task::spawn_blocking(move || {
        let mut session = broker.connect_unlisted(peer);
        broker.authenticate_as(&mut session, account.user, account.serial)?;
        broker.revoke_jwt(&login)
    });
    revoked.await.map_err(|_| ErrorCode::Error)?.map_err(|code| match code {
        ErrorCode::CannotGenerateJwt => ApiFailure::TooManyExchanges,
        code => code.into(),
    })?;
    issue(&api, account)
}

/// Revokes the token of the request, and all of the account when it revoked too many one by one.
#[utoipa::path(delete, path = "/users/logout", tag = "users", responses((status = 204)))]
async fn logout_user(call: Call) -> Result<StatusCode, ApiFailure> {
    let login = call.caller.claims.login(call.caller.account, call.api.keys.leeway);
    let broker = Arc::clone(&call.api.hub.broker);
    // Writes to the metadata log.
    let revoked =
        tokio::task::spawn_blocking(move || broker.log_out_jwt(&login, new_id().as_u128()));
    revoked.await.map_err(|_| ErrorCode::Error)??;
    Ok(StatusCode::NO_CONTENT)
}

/// Creates a user.
#[utoipa::path(post, path = "/users", tag = "users", request_body = json::CreateUser,
    responses((status = 200, body = UserDetails)))]
async fn create_user(
    call: Call,
    JsonOf(body): JsonOf<json::CreateUser>,
) -> Result<JsonAnswer<UserDetails>, ApiFailure> {
    let command = CreateUser {
        username: Username::parse(&body.username).map_err(|_| Username::ERROR)?,
        password: Password::parse(&body.password).map_err(|_| Password::ERROR)?,
        status: body.status,
        permissions: body.permissions,
    };
    Ok(JsonAnswer(call.run(command).await?))
}

/// Renames a user or changes whether it may log in.
#[utoipa::path(put, path = "/users/{user}", tag = "users", request_body = json::UpdateUser,
    params(("user" = String, Path, description = "Id or name of the user.")),
    responses((status = 204)))]
async fn update_user(
    call: Call,
    PathOf(user): PathOf<String>,
    JsonOf(body): JsonOf<json::UpdateUser>,
) -> Result<StatusCode, ApiFailure> {
    let name = body.username.map(|name| Username::parse(&name)).transpose();
    let command = UpdateUser {
        user: identifier(&user)?,
        username: name.map_err(|_| Username::ERROR)?,
        status: body.status,
    };
    call.run(command).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Replaces what a user may do.
#[utoipa::path(put, path = "/users/{user}/permissions", tag = "users",
    request_body = json::UpdatePermissions,
    params(("user" = String, Path, description = "Id or name of the user.")),
    responses((status = 204)))]
async fn update_permissions(
    call: Call,
    PathOf(user): PathOf<String>,
    JsonOf(body): JsonOf<json::UpdatePermissions>,
) -> Result<StatusCode, ApiFailure> {
    let permissions = body.permissions;
    call.run(UpdatePermissions { user: identifier(&user)?, permissions }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Changes a password; the current one is needed whoever asks. Its logins end, the caller's own too.
#[utoipa::path(put, path = "/users/{user}/password", tag = "users",
    request_body = json::ChangePassword,
    params(("user" = String, Path, description = "Id or name of the user.")),
    responses((status = 204)))]
async fn change_password(
    call: Call,
    PathOf(user): PathOf<String>,
    JsonOf(body): JsonOf<json::ChangePassword>,
) -> Result<StatusCode, ApiFailure> {
    let command = ChangePassword {
        user: identifier(&user)?,
        // One that is too long to be a password is a wrong one.
        current: Secret::parse(&body.current_password)
            .map_err(|_| ErrorCode::InvalidCredentials)?,
        new: Password::parse(&body.new_password).map_err(|_| Password::ERROR)?,
    };
    call.run(command).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sets the password of a user who may do nothing the caller may not do. Its logins and tokens end.
#[utoipa::path(put, path = "/users/{user}/password/reset", tag = "users",
    request_body = json::ResetPassword,
    params(("user" = String, Path, description = "Id or name of the user.")),
    responses((status = 204)))]
async fn reset_password(
    call: Call,
    PathOf(user): PathOf<String>,
    JsonOf(body): JsonOf<json::ResetPassword>,
) -> Result<StatusCode, ApiFailure> {
    let new = Password::parse(&body.new_password).map_err(|_| Password::ERROR)?;
    find_own(&call, ResetPassword { user: identifier(&user)?, new }).await?;
    Ok(StatusCode::NO_CONTENT)
}
