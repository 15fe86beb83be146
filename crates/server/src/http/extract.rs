//! Reads the parts of a request: path, query and JSON body, each within its limits.
//!
//! No more of a body is kept than its limit, all of it covered by the budget, and a body that
//! comes too slowly ends its request.
//! Who is not logged in gets no more memory over HTTP than over other transports.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::HttpBody as _;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use futures_util::future::poll_fn;
use galgo_broker::Peer;
use galgo_wire::id::UserId;
use galgo_wire::index::to_usize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use tokio::time::{Instant, timeout, timeout_at};

use super::Api;
use super::failure::ApiFailure;
use super::guard::{ApiCaller, From};
use crate::transport::Grant;
use crate::transport::connection::ANONYMOUS_PAYLOAD_BYTES_MAX;

/// Bytes of a body that buy it another second.
const BYTES_PER_SECOND_MIN: usize = 64 << 10;

/// Bodies up to this size are not worth a grant of the budget.
const SMALL_BODY_BYTES: usize = 16 << 10;

/// The same where nobody is logged in.
const SMALL_ANONYMOUS_BODY_BYTES: usize = 4 << 10;
const _: () = assert!(
    SMALL_ANONYMOUS_BODY_BYTES < SMALL_BODY_BYTES && SMALL_BODY_BYTES < BYTES_PER_SECOND_MIN,
    "a small body is less than a second of a slow one, and a stranger's less than a user's"
);

/// Where the request comes from.
pub(super) struct PeerOf(pub(super) Peer);

impl<S: Sync> FromRequestParts<S> for PeerOf {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(From::of(&parts.extensions)))
    }
}

/// The values of a path.
pub(super) struct PathOf<T>(pub(super) T);

/// The values of a query.
pub(super) struct QueryOf<T>(pub(super) T);

/// A JSON body, read whole. The value may borrow from nothing.
pub(super) struct JsonOf<T>(pub(super) T);

/// The bytes of a JSON body, and their share of the budget.
pub(super) struct JsonBytes {
    bytes: Bytes,
    _grant: Option<Grant>,
}

impl<T, S> FromRequestParts<S> for PathOf<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = ApiFailure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiFailure> {
        let Path(value) = Path::from_request_parts(parts, state)
            .await
            .map_err(|error| ApiFailure::malformed(StatusCode::BAD_REQUEST, error.body_text()))?;
        Ok(Self(value))
    }
}

impl<T, S> FromRequestParts<S> for QueryOf<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = ApiFailure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiFailure> {
        let Query(value) = Query::from_request_parts(parts, state)
            .await
            .map_err(|error| ApiFailure::malformed(StatusCode::BAD_REQUEST, error.body_text()))?;
        Ok(Self(value))
    }
}

impl<T: DeserializeOwned> FromRequest<Arc<Api>> for JsonOf<T> {
    type Rejection = ApiFailure;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, ApiFailure> {
        JsonBytes::from_request(request, api).await?.parse().map(Self)
    }
}

impl FromRequest<Arc<Api>> for JsonBytes {
    type Rejection = ApiFailure;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, ApiFailure> {
        if !is_json(request.headers()) {
            let reason = "a body needs the header `Content-Type: application/json`";
            return Err(ApiFailure::malformed(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
        }
        read(request, api).await
    }
}

impl JsonBytes {
    /// Reads the value the bytes describe.
    pub(super) fn parse<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, ApiFailure> {
        serde_json::from_slice(&self.bytes).map_err(|error| {
            let status = match error.classify() {
                Category::Data => StatusCode::UNPROCESSABLE_ENTITY,
                Category::Syntax | Category::Eof | Category::Io => StatusCode::BAD_REQUEST,
            };
            ApiFailure::malformed(status, format!("the body is not what this route takes: {error}"))
        })
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get(header::CONTENT_TYPE).map(|value| value.to_str()) else {
        return false;
    };
    let kind = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.strip_prefix("application/") {
        Some(subtype) => subtype == "json" || subtype.ends_with("+json"),
        None => false,
    }
}

async fn read(request: Request, api: &Api) -> Result<JsonBytes, ApiFailure> {
    let user = request.extensions().get::<ApiCaller>().map(|caller| caller.account.user);
    let (max, free) = match user {
        Some(_) => (api.limits.body_bytes_max, SMALL_BODY_BYTES),
        None => {
            let max = api.limits.body_bytes_max.min(ANONYMOUS_PAYLOAD_BYTES_MAX as usize);
            (max, SMALL_ANONYMOUS_BODY_BYTES)
        }
    };
    let from = From::of(request.extensions()).address;
    let mut body = request.into_body();
    let announced = body.size_hint();
    let lower = to_usize(announced.lower());
    if lower > max {
        return Err(too_large(max));
    }
    // A body of unknown length may become as large as any.
    let most = announced.upper().map_or(max, |upper| usize::try_from(upper).unwrap_or(max));
    let mut due = Instant::now() + api.hub.limits.patience.frame;
    let mut grant = None;
    let mut bytes = BytesMut::new();
    loop {
        let earned = Duration::from_secs((bytes.len() / BYTES_PER_SECOND_MIN) as u64);
        let frame = timeout_at(due + earned, poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)));
        let frame = frame.await.map_err(|_| {
            api.hub.ends.half_sent(from);
            ApiFailure::malformed(StatusCode::REQUEST_TIMEOUT, "the body came too slowly")
        })?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| ApiFailure::malformed(StatusCode::BAD_REQUEST, error))?;
        let Ok(data) = frame.into_data() else { continue };
        let here = bytes.len() + data.len();
        if here > max {
            return Err(too_large(max));
        }
        // The share of a body is taken with its first bytes beyond the free ones: one that is only announced
        // takes nothing.
        if here > free && grant.is_none() {
            let begun = Instant::now();
            grant = Some(share(api, user, most).await?);
            due += begun.elapsed();
            bytes.reserve(lower.saturating_sub(bytes.len()));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(JsonBytes { bytes: bytes.freeze(), _grant: grant })
}

/// The share of a body that may have so many bytes. Strangers wait for each other only so long.
async fn share(api: &Api, user: Option<UserId>, most: usize) -> Result<Grant, ApiFailure> {
    let Some(user) = user else {
        let memory = api.hub.strangers.take(None, most);
        return timeout(api.hub.limits.patience.frame, memory).await.map_err(|_| {
            let reason = "too many requests without a login are being received: try again later";
            ApiFailure::malformed(StatusCode::SERVICE_UNAVAILABLE, reason)
        });
    };
    Ok(api.hub.budget.take(Some(user), most).await)
}

fn too_large(max: usize) -> ApiFailure {
    let reason = format!("the body is over the limit of {max} bytes");
    ApiFailure::malformed(StatusCode::PAYLOAD_TOO_LARGE, reason)
}
