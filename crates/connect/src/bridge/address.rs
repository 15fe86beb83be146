//! Addresses of servers of others, as files of pipelines have them.
//!
//! Part of INV-MUTE: a password in an address is refused, and the address is not shown then.

use http::Uri;

/// How a kind of server is addressed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schemes {
    /// Without TLS, and the usual port.
    pub plain: (&'static str, u16),
    /// With TLS, and the usual port.
    pub tls: (&'static str, u16),
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BridgeAddress {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Who logs in.
    pub user: Option<String>,
    /// Its name or number; numbers of six without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What stands behind the first stroke, decoded.
    pub path: String,
}

impl BridgeAddress {
    /// Reads `SCHEME://USER@HOST:PORT/PATH`.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    pub(crate) fn parse(text: &str, schemes: Schemes) -> Result<Self, String> {
        let ((plain, plain_port), (tls, tls_port)) = (schemes.plain, schemes.tls);
        let would_be = format!("write {plain}://USER@HOST:PORT or {tls}://USER@HOST:PORT");
        let uri: Uri = text.parse().map_err(|_| format!("url is no address; {would_be}"))?;
        let (is_tls, usual_port) = match uri.scheme_str() {
            Some(scheme) if scheme == plain => (false, plain_port),
            Some(scheme) if scheme == tls => (true, tls_port),
            _ => {
                return Err(format!("url begins with neither {plain}:// nor {tls}://; {would_be}"));
            }
        };
        let (Some(authority), Some(host)) = (uri.authority(), uri.host()) else {
            return Err(format!("url names no host; {would_be}"));
        };
        let user = match authority.as_str().rsplit_once('@') {
            Some((user, _)) if user.contains(':') => {
                return Err("url holds a password; write password = { env = \"NAME\" } or \
                            { file = \"PATH\" } instead"
                    .to_owned());
            }
            Some((user, _)) => Some(decoded(user)?),
            None => None,
        };
        if uri.query().is_some() {
            return Err(format!(
                "url has a question mark, behind which nothing is known; {would_be}"
            ));
        }
        let path = uri.path();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(format!("url names no host; {would_be}"));
        }
        Ok(Self {
            tls: is_tls,
            user,
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(usual_port),
            path: decoded(path.strip_prefix('/').unwrap_or(path))?,
        })
    }

    /// `HOST:PORT`, for people and for whoever connects.
    pub(crate) fn place(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// Text without `%` and two hexadecimal digits.
fn decoded(text: &str) -> Result<String, String> {
    let wrong = || "url has a % without two hexadecimal digits of UTF-8 behind it".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(wrong()) };
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| wrong())?);
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    const AMQP: Schemes = Schemes { plain: ("amqp", 5672), tls: ("amqps", 5671) };

    fn read(text: &str) -> Result<BridgeAddress, String> {
        BridgeAddress::parse(text, AMQP)
    }

    #[test]
    fn addresses_name_host_port_user_and_path() {
        let address = read("amqp://bridge@mq.internal/").unwrap();
        assert_eq!(address.place(), "mq.internal:5672");
        assert_eq!((address.user.as_deref(), address.tls), (Some("bridge"), false));
        assert_eq!(address.path, "");
        let address = read("amqps://[::1]:99/a%2Fb").unwrap();
        assert_eq!((address.place().as_str(), address.path.as_str()), ("[::1]:99", "a/b"));
        assert!(address.tls && address.user.is_none());
        assert_eq!(read("amqps://h").unwrap().port, 5671);
    }

    #[test]
    fn a_wrong_address_says_what_would_be_right_and_shows_no_password() {
        for (text, expected) in [
            ("amqp://u:MARK@h/", "url holds a password; write password"),
            ("amqp://:MARK@h/", "url holds a password; write password"),
            ("http://h/", "url begins with neither amqp:// nor amqps://"),
            ("h:5672", "url begins with neither"),
            ("amqp://h/?MARK=1", "url has a question mark"),
            ("amqp://h/%zz", "url has a % without"),
            ("amqp://h/%ff", "url has a % without"),
            ("", "url is no address; write amqp://USER@HOST:PORT or amqps://"),
        ] {
            let fault = read(text).unwrap_err();
            assert!(fault.starts_with(expected), "{text}: {fault}");
            assert!(!fault.contains("MARK"), "INV-MUTE: {fault}");
        }
    }
}
