//! The listeners of a server: bound together, then listening together, then served.
//!
//! Addresses are taken before the data directory is opened, and nobody gets a connection before that is
//! done: until then clients are refused, as by a server that is not there. Over HTTP probes are answered.
//!
//! Connections are taken only when every enabled listener is bound and has its certificate.

use std::path::Path;
use std::sync::Arc;

use galgo_wire::command::Transport;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::addresses::Addresses;
use crate::ServeError;
use crate::config::Config;
use crate::http;
use crate::transport::carriage::Carriage;
use crate::transport::listener::{self, Address, Listener};
use crate::transport::pages::Pages;
use crate::transport::tls::{Certificates, SelfSigned, TlsSettings};
use crate::transport::{Hub, quic};

/// Listeners that are bound and not served yet.
#[derive(Debug)]
pub(super) struct Listeners {
    tcp: Option<(Listener, Carriage)>,
    quic: Option<quic::QuicListener>,
    websocket: Option<(Listener, Carriage)>,
    http: Option<(Listener, http::Service)>,
    certificates: Vec<Arc<Certificates>>,
}

/// Addresses that are taken; of them HTTP alone is listened on, for probes.
#[derive(Debug)]
pub(super) struct BoundListeners {
    tcp: Option<(listener::TcpBinding, Carriage)>,
    quic: Option<quic::QuicBinding>,
    websocket: Option<(listener::TcpBinding, Carriage)>,
    http: Option<(http::Starting, http::Service)>,
    certificates: Vec<Arc<Certificates>>,
}

/// Replaces the certificates of running listeners.
#[derive(Debug, Clone)]
pub(crate) struct Reload {
    certificates: Vec<Arc<Certificates>>,
    quic: Option<quic::Renewal>,
}

impl Reload {
    /// Reads all files again; a file that is wrong is logged and leaves its listener as it was.
    pub(crate) fn certificates(&self) {
        for certificates in &self.certificates {
            certificates.reload();
        }
        if let Some(quic) = &self.quic {
            quic.reload();
        }
    }
}

impl BoundListeners {
    /// Binds what `config` enables. Must be called on the runtime.
    pub(super) fn bind(config: &Config) -> Result<Self, ServeError> {
        let mut keys = CertificateKeys { self_signed: Arc::default(), loaded: Vec::new() };
        let carriage = |transport: Transport| {
            move |(listener, certificates): BoundPort| {
                let pages = Arc::new(Pages::new(config, listener.address().ip()));
                (listener, Carriage { transport, certificates, pages })
            }
        };
        let tcp = Port {
            enabled: config.tcp.enabled,
            at: Address {
                address: config.tcp.address,
                reuse_port: config.tcp.reuse_port,
                variable: "--tcp or GALGO_TCP_ADDRESS",
            },
            tls: config.tcp_tls.enabled.then(|| TlsSettings::from(&config.tcp_tls)),
        };
        let tcp = tcp.bind(&mut keys)?.map(carriage(Transport::Tcp));
        let websocket = Port {
            enabled: config.websocket.enabled,
            at: Address {
                address: config.websocket.address,
                reuse_port: config.websocket.reuse_port,
                variable: "--websocket or GALGO_WEBSOCKET_ADDRESS",
            },
            tls: config.websocket_tls.enabled.then(|| TlsSettings::from(&config.websocket_tls)),
        };
        let websocket = websocket.bind(&mut keys)?.map(carriage(Transport::WebSocket));
        let http = Port {
            enabled: config.http.enabled,
            at: Address {
                address: config.http.address,
                reuse_port: config.http.reuse_port,
                variable: "--http or GALGO_HTTP_ADDRESS",
            },
            tls: config.http_tls.enabled.then(|| TlsSettings::from(&config.http_tls)),
        };
        let http = match http.bind(&mut keys)? {
            Some((listener, certificates)) => {
                let pages = Pages::new(config, listener.address().ip());
                Some((listener, http::Service::new(config, certificates, pages)?))
            }
            None => None,
        };
        let quic = if config.quic.enabled {
            let certificates = keys.load(TlsSettings::from(&config.quic_certificate))?;
            Some(quic::QuicBinding::bind(&config.quic, certificates)?)
        } else {
            None
        };
        // The last of all: connections are taken only when everything is bound.
        let http = match http {
            Some((bound, service)) => Some((service.answer_probes(bound.listen()?), service)),
            None => None,
        };
        if tcp.is_none() && websocket.is_none() && quic.is_none() && http.is_none() {
            tracing::warn!("no listener is enabled: nobody can reach this server");
        }
        Ok(Self { tcp, quic, websocket, http, certificates: keys.loaded })
    }

    /// Listens on all of them; the secret for resets of QUIC is kept in `data_dir`. Must be called on the
    /// runtime.
    pub(super) fn listen(self, data_dir: &Path) -> Result<Listeners, ServeError> {
        let Self { tcp, quic, websocket, http, certificates } = self;
        let carried = |(bound, carriage): (listener::TcpBinding, Carriage)| {
            bound.listen().map(|listener| (listener, carriage))
        };
        let tcp = tcp.map(carried).transpose()?;
        let websocket = websocket.map(carried).transpose()?;
        let http = match http {
            Some((starting, service)) => Some((starting.end()?, service)),
            None => None,
        };
        let quic = quic.map(|bound| bound.listen(data_dir)).transpose()?;
        Ok(Listeners { tcp, quic, websocket, http, certificates })
    }
}

impl Listeners {
    /// Reads the secrets that are kept in the data directory; makes them when there are none.
    pub(super) fn take_secrets(&mut self, data_dir: &Path) -> Result<(), ServeError> {
        match &mut self.http {
            Some((_, service)) => service.take_secrets(data_dir),
            None => Ok(()),
        }
    }

    /// Where they are bound.
    pub(super) fn addresses(&self) -> Addresses {
        let carried = |bound: &(Listener, Carriage)| bound.0.address();
        Addresses {
            tcp: self.tcp.as_ref().map(carried),
            quic: self.quic.as_ref().map(quic::QuicListener::address),
            websocket: self.websocket.as_ref().map(carried),
            http: self.http.as_ref().map(|(listener, _)| listener.address()),
        }
    }

    /// What replaces their certificates.
    pub(super) fn reload(&self) -> Reload {
        Reload {
            certificates: self.certificates.clone(),
            quic: self.quic.as_ref().map(quic::QuicListener::renewal),
        }
    }

    /// Takes connections until the server stops.
    pub(super) fn serve(
        self,
        runtime: &Handle,
        hub: &Arc<Hub>,
        config: &Config,
    ) -> Vec<JoinHandle<usize>> {
        let patience = config.limits.stop_timeout.0;
        let over_tcp = self.tcp.into_iter().chain(self.websocket).map(|(listener, carriage)| {
            runtime.spawn(listener.serve(Arc::clone(hub), carriage, patience))
        });
        let over_http = self.http.into_iter().map(|(listener, service)| {
            runtime.spawn(service.serve(listener, Arc::clone(hub), patience))
        });
        let over_udp =
            self.quic.map(|listener| runtime.spawn(listener.serve(Arc::clone(hub), patience)));
        over_tcp.chain(over_http).chain(over_udp).collect()
    }
}

/// A bound TCP port, and its certificate if it speaks TLS.
type BoundPort = (listener::TcpBinding, Option<Arc<Certificates>>);

/// A TCP port to be bound, and what it needs for TLS.
struct Port {
    enabled: bool,
    at: Address,
    tls: Option<TlsSettings>,
}

impl Port {
    fn bind(self, keys: &mut CertificateKeys) -> Result<Option<BoundPort>, ServeError> {
        if !self.enabled {
            return Ok(None);
        }
        let certificates = self.tls.map(|tls| keys.load(tls)).transpose()?;
        keys.loaded.extend(certificates.clone());
        Ok(Some((listener::TcpBinding::bind(self.at)?, certificates)))
    }
}

/// Certificates as they are loaded.
struct CertificateKeys {
    self_signed: Arc<SelfSigned>,
    /// Those that need nothing more than their files read again.
    loaded: Vec<Arc<Certificates>>,
}

impl CertificateKeys {
    fn load(&self, settings: TlsSettings) -> Result<Arc<Certificates>, ServeError> {
        let section = settings.section;
        let certificates = Certificates::load(settings, &self.self_signed)
            .map_err(|source| ServeError::Tls { section, source })?;
        Ok(Arc::new(certificates))
    }
}
