//! The listeners of a server: bound together, then served together.
//!
//! INV-ALL-BOUND: connections are taken only when every enabled listener is bound and has its certificate.

use std::net::SocketAddr;
use std::sync::Arc;

use galgo_broker::Endpoints;
use galgo_wire::command::Transport;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::ServerError;
use crate::config::{self, Config};
use crate::http;
use crate::transport::Hub;
use crate::transport::carriage::Carriage;
use crate::transport::listener::{Address, Listener};
use crate::transport::tls::{Certificates, SelfSigned, TlsSettings};

/// Where a server listens, with real ports; `None` for what is off.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Addresses {
    /// TCP.
    pub(crate) tcp: Option<SocketAddr>,
    /// HTTP.
    pub(crate) http: Option<SocketAddr>,
}

/// Listeners that are bound and not served yet.
#[derive(Debug)]
pub(super) struct Listeners {
    tcp: Option<(Listener, Carriage)>,
    http: Option<(Listener, http::Service)>,
    certificates: Vec<Arc<Certificates>>,
}

/// Replaces the certificates of running listeners.
#[derive(Debug, Clone)]
pub(crate) struct Reload {
    certificates: Vec<Arc<Certificates>>,
}

impl Reload {
    /// Reads all files again; a file that is wrong is logged and leaves its listener as it was.
    pub(crate) fn certificates(&self) {
        for certificates in &self.certificates {
            certificates.reload();
        }
    }
}

impl Listeners {
    /// Binds what `config` enables. Must be called on the runtime.
    pub(super) fn bind(config: &Config) -> Result<Self, ServerError> {
        let mut keys = Keys { self_signed: Arc::default(), loaded: Vec::new() };
        let tcp = if config.tcp.enabled {
            let tls = config.tcp_tls.enabled.then(|| TlsSettings::from(&config.tcp_tls));
            let certificates = tls.map(|tls| keys.load(tls)).transpose()?;
            let listener = Listener::bind(Address {
                address: config.tcp.address,
                reuse_port: config.tcp.reuse_port,
                variable: "--tcp or GALGO_TCP_ADDRESS",
            })?;
            Some((listener, Carriage { transport: Transport::Tcp, certificates }))
        } else {
            None
        };
        let http = if config.http.enabled {
            let tls = config.http_tls.enabled.then(|| TlsSettings::from(&config.http_tls));
            let certificates = tls.map(|tls| keys.load(tls)).transpose()?;
            let listener = Listener::bind(Address {
                address: config.http.address,
                reuse_port: config.http.reuse_port,
                variable: "GALGO_HTTP_ADDRESS",
            })?;
            Some((listener, http::Service::new(config, certificates)?))
        } else {
            None
        };
        if tcp.is_none() && http.is_none() {
            tracing::warn!("no listener is enabled: nobody can reach this server");
        }
        Ok(Self { tcp, http, certificates: keys.loaded })
    }

    /// Where they are bound.
    pub(super) fn addresses(&self) -> Addresses {
        Addresses {
            tcp: self.tcp.as_ref().map(|(listener, _)| listener.address()),
            http: self.http.as_ref().map(|(listener, _)| listener.address()),
        }
    }

    /// What replaces their certificates.
    pub(super) fn reload(&self) -> Reload {
        Reload { certificates: self.certificates.clone() }
    }

    /// Takes connections until the server stops.
    pub(super) fn serve(
        self,
        runtime: &Runtime,
        hub: &Arc<Hub>,
        config: &Config,
    ) -> Vec<JoinHandle<usize>> {
        let patience = config.limits.stop_timeout.0;
        let over_tcp = self.tcp.into_iter().map(|(listener, carriage)| {
            runtime.spawn(listener.serve(Arc::clone(hub), carriage, patience))
        });
        let over_http = self.http.into_iter().map(|(listener, service)| {
            runtime.spawn(service.serve(listener, Arc::clone(hub), patience))
        });
        over_tcp.chain(over_http).collect()
    }
}

impl Addresses {
    /// What clients that ask for the cluster are told.
    pub(super) fn endpoints(&self, config: &Config) -> Endpoints {
        let port = |address: Option<SocketAddr>| address.map_or(0, |address| address.port());
        Endpoints {
            ip: config.tcp.address.ip().to_string(),
            tcp_port: port(self.tcp),
            http_port: port(self.http),
            ..Endpoints::default()
        }
    }

    /// The configuration as it came out, with the addresses that are really listened on.
    pub(super) fn effective(&self, config: &Config) -> String {
        let mut config = config.clone();
        let bound = [(&mut config.tcp.address, self.tcp), (&mut config.http.address, self.http)];
        for (address, bound) in bound {
            *address = bound.unwrap_or(*address);
        }
        config::effective(&config)
    }

    /// The addresses as the ready line has them.
    pub(super) fn line(&self) -> String {
        let all = [("tcp", self.tcp), ("http", self.http)];
        let shown = all.map(|(name, address)| match address {
            Some(address) => format!("{name} {address}"),
            None => format!("{name} off"),
        });
        shown.join(", ")
    }
}

/// Certificates as they are loaded.
struct Keys {
    self_signed: Arc<SelfSigned>,
    loaded: Vec<Arc<Certificates>>,
}

impl Keys {
    fn load(&mut self, settings: TlsSettings) -> Result<Arc<Certificates>, ServerError> {
        let section = settings.section;
        let certificates = Certificates::load(settings, &self.self_signed)
            .map_err(|source| ServerError::Tls { section, source })?;
        let certificates = Arc::new(certificates);
        self.loaded.push(Arc::clone(&certificates));
        Ok(certificates)
    }
}
