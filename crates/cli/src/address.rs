//! Which server is meant: options, then the environment, then the profile, then this machine.
//!
//! The transport and TLS options are written into the URL, which is all the SDK needs to know.

use clap::ValueEnum;

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
        let carrier = match self.transport {
            None => carrier,
            Some(Transport::Tcp) => "tcp",
            Some(Transport::Quic) => "quic",
            Some(Transport::Websocket) if carrier == "wss" => "wss",
            Some(Transport::Websocket) => "ws",
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
        // A profile's URL may have them from its last login.
        options.retain(|option| rest.split(['?', '&']).skip(1).all(|there| there != option));
        let scheme =
            if carrier == "tcp" { family.to_owned() } else { format!("{family}+{carrier}") };
        let divider = if rest.contains('?') { '&' } else { '?' };
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

    #[test]
    fn options_are_written_into_the_url() {
        let plain = Global {
            server: None,
            profile: None,
            transport: None,
            tls: false,
            tls_ca: None,
            tls_domain: None,
            output: Format::Table,
        };
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
