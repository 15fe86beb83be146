//! What the bridges to queues of others share: addresses, headers, and what of a batch that failed was taken nevertheless.

use std::time::Duration;

use crate::place::LaneName;

pub(crate) mod address;
pub(crate) mod carry;
pub(crate) mod confirmed;
pub(crate) mod held;
pub(crate) mod login;
pub(crate) mod number;
pub(crate) mod route;

/// The limit of a connection that is being made, with its login.
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// The limit of any other step, unless the file says another one.
pub(crate) const STEP_LIMIT: Duration = Duration::from_secs(30);
/// Messages of a chunk at most.
pub(crate) const CHUNK_MESSAGES_MAX: usize = 1_000;
/// Bytes of a chunk behind which no message is added.
pub(crate) const CHUNK_BYTES_MAX: usize = 1 << 20;

/// A lane for looking at rows that are not delivered.
pub(crate) fn sample_lane(pipeline: &str) -> LaneName {
    LaneName {
        pipeline: pipeline.to_owned(),
        stream: "STREAM".to_owned(),
        topic: "TOPIC".to_owned(),
        partition: 0,
    }
}
