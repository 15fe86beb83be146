//! Where a PostgreSQL is, read from a URL.

use std::fmt;
use std::path::PathBuf;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// What a URL says of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encryption {
    /// None.
    Off,
    /// If the server offers it, whoever it is.
    Offered,
    /// Always, whoever the server is.
    Always,
    /// Always, and the certificate is for the host and of an authority that is trusted.
    Verified,
}

/// Where one listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PgEndpoint {
    /// A host and a port.
    Tcp(String, u16),
    /// A socket in the file system.
    Socket(PathBuf),
}

/// Where a database is, and as whom to log in; no secret is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PgAddress {
    /// Tried one after the other.
    pub(crate) doors: Vec<PgEndpoint>,
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) encryption: Encryption,
}

impl PgAddress {
    /// Reads a URL, `postgres://user@host:port/database?sslmode=verify-full` for example.
    ///
    /// # Errors
    /// What is wrong with it. The URL is not in it, as somebody may have written a password there.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err("url: it begins with postgres://".to_owned());
        }
        let (url, mode) = without_sslmode(url);
        let config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
            let source = std::error::Error::source(&error);
            format!("url: {}", source.map_or_else(|| error.to_string(), ToString::to_string))
        })?;
        if config.get_password().is_some() {
            return Err(
                "url: a password is not written there; say password = { env = \"NAME\" } or { file = \"PATH\" }"
                    .to_owned(),
            );
        }
        let encryption = match mode.as_deref() {
            None => encryption_of(config.get_ssl_mode()),
            Some("verify-full") => Encryption::Verified,
            Some("verify-ca") => {
                return Err("url: sslmode=verify-ca is not known; say verify-full".to_owned());
            }
            Some("disable") => Encryption::Off,
            Some("prefer" | "allow") => Encryption::Offered,
            Some("require") => Encryption::Always,
            Some(_) => {
                return Err(
                    "url: sslmode is one of disable, prefer, require and verify-full".to_owned()
                );
            }
        };
        let Some(user) = config.get_user().filter(|user| !user.is_empty()) else {
            return Err("url: no user; postgres://USER@HOST/DATABASE".to_owned());
        };
        Ok(Self {
            doors: doors(&config)?,
            user: user.to_owned(),
            database: config.get_dbname().unwrap_or(user).to_owned(),
            encryption,
        })
    }
}

/// The URL, and what its `sslmode` says, which the parser knows three words of.
fn without_sslmode(url: &str) -> (String, Option<String>) {
    let Some((front, query)) = url.split_once('?') else { return (url.to_owned(), None) };
    let mut mode = None;
    let mut kept = Vec::new();
    for pair in query.split('&') {
        match pair.strip_prefix("sslmode=") {
            Some(value) => mode = Some(value.to_owned()),
            None => kept.push(pair),
        }
    }
    let url = match kept.is_empty() {
        true => front.to_owned(),
        false => format!("{front}?{}", kept.join("&")),
    };
    (url, mode)
}

fn encryption_of(mode: SslMode) -> Encryption {
    match mode {
        SslMode::Disable => Encryption::Off,
        SslMode::Require => Encryption::Always,
        _ => Encryption::Offered,
    }
}

fn doors(config: &Config) -> Result<Vec<PgEndpoint>, String> {
    let ports = config.get_ports();
    let port = |number: usize| {
        let port = ports.get(number).or(ports.first());
        port.copied().unwrap_or(5432)
    };
    let door = |(number, host): (usize, &Host)| match host {
        Host::Tcp(name) => PgEndpoint::Tcp(name.clone(), port(number)),
        Host::Unix(folder) => PgEndpoint::Socket(folder.join(format!(".s.PGSQL.{}", port(number)))),
    };
    let doors: Vec<PgEndpoint> = config.get_hosts().iter().enumerate().map(door).collect();
    match doors.is_empty() {
        true => Err("url: no host; postgres://USER@HOST/DATABASE".to_owned()),
        false => Ok(doors),
    }
}

impl fmt::Display for PgEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}

impl fmt::Display for PgAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { doors, user, database, .. } = self;
        let doors: Vec<String> = doors.iter().map(ToString::to_string).collect();
        write!(f, "{user}@{}/{database}", doors.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_how() {
        let address = PgAddress::parse("postgres://app@db:5433/shop?sslmode=verify-full").unwrap();
        assert_eq!(address.to_string(), "app@db:5433/shop");
        assert_eq!(address.encryption, Encryption::Verified);
        let address = PgAddress::parse("postgresql://app@[::1]/?sslmode=require").unwrap();
        assert_eq!(address.to_string(), "app@::1:5432/app");
        assert_eq!(address.encryption, Encryption::Always);
        let address = PgAddress::parse("postgres://app@%2Frun%2Fpg:7000/shop").unwrap();
        assert_eq!(address.doors, [PgEndpoint::Socket("/run/pg/.s.PGSQL.7000".into())]);
        assert_eq!(address.encryption, Encryption::Offered);
        let address = PgAddress::parse("postgres://app@one:1,two:2/shop").unwrap();
        assert_eq!(address.doors.len(), 2);
    }

    #[test]
    fn a_password_in_a_url_is_refused_and_not_shown() {
        for url in [
            "postgres://app:MARKED@db/shop",
            "postgres://app@db/shop?password=MARKED",
            "postgres://app@db/shop?sslmode=MARKED",
            "postgres://app@db/shop?port=MARKED",
            "mysql://MARKED",
            "postgres://db/MARKED",
            "postgres://MARKED@/shop",
        ] {
            let fault = PgAddress::parse(url).unwrap_err();
            assert!(fault.starts_with("url: "), "{fault}");
            assert!(!fault.contains("MARKED"), "INV-MUTE: {fault}");
        }
    }
}
