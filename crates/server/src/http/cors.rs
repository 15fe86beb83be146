//! Which web pages of other origins may call the API.

use axum::http::{HeaderName, HeaderValue, Method};
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};

use crate::config::HttpCors;

/// The answers to browsers that ask, or `None` when no other origin may call.
pub(super) fn layer(config: &HttpCors) -> Option<CorsLayer> {
    if !config.enabled || items(&config.allowed_origins).next().is_none() {
        return None;
    }
    let list = &*config.allowed_origins;
    // Any is any, whatever stands beside it.
    let origins = match items(list).any(|item| item == "*") {
        true => AllowOrigin::any(),
        false => AllowOrigin::list(items(list).filter_map(|item| HeaderValue::from_str(item).ok())),
    };
    let methods = items(&config.allowed_methods).filter_map(|item| item.parse::<Method>().ok());
    let headers = items(&config.allowed_headers).filter_map(|item| item.parse::<HeaderName>().ok());
    Some(
        CorsLayer::new()
            .allow_origin(origins)
            .allow_methods(AllowMethods::list(methods))
            .allow_headers(AllowHeaders::list(headers)),
    )
}

fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty())
}
