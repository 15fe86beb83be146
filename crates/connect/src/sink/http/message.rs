//! A request for each message, in their order unless the file allows several at a time.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Uri};
use parking_lot::Mutex;

use super::answer::{RequestVerdict, verdict};
use super::settings::{RequestAddress, url};
use super::{ANSWER_MAX, HttpSink, IDEMPOTENCY_KEY, header_value, place_key};
use crate::batch::{Batch, Form, Row};
use crate::failure::{Failure, Finding};
use crate::place::{LaneName, Place};
use crate::web::{NoAnswer, WebClient};

/// What was delivered of batches that failed behind it, so that it is not sent again while this process lives.
#[derive(Debug, Default)]
pub(super) struct DeliveryProgress(Mutex<HashMap<LaneName, Partial>>);

#[derive(Debug)]
struct Partial {
    /// The batch that failed. Whoever comes with another begin wants it anew.
    offsets: Range<u64>,
    delivered: BTreeSet<Place>,
}

impl DeliveryProgress {
    /// What was delivered of this batch, or of the one it was a part of.
    fn of(&self, lane: &LaneName, batch: &Batch) -> BTreeSet<Place> {
        let mut lanes = self.0.lock();
        let Some(partial) = lanes.get(lane) else { return BTreeSet::new() };
        let within = partial.offsets.start <= batch.begin() && batch.begin() < partial.offsets.end;
        if !within {
            lanes.remove(lane);
            return BTreeSet::new();
        }
        partial.delivered.clone()
    }

    /// Remembers what was delivered of a batch that failed, or forgets the batch that ends with this one.
    fn keep(&self, lane: &LaneName, batch: &Batch, delivered: BTreeSet<Place>, failed: bool) {
        let mut lanes = self.0.lock();
        let offsets = batch.offsets();
        if failed {
            let partial = lanes.entry(lane.clone()).or_insert_with(|| Partial {
                offsets: offsets.clone(),
                delivered: BTreeSet::new(),
            });
            partial.offsets.end = partial.offsets.end.max(offsets.end);
            partial.delivered.extend(delivered);
        } else if lanes.get(lane).is_some_and(|it| it.offsets.end <= offsets.end) {
            lanes.remove(lane);
        }
    }
}

/// What became of a row.
enum RowOutcome {
    Done,
    Bad(String),
    Fails(Failure),
    /// It was not sent, as one in front of it failed.
    NotSent,
}

pub(super) async fn write(
    sink: &mut HttpSink,
    lane: &LaneName,
    batch: &Batch,
) -> Result<(), Failure> {
    let mut delivered = sink.progress.of(lane, batch);
    let left: Vec<Row> =
        batch.rows().iter().filter(|row| !delivered.contains(&row.place)).cloned().collect();
    let client = sink.client()?;
    let stopped = Arc::new(AtomicBool::new(false));
    let sends = requests(sink, lane, left).await?.into_iter().map(|(place, request)| {
        let (client, stopped) = (client.clone(), Arc::clone(&stopped));
        async move {
            let outcome = match request {
                _ if stopped.load(Ordering::Relaxed) => RowOutcome::NotSent,
                Err(reason) => RowOutcome::Bad(reason),
                Ok(request) => send(&client, request).await,
            };
            // Those that are on their way are waited for; none is begun behind one that was not taken.
            if !matches!(outcome, RowOutcome::Done) {
                stopped.store(true, Ordering::Relaxed);
            }
            (place, outcome)
        }
    });
    let mut outcomes = stream::iter(sends).buffered(sink.settings.concurrency);
    let (mut bad, mut reason) = (Vec::new(), String::new());
    let mut failure = None;
    while let Some((place, outcome)) = outcomes.next().await {
        match outcome {
            RowOutcome::Done => {
                delivered.insert(place);
            }
            RowOutcome::Bad(what) => {
                if bad.is_empty() {
                    reason = what;
                }
                bad.push(place);
            }
            RowOutcome::Fails(what) => failure = failure.or(Some(what)),
            RowOutcome::NotSent => {}
        }
    }
    drop(outcomes);
    let failed = failure.is_some() || !bad.is_empty();
    sink.progress.keep(lane, batch, delivered, failed);
    match (failure, bad.is_empty()) {
        (Some(failure), _) => Err(failure),
        (None, false) => Err(Failure::Bad { places: bad, reason }),
        (None, true) => Ok(()),
    }
}

async fn send(client: &WebClient, request: Request<Bytes>) -> RowOutcome {
    match client.ask(request, ANSWER_MAX).await {
        Err(none) => RowOutcome::Fails(none.failure()),
        Ok(answer) => match verdict(&answer) {
            RequestVerdict::Done => RowOutcome::Done,
            RequestVerdict::AtFault(reason) => RowOutcome::Bad(reason),
            RequestVerdict::Fails(failure) => RowOutcome::Fails(failure),
        },
    }
}

/// The request of each row, or why there is none.
async fn requests(
    sink: &HttpSink,
    lane: &LaneName,
    rows: Vec<Row>,
) -> Result<Vec<(Place, Result<Request<Bytes>, String>)>, Failure> {
    let addresses: Vec<Result<Uri, String>> = match &sink.settings.address {
        RequestAddress::Fixed(uri) => vec![Ok(uri.clone()); rows.len()],
        RequestAddress::Of(expression) => {
            let texts = expression.evaluate_each(lane, rows.clone()).await;
            texts.into_iter().map(uri_of).collect()
        }
    };
    assert_eq!(addresses.len(), rows.len(), "INV-PREFIX: each row has an address or a fault");
    let headers = sink.settings.headers()?;
    let mut requests = Vec::with_capacity(rows.len());
    for (row, address) in rows.into_iter().zip(addresses) {
        let uri = match address {
            Ok(uri) => uri,
            Err(reason) => {
                requests.push((row.place, Err(reason)));
                continue;
            }
        };
        let mut request = Request::new(row.payload);
        *request.method_mut() = sink.settings.method.clone();
        *request.uri_mut() = uri;
        request.headers_mut().extend(headers.iter().cloned());
        let content_type = sink.settings.content_type.clone();
        let content_type = content_type.unwrap_or_else(|| type_of(row.form));
        request.headers_mut().insert(CONTENT_TYPE, content_type);
        let key = header_value(&place_key(lane, row.place));
        request.headers_mut().insert(IDEMPOTENCY_KEY, key);
        requests.push((row.place, Ok(request)));
    }
    Ok(requests)
}

fn uri_of(text: Result<Option<String>, crate::transform::BadMessage>) -> Result<Uri, String> {
    let text = text.map_err(|bad| format!("url: {bad}"))?;
    let text = text.ok_or("the expression of url gives nothing for it")?;
    url(&text)
        .map_err(|what| format!("what the expression of url gives for it is not usable: {what}"))
}

fn type_of(form: Form) -> HeaderValue {
    HeaderValue::from_static(match form {
        Form::Json => "application/json",
        Form::Text => "text/plain; charset=utf-8",
        Form::Bytes => "application/octet-stream",
    })
}

/// Whether somebody answers there. `OPTIONS` is a method that changes nothing.
pub(super) async fn check(sink: &mut HttpSink) -> Result<Vec<Finding>, Failure> {
    if let RequestAddress::Of(_) = &sink.settings.address {
        sink.settings.headers()?;
        sink.client()?;
        return Ok(vec![Finding::good("url is made of each message; no address was tried")]);
    }
    let uri = sink.uri()?;
    let shown = format!(
        "{}://{}",
        uri.scheme_str().unwrap_or("http"),
        uri.authority().map_or("", |it| it.as_str())
    );
    let request = sink.request(Method::OPTIONS, uri, Bytes::new())?;
    let answer = sink.ask(request, ANSWER_MAX).await?.map_err(NoAnswer::failure)?;
    Ok(vec![match answer.status.as_u16() {
        401 | 403 => Finding::warning(
            format!("{shown} answers {} to OPTIONS", answer.status),
            "it may answer messages the same: look at the secret in headers",
        ),
        _ => Finding::good(format!("{shown} answers; whether it takes messages cannot be tried")),
    }])
}
