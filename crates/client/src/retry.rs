//! Which requests may be repeated. Pure.

use galgo_wire::command::CommandCode;
use galgo_wire::error_code::ErrorCode;

use crate::connection::Replay;

/// Whether a command may be sent again when nobody knows whether it was carried out.
///
/// Only what leaves the server the same when it is carried out twice, and gives the same answer.
/// Deleting, for one, is not: the second answer would be that there is nothing to delete. Polls
/// decide for themselves.
pub(crate) fn replay(code: CommandCode) -> Replay {
    use CommandCode as C;
    match code {
        C::Ping
        | C::GetStats
        | C::GetMe
        | C::GetClient
        | C::GetClients
        | C::GetClusterMetadata
        | C::GetStream
        | C::GetStreams
        | C::GetTopic
        | C::GetTopics
        | C::GetTopicSettings
        | C::PlanRetention
        | C::GetTopicOutline
        | C::GetRetentionState
        | C::ListConsumerOffsets
        | C::ConfigureTopic
        | C::GetTopicConfig
        | C::GetFeatures
        | C::GetUser
        | C::GetUsers
        | C::GetTokens
        | C::GetConsumerGroup
        | C::GetConsumerGroups
        | C::JoinConsumerGroup
        | C::JoinGroupWith
        | C::UpdatePermissions
        | C::GetSnapshot
        | C::GetConsumerOffset
        | C::StoreConsumerOffset
        | C::StoreOffsetInLife
        | C::FlushUnsavedBuffer
        | C::LoginUser
        | C::LoginWithToken => Replay::Safe,
        _ => Replay::Never,
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
