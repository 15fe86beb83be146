//! Where a server listens, as it is told to whom.

use std::net::SocketAddr;

use galgo_broker::ListenAddresses;

use crate::config::{self, Config};

/// Where a server listens, with real ports; `None` for what is off.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Addresses {
    /// TCP.
    pub(crate) tcp: Option<SocketAddr>,
    /// QUIC.
    pub(crate) quic: Option<SocketAddr>,
    /// WebSocket.
    pub(crate) websocket: Option<SocketAddr>,
    /// HTTP.
    pub(crate) http: Option<SocketAddr>,
}

impl Addresses {
    /// What clients that ask for the cluster are told.
    pub(super) fn endpoints(&self, config: &Config) -> ListenAddresses {
        let port = |address: Option<SocketAddr>| address.map_or(0, |address| address.port());
        ListenAddresses {
            ip: config.tcp.address.ip().to_string(),
            tcp_port: port(self.tcp),
            quic_port: port(self.quic),
            http_port: port(self.http),
            websocket_port: port(self.websocket),
        }
    }

    /// The configuration as it came out, with the addresses that are really listened on.
    pub(super) fn effective(&self, config: &Config) -> String {
        let mut config = config.clone();
        let bound = [
            (&mut config.tcp.address, self.tcp),
            (&mut config.quic.address, self.quic),
            (&mut config.websocket.address, self.websocket),
            (&mut config.http.address, self.http),
        ];
        for (address, bound) in bound {
            *address = bound.unwrap_or(*address);
        }
        config::effective(&config)
    }

    /// The addresses as the ready line has them.
    pub(super) fn line(&self) -> String {
        let all = [
            ("tcp", self.tcp),
            ("quic", self.quic),
            ("websocket", self.websocket),
            ("http", self.http),
        ];
        let shown = all.map(|(name, address)| match address {
            Some(address) => format!("{name} {address}"),
            None => format!("{name} off"),
        });
        shown.join(", ")
    }
}
