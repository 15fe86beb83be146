//! Which server is meant: options, then the environment, then the profile, then this machine.
//!
//! The transport and TLS options are written into the URL, which is all the SDK needs to know.

use clap::ValueEnum;
use galgo::ConnectionString;

use crate::args::{Global, SERVER_DEFAULT};
use crate::connect::{Login, Target};
use crate::failure::{Failure, Outcome};
use crate::profile::{self, Profiles};

/// What carries the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    /// Plain TCP, or TLS over it.
    Tcp,
    /// QUIC, which is always encrypted.
    Quic,
    /// WebSocket, or TLS below it.
    #[value(alias = "ws")]
    Websocket,
}

impl Transport {
    /// Whether this is what a scheme means by `carrier`.
    fn is_behind(self, carrier: &str) -> bool {
        match self {
            Self::Tcp => carrier == "tcp",
            Self::Quic => carrier == "quic",
            Self::Websocket => matches!(carrier, "ws" | "wss"),
        }
    }
}

/// The carrier and the rest of a URL whose transport becomes `to`.
///
/// INV-ADDRESS-TLS: what was encrypted stays so, and checks the certificate as before: the options
/// that say so have other names or other defaults there.
fn moved((family, from, rest): (&str, &str, &str), to: Transport) -> (&'static str, String) {
    let (_, behind) = ConnectionString::split_login(rest);
    let login = rest.strip_suffix(behind).unwrap_or_default();
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
    if has_tls && to == Transport::Tcp {
        options.push("tls=true".to_owned());
    }
    if has_tls {
        let name = match to {
            Transport::Quic => "validate_certificate",
            Transport::Tcp | Transport::Websocket => "tls_validate_certificate",
        };
        options.push(format!("{name}={}", validates.unwrap_or(default)));
    }
    let carrier = match to {
        Transport::Tcp => "tcp",
        Transport::Quic => "quic",
        Transport::Websocket if has_tls => "wss",
        Transport::Websocket => "ws",
    };
    match options.is_empty() {
        true => (carrier, format!("{login}{place}")),
        false => (carrier, format!("{login}{place}?{}", options.join("&"))),
    }
}

impl Global {
    /// The profile that was asked for.
    pub(crate) fn profile_name(&self) -> Option<String> {
        self.profile.clone().or_else(|| variable("GALGO_PROFILE"))
    }

    /// The URL of the server: that of the options, else of the environment, else `known`.
    pub(crate) fn url(&self, known: Option<String>) -> Outcome<String> {
        let url = self.server.clone().or_else(|| variable("GALGO_SERVER")).or(known);
        self.with_transport(&url.unwrap_or_else(|| SERVER_DEFAULT.to_owned()))
    }

    /// The server to talk to, and what to log in with when a profile tells.
    pub(crate) fn target(&self) -> Outcome<Target> {
        let output = self.output();
        let (server, named) = (variable("GALGO_SERVER"), variable("GALGO_PROFILE"));
        let profile = match (&self.server, &self.profile) {
            (Some(_), Some(_)) => {
                return Err(Failure::usage("both --server and --profile are given")
                    .hint("a profile has its server; the two go together in galgo login only"));
            }
            (Some(_), None) => None,
            (None, Some(name)) => Some(name.clone()),
            (None, None) => match (&server, named) {
                (Some(_), Some(_)) => {
                    return Err(Failure::usage("both GALGO_SERVER and GALGO_PROFILE are set")
                        .hint("set one of them, or say which with --server or --profile"));
                }
                (_, named) => named,
            },
        };
        let login = match profile {
            Some(name) => Some((Profiles::open()?.get(&name)?.clone(), name)),
            None if self.server.is_some() || server.is_some() => None,
            None if variable("GALGO_USERNAME").is_some() => None,
            None => {
                let found = Profiles::open_if_home()?;
                let found = found.and_then(|profiles| profiles.find(profile::DEFAULT).cloned());
                found.map(|found| (found, profile::DEFAULT.to_owned()))
            }
        };
        let Some((found, name)) = login else {
            return Ok(Target { url: self.url(None)?, login: None, output });
        };
        let url = self.with_transport(&found.server)?;
        Ok(Target { url, login: Some(Login { token: found.token, profile: name }), output })
    }

    /// `url` with the transport and the TLS options that were given.
    fn with_transport(&self, url: &str) -> Outcome<String> {
        // What is no URL is told by whoever parses it.
        let Some((scheme, rest)) = url.split_once("://") else { return Ok(url.to_owned()) };
        let (family, carrier) = scheme.split_once('+').unwrap_or((scheme, "tcp"));
        let (carrier, rest) = match self.transport {
            Some(transport) if !transport.is_behind(carrier) => {
                moved((family, carrier, rest), transport)
            }
            _ => (carrier, rest.to_owned()),
        };
        let mut options = Vec::new();
        if self.tls || self.tls_ca.is_some() || self.tls_domain.is_some() {
            // Whoever asks for TLS wants to know who answers, whatever the transport's default.
            options.extend(match carrier {
                "quic" => vec!["validate_certificate=true".to_owned()],
                _ => vec!["tls=true".to_owned(), "tls_validate_certificate=true".to_owned()],
            });
        }
        for (name, value) in [("tls_ca_file", &self.tls_ca), ("tls_domain", &self.tls_domain)] {
            let Some(value) = value else { continue };
            if value.contains('&') {
                return Err(Failure::usage(format!(
                    "`{value}` has an & in it, which divides options"
                )));
            }
            options.push(format!("{name}={value}"));
        }
        let (_, place) = ConnectionString::split_login(&rest);
        // A profile's URL may have them from its last login.
        options.retain(|option| place.split(['?', '&']).skip(1).all(|there| there != option));
        let scheme =
            if carrier == "tcp" { family.to_owned() } else { format!("{family}+{carrier}") };
        let divider = if place.contains('?') { '&' } else { '?' };
        match options.is_empty() {
            true => Ok(format!("{scheme}://{rest}")),
            false => Ok(format!("{scheme}://{rest}{divider}{}", options.join("&"))),
        }
    }
}

/// An environment variable that is set to something.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;

    fn plain() -> Global {
        Global {
            server: None,
            profile: None,
            transport: None,
            tls: false,
            tls_ca: None,
            tls_domain: None,
            output: Format::Table,
        }
    }

    #[test]
    fn another_transport_is_encrypted_if_the_one_of_the_url_was() {
        use Transport::{Quic, Tcp, Websocket};
        for (transport, url, expected) in [
            (Tcp, "galgo+wss://h", "galgo://h?tls=true&tls_validate_certificate=true"),
            (Tcp, "iggy+wss://h", "iggy://h?tls=true&tls_validate_certificate=false"),
            (Tcp, "galgo+ws://h?tls=true", "galgo://h?tls=true&tls_validate_certificate=true"),
            (Tcp, "galgo+ws://h?tls=false", "galgo://h"),
            (Tcp, "galgo+ws://h?nodelay=true", "galgo://h?nodelay=true"),
            (Tcp, "galgo+quic://h", "galgo://h?tls=true&tls_validate_certificate=false"),
            (
                Tcp,
                "galgo+quic://h?validate_certificate=true&tls_ca_file=/a.pem",
                "galgo://h?tls_ca_file=/a.pem&tls=true&tls_validate_certificate=true",
            ),
            (
                Websocket,
                "galgo://u:p@h:1?tls=true&nodelay=true&tls_domain=d",
                "galgo+wss://u:p@h:1?nodelay=true&tls_domain=d&tls_validate_certificate=true",
            ),
            (
                Websocket,
                "galgo://u:p?q@h?tls=true",
                "galgo+wss://u:p?q@h?tls_validate_certificate=true",
            ),
            (Websocket, "galgo+ws://h?tls=true", "galgo+ws://h?tls=true"),
            (Websocket, "iggy://h?tls=true", "iggy+wss://h?tls_validate_certificate=true"),
            (
                Websocket,
                "galgo://h?tls=true&tls_validate_certificate=false",
                "galgo+wss://h?tls_validate_certificate=false",
            ),
            (Quic, "galgo://h?tls=true", "galgo+quic://h?validate_certificate=true"),
            (Quic, "galgo+wss://h", "galgo+quic://h?validate_certificate=true"),
        ] {
            let global = Global { transport: Some(transport), ..plain() };
            assert_eq!(global.with_transport(url).unwrap(), expected, "{url}");
        }
        let both = Global { tls: true, transport: Some(Tcp), ..plain() };
        assert_eq!(
            both.with_transport("galgo+wss://h").unwrap(),
            "galgo://h?tls=true&tls_validate_certificate=true"
        );
    }

    #[test]
    fn options_are_written_into_the_url() {
        let plain = plain();
        let quic = Global { transport: Some(Transport::Quic), ..plain.clone() };
        let tls = Global { tls: true, ..plain.clone() };
        let ca = Global { tls_ca: Some("/a.pem".to_owned()), ..quic.clone() };
        let ws = Global { transport: Some(Transport::Websocket), ..plain.clone() };
        for (global, url, expected) in [
            (&plain, "galgo://h:1", "galgo://h:1"),
            (&plain, "galgo+wss://h", "galgo+wss://h"),
            (&quic, "iggy://a:b@h", "iggy+quic://a:b@h"),
            (
                &tls,
                "galgo://h?nodelay=true",
                "galgo://h?nodelay=true&tls=true&tls_validate_certificate=true",
            ),
            (
                &tls,
                "galgo://h?tls=true&tls_validate_certificate=true",
                "galgo://h?tls=true&tls_validate_certificate=true",
            ),
            (&ca, "galgo+ws://h", "galgo+quic://h?validate_certificate=true&tls_ca_file=/a.pem"),
            (&ws, "galgo+wss://h", "galgo+wss://h"),
            (&ws, "galgo://h", "galgo+ws://h"),
            (&ws, "nonsense", "nonsense"),
        ] {
            assert_eq!(global.with_transport(url).unwrap(), expected);
        }
        let bad = Global { tls_domain: Some("a&b".to_owned()), ..plain };
        assert!(bad.with_transport("galgo://h").is_err());
    }
}
