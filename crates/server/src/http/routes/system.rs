//! The server itself.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use galgo_wire::ErrorCode;
use galgo_wire::command::{ClientDetails, GetClient, GetSnapshot, SnapshotKinds};
use utoipa_axum::routes;

use super::Router;
use crate::http::Api;
use crate::http::call::Call;
use crate::http::extract::{JsonOf, PathOf};
use crate::http::failure::ApiFailure;
use crate::http::json::JsonAnswer;
use crate::http::json::system::SnapshotRequest;
use crate::http::metrics;

/// Adds these routes.
pub(super) fn add(router: Router) -> Router {
    router
        .routes(routes!(root))
        .routes(routes!(ping))
        .routes(routes!(live))
        .routes(routes!(ready))
        .routes(routes!(metrics))
        .routes(routes!(description))
        .routes(routes!(get_client))
        .routes(routes!(create_snapshot))
}

/// Says that the server is there.
#[utoipa::path(get, path = "/", tag = "system", security(()),
    responses((status = 200, body = String, content_type = "text/plain")))]
async fn root() -> &'static str {
    // The text classic clients look for.
    "Iggy API"
}

/// Answers `pong`.
#[utoipa::path(get, path = "/ping", tag = "system", security(()),
    responses((status = 200, body = String, content_type = "text/plain")))]
async fn ping() -> &'static str {
    "pong"
}

/// Says that the process serves.
#[utoipa::path(get, path = "/health/live", tag = "system", security(()),
    responses((status = 200, body = String, content_type = "text/plain")))]
async fn live() -> &'static str {
    "live"
}

/// Says whether the server takes requests: 503 while it stops.
#[utoipa::path(get, path = "/health/ready", tag = "system", security(()),
    responses((status = 200, body = String, content_type = "text/plain")))]
async fn ready(State(api): State<Arc<Api>>) -> (StatusCode, &'static str) {
    match *api.hub.stopping.borrow() {
        false => (StatusCode::OK, "ready"),
        true => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
    }
}

/// Shows counters and gauges for Prometheus, in the form that it asks for.
#[utoipa::path(get, path = "/metrics", tag = "system", security(()),
    responses((status = 200, body = String, content_type = metrics::TEXT)))]
async fn metrics(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
) -> Result<([(HeaderName, &'static str); 1], String), StatusCode> {
    if !api.metrics {
        return Err(StatusCode::NOT_FOUND);
    }
    // Counting goes over all partitions.
    let text = tokio::task::spawn_blocking(move || metrics::text(&api)).await.unwrap_or_default();
    match metrics::wants_open_metrics(&headers) {
        true => Ok(([(header::CONTENT_TYPE, metrics::OPEN_METRICS)], text)),
        false => Ok(([(header::CONTENT_TYPE, metrics::TEXT)], metrics::as_text(&text))),
    }
}

/// Describes this API.
#[utoipa::path(get, path = "/openapi.json", tag = "system", security(()),
    responses((status = 200, body = serde_json::Value)))]
async fn description(
    State(api): State<Arc<Api>>,
) -> ([(HeaderName, &'static str); 1], bytes::Bytes) {
    ([(header::CONTENT_TYPE, "application/json")], api.description.clone())
}

/// Shows one connection.
#[utoipa::path(get, path = "/clients/{client_id}", tag = "system",
    params(("client_id" = u32, Path, description = "The connection.")),
    responses((status = 200, body = ClientDetails)))]
async fn get_client(
    call: Call,
    PathOf(client_id): PathOf<u32>,
) -> Result<JsonAnswer<ClientDetails>, ApiFailure> {
    let found = call.find(GetClient { client_id: client_id.into() }).await;
    // No connection has the id 0, and here that is all there is to say.
    let found = found.map_err(|failure| match failure {
        ApiFailure::Code(ErrorCode::InvalidClientId | ErrorCode::ClientNotFound) => {
            ApiFailure::Missing
        }
        other => other,
    });
    Ok(JsonAnswer(found?))
}

/// Makes an archive of diagnostics.
#[utoipa::path(post, path = "/snapshot", tag = "system", request_body = SnapshotRequest,
    responses((status = 200, body = Vec<u8>, content_type = "application/zip")))]
async fn create_snapshot(
    call: Call,
    JsonOf(body): JsonOf<SnapshotRequest>,
) -> Result<([(HeaderName, String); 2], Vec<u8>), ApiFailure> {
    let kinds = body.snapshot_types.into_iter().map(Into::into).collect();
    let kinds = SnapshotKinds::new(kinds).ok_or(ErrorCode::InvalidCommand)?;
    let snapshot = call.run(GetSnapshot { compression: body.compression.into(), kinds }).await?;
    let name = format!("iggy_snapshot_{}.zip", time_of_day());
    let headers = [
        (header::CONTENT_TYPE, "application/zip".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    Ok((headers, snapshot.0))
}

/// The time, UTC, as `YYYYmmdd_HHMMSS`.
fn time_of_day() -> String {
    let now = std::time::SystemTime::now();
    let text = humantime::format_rfc3339_seconds(now).to_string();
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let (day, time) = digits.split_at_checked(8).unwrap_or((&digits, ""));
    format!("{day}_{time}")
}
