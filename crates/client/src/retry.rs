//! Which requests may be repeated. Pure.

use galgo_wire::command::Repeat;
use galgo_wire::error_code::ErrorCode;

use crate::connection::Replay;

impl From<Repeat> for Replay {
    /// What decides by its fields, polls and sends, asks for more than this where it may have more.
    fn from(repeat: Repeat) -> Self {
        match repeat {
            Repeat::Safe => Self::Safe,
            Repeat::Never | Repeat::Depends => Self::Never,
        }
    }
}

/// Whether a server that refused a request may take the same request a little later.
pub(crate) fn is_passing(number: u32) -> bool {
    matches!(
        ErrorCode::from_u32(number),
        Some(
            ErrorCode::ShardNotFound | ErrorCode::ShardCommunicationError | ErrorCode::TaskTimeout
        )
    )
}
