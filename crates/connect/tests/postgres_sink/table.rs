//! What the tests share: a section, and what is in a table.

use std::sync::Arc;

use galgo_connect::{Batch, Failure, SinkSpec};
use galgo_testkit::service::postgres::Postgres;

use crate::rig::{batch, lane, row, sink_spec};

/// The section for a table of a server, with more keys.
pub(crate) fn section(server: &Postgres, table: &str, more: &str) -> String {
    format!("url = \"{}\"\ntable = '{table}'\ntimeout = '10s'\n{more}\n", server.url())
}

pub(crate) fn spec(server: &Postgres, table: &str, more: &str) -> Arc<dyn SinkSpec> {
    sink_spec("postgres", &section(server, table, more))
}

/// Columns `n` and `secret` of what [`crate::rig::numbered`] makes.
pub(crate) const NUMBERED: &str =
    "[columns]\nn = { from = '.n', type = 'bigint' }\nsecret = { from = '.secret', type = 'text' }";

/// Rows of these payloads, from an offset on.
pub(crate) fn payloads(begin: u64, payloads: &[&str]) -> Batch {
    let rows: Vec<_> =
        (begin..).zip(payloads).map(|(offset, payload)| row(offset, payload)).collect();
    batch(begin..begin + rows.len() as u64, rows)
}

/// Prepares, and delivers batches, one after the other, from the beginning of the lane.
pub(crate) async fn deliver(spec: &dyn SinkSpec, batches: &[Batch]) -> Result<(), Failure> {
    spec.prepare().await?;
    let mut sink = spec.sink();
    sink.position(&lane()).await?;
    for batch in batches {
        sink.write(&lane(), batch).await?;
    }
    sink.finish().await
}
