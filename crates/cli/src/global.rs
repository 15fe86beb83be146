//! The options of every command, and which server they mean: options, then the environment, then the profile, then
//! this machine.
//!
//! The transport and TLS options are written into the URL, which is all the SDK needs to know.

use clap::Args;
use galgo::ConnectionString;

use crate::address::{CarrierName, UrlParts, moved, variable};
use crate::dial::{Login, Target};
use crate::failure::{Failure, Outcome};
use crate::output::{Format, Output};
use crate::profile::{self, Profiles};

/// Where a server listens unless told otherwise.
const SERVER_DEFAULT: &str = "galgo://127.0.0.1";

/// The heading of the options that say which server is meant, below those of a command itself.
const CONNECTION: &str = "Connection";

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub(crate) struct Global {
    /// Where the server is: `galgo://[USER:PASSWORD@]HOST[:PORT]`; 127.0.0.1 unless told otherwise
    #[arg(long, global = true, value_name = "URL", help_heading = CONNECTION)]
    pub(crate) server: Option<String>,

    /// Talk to the server of this profile, made by galgo login
    #[arg(long, global = true, value_name = "NAME", help_heading = CONNECTION)]
    pub(crate) profile: Option<String>,

    /// What carries the connection, whatever the URL says
    #[arg(long, global = true, value_enum, value_name = "TRANSPORT", help_heading = CONNECTION)]
    pub(crate) transport: Option<CarrierName>,

    /// Encrypt the connection and check the server's certificate
    #[arg(long, global = true, help_heading = CONNECTION)]
    pub(crate) tls: bool,

    /// PEM file with the authorities to trust, in place of the well-known ones; implies --tls
    #[arg(long, global = true, value_name = "FILE", value_parser = parse_path, help_heading = CONNECTION)]
    pub(crate) tls_ca: Option<String>,

    /// The name the server's certificate must be for, if not the host; implies --tls
    #[arg(long, global = true, value_name = "NAME", help_heading = CONNECTION)]
    pub(crate) tls_domain: Option<String>,

    /// The form of results and errors
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    #[arg(help_heading = "Output")]
    pub(crate) output: Format,
}

/// A path that stays right in another directory: a profile keeps it.
fn parse_path(text: &str) -> Result<String, String> {
    let path = std::path::absolute(text).map_err(|error| error.to_string())?;
    path.into_os_string().into_string().map_err(|_| "the path is not UTF-8".to_owned())
}

impl Global {
    /// Refuses when an option is given that says which server is meant, because `why`; `hint` says what to
    /// do instead. An option that is ignored could leave a connection plain that somebody asked to encrypt.
    pub(crate) fn refuse_connection_options(&self, why: &str, hint: &str) -> Outcome {
        let given = [
            ("--server", self.server.is_some()),
            ("--profile", self.profile.is_some()),
            ("--transport", self.transport.is_some()),
            ("--tls", self.tls),
            ("--tls-ca", self.tls_ca.is_some()),
            ("--tls-domain", self.tls_domain.is_some()),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            Some((name, _)) => {
                Err(Failure::usage(format!("{name} has no meaning for {why}")).hint(hint))
            }
            None => Ok(()),
        }
    }

    /// The printer for results.
    pub(crate) fn output(&self) -> Output {
        Output { format: self.output }
    }

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
                moved(UrlParts { family, carrier, rest }, transport)
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

#[cfg(test)]
mod tests {
    use super::*;

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
        use CarrierName::{Quic, Tcp, Websocket};
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
        let quic = Global { transport: Some(CarrierName::Quic), ..plain.clone() };
        let tls = Global { tls: true, ..plain.clone() };
        let ca = Global { tls_ca: Some("/a.pem".to_owned()), ..quic.clone() };
        let ws = Global { transport: Some(CarrierName::Websocket), ..plain.clone() };
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
