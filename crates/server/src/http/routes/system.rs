//! The server itself.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use galgo_wire::ErrorCode;
use galgo_wire::command::{
    GetClient, GetClients, GetClusterMetadata, GetSnapshot, GetStats, SnapshotKinds,
};

use crate::http::Api;
use crate::http::call::Call;
use crate::http::extract::{JsonOf, PathOf};
use crate::http::failure::Failure;
use crate::http::json::system::{Client, ClientDetails, ClusterMetadata, SnapshotRequest, Stats};
use crate::http::metrics;

/// Says that the server is there.
#[utoipa::path(get, path = "/", tag = "system", security(()),
    responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn root() -> &'static str {
    // The text classic clients look for.
    "Iggy API"
}

/// Answers `pong`.
#[utoipa::path(get, path = "/ping", tag = "system", security(()),
    responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn ping() -> &'static str {
    "pong"
}

/// Says that the process serves.
#[utoipa::path(get, path = "/health/live", tag = "system", security(()),
    responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn live() -> &'static str {
    "live"
}

/// Says whether the server takes requests: 503 while it stops.
#[utoipa::path(get, path = "/health/ready", tag = "system", security(()),
    responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn ready(State(api): State<Arc<Api>>) -> (StatusCode, &'static str) {
    match *api.hub.stopping.borrow() {
        false => (StatusCode::OK, "ready"),
        true => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
    }
}

/// Shows counters and gauges for Prometheus, in the form that it asks for.
#[utoipa::path(get, path = "/metrics", tag = "system", security(()),
    responses((status = 200, body = String, content_type = metrics::TEXT)))]
pub(super) async fn metrics(
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
pub(super) async fn description(
    State(api): State<Arc<Api>>,
) -> ([(HeaderName, &'static str); 1], bytes::Bytes) {
    ([(header::CONTENT_TYPE, "application/json")], api.description.clone())
}

/// Shows the statistics of the server.
#[utoipa::path(get, path = "/stats", tag = "system", responses((status = 200, body = Stats)))]
pub(super) async fn get_stats(call: Call) -> Result<Json<Stats>, Failure> {
    Ok(Json(call.run(GetStats).await?.into()))
}

/// Shows the nodes of the cluster.
#[utoipa::path(get, path = "/cluster/metadata", tag = "system",
    responses((status = 200, body = ClusterMetadata)))]
pub(super) async fn get_cluster_metadata(call: Call) -> Result<Json<ClusterMetadata>, Failure> {
    Ok(Json(call.run(GetClusterMetadata).await?.into()))
}

/// Lists the connections; requests of this API are none.
#[utoipa::path(get, path = "/clients", tag = "system",
    responses((status = 200, body = Vec<Client>)))]
pub(super) async fn get_clients(call: Call) -> Result<Json<Vec<Client>>, Failure> {
    Ok(Json(call.run(GetClients).await?.into_iter().map(Client::from).collect()))
}

/// Shows one connection.
#[utoipa::path(get, path = "/clients/{client_id}", tag = "system",
    params(("client_id" = u32, Path, description = "The connection.")),
    responses((status = 200, body = ClientDetails)))]
pub(super) async fn get_client(
    call: Call,
    PathOf(client_id): PathOf<u32>,
) -> Result<Json<ClientDetails>, Failure> {
    let found = call.find(GetClient { client_id: client_id.into() }).await;
    // No connection has the id 0, and here that is all there is to say.
    let found = found.map_err(|failure| match failure {
        Failure::Code(ErrorCode::InvalidClientId | ErrorCode::ClientNotFound) => Failure::Missing,
        other => other,
    });
    Ok(Json(found?.into()))
}

/// Makes an archive of diagnostics.
#[utoipa::path(post, path = "/snapshot", tag = "system", request_body = SnapshotRequest,
    responses((status = 200, body = Vec<u8>, content_type = "application/zip")))]
pub(super) async fn create_snapshot(
    call: Call,
    JsonOf(body): JsonOf<SnapshotRequest>,
) -> Result<([(HeaderName, String); 2], Vec<u8>), Failure> {
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
