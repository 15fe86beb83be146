//! The HTTP API: every command that makes sense without a connection, as JSON.
//!
//! A request becomes the same command a frame would carry and runs on the same broker, on a session that
//! acts for the user of its token. So rights, the order of checks and errors are the broker's; what is
//! here turns JSON into commands and replies into JSON.
//!
//! Connections are served by the lanes, like those of the binary protocol: requests of all transports
//! share the processors in the same way, and work that blocks has the same bounded helpers.
//!
//! INV-ORIGIN, INV-HOST: what the page of a stranger asks gets no further than [`guard::admit`].
//! No route decides on a right, or on whether something exists, before the broker has.
//! Part of INV-TOKEN-USER: a token acts for the one account it was given to, never for a later one of that id.
//! Bodies, answers to polls, headers and waiting each have a limit, and what a request
//! keeps in memory is taken from the budget of all connections.

mod call;
mod cors;
mod extract;
mod failure;
mod guard;
mod json;
mod jwt;
mod metrics;
mod openapi;
mod patience;
mod plain;
mod polled;
mod routes;
mod service;
mod starting;
mod stranger;

use std::sync::Arc;

use galgo_wire::index::to_usize;

use axum::Router;
use bytes::Bytes;

pub(crate) use jwt::RANDOM_SECRET_BYTES;
pub(crate) use service::Service;
pub(crate) use starting::Starting;

use crate::config::Config;
use crate::transport::Hub;
use crate::transport::pages::Pages;

/// What every request works with.
struct Api {
    hub: Arc<Hub>,
    keys: jwt::SigningKeys,
    /// Which web pages may ask.
    pages: Pages,
    traffic: metrics::Traffic,
    limits: Limits,
    /// The description of the routes, as it is served.
    description: Bytes,
    /// Whether `/metrics` answers.
    metrics: bool,
}

/// What one request may take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Bytes of a body.
    body_bytes_max: usize,
    /// Bytes of messages in the answer to a poll.
    poll_bytes_max: u64,
}

impl Api {
    /// The routes as the configuration wants them, with what checks their tokens and their origins.
    fn new(
        hub: Arc<Hub>,
        config: &Config,
        keys: jwt::SigningKeys,
        pages: Pages,
    ) -> (Arc<Self>, Router) {
        let (router, document) = routes::all().split_for_parts();
        let api = Arc::new(Self {
            hub,
            keys,
            pages,
            traffic: metrics::Traffic::default(),
            limits: Limits {
                body_bytes_max: to_usize(config.http.max_request_size.0),
                poll_bytes_max: config.http.max_poll_size.0,
            },
            description: openapi::finish(document),
            metrics: config.http.metrics,
        });
        let guarded = router
            .fallback(routes::unknown)
            .layer(axum::middleware::from_fn_with_state(Arc::clone(&api), guard::check))
            .with_state(Arc::clone(&api));
        let router = match cors::layer(&config.http_cors) {
            Some(layer) => guarded.layer(layer),
            None => guarded,
        };
        // Outermost: a page of a stranger learns nothing, not even which methods there are.
        let router =
            router.layer(axum::middleware::from_fn_with_state(Arc::clone(&api), guard::admit));
        (api, router)
    }
}
