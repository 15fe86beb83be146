//! What carries a connection, as URLs say it, and what the environment says.

use clap::ValueEnum;
use galgo::ConnectionString;

/// What carries the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CarrierName {
    /// Plain TCP, or TLS over it.
    Tcp,
    /// QUIC, which is always encrypted.
    Quic,
    /// WebSocket, or TLS below it.
    #[value(alias = "ws")]
    Websocket,
}

impl CarrierName {
    /// Whether this is what a scheme means by `carrier`.
    pub(crate) fn is_behind(self, carrier: &str) -> bool {
        match self {
            Self::Tcp => carrier == "tcp",
            Self::Quic => carrier == "quic",
            Self::Websocket => matches!(carrier, "ws" | "wss"),
        }
    }
}

/// The parts of a URL as it was given: `family+carrier://rest`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UrlParts<'a> {
    /// `galgo`, or that of a classic client.
    pub(crate) family: &'a str,
    /// What carries the connection.
    pub(crate) carrier: &'a str,
    /// Login, address and options.
    pub(crate) rest: &'a str,
}

/// The carrier and the rest of a URL whose transport becomes `to`.
///
/// What was encrypted stays so, and checks the certificate as before: the options
/// that say so have other names or other defaults there.
pub(crate) fn moved(url: UrlParts<'_>, to: CarrierName) -> (&'static str, String) {
    let UrlParts { family, carrier: from, rest } = url;
    let (_, behind) = ConnectionString::split_login(rest);
    let Some(login) = rest.strip_suffix(behind) else {
        unreachable!("what is behind a login ends the text it is split from");
    };
    let (place, query) = behind.split_once('?').unwrap_or((behind, ""));
    let mut has_tls = matches!(from, "wss" | "quic");
    let mut validates = None;
    let mut options = Vec::new();
    for option in query.split('&').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            // The last one counts, and what is neither true nor false is no reason to send in the clear.
            Some(("tls", value)) if from != "quic" => has_tls = value != "false",
            Some(("tls_validate_certificate" | "validate_certificate", value)) => {
                validates = Some(value != "false");
            }
            _ => options.push(option.to_owned()),
        }
    }
    let default = match from {
        "quic" => false,
        "ws" | "wss" => family == "galgo",
        _ => true,
    };
    if has_tls && to == CarrierName::Tcp {
        options.push("tls=true".to_owned());
    }
    if has_tls {
        let name = match to {
            CarrierName::Quic => "validate_certificate",
            CarrierName::Tcp | CarrierName::Websocket => "tls_validate_certificate",
        };
        options.push(format!("{name}={}", validates.unwrap_or(default)));
    }
    let carrier = match to {
        CarrierName::Tcp => "tcp",
        CarrierName::Quic => "quic",
        CarrierName::Websocket if has_tls => "wss",
        CarrierName::Websocket => "ws",
    };
    match options.is_empty() {
        true => (carrier, format!("{login}{place}")),
        false => (carrier, format!("{login}{place}?{}", options.join("&"))),
    }
}

/// An environment variable that is set to something.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
