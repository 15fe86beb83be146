//! A request for each batch: lines of JSON, or a list.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::HeaderValue;
use http::header::CONTENT_TYPE;

use super::answer::{RequestVerdict, verdict};
use super::settings::Body;
use super::{ANSWER_MAX, HttpSink, IDEMPOTENCY_KEY, header_value, line, place_key};
use crate::batch::{Batch, Row};
use crate::failure::Failure;
use crate::place::LaneName;
use crate::web::NoAnswer;

pub(super) async fn write(
    sink: &mut HttpSink,
    lane: &LaneName,
    batch: &Batch,
) -> Result<(), Failure> {
    let lines = each(batch, line)?;
    let (body, usual_type) = match sink.settings.body {
        Body::Array => (list(&lines), "application/json"),
        _ => (joined(&lines), "application/x-ndjson"),
    };
    let mut request = sink.request(sink.settings.method.clone(), sink.uri()?, body)?;
    let content_type = sink.settings.content_type.clone();
    let content_type = content_type.unwrap_or(HeaderValue::from_static(usual_type));
    request.headers_mut().insert(CONTENT_TYPE, content_type);
    request.headers_mut().insert(IDEMPOTENCY_KEY, header_value(&range_key(lane, batch)));
    let answer = sink.ask(request, ANSWER_MAX).await?.map_err(NoAnswer::failure)?;
    match verdict(&answer) {
        RequestVerdict::Done => Ok(()),
        RequestVerdict::AtFault(reason) => Err(Failure::Batch { reason }),
        RequestVerdict::Fails(failure) => Err(failure),
    }
}

/// What `make` makes of each row.
///
/// # Errors
/// [`Failure::Bad`] with all rows of which it makes nothing.
pub(super) fn each(
    batch: &Batch,
    make: impl Fn(&Row) -> Result<Bytes, String>,
) -> Result<Vec<Bytes>, Failure> {
    let (mut made, mut places, mut reason) = (Vec::new(), Vec::new(), None);
    for row in batch.rows() {
        match make(row) {
            Ok(bytes) => made.push(bytes),
            Err(what) => {
                places.push(row.place);
                reason = reason.or(Some(what));
            }
        }
    }
    match reason {
        Some(reason) => Err(Failure::Bad { places, reason }),
        None => {
            assert_eq!(made.len(), batch.rows().len(), "INV-PREFIX: each row of a batch is in it");
            Ok(made)
        }
    }
}

/// Lines with an end each.
pub(super) fn joined(lines: &[Bytes]) -> Bytes {
    let mut body = BytesMut::with_capacity(lines.iter().map(|line| line.len() + 1).sum());
    for line in lines {
        body.put_slice(line);
        body.put_u8(b'\n');
    }
    body.freeze()
}

fn list(lines: &[Bytes]) -> Bytes {
    let mut body =
        BytesMut::with_capacity(lines.iter().map(|line| line.len() + 1).sum::<usize>() + 2);
    for (at, line) in lines.iter().enumerate() {
        body.put_u8(if at == 0 { b'[' } else { b',' });
        body.put_slice(line);
    }
    body.put_u8(b']');
    body.freeze()
}

/// The first and the last place of a batch: another batch has another key, whatever it has in common with this one.
fn range_key(lane: &LaneName, batch: &Batch) -> String {
    let first = batch.rows().first().map(|row| place_key(lane, row.place)).unwrap_or_default();
    let last = batch.rows().last().map(|row| row.place);
    last.map_or(first.clone(), |last| format!("{first}-{}/{}", last.offset, last.part))
}
