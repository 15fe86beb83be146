//! What is made of a request, and what is answered.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use galgo::UserHeaders;
use galgo_decode::{Encoding, Limits};
use http::header::{
    ALLOW, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming as IncomingBody;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use twox_hash::XxHash3_128;

use super::ReceivedRequest;
use super::settings::ListenSettings;
use crate::batch::Form;
use crate::source::Incoming;

/// How long a client may take for a body.
const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// How long a request waits to be asked for.
const ROOM_PATIENCE: Duration = Duration::from_secs(1);
/// Messages a request may carry.
const MESSAGES_MAX: usize = 10_000;
/// Bytes of an `Idempotency-Key`.
const KEY_MAX: usize = 255;
/// What memory is counted in.
const UNIT: usize = 1 << 10;

/// Takes requests, as far as there is memory for them.
pub(super) struct Reception {
    pub(super) settings: Arc<ListenSettings>,
    sender: mpsc::Sender<ReceivedRequest>,
    /// Memory for bodies.
    memory: Arc<Semaphore>,
}

/// An answer that is not 200.
struct Rebuff {
    status: StatusCode,
    reason: String,
    header: Option<(http::HeaderName, &'static str)>,
}

impl Rebuff {
    fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into(), header: None }
    }

    fn with(mut self, name: http::HeaderName, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }

    /// There is no room, or nobody knows: the client sends again.
    fn busy(reason: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, reason).with(RETRY_AFTER, "1")
    }
}

impl Reception {
    pub(super) fn new(
        settings: Arc<ListenSettings>,
        sender: mpsc::Sender<ReceivedRequest>,
    ) -> Self {
        let memory = Arc::new(Semaphore::new(settings.in_flight.div_ceil(UNIT)));
        Self { settings, sender, memory }
    }

    /// Answers a request, when its messages are stored.
    pub(super) async fn answer(&self, request: Request<IncomingBody>) -> Response<Full<Bytes>> {
        let (status, text, header) = match self.take(request).await {
            Ok(count) => (StatusCode::OK, format!("{{\"stored\":{count}}}\n"), None),
            Err(Rebuff { status, reason, header }) => {
                let reason = serde_json::Value::from(reason);
                (status, format!("{{\"error\":{reason}}}\n"), header)
            }
        };
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }

    async fn take(&self, request: Request<IncomingBody>) -> Result<usize, Rebuff> {
        let (head, body) = request.into_parts();
        self.admit(&head.method, head.uri.path(), &head.headers)?;
        let key = idempotency_key(&head.headers)?;
        // Held until it is answered: what is not stored yet is in memory, here or behind.
        let (body, _memory) = self.read(body, &head.headers).await?;
        let messages = messages(&body, &head.headers, key)?;
        let count = messages.len();
        let (stored, is_stored) = oneshot::channel();
        let room = tokio::time::timeout(ROOM_PATIENCE, self.sender.reserve()).await;
        let Ok(Ok(room)) = room else {
            return Err(Rebuff::busy("there is no room for messages now; send it again"));
        };
        room.send(ReceivedRequest { messages, stored });
        match tokio::time::timeout(self.settings.timeout, is_stored).await {
            Ok(Ok(())) => Ok(count),
            _ => Err(Rebuff::busy(
                "it is not known yet whether the messages are stored; send it again, with the same Idempotency-Key",
            )),
        }
    }

    fn admit(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<(), Rebuff> {
        if path != self.settings.path {
            return Err(Rebuff::new(StatusCode::NOT_FOUND, "there is nothing here"));
        }
        let token = self.settings.token().map_err(|error| {
            tracing::error!(%error, "requests are turned away");
            Rebuff::busy("requests cannot be told from others now")
        })?;
        if let Some(token) = token {
            let given = headers.get(AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
            let given = given.strip_prefix(b"Bearer ").unwrap_or(b"");
            if !is_same(given, token.reveal().as_bytes()) {
                return Err(Rebuff::new(
                    StatusCode::UNAUTHORIZED,
                    "Authorization: Bearer and the token is needed",
                )
                .with(WWW_AUTHENTICATE, "Bearer"));
            }
        }
        if method != Method::POST {
            return Err(Rebuff::new(StatusCode::METHOD_NOT_ALLOWED, "messages are sent with POST")
                .with(ALLOW, "POST"));
        }
        Ok(())
    }

    /// Reads a body, as far as it may be long and there is memory for it.
    async fn read(
        &self,
        mut body: IncomingBody,
        headers: &HeaderMap,
    ) -> Result<(Bytes, OwnedSemaphorePermit), Rebuff> {
        let bytes_max = self.settings.body_max();
        let too_long = || {
            Rebuff::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("a body has at most {bytes_max} bytes here"),
            )
        };
        // Without a length it may become as long as one may.
        let length = match headers.get(CONTENT_LENGTH) {
            None => bytes_max,
            Some(length) => {
                let length = length.to_str().ok().and_then(|it| it.parse().ok());
                length.ok_or_else(|| {
                    Rebuff::new(StatusCode::BAD_REQUEST, "Content-Length is no number of bytes")
                })?
            }
        };
        if length > bytes_max {
            return Err(too_long());
        }
        let units = u32::try_from(length.div_ceil(UNIT)).map_err(|_| too_long())?;
        let memory = Arc::clone(&self.memory)
            .try_acquire_many_owned(units)
            .map_err(|_| Rebuff::busy("there is no memory for more messages now; send it again"))?;
        let reading = async {
            let mut read = BytesMut::new();
            while let Some(frame) = body.frame().await {
                let frame = frame
                    .map_err(|_| Rebuff::new(StatusCode::BAD_REQUEST, "the body broke off"))?;
                let Ok(data) = frame.into_data() else { continue };
                if read.len() + data.len() > bytes_max {
                    return Err(too_long());
                }
                read.extend_from_slice(&data);
            }
            assert!(read.len() <= bytes_max, "no more of a body is held than it may have");
            Ok(read.freeze())
        };
        let read = tokio::time::timeout(BODY_PATIENCE, reading).await;
        let read = read.unwrap_or_else(|_| {
            Err(Rebuff::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"))
        });
        Ok((read?, memory))
    }
}

/// Compares without telling by the time it takes how much is the same.
fn is_same(given: &[u8], wanted: &[u8]) -> bool {
    let differences = given.iter().zip(wanted).fold(0, |all, (one, other)| all | (one ^ other));
    given.len() == wanted.len() && std::hint::black_box(differences) == 0
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&[u8]>, Rebuff> {
    let key = headers.get("idempotency-key").map(HeaderValue::as_bytes);
    match key {
        Some(key) if key.is_empty() || key.len() > KEY_MAX => Err(Rebuff::new(
            StatusCode::BAD_REQUEST,
            format!("an Idempotency-Key has 1 to {KEY_MAX} bytes"),
        )),
        key => Ok(key),
    }
}

/// The id of the message in a line of a request: a UUID as it is, if it is the only line; else a hash.
fn id_of(key: &[u8], line: Option<usize>) -> u128 {
    let text = str::from_utf8(key).ok();
    match (text.and_then(|text| uuid::Uuid::try_parse(text).ok()), line) {
        (Some(id), None) => id.as_u128().max(1),
        (_, line) => {
            let mut bytes = (key.len() as u64).to_le_bytes().to_vec();
            bytes.extend_from_slice(key);
            if let Some(line) = line {
                bytes.extend_from_slice(&8_u64.to_le_bytes());
                bytes.extend_from_slice(&(line as u64).to_le_bytes());
            }
            XxHash3_128::oneshot(&bytes).max(1)
        }
    }
}

/// The messages of a body: lines of JSON are one each, anything else is one.
fn messages(
    body: &Bytes,
    headers: &HeaderMap,
    key: Option<&[u8]>,
) -> Result<Vec<Incoming>, Rebuff> {
    let media = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or("");
    let media = media.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let bad = |what: String| Rebuff::new(StatusCode::BAD_REQUEST, what);
    let message = |payload: Bytes, form: Form, id: Option<u128>| Incoming {
        payload,
        form,
        key: None,
        id,
        headers: UserHeaders::new(),
        made_at: None,
    };
    let is_lines =
        matches!(&media[..], "application/x-ndjson" | "application/ndjson" | "application/jsonl");
    if !is_lines {
        if body.is_empty() {
            return Err(bad("the body is empty".to_owned()));
        }
        let form = match &media[..] {
            "application/json" => Form::Json,
            media if media.ends_with("+json") => Form::Json,
            media if media.starts_with("text/") && str::from_utf8(body).is_ok() => Form::Text,
            _ => Form::Bytes,
        };
        if form == Form::Json {
            is_json(body).map_err(|reason| bad(format!("the body is no JSON: {reason}")))?;
        }
        return Ok(vec![message(body.clone(), form, key.map(|key| id_of(key, None)))]);
    }
    let mut messages = Vec::new();
    for (at, line) in body.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        if messages.len() == MESSAGES_MAX {
            return Err(bad(format!("there are more than {MESSAGES_MAX} lines")));
        }
        is_json(line).map_err(|reason| bad(format!("line {} is no JSON: {reason}", at + 1)))?;
        let id = key.map(|key| id_of(key, Some(at)));
        messages.push(message(body.slice_ref(line), Form::Json, id));
    }
    match messages.is_empty() {
        true => Err(bad("there is no line in the body".to_owned())),
        false => Ok(messages),
    }
}

fn is_json(text: &[u8]) -> Result<(), String> {
    if matches!(text.first(), Some(0x1f | 0x28)) {
        return Err("it is compressed".to_owned());
    }
    let json = galgo_decode::to_json(text, Encoding::Json, &Limits::WHOLE);
    json.map(|_| ()).map_err(|reason| reason.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(media: &str, body: &str, key: Option<&str>) -> Result<Vec<Incoming>, String> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, media.parse().unwrap())]);
        let body = Bytes::from(body.to_owned());
        messages(&body, &headers, key.map(str::as_bytes)).map_err(|rebuff| rebuff.reason)
    }

    #[test]
    fn lines_are_messages_and_keys_are_ids() {
        let lines =
            taken("application/x-ndjson; charset=utf-8", "{\"a\":1}\n\n [2] \r\n", Some("k"));
        let lines = lines.unwrap();
        let payloads: Vec<_> = lines.iter().map(|it| it.payload.clone()).collect();
        assert_eq!(payloads, ["{\"a\":1}", "[2]"]);
        assert!(lines[0].id.is_some() && lines[0].id != lines[1].id);
        let again = taken("application/x-ndjson", "{\"a\":1}\n\n[2]", Some("k")).unwrap();
        assert_eq!(
            lines.iter().map(|it| it.id).collect::<Vec<_>>(),
            again.iter().map(|it| it.id).collect::<Vec<_>>()
        );
        let uuid = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        let one = taken("application/json", "1.10", Some(uuid)).unwrap();
        assert_eq!(one[0].id, Some(0x67e5504410b1426f9247bb680e5fe0c8));
        assert_eq!(one[0].form, Form::Json);
        assert_eq!(taken("text/plain", "x", None).unwrap()[0].form, Form::Text);
        assert_eq!(taken("", "x", None).unwrap()[0].form, Form::Bytes);
        assert_eq!(taken("application/vnd.x+json", "{}", None).unwrap()[0].form, Form::Json);
        for (media, body, said) in [
            ("application/json", "{", "no JSON"),
            ("application/x-ndjson", "1\n{", "line 2 is no JSON"),
            ("application/x-ndjson", "\n", "no line"),
            ("application/json", "", "empty"),
        ] {
            assert!(taken(media, body, None).unwrap_err().contains(said), "{body}");
        }
    }

    #[test]
    fn a_token_is_the_same_or_not() {
        assert!(is_same(b"abc", b"abc"));
        assert!(!is_same(b"abd", b"abc") && !is_same(b"ab", b"abc") && !is_same(b"", b"abc"));
    }
}
