//! Looks at the token of every request before anything else of it is read.
//!
//! INV-GUARD: only the paths listed here are answered without a good token; all others, known or not,
//! look the same from outside.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{Extensions, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use galgo_broker::{Peer, Refusal};
use galgo_wire::command::Transport;

use super::Api;
use super::failure::ApiFailure;
use super::jwt::{Account, Claims};
use super::stranger::TokenShown;

/// What is answered to anyone.
const PUBLIC: [&str; 9] = [
    "/",
    "/ping",
    "/health/live",
    "/health/ready",
    "/metrics",
    "/openapi.json",
    "/users/login",
    "/users/refresh-token",
    "/personal-access-tokens/login",
];

/// Who calls.
#[derive(Debug, Clone)]
pub(super) struct ApiCaller {
    /// The account.
    pub(super) account: Account,
    /// What the token says.
    pub(super) claims: Claims,
    /// Where the request comes from.
    pub(super) peer: Peer,
}

/// Where a request comes from; each has it from the connection it came over.
#[derive(Debug, Clone, Copy)]
pub(super) struct From(pub(super) SocketAddr);

impl From {
    /// As sessions have it.
    pub(super) fn of(extensions: &Extensions) -> Peer {
        let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
        let address = extensions.get::<Self>().map_or(nobody, |from| from.0);
        Peer { address, transport: Transport::Http }
    }
}

/// Lets a request through that is for this server, and of no page or one that may ask.
pub(super) async fn admit(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let Err(stranger) = api.pages.check(request.version(), request.headers()) else {
        return next.run(request).await;
    };
    let (reason, address) = (stranger.to_string(), From::of(request.extensions()).address.ip());
    api.hub.broker.trail().note(Refusal::new("page refused", address, &reason));
    (stranger.status(), reason).into_response()
}

/// Lets a request through when its path is public or its token is good.
pub(super) async fn check(
    State(api): State<Arc<Api>>,
    mut request: Request,
    next: Next,
) -> Response {
    api.traffic.request();
    if !PUBLIC.contains(&request.uri().path()) {
        match caller(&api, &request) {
            Some(caller) => {
                if let Some(known) = request.extensions().get::<TokenShown>() {
                    known.note();
                }
                request.extensions_mut().insert(caller);
            }
            None => return ApiFailure::Unauthenticated.into_response(),
        }
    }
    next.run(request).await
}

fn caller(api: &Api, request: &Request) -> Option<ApiCaller> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let claims = api.keys.check(token.trim())?;
    let account = claims.account()?;
    let broker = &api.hub.broker;
    // As classic servers have it, the token of a deleted user is one that may do nothing: that is for the
    // broker to say.
    if !broker.is_jwt_good(account.user, account.serial, claims.id())
        && !broker.is_account_gone(account.user, claims.issued_at())
    {
        return None;
    }
    let peer = From::of(request.extensions());
    Some(ApiCaller { account, claims, peer })
}
