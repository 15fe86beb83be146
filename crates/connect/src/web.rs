//! Requests over HTTP, bounded in time and in what is read of the answers.
//!
//! Redirections are not followed: they would carry messages and secrets to somebody the file does not name.

pub(crate) mod tls;

use std::error::Error;
use std::io;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::header::RETRY_AFTER;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;

use crate::failure::Failure;

/// How long a connection may take to be there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one that nobody uses is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// What an answer is asked to wait at most.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// Connections to servers, kept and used again.
#[derive(Clone, Debug)]
pub(crate) struct WebClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
}

/// An answer, as far as it was read.
#[derive(Debug)]
pub(crate) struct WebAnswer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// The request was not sent.
    Unreachable(String),
    /// It was not sent, as the server's certificate is not to be trusted, or it does not trust ours.
    Untrusted(String),
    /// It may have been sent, and done.
    Lost(String),
}

impl NoAnswer {
    pub(crate) fn reason(self) -> String {
        match self {
            Self::Unreachable(reason) | Self::Untrusted(reason) | Self::Lost(reason) => reason,
        }
    }

    /// What that comes to, where a request that comes twice does no harm.
    pub(crate) fn failure(self) -> Failure {
        match self {
            Self::Untrusted(reason) => Failure::refused(
                format!("no connection by TLS: {reason}"),
                "look at url, ca_file, cert_file and key_file",
            ),
            none => Failure::away(none.reason()),
        }
    }
}

impl WebClient {
    /// A client that opens nothing yet.
    pub(crate) fn new(tls: ClientConfig, timeout: Duration) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let connector = https.enable_http1().wrap_connector(http);
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_idle_timeout(IDLE_TIMEOUT);
        builder.pool_timer(hyper_util::rt::TokioTimer::new());
        Self { client: builder.build(connector), timeout }
    }

    /// Sends a request and reads the answer, of its body at most `body_max` bytes. The length of what is sent is told in front.
    pub(crate) async fn ask(
        &self,
        request: Request<Bytes>,
        body_max: usize,
    ) -> Result<WebAnswer, NoAnswer> {
        let asked = async {
            let answer = self.client.request(request.map(Full::new)).await;
            let answer = answer.map_err(|error| match error.is_connect() {
                true if is_distrust(&error) => NoAnswer::Untrusted(told(&error)),
                true => NoAnswer::Unreachable(told(&error)),
                false => NoAnswer::Lost(told(&error)),
            })?;
            let (head, body) = answer.into_parts();
            let body = read(body, body_max).await.map_err(|error| NoAnswer::Lost(told(&error)))?;
            Ok(WebAnswer { status: head.status, headers: head.headers, body })
        };
        tokio::time::timeout(self.timeout, asked).await.unwrap_or_else(|_| {
            let seconds = self.timeout.as_secs_f64();
            Err(NoAnswer::Lost(format!("no answer within {seconds} s (key timeout)")))
        })
    }
}

/// The beginning of a body; the rest of it is not waited for.
async fn read(mut body: Incoming, bytes_max: usize) -> Result<Bytes, hyper::Error> {
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let room = bytes_max.saturating_sub(read.len());
        if data.len() > room {
            read.extend_from_slice(&data[..room.min(data.len())]);
            break;
        }
        read.extend_from_slice(&data);
    }
    assert!(read.len() <= bytes_max, "no more of an answer is held than is asked for");
    Ok(read.freeze())
}

/// An error that can be asked which one it is.
type AnyError = dyn Error + 'static;

/// Whether an error is about certificates.
fn is_distrust(error: &AnyError) -> bool {
    let of_tls = error.downcast_ref::<rustls::Error>();
    if let Some(rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_)) = of_tls {
        return true;
    }
    // What is inside of an error of the system is not its source.
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inner.is_some_and(|inner| is_distrust(inner)) || error.source().is_some_and(is_distrust)
}

/// An error and what is behind it.
fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}

/// How long an answer asks to be left alone: `Retry-After`, in seconds or as a date.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
            SystemTime::from(date).duration_since(now).ok()?
        }
    };
    Some(pause.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (text, seconds) in [
            ("7", Some(7)),
            (" 120 ", Some(120)),
            ("99999999", Some(3_600)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", None),
            ("soon", None),
            ("-1", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            assert_eq!(retry_after(&headers, now).map(|it| it.as_secs()), seconds, "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
