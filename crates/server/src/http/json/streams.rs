//! Streams.

use serde::Deserialize;
use utoipa::ToSchema;

/// A name for a new stream, or the new name of one.
#[derive(Debug, Deserialize, ToSchema)]
pub(in super::super) struct StreamName {
    /// 1 to 255 bytes, unique in the server.
    #[schema(min_length = 1, max_length = 255, example = "orders")]
    pub(in super::super) name: String,
}
