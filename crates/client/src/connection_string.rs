//! Connection strings: `galgo+tcp://user:password@host:port?option=value&…`.
//!
//! The scheme names the transport: `galgo://` and `galgo+tcp://` TCP, `galgo+quic://` QUIC,
//! `galgo+ws://` and `galgo+wss://` WebSocket.
//!
//! Everything but the host may be left out. The host is a name, an IPv4 address, or an IPv6 address
//! in brackets. In user, password and token `%40` stands for `@` and so on; the strings of classic
//! clients (`iggy://`, `iggy+tcp://` and so on) know no such escapes, there `%` is just a character.
//! Part of INV-SECRET: neither `Debug` nor `Display` nor an error shows a password or a token.

use std::fmt;
use std::str::FromStr;

use crate::builder::ClientBuilder;
use crate::connection_string::option::OptionsRead;
use crate::{Credentials, Transport};

mod escape;
mod option;

/// Why a text is not a connection string.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionStringError {
    /// It does not start with a scheme.
    #[error("it does not start with galgo://, galgo+quic://, galgo+ws:// or the like")]
    NoScheme,
    /// The scheme names a transport this SDK does not speak.
    #[error(
        "the scheme {scheme} is not supported; use galgo:// (TCP), galgo+quic://, galgo+ws:// or \
         galgo+wss://"
    )]
    Scheme {
        /// The scheme.
        scheme: String,
    },
    /// There is no host.
    #[error("the host is missing; write for example galgo://127.0.0.1:8090")]
    NoHost,
    /// The host has colons and no brackets, or brackets that do not match.
    #[error("{host} is not a host; an IPv6 address goes in brackets, as in galgo://[::1]:8090")]
    Host {
        /// What stands in its place.
        host: String,
    },
    /// The port is not a number from 1 to 65535.
    #[error("{port} is not a port; give a number from 1 to 65535")]
    Port {
        /// What stands in its place.
        port: String,
    },
    /// User or password is empty.
    #[error("user and password must both be given, as user:password@")]
    Credentials,
    /// A percent sign in user, password or token does not start an escape.
    #[error("a % in user, password or token must be written as %25")]
    Escape,
    /// An option has no value.
    #[error("the option {option} has no value; write {option}=value")]
    NoValue {
        /// The option.
        option: String,
    },
    /// No option has this name.
    #[error("there is no option {option}{}", Nearest(.nearest))]
    UnknownOption {
        /// What stands in its place.
        option: String,
        /// The option whose name is most like it, if one is.
        nearest: Option<&'static str>,
    },
    /// The option belongs to another transport.
    #[error("the option {option} is not one of {}", .transport.name())]
    Misplaced {
        /// The option.
        option: &'static str,
        /// The transport of the connection string.
        transport: Transport,
    },
    /// The value of an option is not one.
    #[error("{option}={value} makes no sense; {expected}")]
    Value {
        /// The option.
        option: &'static str,
        /// What stands in its place.
        value: String,
        /// What is expected.
        expected: &'static str,
    },
}

struct Nearest<'a>(&'a Option<&'static str>);

impl fmt::Display for Nearest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(name) => write!(f, "; do you mean {name}?"),
            None => f.write_str("; see the documentation of ConnectionString for all there are"),
        }
    }
}

/// A parsed connection string.
///
/// | option | value | default |
/// |---|---|---|
/// | `heartbeat_interval` | time between two pings | `5s` |
/// | `reconnection_retries` | attempts before giving up, or `unlimited` | `unlimited` |
/// | `reconnection_interval` | pause after the first failed attempt; doubles up to 5 s | `100ms` |
/// | `reestablish_after` | shortest time from a connect to the next | `0s` |
/// | `connect_timeout`, `request_timeout` | longest time for each | `10s`, `30s` |
/// | `tls_domain` | name the server's certificate must be for | the host; QUIC: `localhost` |
/// | `tls_ca_file` | PEM file with the authorities to trust | those browsers trust |
/// | `tls_cert_file`, `tls_key_file` | PEM files with the client's own certificate and key | none |
///
/// TCP and WebSocket have `tls` (`true` or `false`; default `false`, `true` for `galgo+wss`),
/// `tls_validate_certificate` (default `true`; `false` for `iggy+ws`, as classic clients have it) and
/// `nodelay` (default `true`). An option that names a file or a domain switches nothing on.
///
/// QUIC has `validate_certificate` (default `false`: the connection is encrypted, but to whomever
/// answers), `response_buffer_size` (largest reply; default 256 MiB), `max_concurrent_bidi_streams`,
/// `datagram_send_buffer_size`, `initial_mtu`, `send_window`, `receive_window`, `keep_alive_interval`
/// and `max_idle_timeout` (times, or milliseconds), see [`QuicOptions`](crate::QuicOptions), and
/// takes the classic names `reconnection_max_retries` and `reconnection_reestablish_after` too.
///
/// WebSocket has `read_buffer_size`, `write_buffer_size`, `max_write_buffer_size`,
/// `max_message_size`, `max_frame_size` and `accept_unmasked_frames`, see
/// [`WebSocketOptions`](crate::WebSocketOptions).
///
/// ```
/// let string: galgo::ConnectionString = "galgo://ann:p%40ss@[::1]?request_timeout=5s".parse()?;
/// assert_eq!((string.host(), string.port()), ("::1", 8090));
/// assert_eq!(string.to_string(), "galgo://ann@[::1]:8090");
/// # Ok::<(), galgo::ConnectionStringError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ConnectionString {
    builder: ClientBuilder,
}

impl ConnectionString {
    /// The host: a name or an address without brackets.
    pub fn host(&self) -> &str {
        &self.builder.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.builder.port
    }

    /// What carries the connection.
    pub fn transport(&self) -> Transport {
        self.builder.transport
    }

    /// Whether the connection is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.builder.transport == Transport::Quic || self.builder.tls.is_some()
    }

    /// Who to log in as, if anybody.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.builder.credentials.as_ref()
    }

    /// Sets who to log in as.
    pub fn with_credentials(mut self, credentials: Credentials) -> Self {
        self.builder.credentials = Some(credentials);
        self
    }

    /// Divides what stands behind `://` into the login, if there is one, and the address with its options.
    ///
    /// A bare `@` and a bare `?` may be in a password, an `@` in the value of an option as well: the login
    /// ends at the last `@` before the options, which begin at the first `?` that the name of an option and
    /// a `=` follow.
    pub fn split_login(rest: &str) -> (Option<&str>, &str) {
        let begins_options = |(place, _): &(usize, &str)| {
            let (front, behind) = (rest.get(..*place), rest.get(place + 1..));
            let Some((front, (name, _))) = front.zip(behind.and_then(|text| text.split_once('=')))
            else {
                return false;
            };
            // Without a login before them they could still be part of a password.
            option::exists(name) && (front.contains('@') || parse_address(front).is_ok())
        };
        let options = rest.match_indices('?').find(begins_options).map(|(place, _)| place);
        let front = rest.get(..options.unwrap_or(rest.len())).unwrap_or(rest);
        match front.rfind('@') {
            Some(at) => {
                let (login, behind) = rest.split_at(at);
                let Some(behind) = behind.strip_prefix('@') else {
                    unreachable!("the text was split in front of its @");
                };
                (Some(login), behind)
            }
            None => (None, rest),
        }
    }

    /// The settings this string asks for, to be changed further.
    pub fn into_builder(self) -> ClientBuilder {
        self.builder
    }
}

impl FromStr for ConnectionString {
    type Err = ConnectionStringError;

    fn from_str(text: &str) -> Result<Self, ConnectionStringError> {
        let (scheme, rest) = text.split_once("://").ok_or(ConnectionStringError::NoScheme)?;
        let scheme = Scheme::parse(scheme)?;
        let (login, rest) = Self::split_login(rest);
        let (address, text_options) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, port) = parse_address(address.strip_suffix('/').unwrap_or(address))?;
        let port = port.unwrap_or(scheme.transport.default_port());
        let mut builder = ClientBuilder::default().address(host, port).transport(scheme.transport);
        if let Some(login) = login {
            builder.credentials = Some(parse_login(login, scheme.is_galgo)?);
        }
        let mut options = OptionsRead::new(&scheme);
        for pair in text_options.split('&').filter(|pair| !pair.is_empty()) {
            options.apply(&mut builder, pair)?;
        }
        builder.tls = options.tls()?;
        Ok(Self { builder })
    }
}

impl fmt::Display for ConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (self.builder.transport, &self.builder.tls) {
            (Transport::Tcp, _) => "galgo",
            (Transport::Quic, _) => "galgo+quic",
            (Transport::WebSocket, None) => "galgo+ws",
            (Transport::WebSocket, Some(_)) => "galgo+wss",
        };
        write!(f, "{scheme}://")?;
        if let Some(Credentials::Password { username, .. }) = self.credentials() {
            write!(f, "{username}@")?;
        }
        match self.host().contains(':') {
            true => write!(f, "[{}]:{}", self.host(), self.port()),
            false => write!(f, "{}:{}", self.host(), self.port()),
        }
    }
}

/// What stands before the `://`.
struct Scheme {
    transport: Transport,
    /// Whether it is Galgo's own, not that of classic clients.
    is_galgo: bool,
    has_tls: bool,
}

impl Scheme {
    fn parse(text: &str) -> Result<Self, ConnectionStringError> {
        let (family, carrier) = text.split_once('+').unwrap_or((text, "tcp"));
        let unknown = || ConnectionStringError::Scheme { scheme: text.into() };
        let is_galgo = match family {
            "galgo" => true,
            "iggy" => false,
            _ => return Err(unknown()),
        };
        let (transport, has_tls) = match carrier {
            "tcp" => (Transport::Tcp, false),
            "quic" => (Transport::Quic, true),
            "ws" => (Transport::WebSocket, false),
            "wss" => (Transport::WebSocket, true),
            _ => return Err(unknown()),
        };
        Ok(Self { transport, is_galgo, has_tls })
    }
}

fn parse_address(text: &str) -> Result<(&str, Option<u16>), ConnectionStringError> {
    let bad_host = || ConnectionStringError::Host { host: text.into() };
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(bad_host)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| bad_host())?;
            match rest {
                "" => (host, None),
                rest => (host, Some(rest.strip_prefix(':').ok_or_else(bad_host)?)),
            }
        }
        None => match text.split_once(':') {
            Some((_, port)) if port.contains(':') => return Err(bad_host()),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return Err(ConnectionStringError::NoHost);
    }
    if host.contains(|letter: char| letter.is_whitespace() || letter == '/') {
        return Err(bad_host());
    }
    let port = match port {
        None => None,
        Some(port) => match port.parse() {
            Ok(number) if number > 0 => Some(number),
            _ => return Err(ConnectionStringError::Port { port: port.into() }),
        },
    };
    Ok((host, port))
}

fn parse_login(text: &str, escapes: bool) -> Result<Credentials, ConnectionStringError> {
    let decode = |part: &str| match escapes {
        true => escape::decode(part).ok_or(ConnectionStringError::Escape),
        false => Ok(part.to_owned()),
    };
    match text.split_once(':') {
        Some((username, password)) if !username.is_empty() && !password.is_empty() => {
            Ok(Credentials::password(decode(username)?, decode(password)?))
        }
        None if !text.is_empty() => Ok(Credentials::token(decode(text)?)),
        _ => Err(ConnectionStringError::Credentials),
    }
}

#[cfg(test)]
mod tests;
