//! Which web pages may talk to this server.
//!
//! A browser sends requests for whatever page is open in it, to any address it can reach, so that a page of
//! a stranger reaches a server that only its own machine or network should reach. It tells the page by
//! `Origin`, which no page can choose, and the name it believes to talk to by `Host`.
//!
//! INV-ORIGIN: a request of a page comes from the server's own address, from the machine itself, or from an
//! origin that is configured; all others are refused before anything else of them is looked at.
//! INV-HOST: a server that only its own machine reaches is called by an address, by `localhost`, or by a name
//! that is configured. A page that has its own name point at 127.0.0.1 is so told from the real owner.

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Version, header};

use crate::config::Config;

/// Who may talk to one listener.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pages {
    /// Whether pages of any origin may.
    any: bool,
    /// The origins whose pages may.
    origins: Vec<String>,
    /// The names the server is known by.
    names: Vec<String>,
    /// Whether names that are not known are refused.
    named: bool,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stranger {
    /// It does not say whom it is for, or says it twice, or not in the form of a name or address.
    #[error("a request needs one header `Host` with the name or address of the server")]
    NoHost,
    /// It is for a name that is not known.
    #[error(
        "this server does not go by the name {0:?}; if it should, name it in http.allowed_hosts"
    )]
    Host(String),
    /// It comes from the page of another.
    #[error(
        "pages of {0:?} may not use this server; if they should, name it in http.cors.allowed_origins"
    )]
    Origin(String),
}

impl Stranger {
    /// The status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NoHost => StatusCode::BAD_REQUEST,
            Self::Host(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::Origin(_) => StatusCode::FORBIDDEN,
        }
    }
}

impl Pages {
    /// As `config` has it, for a listener at `address`.
    pub(crate) fn new(config: &Config, address: IpAddr) -> Self {
        let items = |list: &str| -> Vec<String> {
            let items = list.split(',').map(|item| item.trim().trim_end_matches('/'));
            items.filter(|item| !item.is_empty()).map(str::to_ascii_lowercase).collect()
        };
        let cors = &config.http_cors;
        let origins = if cors.enabled { items(&cors.allowed_origins) } else { Vec::new() };
        let names = items(&config.http.allowed_hosts);
        let named = address.to_canonical().is_loopback() || !names.is_empty();
        Self { any: origins.iter().any(|origin| origin == "*"), origins, names, named }
    }

    /// Lets a request in, or says why not.
    pub(crate) fn check(&self, version: Version, headers: &HeaderMap) -> Result<(), Stranger> {
        let host = self.host(version, headers)?;
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let Some(origin) = origins.next() else { return Ok(()) };
        let shown = || String::from_utf8_lossy(origin.as_bytes()).into_owned();
        let text = origin.to_str().unwrap_or_default().to_ascii_lowercase();
        let is_one = origins.next().is_none();
        let allowed = self.any || self.origins.contains(&text) || is_own(&text, host.as_ref());
        if is_one && allowed { Ok(()) } else { Err(Stranger::Origin(shown())) }
    }

    /// Whom the request is for. Before HTTP/1.1 it need not say so, and no browser speaks that.
    fn host(&self, version: Version, headers: &HeaderMap) -> Result<Option<Authority>, Stranger> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (None, _) if version < Version::HTTP_11 => return Ok(None),
            (Some(host), None) => host,
            _ => return Err(Stranger::NoHost),
        };
        let host = Authority::try_from(host.as_bytes()).map_err(|_| Stranger::NoHost)?;
        let has_bad_port = host.port().is_none() && host.as_str() != host.host();
        if host.host().is_empty() || host.as_str().contains('@') || has_bad_port {
            return Err(Stranger::NoHost);
        }
        let name = host.host().trim_end_matches('.').to_ascii_lowercase();
        if self.named && !is_address(&name) && !is_localhost(&name) && !self.names.contains(&name) {
            return Err(Stranger::Host(name));
        }
        Ok(Some(host))
    }
}

/// Whether a page comes from this machine or from the address that the request is for.
fn is_own(origin: &str, host: Option<&Authority>) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let Ok(page) = Authority::try_from(authority) else { return false };
    if is_localhost(page.host()) || address(page.host()).is_some_and(|at| at.is_loopback()) {
        return true;
    }
    let port = |authority: &Authority| match (authority.port_u16(), scheme) {
        (Some(port), _) => Some(port),
        (None, "https") => Some(443),
        (None, "http") => Some(80),
        _ => None,
    };
    host.is_some_and(|host| {
        page.host().eq_ignore_ascii_case(host.host()) && port(&page) == port(host)
    })
}

/// Browsers ask nobody where names under `localhost` are.
fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

fn is_address(name: &str) -> bool {
    address(name).is_some()
}

fn address(name: &str) -> Option<IpAddr> {
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TextList;

    fn pages(origins: &str, hosts: &str, address: &str) -> Pages {
        let mut config = Config::default();
        config.http_cors.allowed_origins = TextList(origins.to_owned());
        config.http.allowed_hosts = TextList(hosts.to_owned());
        Pages::new(&config, address.parse().unwrap())
    }

    fn check(pages: &Pages, lines: &[(&'static str, &str)]) -> Result<(), Stranger> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        pages.check(Version::HTTP_11, &headers)
    }

    #[test]
    fn a_request_says_once_whom_it_is_for() {
        let pages = pages("", "", "0.0.0.0");
        assert_eq!(check(&pages, &[]), Err(Stranger::NoHost));
        for bad in ["", "a b", "user@host", "host:port", "http://host"] {
            assert_eq!(check(&pages, &[("host", bad)]), Err(Stranger::NoHost), "{bad}");
        }
        assert_eq!(check(&pages, &[("host", "a"), ("host", "a")]), Err(Stranger::NoHost));
        assert_eq!(check(&pages, &[("host", "any.name:3000")]), Ok(()));
        assert_eq!(pages.check(Version::HTTP_10, &HeaderMap::new()), Ok(()));
    }

    /// A page of a stranger has its own name point at 127.0.0.1 and is of the same origin then.
    ///
    /// INV-HOST.
    #[test]
    fn a_name_that_points_at_loopback_is_not_taken_for_it() {
        let local = pages("", "galgo.internal", "127.0.0.1");
        for host in [
            "localhost:3000",
            "LOCALHOST",
            "app.localhost:1",
            "localhost.",
            "127.0.0.1:3000",
            "[::1]:3000",
            "10.0.0.7",
            "galgo.internal:3000",
            "GALGO.internal",
        ] {
            assert_eq!(check(&local, &[("host", host)]), Ok(()), "{host}");
        }
        for host in ["evil.example:3000", "localhost.evil.example", "127.0.0.1.evil.example"] {
            assert!(matches!(check(&local, &[("host", host)]), Err(Stranger::Host(_))), "{host}");
        }
        let open = pages("", "galgo.internal", "0.0.0.0");
        assert!(check(&open, &[("host", "evil.example")]).is_err(), "names were given");
    }

    /// INV-ORIGIN.
    #[test]
    fn pages_of_others_are_refused_unless_they_are_configured() {
        let none = pages("", "", "0.0.0.0");
        let some = pages("https://shop.example, http://b:8080/", "", "0.0.0.0");
        let any = pages("*", "", "0.0.0.0");
        let from = |pages: &Pages, origin: &str| {
            check(pages, &[("host", "galgo.example:3000"), ("origin", origin)]).is_ok()
        };
        for own in [
            "http://galgo.example:3000",
            "https://GALGO.example:3000",
            "http://localhost:5173",
            "http://127.0.0.1:9",
            "http://[::1]",
        ] {
            assert!(from(&none, own), "{own}");
        }
        for other in [
            "http://galgo.example",
            "http://galgo.example:3001",
            "http://evil.example",
            "http://localhost.evil.example",
            "null",
            "",
        ] {
            assert!(!from(&none, other) && from(&any, other), "{other}");
        }
        assert!(from(&some, "https://shop.example") && from(&some, "http://b:8080"));
        assert!(!from(&some, "http://shop.example") && !from(&some, "https://shop.example:444"));
        let twice = [("host", "a"), ("origin", "http://a"), ("origin", "http://a")];
        assert!(check(&none, &twice).is_err());
        let default_port = [("host", "galgo.example"), ("origin", "https://galgo.example")];
        assert_eq!(check(&none, &default_port), Ok(()));
    }
}
